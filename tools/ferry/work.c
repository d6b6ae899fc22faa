/* SPDX-License-Identifier: MIT
 *
 * work.c - `ferry work`: runs a command for each record of a queue.
 */
#include "work.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "say.h"
#include "stop.h"
#include "units.h"
#include "warden.h"

static const uint64_t not_given = UINT64_MAX;

static const char text[] =
    "Runs COMMAND for each record of QUEUE, with the record as its standard input, at most N at\n"
    "once. A record is done when its command ends with status 0. Otherwise it is tried again, by\n"
    "this or another `ferry work`; after R retries it goes to the queue QUEUE.dead. A record waits\n"
    "in its sender's memory until it is done: if this is killed, none is lost. Ends when all\n"
    "senders have ended; Ctrl-C lets commands that run end first, a second one ends them.";

static const char examples[] = "ls *.wav | ferry send songs & ferry work -j 4 songs -- sh -c 'flac \"$(cat)\"'\n"
                               "ferry work --follow --retries 5 --delay 10s --timeout 1m mails -- sendmail -t\n"
                               "ferry recv --follow songs.dead      what has failed for good\n"
                               "ferry work --report --retries 0 jobs -- ./job    only say what fails";

/* --- the run ----------------------------------------------------------------------------------------------------- */

static int open_receiver(working_t *w) {
    const ferry_contract_t contract = {.size = sizeof contract,
                                       .durable = w->durable ? FERRY_DURABLE : FERRY_DURABLE_ANY};
    const ferry_receiver_options_t options = {.size = sizeof options,
                                              .contract = &contract,
                                              .senders = w->follow ? UINT32_MAX : 0,
                                              .prefetch = (uint32_t)w->jobs,
                                              .max_attempts = w->dead != NULL ? (uint32_t)w->retries + 1 : 0,
                                              .dead_letter = w->dead};
    int result = ferry_receiver_open(w->node, w->queue, FERRY_QUEUE, &options, &w->rx);

    if (result == 0)
        return 0;
    return stop_signal() != 0 ? STATUS_FAILED : library_failed(result);
}

static int open_and_work(working_t *w) {
    int status = 0;

    if (!common_open(&w->common, "ferry-work", &w->node, &status))
        return status;
    stop_forget_node(); /* what is being done is still to be acknowledged */
    status = open_receiver(w);
    common_warn(&w->common, w->node);
    if (status == 0)
        status = work_run(w);
    progress_end(&w->progress, w->done, w->bytes);
    uint64_t left = work_see_letters_off(w);
    ferry_receiver_close(w->rx);
    ferry_close(w->node);
    work_tell_failures(w, left);
    return status;
}

