/* SPDX-License-Identifier: MIT
 *
 * send.c - `ferry send` (queues) and `ferry pub` (topics).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "say.h"
#include "sending.h"
#include "stop.h"
#include "units.h"

static const int64_t DETACH_FOR = INT64_C(3600) * 1000 * 1000 * 1000;
static const char *const hold_names[] = {"any", "back", "never", NULL};

static const char send_text[] = "Puts records into a queue; each goes to one receiver (ferry recv). Records are the\n"
                                "RECORDs given, or else the lines of the FILEs or of standard input. What nobody has\n"
                                "received yet waits in this command's memory, so it stays until all is delivered.";

static const char send_examples[] = "zcat big.gz | ferry send lines      each line is a record\n"
                                    "ferry send jobs 'build 17' 'build 18'\n"
                                    "find . -print0 | ferry send -0 files\n"
                                    "ferry send --whole scans -f *.pdf   each file is a record\n"
                                    "ferry send --linger 5s jobs stop    give up after 5 seconds\n"
                                    "ferry send --detach jobs 'build 19' a keeper has it until it is received";

static const char pub_text[] =
    "Publishes records on a topic; each goes to every subscriber (ferry sub). Records are the\n"
    "RECORDs given, or else the lines of the FILEs or of standard input. What is published\n"
    "while nobody listens reaches nobody, unless --retain or --durable keeps it.";

static const char pub_examples[] = "ferry pub --wait-for 2 news 'it begins'\n"
                                   "tail -f log | ferry pub --hold never log   a slow subscriber loses lines\n"
                                   "ferry pub --retain 1 --stay forever motd hello\n"
                                   "ferry pub --durable --retain 1000 news hello  the server keeps the last 1000\n"
                                   "ferry pub --plain news hello         also for NATS clients that know no Ferry";

enum { SHARED_OPTIONS = 10, SEND_OPTIONS = 5, PUB_OPTIONS = 7 };

/* The options of `send`, which `pub` has too. */
static void shared_options(sending_t *s, option_t *options) {
    const option_t shared[SHARED_OPTIONS] = {
        {.letter = 'f',
         .name = "file",
         .value = "FILE",
         .kind = OPTION_LIST,
         .target = &s->files,
         .help = "read FILE, and all further FILEs; - is standard input"},
        {.letter = '0',
         .name = "null",
         .kind = OPTION_FLAG,
         .target = &s->nul,
         .help = "records end with a NUL byte, not a newline"},
        {.name = "whole", .kind = OPTION_FLAG, .target = &s->whole, .help = "each file is one record"},
        {.name = "framed",
         .kind = OPTION_FLAG,
         .target = &s->framed,
         .help = "before each record stands its length (4 bytes, little-endian)"},
        {.name = "linger",
         .value = "DURATION",
         .kind = OPTION_DURATION,
         .target = &s->linger,
         .help = "at the end wait so long for delivery (default: forever)"},
        {.name = "timeout",
         .value = "DURATION",
         .kind = OPTION_DURATION,
         .target = &s->timeout,
         .help = "give up after so long in all, with exit status 124"},
        {.name = "quota",
         .value = "SIZE",
         .kind = OPTION_SIZE,
         .target = &s->quota,
         .help = "memory for what is not received yet (default: 64MiB)"},
        {.name = "capacity",
         .value = "N",
         .kind = OPTION_COUNT,
         .target = &s->capacity,
         .help = "records not received yet (default: what the quota holds)"},
        {.name = "type",
         .value = "NAME",
         .kind = OPTION_TEXT,
         .target = &s->type,
         .help = "name of the message type, which all ends must share"},
        {.name = "token",
         .value = "N",
         .kind = OPTION_COUNT,
         .target = &s->token,
         .help = "with --durable: a lock's fencing token: refuse (1) if a larger one was used"},
    };

    for (size_t i = 0; i < SHARED_OPTIONS; i++)
        options[i] = shared[i];
}

static void send_options(sending_t *s, option_t *options) {
    options[0] = (option_t){.name = "durable",
                            .kind = OPTION_FLAG,
                            .target = &s->durable,
                            .help = "the server keeps the records until they are received (with nats://... spaces)"};
    options[1] = (option_t){.name = "detach",
                            .kind = OPTION_FLAG,
                            .target = &s->detach,
                            .help = "leave a keeper in the background that has the records, and do not wait"};
    options[2] = (option_t){.name = "detach-for",
                            .value = "DURATION",
                            .kind = OPTION_DURATION,
                            .target = &s->detach_for,
                            .help = "after so long the keeper ends, and what it has is lost (default: 1h)"};
    options[3] = (option_t){.name = "detach-log",
                            .value = "FILE",
                            .kind = OPTION_TEXT,
                            .target = &s->detach_log,
                            .help = "file to which the keeper adds what becomes of its records"};
    options[4] = (option_t){.name = "rendezvous",
                            .kind = OPTION_FLAG,
                            .target = &s->rendezvous,
                            .help = "each record waits here until a receiver takes it"};
}

