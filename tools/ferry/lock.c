/* SPDX-License-Identifier: MIT
 *
 * lock.c - `ferry lock`: holds locks while a command runs.
 *
 * Each lock is two: Ferry's, which is fair, is given back when this process dies, and knows of deadlocks; and its
 * guard, which the command inherits (guard.h).
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "guard.h"
#include "options.h"
#include "running.h"
#include "say.h"
#include "stop.h"
#include "units.h"

static const char text[] =
    "Runs COMMAND while it holds the locks NAME..., and ends with the command's exit status. Other\n"
    "`ferry lock`s of the same names in the same space wait, in the order in which they came.\n"
    "The locks are held as long as the command runs, even if `ferry` itself is killed.";

static const char examples[] =
    "ferry lock backup -- ./backup.sh\n"
    "ferry lock --timeout 0s nightly -- make all     not if it runs already: exit status 75\n"
    "ferry lock --timeout 5s db cache -- ./migrate   both locks; 124 if it takes longer than that\n"
    "ferry lock --shared db -- ./report              beside others that share it\n"
    "ferry lock --stats db -- true                   how long did it take to get it?";

/* One of the locks. */
typedef struct held {
    const char *name;
    ferry_rwlock_t *rwlock; /* NULL: not open */
    guard_t guard;
    bool locked;
    bool lost;    /* its lease, and this was said */
    bool damaged; /* a holder was killed, and it is on us to settle that */
    int64_t asked, obtained, released;
    uint64_t token;
} held_t;

typedef struct locking {
    const usage_t *usage;
    common_t common;
    patience_t patience;
    bool shared, stats;
    char **names; /* in canonical order: so two that want the same locks cannot block each other */
    size_t n;
    char **command;
    ferry_t *node;
    held_t *locks;
} locking_t;

/* --- one lock ---------------------------------------------------------------------------------------------------- */

static void say_damaged(const held_t *h, bool shared) {
    const char *since = shared ? ", and nobody has held it alone since" : "";

    say("a holder of \"%s\" was killed while it held it%s: the state it guards may be half-changed", h->name, since);
}

static int take_ferrys(locking_t *k, held_t *h) {
    int (*const ask)(ferry_rwlock_t *, int64_t) = k->shared ? ferry_rwlock_read : ferry_rwlock_write;
    int result;

    do
        result = ask(h->rwlock, patience_left(&k->patience));
    while (patience_again(result));
    return result;
}

/* Takes both locks of a name. Returns 0, or an exit status, all said. */
static int take(locking_t *k, held_t *h) {
    h->asked = now_ns();
    int result = take_ferrys(k, h);
    if (result < 0)
        return patience_over(&k->patience, result, h->name);
    h->locked = true;
    if (result == FERRY_OWNER_DIED)
        say_damaged(h, k->shared);
    h->damaged = result == FERRY_OWNER_DIED && !k->shared; /* every reader is told, until a writer has settled it */
    int status = guard_take(&h->guard, &k->patience);
    if (status != 0)
        return status;
    if (h->damaged)
        (void)ferry_rwlock_repaired(h->rwlock);
    h->damaged = false;
    h->obtained = now_ns();
    h->token = ferry_rwlock_token(h->rwlock);
    return 0;
}

/*
 * Gives both back. What is still damaged, because nobody came to run a command, is left to ferry_close: so the next
 * holder is told again that somebody was killed.
 */
static void give_back(held_t *h) {
    guard_done(&h->guard);
    h->released = now_ns();
    if (h->rwlock == NULL || h->damaged)
        return;
    if (h->locked && ferry_rwlock_unlock(h->rwlock) < 0)
        say("\"%s\" was not given back: %s", h->name, ferry_last_error());
    (void)ferry_rwlock_close(h->rwlock);
}

/* --- all of them ------------------------------------------------------------------------------------------------- */

static int open_one(locking_t *k, held_t *h, const char *name) {
    int result;

    h->name = name;
    if (!guard_init(&h->guard, ferry_directory(k->node), name, k->shared, k->common.group != NULL)) {
        say("no memory for the list of locks");
        return STATUS_FAILED;
    }
    do
        result = ferry_rwlock_open(k->node, name, NULL, &h->rwlock);
    while (patience_opens_again(&k->patience, result));
    return result < 0 ? patience_over(&k->patience, result, NULL) : 0;
}