static bool prepare(working_t *w) {
    w->tasks = calloc((size_t)w->jobs + 1, sizeof *w->tasks); /* one that cannot be started has the last place */
    w->items = calloc((size_t)w->jobs + 1, sizeof *w->items);
    w->plan.output = -1;
    if (w->tasks == NULL || w->items == NULL) {
        say("no memory for so many commands");
        return false;
    }
    if (w->output != NULL)
        w->plan.output = open(w->output, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (w->output != NULL && w->plan.output < 0) {
        say("cannot open '%s': %s", w->output, strerror(errno));
        return false;
    }
    return true;
}

static int run(working_t *w) {
    int status = STATUS_FAILED;

    signal(SIGPIPE, SIG_IGN); /* nobody reads what we say: no reason to die, and the commands with us */
    signal(SIGCHLD, SIG_DFL); /* where it is ignored, the kernel would keep no status for us */
    sigprocmask(SIG_BLOCK, NULL, &w->mask);
    w->plan.mask = &w->mask;
    if (!warden_start()) {
        say("cannot start another process: %s", strerror(errno));
        return STATUS_FAILED;
    }
    stop_in_two_steps();
    progress_init(&w->progress, &w->common, "done with", w->output == NULL && isatty(STDOUT_FILENO) == 1);
    if (prepare(w))
        status = open_and_work(w);
    if (w->plan.output >= 0)
        close(w->plan.output);
    free(w->tasks);
    free(w->items);
    warden_end();
    return stop_or(status);
}

/* --- the command line -------------------------------------------------------------------------------------------- */

static uint64_t processors(void) {
    long n = sysconf(_SC_NPROCESSORS_ONLN);

    return n < 1 ? 1 : n > MOST_JOBS ? MOST_JOBS : (uint64_t)n;
}

static int check_numbers(const working_t *w) {
    if (w->jobs == 0)
        return usage_error(w->usage, "--jobs 0 would do nothing");
    if (w->jobs != not_given && w->jobs > MOST_JOBS)
        return usage_error(w->usage, "--jobs %" PRIu64 " is too many; %d are allowed", w->jobs, MOST_JOBS);
    if (w->count == 0)
        return usage_error(w->usage, "--count 0 would do nothing");
    if (w->retries > 60000)
        return usage_error(w->usage, "--retries %" PRIu64 " is too many; 60000 are allowed", w->retries);
    if (w->delay < 0)
        return usage_error(w->usage, "--delay forever would never try again: use --retries 0");
    if (w->plan.timeout == 0)
        return usage_error(w->usage, "--timeout 0s would end every command at once");
    if (w->report && w->dead != NULL)
        return usage_error(w->usage, "--report and --dead exclude each other");
    return 0;
}

static int check(working_t *w, const operands_t *operands, char **dead) {
    if (operands->n_before == 0)
        return usage_error(w->usage, "the name of the queue is missing");
    if (operands->n_before == operands->n)
        return usage_error(w->usage, "the command is missing: write it after --, as in `ferry work %s -- wc -c`",
                           operands->items[0]);
    if (operands->n_before > 1)
        return usage_error(w->usage, "'%s' is a word too many before --", operands->items[1]);
    int status = check_numbers(w);
    if (status != 0)
        return status;
    w->jobs = w->jobs == not_given ? processors() : w->jobs;
    w->count = w->count == not_given ? 0 : w->count;
    w->queue = operands->items[0];
    w->plan.command = operands->items + 1;
    if (!w->report && w->dead == NULL && asprintf(dead, "%s.dead", w->queue) > 0)
        w->dead = *dead;
    if (*dead != NULL && strlen(*dead) > LONGEST_NAME && strlen(w->queue) <= LONGEST_NAME)
        return usage_error(
            w->usage,
            "\"%s.dead\", where records go that fail for good, is too long a name (%d bytes are allowed): "
            "give another one with --dead, or use --report",
            w->queue, LONGEST_NAME);
    return 0;
}

enum { OPTIONS = 10 };

static void fill_options(working_t *w, option_t *options) {
    const option_t all[OPTIONS] = {
        {.letter = 'j',
         .name = "jobs",
         .value = "N",
         .kind = OPTION_COUNT,
         .target = &w->jobs,
         .help = "run at most N commands at once (default: one for each processor)"},
        {.letter = 'r',
         .name = "retries",
         .value = "R",
         .kind = OPTION_COUNT,
         .target = &w->retries,
         .help = "try a record that fails R times more (default: 3)"},
        {.name = "delay",
         .value = "DURATION",
         .kind = OPTION_DURATION,
         .target = &w->delay,
         .help = "wait before the first retry (default: 1s), and twice as long before each next one"},
        {.name = "dead",
         .value = "QUEUE",
         .kind = OPTION_TEXT,
         .target = &w->dead,
         .help = "where records go that have failed for good (default: QUEUE.dead)"},
        {.name = "report", .kind = OPTION_FLAG, .target = &w->report, .help = "only say what has failed for good"},
        {.name = "timeout",
         .value = "DURATION",
         .kind = OPTION_DURATION,
         .target = &w->plan.timeout,
         .help = "end a command that takes longer: it has failed"},
        {.letter = 'o',
         .name = "output",
         .value = "FILE",
         .kind = OPTION_TEXT,
         .target = &w->output,
         .help = "append what commands write to standard output to FILE"},
        {.letter = 'n',
         .name = "count",
         .value = "N",
         .kind = OPTION_COUNT,
         .target = &w->count,
         .help = "end after N records, done or failed for good"},
        {.name = "follow",
         .kind = OPTION_FLAG,
         .target = &w->follow,
         .help = "wait for the next sender when all have ended"},
        {.name = "durable",
         .kind = OPTION_FLAG,
         .target = &w->durable,
         .help = "the queue is one that a server keeps, though no sender has said so yet"},
    };

    memcpy(options, all, sizeof all);
}

int command_work(int argc, char **argv) {
    working_t w = {.jobs = not_given,
                   .count = not_given,
                   .retries = 3,
                   .delay = 1000 * 1000 * 1000,
                   .plan.timeout = FERRY_FOREVER};
    option_t options[OPTIONS];
    operands_t operands;
    char *dead = NULL;
    int status;
    const usage_t usage = {.command = "work",
                           .synopsis = "work [OPTION...] QUEUE -- COMMAND [ARGUMENT...]",
                           .text = text,
                           .examples = examples,
                           .options = options,
                           .n_options = OPTIONS,
                           .progress = true};

    fill_options(&w, options);
    w.usage = &usage;
    if (!options_parse(&usage, argc, argv, &w.common, &operands, &status))
        return status;
    status = check(&w, &operands, &dead);
    status = status != 0 ? status : run(&w);
    free(dead);
    return status;
}
