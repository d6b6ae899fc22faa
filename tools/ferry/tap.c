/* SPDX-License-Identifier: MIT
 *
 * tap.c - `ferry tap`: what flows through a channel, shown to somebody who takes no part.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "json.h"
#include "json_look.h"
#include "receiving.h"
#include "say.h"
#include "stop.h"
#include "units.h"

static const char text[] =
    "Shows what senders put into a queue or a topic from now on: the records themselves, or how many\n"
    "and how much. It takes no part: no record is consumed, nobody waits for it, and who gets what\n"
    "stays as it is. What comes faster than it can look is lost to it, and counted. Ends when all\n"
    "senders have ended, or when nobody reads the output any more.";

static const char examples[] = "ferry tap jobs                  the records, as ferry recv writes them\n"
                               "ferry tap --hz --bw camera      rate and bandwidth, every second\n"
                               "ferry tap --count 1 --json jobs | jq .\n"
                               "ferry tap --follow --timeout 1m 'jobs' > sample";

enum { BATCH = 128, OPTIONS = 9 };
static const int64_t second_ns = INT64_C(1000) * 1000 * 1000;

typedef struct tapping {
    receiving_t r;
    bool hz, bw;
    /* the second that goes on */
    int64_t since;
    uint64_t records, bytes, lost;
    uint64_t lost_before; /* up to it */
} tapping_t;

static uint64_t lost_so_far(const tapping_t *t) {
    ferry_receiver_stats_t stats = {.size = sizeof stats};

    return t->r.rx != NULL && ferry_receiver_stats(t->r.rx, &stats) == 0 ? stats.lost : 0;
}

/* --- figures ----------------------------------------------------------------------------------------------------- */

static void print_figures(const tapping_t *t, double records, double bytes) {
    json_t j = {.out = stdout};
    char word[UNITS_TEXT];

    if (t->r.common.json) {
        json_open(&j, NULL, '{');
        if (t->hz)
            json_number(&j, "records_per_s", records);
        if (t->bw)
            json_number(&j, "bytes_per_s", bytes);
        json_count(&j, "lost", t->lost);
        json_close(&j, '}');
        printf("\n");
        return;
    }
    if (t->hz)
        printf("%s records/s%s", show_count((uint64_t)(records + 0.5), word), t->bw ? "  " : "");
    if (t->bw)
        printf("%s/s", show_bytes(bytes, word));
    printf("\n");
}

/* What was too quick to be looked at went by all the same; how long it was can only be told from the rest. */
static int end_second(tapping_t *t, int64_t now) {
    double seconds = (double)(now - t->since) / (double)second_ns;
    uint64_t lost = lost_so_far(t);

    t->lost = lost - t->lost_before;
    t->lost_before = lost;
    double all = (double)(t->records + t->lost);
    double bytes = t->records > 0 ? (double)t->bytes / (double)t->records * all : 0;
    print_figures(t, all / seconds, bytes / seconds);
    t->since = now;
    t->records = t->bytes = 0;
    return fflush(stdout) == 0 ? 0 : -errno;
}

/* --- records as JSON --------------------------------------------------------------------------------------------- */

static void print_record(const tapping_t *t, const ferry_msg_t *m) {
    ferry_msg_info_t info = {.size = sizeof info};
    json_t j = {.out = stdout};

    (void)ferry_msg_info(m, &info);
    json_open(&j, NULL, '{');
    json_text(&j, "channel", t->r.channel);
    json_id(&j, "node", info.sender_node);
    json_count(&j, "end", info.sender);
    json_count(&j, "sequence", info.sequence);
    json_count(&j, "bytes", ferry_msg_size(m));
    json_count(&j, "lost_before", info.lost_before);
    json_bytes(&j, ferry_msg_data(m), ferry_msg_size(m));
    json_close(&j, '}');
    printf("\n");
}

static void look_at(tapping_t *t, ferry_msg_t *const *messages, int n) {
    for (int i = 0; i < n; i++) {
        t->records++;
        t->bytes += ferry_msg_size(messages[i]);
        if (!t->hz && !t->bw)
            print_record(t, messages[i]);
        ferry_msg_release(messages[i]);
    }
    t->r.taken += (uint64_t)n;
}

/* --- the run ----------------------------------------------------------------------------------------------------- */