static void pub_options(sending_t *s, option_t *options) {
    const option_t own[PUB_OPTIONS] = {
        {.name = "wait-for",
         .value = "N",
         .kind = OPTION_COUNT,
         .target = &s->wait_for,
         .help = "first wait for N subscribers"},
        {.name = "retain",
         .value = "N",
         .kind = OPTION_COUNT,
         .target = &s->retain,
         .help = "keep the last N records for subscribers that come late"},
        {.name = "stay",
         .value = "DURATION",
         .kind = OPTION_DURATION,
         .target = &s->stay,
         .help = "at the end keep them available for so long"},
        {.name = "durable",
         .kind = OPTION_FLAG,
         .target = &s->durable,
         .help = "the server keeps the records, for ferry sub --replay (with nats://... spaces)"},
        {.name = "retain-age",
         .value = "DURATION",
         .kind = OPTION_DURATION,
         .target = &s->retain_age,
         .help = "with --durable: drop what is older"},
        {.name = "hold",
         .value = "any|back|never",
         .kind = OPTION_CHOICE,
         .target = &s->hold,
         .choices = hold_names,
         .help = "may slow subscribers hold this back, or lose their oldest"},
        {.name = "plain",
         .kind = OPTION_FLAG,
         .target = &s->plain,
         .help = "for other NATS clients, too: on ferry.SPACE.topic.TOPIC"},
    };

    for (size_t i = 0; i < PUB_OPTIONS; i++)
        options[i] = own[i];
}

/* What the table cannot check. Returns 0 or STATUS_USAGE. */
static int check(sending_t *s, const operands_t *operands) {
    const char *what = s->kind == FERRY_QUEUE ? "queue" : "topic";

    if (operands->n == 0)
        return usage_error(s->usage, "the name of the %s is missing", what);
    if (s->nul + s->whole + s->framed > 1)
        return usage_error(s->usage, "only one of --null, --whole and --framed can hold");
    if ((s->whole || s->framed) && s->files.n == 0 && operands->n > 1)
        return usage_error(s->usage, "with --%s, files are named by --file: -f %s", s->whole ? "whole" : "framed",
                           operands->items[1]);
    if (s->rendezvous && (s->detach || s->durable))
        return usage_error(s->usage, "with --rendezvous nothing is kept ahead of its receiver, with --%s it is",
                           s->detach ? "detach" : "durable");
    if (s->durable && s->stay != 0)
        return usage_error(s->usage, "--stay keeps records here, with --durable the server has them; give one of them");
    if (s->token != 0 && !s->durable)
        return usage_error(s->usage, "--token is for --durable: the server tells a newer token from an older one");
    if (s->plain && s->durable)
        return usage_error(s->usage, "--durable keeps records in a stream that any client can read; leave --plain out");
    if (s->retain_age != 0 && (!s->durable || s->retain_age < 0))
        return usage_error(s->usage, "--retain-age is for --durable, and has an end");
    if (s->capacity > UINT32_MAX || s->retain > UINT32_MAX || s->wait_for > INT32_MAX)
        return usage_error(s->usage, "a count is larger than anything Ferry can hold");
    if (s->detach && s->detach_for < 0)
        return usage_error(s->usage, "--detach-for needs an end: nobody would ever end what stays in the background");
    if (!s->detach && (s->detach_for != DETACH_FOR || s->detach_log != NULL))
        return usage_error(s->usage, "--detach-%s is for what --detach leaves; give that, too",
                           s->detach_log != NULL ? "log" : "for");
    if (s->detach && s->linger >= 0)
        return usage_error(s->usage, "with --detach nothing lingers here; --detach-for says how long it is kept");
    s->channel = operands->items[0];
    s->arguments = operands->items + 1;
    s->n_arguments = operands->n - 1;
    return 0;
}

static int open_end(sending_t *s) {
    const ferry_contract_t contract = {.size = sizeof contract,
                                       .type_name = s->type,
                                       .quota = s->quota,
                                       .capacity = (uint32_t)s->capacity,
                                       .retain = (uint32_t)s->retain,
                                       .hold = (ferry_hold_t)s->hold,
                                       .durable = s->durable ? FERRY_DURABLE : FERRY_DURABLE_ANY,
                                       .rendezvous = s->rendezvous,
                                       .retain_age = s->retain_age,
                                       .plain = s->plain};
    int result = ferry_sender_open(s->node, s->channel, s->kind, &contract, &s->tx);
    if (result < 0)
        return stop_signal() != 0 ? STATUS_FAILED : library_failed(result);
    result = s->token != 0 ? ferry_sender_set_token(s->tx, s->token) : 0;
    return result < 0 ? sending_refused(s, result) : 0;
}

static int wait_for_receivers(sending_t *s) {
    int status = 0;

    while (s->wait_for > 0 && status == 0) {
        int result = ferry_sender_wait(s->tx, (unsigned)s->wait_for, s->slice);
        if (result >= 0)
            break;
        status = sending_retry(s, result);
    }
    return status;
}