static int open_and_take_all(locking_t *k) {
    int status = 0;

    for (size_t i = 0; i < k->n && status == 0; i++)
        status = open_one(k, &k->locks[i], k->names[i]);
    for (size_t i = 0; i < k->n && status == 0; i++)
        status = take(k, &k->locks[i]);
    return status;
}

static void report(const locking_t *k) {
    char waited[UNITS_TEXT];
    char kept[UNITS_TEXT];

    for (size_t i = 0; i < k->n; i++) {
        const held_t *h = &k->locks[i];
        show_duration((double)(h->obtained - h->asked), waited);
        show_duration((double)(h->released - h->obtained), kept);
        if (k->shared)
            say("\"%s\": waited %s, held %s, shared", h->name, waited, kept);
        else
            say("\"%s\": waited %s, held %s, token %" PRIu64, h->name, waited, kept, h->token);
    }
}

static void look_at_leases(void *arg) {
    locking_t *k = arg;

    for (size_t i = 0; i < k->n; i++) {
        held_t *h = &k->locks[i];
        h->lost = h->lost || say_if_lost(ferry_rwlock_check(h->rwlock), "", h->name);
    }
}

static outcome_t hold_and_run(locking_t *k) {
    const lookout_t lookout = {look_at_leases, k};
    outcome_t outcome = {.status = open_and_take_all(k)};
    bool all_held = outcome.status == 0;

    if (all_held)
        outcome = run_command(k->node, k->command, false, space_is_far(&k->common) ? &lookout : NULL);
    for (size_t i = k->n; i > 0; i--)
        give_back(&k->locks[i - 1]);
    if (all_held && k->stats)
        report(k);
    return outcome;
}

static int run(locking_t *k) {
    outcome_t outcome = {0};

    signal(SIGPIPE, SIG_IGN); /* nobody reads what we say: no reason to die with locks held */
    patience_begin(&k->patience);
    k->locks = calloc(k->n, sizeof *k->locks);
    if (k->locks == NULL) {
        say("no memory for the list of locks");
        return STATUS_FAILED;
    }
    for (size_t i = 0; i < k->n; i++)
        k->locks[i].guard.fd = -1;
    if (common_open(&k->common, "ferry-lock", &k->node, &outcome.status)) {
        outcome = hold_and_run(k);
        stop_forget_node();
        ferry_close(k->node);
    }
    free(k->locks);
    return end_as(outcome);
}

/* --- the command ------------------------------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Canonical: sorted, each name once. */
static void put_in_order(locking_t *k) {
    size_t kept = 0;

    qsort(k->names, k->n, sizeof *k->names, compare_names);
    for (size_t i = 0; i < k->n; i++) {
        if (kept == 0 || strcmp(k->names[kept - 1], k->names[i]) != 0)
            k->names[kept++] = k->names[i];
    }
    k->n = kept;
}

static int check(locking_t *k, const operands_t *operands) {
    if (operands->n_before == 0)
        return usage_error(k->usage, "the name of the lock is missing");
    if (operands->n_before == operands->n)
        return usage_error(k->usage, "the command is missing: write it after --, as in `ferry lock %s -- ls`",
                           operands->items[0]);
    k->names = operands->items;
    k->n = operands->n_before;
    k->command = operands->items + operands->n_before;
    put_in_order(k);
    return 0;
}

int command_lock(int argc, char **argv) {
    locking_t k = {.patience = {.timeout = FERRY_FOREVER, .refused = STATUS_NOT_OBTAINED, .lack = "is held by others"}};
    operands_t operands;
    int status;
    const option_t options[] = {
        {.letter = 's',
         .name = "shared",
         .kind = OPTION_FLAG,
         .target = &k.shared,
         .help = "hold them together with others that share them"},
        {.name = "timeout",
         .value = "DURATION",
         .kind = OPTION_DURATION,
         .target = &k.patience.timeout,
         .help = "wait at most so long (status 124); 0s: do not wait (status 75)"},
        {.name = "stats",
         .kind = OPTION_FLAG,
         .target = &k.stats,
         .help = "at the end tell how long each lock was waited for and held"},
    };
    const usage_t usage = {.command = "lock",
                           .synopsis = "lock [OPTION...] NAME... -- COMMAND [ARGUMENT...]",
                           .text = text,
                           .examples = examples,
                           .options = options,
                           .n_options = sizeof options / sizeof options[0]};

    k.usage = &usage;
    if (!options_parse(&usage, argc, argv, &k.common, &operands, &status))
        return status;
    k.patience.quiet = k.common.quiet;
    status = check(&k, &operands);
    return status != 0 ? status : run(&k);
}