/* How long to wait for a record: until the second is over, or --idle or --timeout. */
static int64_t patience(const tapping_t *t, int64_t now) {
    int64_t left = t->hz || t->bw ? t->since + second_ns - now : INT64_MAX;

    if (t->r.timeout >= 0 && t->r.started + t->r.timeout - now < left)
        left = t->r.started + t->r.timeout - now;
    if (t->r.idle >= 0 && t->r.last_message + t->r.idle - now < left)
        left = t->r.last_message + t->r.idle - now;
    return left == INT64_MAX ? FERRY_FOREVER : left > 0 ? left : 0;
}

static bool is_over(const tapping_t *t, int64_t now, int *status) {
    char word[UNITS_TEXT];

    if (t->r.count > 0 && t->r.taken >= t->r.count)
        return true;
    if (t->r.idle >= 0 && now - t->r.last_message >= t->r.idle)
        return true;
    if (t->r.timeout < 0 || now - t->r.started < t->r.timeout)
        return false;
    say("timed out after %s", show_duration((double)t->r.timeout, word));
    *status = STATUS_TIMED_OUT;
    return true;
}

/* Waits for records, or until nobody reads the output any more. False: that is the end. */
static bool wait_for_records(tapping_t *t, int64_t now) {
    ferry_pollitem_t items[2] = {{.receiver = t->r.rx, .events = FERRY_POLL_IN}, {.fd = STDOUT_FILENO}};
    int result = ferry_poll(items, 2, patience(t, now));

    return result <= 0 || (items[1].revents & (FERRY_POLL_ERR | FERRY_POLL_END)) == 0;
}

/* What goes wrong with one sender, or with one wait, does not end it. */
static bool goes_on(int result) {
    return result >= 0 || result == -EAGAIN || result == -ETIMEDOUT || result == -EINTR || lost_one_sender(result);
}

static int run_by_itself(tapping_t *t) {
    ferry_msg_t *messages[BATCH];
    int64_t now = t->since = now_ns();
    int status = STATUS_OK;

    while (!is_over(t, now, &status) && stop_signal() == 0) {
        size_t most = t->r.count > 0 && t->r.count - t->r.taken < BATCH ? (size_t)(t->r.count - t->r.taken) : BATCH;
        int n = ferry_recv_batch(t->r.rx, messages, most, FERRY_NOW);
        bool open = true;
        if (n > 0)
            look_at(t, messages, n);
        else if (n == -EAGAIN)
            open = fflush(stdout) == 0 && wait_for_records(t, now);
        now = now_ns();
        t->r.last_message = n > 0 ? now : t->r.last_message;
        bool ends = n == -EPIPE || !open;
        if ((t->hz || t->bw) && (now - t->since >= second_ns || (ends && t->records > 0)) && end_second(t, now) < 0)
            return STATUS_OK; /* nobody reads it */
        if (ends)
            return STATUS_OK;
        if (!goes_on(n))
            return stop_signal() != 0 ? STATUS_FAILED : library_failed(n);
    }
    return status;
}

static int close_tap(tapping_t *t, int status) {
    char word[UNITS_TEXT];
    uint64_t lost = lost_so_far(t);

    ferry_receiver_close(t->r.rx);
    records_out_done(&t->r.out);
    stop_forget_node();
    ferry_close(t->r.node);
    if (lost > 0 && !t->r.common.quiet)
        say("%s by faster than they could be looked at: %s", lost == 1 ? "a record went" : "records went",
            show_count(lost, word));
    return status;
}

/* A tap sees what is sent on its own machine: says where else somebody sends. False: only there, so there is nothing to
 * see. */
static bool senders_are_near(const tapping_t *t) {
    ferry_options_t options = common_options(&t->r.common, NULL);
    ferry_look_t *look = NULL;
    const char *host = NULL;
    bool near = t->r.follow;
    char name[64];

    if (!space_is_far(&t->r.common) || ferry_look(common_space(&t->r.common), &options, &look) < 0)
        return true;
    for (size_t i = 0; i < ferry_look_ends(look); i++) {
        const ferry_look_end_t *end = ferry_look_end(look, i);
        for (size_t k = 0; end->is_sender && strcmp(end->channel, t->r.channel) == 0 && k < ferry_look_nodes(look);
             k++) {
            const ferry_look_node_t *node = ferry_look_node(look, k);
            if (node->id == end->node && node->host[0] != '\0')
                host = node->host;
            else
                near |= node->id == end->node;
        }
    }
    snprintf(name, sizeof name, "%s", host != NULL ? host : "");
    ferry_look_close(look);
    make_plain(name);
    if (name[0] != '\0')
        say("'%s' has senders on the machine %s: a tap sees what is sent on its own machine; run it there, too",
            t->r.channel, name);
    return near || name[0] == '\0';
}

