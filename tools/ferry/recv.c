/* SPDX-License-Identifier: MIT
 *
 * recv.c - `ferry recv` (queues) and `ferry sub` (topics).
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "receiving.h"
#include "say.h"
#include "stop.h"
#include "units.h"

static const char recv_text[] = "Receives records from a queue and writes them to standard output. A record counts as\n"
                                "received once it is written out; one that is not goes to another receiver. Ends when\n"
                                "all senders have ended, or when nobody reads the output any more.";

static const char recv_examples[] = "ferry recv lines | wc -l\n"
                                    "ferry recv --count 1 --timeout 5s jobs\n"
                                    "ferry recv -0 files | xargs -0 ls -ld\n"
                                    "ferry recv --senders 4 lines > all    ends after four senders\n"
                                    "ferry recv --follow lines             ends at Ctrl-C only";

static const char sub_text[] = "Subscribes to a topic and writes every record to standard output. Ends when all\n"
                               "publishers have ended, or when nobody reads the output any more.";

static const char sub_examples[] = "ferry sub news\n"
                                   "ferry sub --follow --may-lose log | grep --line-buffered error\n"
                                   "ferry sub --newest camera > /dev/shm/last    shows what is, not what was\n"
                                   "ferry sub --count 1 motd\n"
                                   "ferry sub --replay 1h news             of a durable topic: the last hour, and on\n"
                                   "ferry sub --replay all --idle 1s news  all that its server keeps\n"
                                   "ferry sub --plain news                 also from NATS clients that know no Ferry";

enum { SHARED_OPTIONS = 10, RECV_OPTIONS = 1, SUB_OPTIONS = 7 };

/* The options of `recv`, which `sub` has too. */
static void shared_options(receiving_t *r, option_t *options) {
    const option_t shared[SHARED_OPTIONS] = {
        {.letter = '0',
         .name = "null",
         .kind = OPTION_FLAG,
         .target = &r->nul,
         .help = "end each record with a NUL byte, not a newline"},
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
        {.name = "senders",
         .value = "N",
         .kind = OPTION_COUNT,
         .target = &r->senders,
         .help = "end only after N senders have been seen and have ended"},
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
         .help = "give up after so long in all, with exit status 124"},
        {.name = "max-held",
         .value = "N",
         .kind = OPTION_COUNT,
         .target = &r->max_held,
         .help = "take at most N records before they are written out"},
        {.name = "type",
         .value = "NAME",
         .kind = OPTION_TEXT,
         .target = &r->type,
         .help = "name of the message type, which all ends must share"},
    };

    for (size_t i = 0; i < SHARED_OPTIONS; i++)
        options[i] = shared[i];
}

static void recv_options(receiving_t *r, option_t *options) {
    options[0] = (option_t){.name = "durable",
                            .kind = OPTION_FLAG,
                            .target = &r->durable,
                            .help = "the queue is one that a server keeps, though no sender has said so yet"};
}

static void sub_options(receiving_t *r, option_t *options) {
    const option_t own[SUB_OPTIONS] = {
        {.name = "may-lose",
         .kind = OPTION_FLAG,
         .target = &r->may_lose,
         .help = "rather lose the oldest records than hold publishers back"},
        {.name = "no-history",
         .kind = OPTION_FLAG,
         .target = &r->no_history,
         .help = "do not ask for records that publishers retain"},
        {.name = "replay",
         .value = "all|N|DURATION|#N",
         .kind = OPTION_TEXT,
         .target = &r->replay_text,
         .help = "of a durable topic: first all that is kept, its last N, since, from number N"},
        {.name = "newest",
         .kind = OPTION_SET,
         .target = &r->newest,
         .constant = FERRY_NEWEST_ONLY,
         .help = "of what waits, only each publisher's newest record"},
        {.name = "newest-per-tag",
         .kind = OPTION_SET,
         .target = &r->newest,
         .constant = FERRY_NEWEST_PER_TAG,
         .help = "of what waits, only the newest record with each tag"},
        {.name = "depth",
         .value = "N",
         .kind = OPTION_COUNT,
         .target = &r->depth,
         .help = "of what waits, only each publisher's newest N records"},
        {.name = "plain",
         .kind = OPTION_FLAG,
         .target = &r->plain,
         .help = "also what other NATS clients publish on ferry.SPACE.topic.TOPIC"},
    };

    for (size_t i = 0; i < SUB_OPTIONS; i++)
        options[i] = own[i];
}

/* False: it is none of what --replay can be. */
static bool read_replay(receiving_t *r) {
    struct timespec now;
    int64_t ago;

    if (strcmp(r->replay_text, "all") == 0) {
        r->replay = FERRY_REPLAY_ALL;
    } else if (r->replay_text[0] == '#') {
        r->replay = FERRY_REPLAY_SEQUENCE;
        return parse_count(r->replay_text + 1, &r->replay_from);
    } else if (parse_count(r->replay_text, &r->replay_from)) {
        r->replay = FERRY_REPLAY_LAST;
    } else if (parse_duration(r->replay_text, &ago) && ago >= 0) {
        clock_gettime(CLOCK_REALTIME, &now);
        uint64_t since = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
        r->replay = FERRY_REPLAY_TIME;
        r->replay_from = (uint64_t)ago < since ? since - (uint64_t)ago : 1;
    } else {
        return false;
    }
    return true;
}