/* Says what a person or a script must know about records that did not arrive. Returns the exit status. */
static int report(const sending_t *s, uint64_t undelivered, uint64_t purged, uint64_t unpublished, int status) {
    char sent[UNITS_TEXT];
    char dropped[UNITS_TEXT];
    char left[UNITS_TEXT];

    show_count(s->records, sent);
    show_count(undelivered - purged, left);
    if (purged > 0)
        say("purged by somebody: %s of %s record%s", show_count(purged, dropped), sent, s->records == 1 ? "" : "s");
    if (stop_signal() != 0)
        say("interrupted: %s record%s sent, %s undelivered", sent, s->records == 1 ? "" : "s", left);
    else if (undelivered > purged)
        say("not delivered: %s of %s record%s", left, sent, s->records == 1 ? "" : "s");
    if (undelivered > purged)
        common_warn(&s->common, s->node); /* perhaps that is why */
    if (unpublished > 0)
        say("not published for clients that are not Ferry's, for want of a connection: %s of %s record%s",
            show_count(unpublished, left), sent, s->records == 1 ? "" : "s");
    if (s->to_nobody > 0 && s->retain == 0 && !s->common.quiet) {
        show_count(s->to_nobody, left);
        say("published while nobody listened: %s of %s record%s", left, sent, s->records == 1 ? "" : "s");
    }
    return status == 0 && undelivered > 0 ? STATUS_NO : status;
}

int sending_open(sending_t *s) {
    sending_set_slice(s);
    int status = open_end(s);

    common_warn(&s->common, s->node);
    return status == 0 ? wait_for_receivers(s) : status;
}

int sending_close(sending_t *s, int status) {
    ferry_sender_stats_t stats = {.size = sizeof stats};
    uint64_t undelivered = 0;

    if (s->tx != NULL) {
        (void)ferry_sender_stats(s->tx, &stats);
        int result;
        do
            result = ferry_sender_close(s->tx, FERRY_NOW, &undelivered);
        while (result == -EINTR);
        if (result < 0 && status == 0)
            status = library_failed(result);
        progress_end(&s->progress, s->records, s->bytes);
        status =
            report(s, undelivered, stats.purged < undelivered ? stats.purged : undelivered, stats.unpublished, status);
    }
    s->tx = NULL;
    return status;
}

static int run(sending_t *s) {
    bool typed = isatty(STDIN_FILENO) == 1 && s->files.n == 0;

    raise_descriptor_limit();
    s->started = now_ns();
    progress_init(&s->progress, &s->common, "sent", typed || (s->n_arguments > 0 && s->files.n == 0));
    int status = 0;
    if (s->detach)
        return sending_detach(s);
    if (common_open(&s->common, s->kind == FERRY_QUEUE ? "ferry-send" : "ferry-pub", &s->node, &status))
        status = sending_open(s);
    if (status == 0)
        status = sending_feed(s);
    /* Bad input ends the reading, not the delivery of what was read before; a signal or --timeout ends both. */
    if (s->tx != NULL && status != STATUS_TIMED_OUT) {
        int end = sending_linger(s);
        status = status != 0 ? status : end;
    }
    status = sending_close(s, status);
    stop_forget_node();
    ferry_close(s->node);
    return stop_or(status);
}

static int command(sending_t *s, usage_t *usage, int argc, char **argv) {
    operands_t operands;
    int status;

    usage->progress = true;
    s->usage = usage;
    s->linger = FERRY_FOREVER;
    s->detach_for = DETACH_FOR;
    s->timeout = FERRY_FOREVER;
    if (options_parse(usage, argc, argv, &s->common, &operands, &status)) {
        status = check(s, &operands);
        if (status == 0)
            status = run(s);
    }
    free(s->files.items);
    return status;
}

int command_send(int argc, char **argv) {
    sending_t s = {.kind = FERRY_QUEUE};
    option_t options[SHARED_OPTIONS + SEND_OPTIONS];
    usage_t usage = {.command = "send",
                     .synopsis = "send [OPTION...] QUEUE [RECORD...]\nsend [OPTION...] QUEUE -f FILE...",
                     .text = send_text,
                     .examples = send_examples,
                     .options = options,
                     .n_options = SHARED_OPTIONS + SEND_OPTIONS};

    shared_options(&s, options);
    send_options(&s, options + SHARED_OPTIONS);
    return command(&s, &usage, argc, argv);
}

int command_pub(int argc, char **argv) {
    sending_t s = {.kind = FERRY_TOPIC};
    option_t options[SHARED_OPTIONS + PUB_OPTIONS];
    usage_t usage = {.command = "pub",
                     .synopsis = "pub [OPTION...] TOPIC [RECORD...]\npub [OPTION...] TOPIC -f FILE...",
                     .text = pub_text,
                     .examples = pub_examples,
                     .options = options,
                     .n_options = SHARED_OPTIONS + PUB_OPTIONS};

    shared_options(&s, options);
    pub_options(&s, options + SHARED_OPTIONS);
    return command(&s, &usage, argc, argv);
}