static int run(tapping_t *t) {
    receiving_t *r = &t->r;
    framing_t framing = r->nul ? FRAMING_NULS : r->whole ? FRAMING_WHOLE : r->framed ? FRAMING_FRAMED : FRAMING_LINES;
    int status = STATUS_FAILED;

    signal(SIGPIPE, SIG_IGN);
    r->started = r->last_message = now_ns();
    r->on_terminal = isatty(STDOUT_FILENO) == 1;
    progress_init(&r->progress, &r->common, "seen", true);
    if (records_out_init(&r->out, STDOUT_FILENO, framing) < 0) {
        say("no memory for the output buffer");
        return STATUS_FAILED;
    }
    if (common_open(&r->common, "ferry-tap", &r->node, &status)) {
        int result = receiving_open(r);
        if (result < 0)
            status = stop_signal() != 0 ? STATUS_FAILED : library_failed(result);
        else if (!senders_are_near(t))
            status = STATUS_NO;
        else
            status = t->hz || t->bw || r->common.json ? finish_output(run_by_itself(t)) : receiving_run(r);
    }
    return stop_or(close_tap(t, status));
}

/* What the table cannot check. Returns 0 or STATUS_USAGE. */
static int check(tapping_t *t, const operands_t *operands) {
    receiving_t *r = &t->r;
    bool count_given = r->count != UINT64_MAX;

    if (operands->n == 0)
        return usage_error(r->usage, "the name of the channel is missing");
    if (operands->n > 1)
        return usage_error(r->usage, "one name is enough, but '%s' was given too", operands->items[1]);
    if (r->nul + r->whole + r->framed > 1)
        return usage_error(r->usage, "only one of --null, --whole and --framed can hold");
    if ((t->hz || t->bw || r->common.json) && r->nul + r->whole + r->framed > 0)
        return usage_error(r->usage, "--%s is about how records are written, which --%s does not",
                           r->nul     ? "null"
                           : r->whole ? "whole"
                                      : "framed",
                           t->hz   ? "hz"
                           : t->bw ? "bw"
                                   : "json");
    if (count_given && r->count == 0)
        return usage_error(r->usage, "--count 0 would show nothing");
    r->count = count_given ? r->count : 0;
    r->channel = operands->items[0];
    return 0;
}

int command_tap(int argc, char **argv) {
    tapping_t t = {.r = {.kind = FERRY_QUEUE, .tap = true, .idle = FERRY_FOREVER, .timeout = FERRY_FOREVER}};
    receiving_t *r = &t.r;
    const option_t options[OPTIONS] = {
        {.name = "hz", .kind = OPTION_FLAG, .target = &t.hz, .help = "show how many records go by, every second"},
        {.name = "bw", .kind = OPTION_FLAG, .target = &t.bw, .help = "show how many bytes go by, every second"},
        {.letter = '0',
         .name = "null",
         .kind = OPTION_FLAG,
         .target = &r->nul,
         .help = "end each record with a NUL byte"},
        {.name = "whole",
         .kind = OPTION_FLAG,
         .target = &r->whole,
         .help = "write records as they are, nothing between"},
        {.name = "framed",
         .kind = OPTION_FLAG,
         .target = &r->framed,
         .help = "before each record write its length (4 bytes, little-endian)"},
        {.letter = 'n',
         .name = "count",
         .value = "N",
         .kind = OPTION_COUNT,
         .target = &r->count,
         .help = "end after N records"},
        {.letter = 'f',
         .name = "follow",
         .kind = OPTION_FLAG,
         .target = &r->follow,
         .help = "go on when all senders have ended"},
        {.name = "idle",
         .value = "DURATION",
         .kind = OPTION_DURATION,
         .target = &r->idle,
         .help = "end when nothing has come for so long"},
        {.name = "timeout",
         .value = "DURATION",
         .kind = OPTION_DURATION,
         .target = &r->timeout,
         .help = "end after so long in all, with exit status 124"},
    };
    const usage_t usage = {.command = "tap",
                           .synopsis = "tap [OPTION...] CHANNEL",
                           .text = text,
                           .examples = examples,
                           .options = options,
                           .n_options = OPTIONS,
                           .json = true};
    operands_t operands;
    int status;

    r->usage = &usage;
    r->count = UINT64_MAX; /* not given */
    if (!options_parse(&usage, argc, argv, &r->common, &operands, &status))
        return status;
    status = check(&t, &operands);
    return status != 0 ? status : run(&t);
}