/* What the table cannot check. Returns 0 or STATUS_USAGE. */
static int check(receiving_t *r, const operands_t *operands, bool count_given, bool senders_given) {
    if (operands->n == 0)
        return usage_error(r->usage, "the name of the %s is missing", r->kind == FERRY_QUEUE ? "queue" : "topic");
    if (operands->n > 1)
        return usage_error(r->usage, "one name is enough, but '%s' was given too", operands->items[1]);
    if (r->nul + r->whole + r->framed > 1)
        return usage_error(r->usage, "only one of --null, --whole and --framed can hold");
    if (r->follow && r->senders > 0)
        return usage_error(r->usage, "--follow never ends for want of senders, --senders does; give one of them");
    if (r->newest != FERRY_NEWEST_ALL && r->depth > 0)
        return usage_error(r->usage, "--depth and --%s both say how much is kept; give one of them",
                           r->newest == FERRY_NEWEST_ONLY ? "newest" : "newest-per-tag");
    if (r->replay_text != NULL && !read_replay(r))
        return usage_error(r->usage, "--replay is `all`, a number of records, how long ago (10m), or #NUMBER, not '%s'",
                           r->replay_text);
    if (r->replay_text != NULL && r->plain)
        return usage_error(r->usage, "--replay is for durable topics, --plain for others; give one of them");
    if (r->replay_text != NULL && r->no_history)
        return usage_error(r->usage, "--replay asks for earlier records, --no-history for none; give one of them");
    if (r->max_held > UINT32_MAX || r->depth > UINT32_MAX || r->senders >= UINT32_MAX)
        return usage_error(r->usage, "a count is larger than anything Ferry can hold");
    if (count_given && r->count == 0)
        return usage_error(r->usage, "--count 0 would receive nothing");
    if (senders_given && r->senders == 0)
        return usage_error(r->usage, "--senders 0 would wait for nobody; give at least 1, or leave it out");
    r->channel = operands->items[0];
    return 0;
}

static void report_lost(const receiving_t *r, uint64_t lost) {
    char text[UNITS_TEXT];

    if (lost > 0)
        say("%s lost, because %s: %s", lost == 1 ? "a record was" : "records were",
            r->replay == FERRY_REPLAY_SEQUENCE ? "the server had dropped it before, or this subscriber was too slow"
            : r->plain                         ? "this subscriber was too slow, or the topic's type is another one"
                                               : "this subscriber was too slow",
            show_count(lost, text));
}

/* The receiver closes before the handles of unwritten messages go: so those go back to the channel. */
static int close_receiver(receiving_t *r, int status) {
    uint64_t records = r->out.records;
    uint64_t bytes = r->out.bytes;
    ferry_receiver_stats_t stats = {.size = sizeof stats};

    if (r->rx != NULL) {
        (void)ferry_receiver_stats(r->rx, &stats);
        ferry_receiver_close(r->rx);
    }
    records_out_done(&r->out);
    stop_forget_node();
    ferry_close(r->node);
    progress_end(&r->progress, records, bytes);
    report_lost(r, stats.lost);
    return status;
}

static int run(receiving_t *r) {
    framing_t framing = r->nul ? FRAMING_NULS : r->whole ? FRAMING_WHOLE : r->framed ? FRAMING_FRAMED : FRAMING_LINES;
    int status = STATUS_FAILED;

    signal(SIGPIPE, SIG_IGN); /* a closed output is an ordinary end here, and what was not written is given back */
    raise_descriptor_limit();
    r->started = r->last_message = now_ns();
    r->on_terminal = isatty(STDOUT_FILENO) == 1;
    progress_init(&r->progress, &r->common, "received", r->on_terminal);
    if (records_out_init(&r->out, STDOUT_FILENO, framing) < 0) {
        say("no memory for the output buffer");
        return STATUS_FAILED;
    }
    if (common_open(&r->common, r->kind == FERRY_QUEUE ? "ferry-recv" : "ferry-sub", &r->node, &status)) {
        int result = receiving_open(r);
        if (result == 0)
            status = receiving_run(r);
        else
            status = stop_signal() != 0 ? STATUS_FAILED : library_failed(result);
    }
    return stop_or(close_receiver(r, status));
}

static int command(receiving_t *r, usage_t *usage, int argc, char **argv) {
    operands_t operands;
    int status;

    usage->progress = true;
    r->usage = usage;
    r->idle = FERRY_FOREVER;
    r->timeout = FERRY_FOREVER;
    r->count = r->senders = UINT64_MAX; /* not given */
    if (!options_parse(usage, argc, argv, &r->common, &operands, &status))
        return status;
    bool count_given = r->count != UINT64_MAX;
    bool senders_given = r->senders != UINT64_MAX;
    r->count = count_given ? r->count : 0;
    r->senders = senders_given ? r->senders : 0;
    status = check(r, &operands, count_given, senders_given);
    return status != 0 ? status : run(r);
}

int command_recv(int argc, char **argv) {
    receiving_t r = {.kind = FERRY_QUEUE};
    option_t options[SHARED_OPTIONS + RECV_OPTIONS];
    usage_t usage = {.command = "recv",
                     .synopsis = "recv [OPTION...] QUEUE",
                     .text = recv_text,
                     .examples = recv_examples,
                     .options = options,
                     .n_options = SHARED_OPTIONS + RECV_OPTIONS};

    shared_options(&r, options);
    recv_options(&r, options + SHARED_OPTIONS);
    return command(&r, &usage, argc, argv);
}

int command_sub(int argc, char **argv) {
    receiving_t r = {.kind = FERRY_TOPIC};
    option_t options[SHARED_OPTIONS + SUB_OPTIONS];
    usage_t usage = {.command = "sub",
                     .synopsis = "sub [OPTION...] TOPIC",
                     .text = sub_text,
                     .examples = sub_examples,
                     .options = options,
                     .n_options = SHARED_OPTIONS + SUB_OPTIONS};

    shared_options(&r, options);
    sub_options(&r, options + SHARED_OPTIONS);
    return command(&r, &usage, argc, argv);
}
