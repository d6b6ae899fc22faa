/* SPDX-License-Identifier: MIT
 *
 * sem.c - `ferry sem`: runs a command with one unit of a semaphore.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>

#include "options.h"
#include "patience.h"
#include "running.h"
#include "say.h"
#include "stop.h"

static const char text[] = "Runs COMMAND while it has one of the N units of the semaphore NAME, and ends with the\n"
                           "command's exit status. So at most N such commands run at once; the others wait. All must\n"
                           "give the same N. If `ferry` itself is killed, so is its COMMAND, and the unit is free.";

static const char examples[] = "ferry sem --count 3 net -- curl -O https://example.org/file\n"
                               "find . -name '*.wav' -print0 | xargs -0 -P 0 -I{} ferry sem --count 4 cpu -- flac {}\n"
                               "ferry sem --count 2 --timeout 0s render -- ./render    75 if two run already";

typedef struct admission {
    const usage_t *usage;
    common_t common;
    patience_t patience;
    const char *name;
    char **command;
    uint64_t count;
    ferry_t *node;
    ferry_semaphore_t *semaphore;
    bool lost; /* the unit, and this was said */
} admission_t;

static int enter(admission_t *a) {
    const ferry_sync_options_t options = {.size = sizeof options, .owned = 1};
    int result;

    do
        result = ferry_semaphore_open(a->node, a->name, (uint32_t)a->count, &options, &a->semaphore);
    while (patience_opens_again(&a->patience, result));
    if (result < 0)
        return patience_over(&a->patience, result, NULL);
    do
        result = ferry_semaphore_acquire(a->semaphore, patience_left(&a->patience));
    while (patience_again(result));
    return result < 0 ? patience_over(&a->patience, result, a->name) : 0;
}

static void look_at_lease(void *arg) {
    admission_t *a = arg;

    a->lost = a->lost || say_if_lost(ferry_semaphore_check(a->semaphore), "the unit of ", a->name);
}

static int run(admission_t *a) {
    const lookout_t lookout = {look_at_lease, a};
    outcome_t outcome = {0};

    signal(SIGPIPE, SIG_IGN); /* nobody reads what we say: no reason to die, and the command with us */
    patience_begin(&a->patience);
    if (common_open(&a->common, "ferry-sem", &a->node, &outcome.status)) {
        outcome.status = enter(a);
        if (outcome.status == 0) {
            outcome = run_command(a->node, a->command, true, space_is_far(&a->common) ? &lookout : NULL);
            if (ferry_semaphore_release(a->semaphore) < 0)
                say("the unit of \"%s\" was not given back: %s", a->name, ferry_last_error());
        }
        (void)ferry_semaphore_close(a->semaphore);
        stop_forget_node();
        ferry_close(a->node);
    }
    return end_as(outcome);
}

static int check(admission_t *a, const operands_t *operands, bool count_given) {
    if (operands->n_before == 0)
        return usage_error(a->usage, "the name of the semaphore is missing");
    if (operands->n_before == operands->n)
        return usage_error(a->usage, "the command is missing: write it after --, as in `ferry sem --count 2 %s -- ls`",
                           operands->items[0]);
    if (operands->n_before > 1)
        return usage_error(a->usage, "one name is enough, but '%s' was given too", operands->items[1]);
    if (!count_given)
        return usage_error(a->usage, "--count is missing: how many commands may run at once");
    if (a->count == 0)
        return usage_error(a->usage, "--count 0 would let no command run");
    if (a->count > FERRY_MAX_UNITS)
        return usage_error(a->usage, "--count %" PRIu64 " is too many; %u are allowed", a->count, FERRY_MAX_UNITS);
    a->name = operands->items[0];
    a->command = operands->items + 1;
    return 0;
}

int command_sem(int argc, char **argv) {
    admission_t a = {.patience = {.timeout = FERRY_FOREVER, .refused = STATUS_NOT_OBTAINED, .lack = "has no unit free"},
                     .count = UINT64_MAX};
    operands_t operands;
    int status;
    const option_t options[] = {
        {.letter = 'n',
         .name = "count",
         .value = "N",
         .kind = OPTION_COUNT,
         .target = &a.count,
         .help = "how many commands may run at once; the same for all"},
        {.name = "timeout",
         .value = "DURATION",
         .kind = OPTION_DURATION,
         .target = &a.patience.timeout,
         .help = "wait at most so long (status 124); 0s: do not wait (status 75)"},
    };
    const usage_t usage = {.command = "sem",
                           .synopsis = "sem --count N [OPTION...] NAME -- COMMAND [ARGUMENT...]",
                           .text = text,
                           .examples = examples,
                           .options = options,
                           .n_options = sizeof options / sizeof options[0]};

    a.usage = &usage;
    if (!options_parse(&usage, argc, argv, &a.common, &operands, &status))
        return status;
    a.patience.quiet = a.common.quiet;
    status = check(&a, &operands, a.count != UINT64_MAX);
    return status != 0 ? status : run(&a);
}
