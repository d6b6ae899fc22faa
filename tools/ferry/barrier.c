/* SPDX-License-Identifier: MIT
 *
 * barrier.c - `ferry barrier`: waits until so many have come.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "options.h"
#include "patience.h"
#include "say.h"
#include "stop.h"

static const char text[] =
    "Waits at the barrier NAME until N participants have come, and then lets all go on. All must\n"
    "give the same N. If one of them is killed while others wait, these end with status 1.";

static const char examples[] = "ferry barrier --parties 3 start && ./work      in three scripts: all begin together\n"
                               "[ \"$(ferry barrier --parties 3 --print-last done)\" = last ] && ./collect\n"
                               "ferry barrier --parties 2 --timeout 1m start   124 if the other has not come by then";

typedef struct meeting {
    const usage_t *usage;
    common_t common;
    patience_t patience;
    const char *name;
    uint64_t parties;
    bool print_last;
    ferry_t *node;
    ferry_barrier_t *barrier;
} meeting_t;

static int meet(meeting_t *m) {
    int result;

    do
        result = ferry_barrier_open(m->node, m->name, (uint32_t)m->parties, NULL, &m->barrier);
    while (patience_opens_again(&m->patience, result));
    if (result < 0)
        return patience_over(&m->patience, result, NULL);
    do
        result = ferry_barrier_wait(m->barrier, patience_left(&m->patience));
    while (patience_again(result));
    if (result == -EOWNERDEAD) {
        (void)library_failed(result);
        return STATUS_NO;
    }
    if (result < 0)
        return patience_over(&m->patience, result, m->name);
    if (result == FERRY_BARRIER_LAST && m->print_last)
        puts("last");
    return STATUS_OK;
}

static int run(meeting_t *m) {
    int status = 0;

    patience_begin(&m->patience);
    if (common_open(&m->common, "ferry-barrier", &m->node, &status)) {
        status = meet(m);
        (void)ferry_barrier_close(m->barrier);
        stop_forget_node();
        ferry_close(m->node);
    }
    return stop_or(finish_output(status));
}

static int check(meeting_t *m, const operands_t *operands, bool parties_given) {
    if (operands->n == 0)
        return usage_error(m->usage, "the name of the barrier is missing");
    if (operands->n > 1)
        return usage_error(m->usage, "one name is enough, but '%s' was given too", operands->items[1]);
    if (!parties_given)
        return usage_error(m->usage, "--parties is missing: how many are to come");
    if (m->parties == 0)
        return usage_error(m->usage, "--parties 0 would wait for nobody");
    if (m->parties > FERRY_MAX_PARTIES)
        return usage_error(m->usage, "--parties %" PRIu64 " is too many; %u are allowed", m->parties,
                           FERRY_MAX_PARTIES);
    m->name = operands->items[0];
    return 0;
}

int command_barrier(int argc, char **argv) {
    meeting_t m = {
        .patience = {.timeout = FERRY_FOREVER, .refused = STATUS_TIMED_OUT, .lack = "was not reached by all"},
        .parties = UINT64_MAX};
    operands_t operands;
    int status;
    const option_t options[] = {
        {.letter = 'n',
         .name = "parties",
         .value = "N",
         .kind = OPTION_COUNT,
         .target = &m.parties,
         .help = "how many must come; the same for all"},
        {.name = "timeout",
         .value = "DURATION",
         .kind = OPTION_DURATION,
         .target = &m.patience.timeout,
         .help = "wait at most so long, then give up with exit status 124"},
        {.name = "print-last",
         .kind = OPTION_FLAG,
         .target = &m.print_last,
         .help = "one of those who came, the last, prints \"last\""},
    };
    const usage_t usage = {.command = "barrier",
                           .synopsis = "barrier --parties N [OPTION...] NAME",
                           .text = text,
                           .examples = examples,
                           .options = options,
                           .n_options = sizeof options / sizeof options[0]};

    m.usage = &usage;
    if (!options_parse(&usage, argc, argv, &m.common, &operands, &status))
        return status;
    m.patience.quiet = m.common.quiet;
    status = check(&m, &operands, m.parties != UINT64_MAX);
    return status != 0 ? status : run(&m);
}
