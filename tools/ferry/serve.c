/* SPDX-License-Identifier: MIT
 *
 * serve.c - `ferry serve`: answers calls with the output of a command.
 */
#include "serve.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "say.h"
#include "stop.h"
#include "units.h"
#include "warden.h"

enum { MOST_THREADS = 256 };

static const uint64_t usual_max = (uint64_t)64 << 20;
static const uint64_t spare_quota = (uint64_t)16 << 20; /* beside a result: what Ferry needs for itself */
static const uint64_t not_given = UINT64_MAX;

static const char text[] =
    "Serves METHOD of SERVICE: runs COMMAND for each call, with the argument as its standard input;\n"
    "what it writes to standard output is the result. If its exit status is not 0, the caller gets\n"
    "an error with that code, and the last lines of its standard error. Several `ferry serve`s of\n"
    "the same SERVICE and METHOD share the calls. Ctrl-C ends it when accepted calls are answered;\n"
    "a second one cancels them.";

static const char examples[] = "ferry serve images Thumbnail -- convert - -resize 200x200 jpg:-\n"
                               "ferry serve --idempotent -j 2 text Upper -- tr a-z A-Z\n"
                               "ferry serve --stream log Follow -- tail -f /var/log/syslog    each line as it comes\n"
                               "ferry serve --count 1 greeting Once -- echo 'hello'";

/* --- the service ------------------------------------------------------------------------------------------------- */

static int open_service(serving_t *s) {
    const ferry_service_options_t options = {.size = sizeof options,
                                             .quota = s->max + spare_quota > usual_max ? s->max + spare_quota : 0};
    const ferry_method_options_t method = {
        .size = sizeof method, .idempotent = s->idempotent, .streams = s->stream, .comment = s->comment};
    int result = ferry_service_open(s->node, s->name, &options, &s->service);

    if (result == 0)
        result = ferry_service_method(s->service, s->method, serve_call, s, &method);
    if (result == 0)
        result = ferry_service_start(s->service, (unsigned)s->threads);
    if (result == 0)
        return 0;
    return stop_signal() != 0 ? STATUS_FAILED : library_failed(result);
}

static bool is_enough(const serving_t *s) {
    return s->count != 0 && s->begun >= s->count;
}

static bool anybody_serves(const serving_t *s) {
    ferry_service_stats_t stats = {.size = sizeof stats};

    return ferry_service_stats(s->service, &stats) == 0 && stats.threads > 0;
}

/* Until a signal comes, or enough calls; then until what was accepted is answered, or the next signal. */
static void serve(serving_t *s) {
    const struct timespec nap = {.tv_nsec = 20 * 1000 * 1000};

    while (!is_enough(s) && stop_wait_or_again())
        continue;
    (void)ferry_service_stop(s->service);
    while (!stop_hurried() && anybody_serves(s))
        nanosleep(&nap, NULL); /* a signal ends it early */
}

static int open_and_serve(serving_t *s) {
    int status = 0;

    if (!common_open(&s->common, "ferry-serve", &s->node, &status))
        return status;
    stop_forget_node(); /* what was accepted is still to be answered */
    status = open_service(s);
    common_warn(&s->common, s->node);
    if (status == 0) {
        if (!s->common.quiet)
            say("serving \"%s\" of \"%s\" until this is interrupted", s->method, s->name);
        serve(s);
    }
    (void)ferry_service_close(s->service, FERRY_NOW);
    ferry_close(s->node);
    return status;
}

static int run(serving_t *s) {
    signal(SIGPIPE, SIG_IGN); /* a command that does not read its input does no harm */
    signal(SIGCHLD, SIG_DFL); /* where it is ignored, the kernel would keep no status for us */
    sigprocmask(SIG_BLOCK, NULL, &s->mask);
    if (!warden_start()) {
        say("cannot start another process: %s", strerror(errno));
        return STATUS_FAILED;
    }
    stop_in_two_steps();
    stop_note_again();
    int status = open_and_serve(s);
    warden_end();
    return stop_or(status);
}

/* --- the command line -------------------------------------------------------------------------------------------- */

static uint64_t processors(void) {
    long n = sysconf(_SC_NPROCESSORS_ONLN);

    return n < 1 ? 1 : n > MOST_THREADS ? MOST_THREADS : (uint64_t)n;
}

static int check(serving_t *s, const operands_t *operands) {
    if (operands->n_before == 0)
        return usage_error(s->usage, "the name of the service is missing");
    if (operands->n_before == 1)
        return usage_error(s->usage, "the name of the method is missing");
    if (operands->n_before == operands->n)
        return usage_error(s->usage, "the command is missing: write it after --, as in `ferry serve %s %s -- wc -c`",
                           operands->items[0], operands->items[1]);
    if (operands->n_before > 2)
        return usage_error(s->usage, "'%s' is a word too many before --", operands->items[2]);
    if (s->threads == 0)
        return usage_error(s->usage, "--jobs 0 would answer nothing");
    if (s->threads != not_given && s->threads > MOST_THREADS)
        return usage_error(s->usage, "--jobs %" PRIu64 " is too many; %d are allowed", s->threads, MOST_THREADS);
    if (s->count == 0)
        return usage_error(s->usage, "--count 0 would answer nothing");
    if (s->max == 0 || s->max > (uint64_t)1 << 32)
        return usage_error(s->usage, "--max must be more than nothing, and 4 GiB at most");
    s->threads = s->threads == not_given ? processors() : s->threads;
    s->count = s->count == not_given ? 0 : s->count;
    s->name = operands->items[0];
    s->method = operands->items[1];
    s->command = operands->items + 2;
    return 0;
}

int command_serve(int argc, char **argv) {
    serving_t s = {.threads = not_given, .count = not_given, .max = usual_max};
    operands_t operands;
    int status;
    const option_t options[] = {
        {.letter = 'j',
         .name = "jobs",
         .value = "N",
         .kind = OPTION_COUNT,
         .target = &s.threads,
         .help = "run at most N commands at once (default: one for each processor)"},
        {.letter = 'n',
         .name = "count",
         .value = "N",
         .kind = OPTION_COUNT,
         .target = &s.count,
         .help = "end after N calls"},
        {.name = "stream",
         .kind = OPTION_FLAG,
         .target = &s.stream,
         .help = "each line of output is a result, sent as it comes"},
        {.name = "idempotent",
         .kind = OPTION_FLAG,
         .target = &s.idempotent,
         .help = "running it twice does no harm: another server may run it again"},
        {.name = "max",
         .value = "SIZE",
         .kind = OPTION_SIZE,
         .target = &s.max,
         .help = "longest result (default: 64MiB); a longer one is an error"},
        {.name = "comment",
         .value = "TEXT",
         .kind = OPTION_TEXT,
         .target = &s.comment,
         .help = "what `ferry call SERVICE` says of the method"},
    };
    const usage_t usage = {.command = "serve",
                           .synopsis = "serve [OPTION...] SERVICE METHOD -- COMMAND [ARGUMENT...]",
                           .text = text,
                           .examples = examples,
                           .options = options,
                           .n_options = sizeof options / sizeof options[0]};

    s.usage = &usage;
    if (!options_parse(&usage, argc, argv, &s.common, &operands, &status))
        return status;
    status = check(&s, &operands);
    return status != 0 ? status : run(&s);
}
