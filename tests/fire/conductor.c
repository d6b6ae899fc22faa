/* SPDX-License-Identifier: MIT
 *
 * conductor.c - see conductor.h.
 */
#include "conductor.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

const char *const op_names[OPS] = {
    [IN_PROGRAM] = "the program itself",
    [IN_OPEN_NODE] = "ferry_open",
    [IN_OPEN_SENDER] = "ferry_sender_open",
    [IN_OPEN_RECEIVER] = "ferry_receiver_open",
    [IN_SEND] = "ferry_send",
    [IN_SEND_LARGE] = "ferry_send (pool)",
    [IN_CLAIM] = "ferry_claim",
    [IN_COMMIT] = "ferry_commit, ferry_abort",
    [IN_MSG_NEW] = "ferry_msg_new",
    [IN_SEND_MSG] = "ferry_send_msg",
    [IN_EDIT] = "ferry_msg_edit",
    [IN_RELEASE_OWN] = "ferry_msg_release (own)",
    [IN_FLUSH] = "ferry_sender_flush, _wait",
    [IN_RECV] = "ferry_recv",
    [IN_RECV_BATCH] = "ferry_recv_batch",
    [IN_RECV_INTO] = "ferry_recv_into",
    [IN_POLL] = "ferry_poll",
    [IN_RELEASE] = "ferry_msg_release",
    [IN_CLOSE_SENDER] = "ferry_sender_close",
    [IN_CLOSE_RECEIVER] = "ferry_receiver_close",
    [IN_CLOSE_NODE] = "ferry_close",
};

static const char *const survivor_names[SURVIVORS] = {"sender of jobs", "receiver of jobs and notes",
                                                      "receiver of jobs", "publisher of news", "reader of news"};

/* ---- survivors ---- */

typedef struct survivor_arg {
    world_t *w;
    enum survivor who;
} survivor_arg_t;

static void run_survivor(void *arg) {
    survivor_arg_t *a = arg;
    survivor_run(a->w, a->who);
}

static void start_survivors(conductor_t *c) {
    static const enum survivor order[SURVIVORS] = {TAKE_JOBS, TAKE_JOBS_TOO, READ_NEWS, SEND_JOBS, PUBLISH_NEWS};
    for (unsigned i = 0; i < SURVIVORS; i++) {
        survivor_arg_t arg = {c->w, order[i]};
        c->survivors[order[i]] = child_start(run_survivor, &arg);
        await(&c->w->ready, i + 1);
    }
}

static void expect_survivors_alive(const conductor_t *c) {
    for (unsigned i = 0; i < SURVIVORS; i++) {
        int status;
        if (waitpid(c->survivors[i], &status, WNOHANG) == 0)
            continue;
        fprintf(stderr, "# the %s has ended (status %#x) after %u deaths\n", survivor_names[i], (unsigned)status,
                c->deaths);
        exit(1);
    }
}

typedef bool condition_fn(conductor_t *c, const void *arg);

/* Waits for `condition` with an eye on the survivors; says `sentence` when it does not become true. */
static void await_among_survivors(conductor_t *c, condition_fn *condition, const void *arg, const char *sentence) {
    int64_t end = clock_ns() + PATIENCE;
    while (!condition(c, arg)) {
        expect_survivors_alive(c);
        if (clock_ns() > end) {
            fprintf(stderr, "# after %u deaths: %s\n", c->deaths, sentence);
            for (unsigned i = 0; i < SURVIVORS; i++)
                fprintf(stderr, "# the %s has come to %llu\n", survivor_names[i],
                        (unsigned long long)atomic_load(&c->w->progress[i]));
            for (unsigned i = 0; i < SLOTS; i++)
                fprintf(stderr,
                        "# victim %u, node %016llx, role %d, was or is in %s, its call "
                        "%u\n",
                        c->w->slots[i].who, (unsigned long long)atomic_load(&c->w->slots[i].node),
                        (int)c->w->slots[i].role, op_names[atomic_load(&c->w->slots[i].op)],
                        atomic_load(&c->w->slots[i].calls));
            names_print();
            exit(1);
        }
        nap(MILLISECOND / 8);
    }
}

static bool all_have_passed(conductor_t *c, const void *arg) {
    const uint64_t *before = arg;
    for (unsigned i = 0; i < SURVIVORS; i++)
        if (atomic_load(&c->w->progress[i]) <= before[i])
            return false;
    return true;
}

void conductor_expect_progress(conductor_t *c) {
    uint64_t before[SURVIVORS];
    int64_t begin = clock_ns();
    for (unsigned i = 0; i < SURVIVORS; i++)
        before[i] = atomic_load(&c->w->progress[i]);
    await_among_survivors(c, all_have_passed, before, "a survivor makes no progress");
    int64_t took = clock_ns() - begin;
    c->slowest = took > c->slowest ? took : c->slowest;
}

void conductor_begin(conductor_t *c, int64_t pause) {
    c->w = share(sizeof(world_t));
    c->w->pause = pause;
    start_survivors(c);
    conductor_expect_progress(c);
    rest_begin(&c->w->rest, 2);
    for (unsigned i = 0; i < SURVIVORS; i++)
        c->before[i] = holdings_at_rest(c->survivors[i]);
    rest_end(&c->w->rest);
}

/* ---- traces ---- */

static bool names_are_gone(conductor_t *c, const void *arg) {
    (void)c;
    return names_with(arg) == 0;
}

static bool notes_have_come(conductor_t *c, const void *arg) {
    const slot_t *v = arg;
    return atomic_load(&c->w->notes_seen[v->who]) >= atomic_load(&v->noted);
}

void conductor_expect_no_traces(conductor_t *c, const slot_t *v) {
    await_among_survivors(c, notes_have_come, v, "a note that the dead had sent does not arrive");
    if (atomic_load(&v->met)) {
        char name[20];
        name_of_node(atomic_load(&v->node), name);
        await_among_survivors(c, names_are_gone, name, "names of the dead stay in the directory");
    }
}

/* ---- the end ---- */

#define INODES_MAX 4096

typedef struct inodes {
    size_t count;
    uint64_t list[INODES_MAX];
} inodes_t;

static void remember_own(uint64_t inode, bool own, const char *line, void *arg) {
    inodes_t *inodes = arg;
    (void)line;
    if (own && inodes->count < INODES_MAX)
        inodes->list[inodes->count++] = inode;
}

typedef struct strangers {
    const inodes_t *owned;
    unsigned count;
    bool print;
} strangers_t;

static void count_stranger(uint64_t inode, bool own, const char *line, void *arg) {
    strangers_t *s = arg;
    for (size_t i = 0; i < s->owned->count; i++)
        if (own || s->owned->list[i] == inode)
            return;
    s->count++;
    if (s->print)
        fprintf(stderr, "# still mapped, though its owner is dead: %s", line);
}

/* Mappings in the survivors of memory that no survivor owns. */
static unsigned memory_of_the_dead(const conductor_t *c, bool print) {
    static inodes_t owned;
    strangers_t s = {.owned = &owned, .print = print};
    owned.count = 0;
    for (unsigned i = 0; i < SURVIVORS; i++)
        each_ferry_map(c->survivors[i], remember_own, &owned);
    for (unsigned i = 0; i < SURVIVORS; i++)
        each_ferry_map(c->survivors[i], count_stranger, &s);
    return s.count;
}

/* Rings that grew may be more than at first, for each link that there is; but not for each death. */
#define MORE_MEMORY 8u

static bool nothing_of_the_dead(conductor_t *c, const void *arg) {
    (void)arg;
    for (unsigned i = 0; i < SURVIVORS; i++) {
        holdings_t now = holdings_of(c->survivors[i]);
        if (!holds_about(&now, &c->before[i], MORE_MEMORY))
            return false;
    }
    return memory_of_the_dead(c, false) == 0;
}

/* A sender that is idle keeps a ring that its last reader has left, with that one's view of it, until somebody asks. */
static void ask_for_figures(void) {
    ferry_look_t *look;
    check_is(ferry_look("test", NULL, &look), 0);
    ferry_look_close(look);
}

static void expect_nothing_of_the_dead(conductor_t *c) {
    int64_t end = clock_ns() + PATIENCE;
    while (!nothing_of_the_dead(c, NULL)) {
        if (clock_ns() < end) {
            ask_for_figures();
            nap(10 * MILLISECOND);
            continue;
        }
        for (unsigned i = 0; i < SURVIVORS; i++) {
            holdings_t now = holdings_of(c->survivors[i]);
            fprintf(stderr, "# the %s, before and after:\n", survivor_names[i]);
            holdings_print("before", &c->before[i]);
            holdings_print("after", &now);
        }
        fprintf(stderr, "# %u mappings are of dead owners\n", memory_of_the_dead(c, true));
        exit(1);
    }
}

static bool all_are_quiet(conductor_t *c, const void *arg) {
    (void)arg;
    return atomic_load(&c->w->quiet) == 2;
}

void conductor_end(conductor_t *c) {
    atomic_store(&c->w->stage, QUIET);
    await_among_survivors(c, all_are_quiet, NULL, "a surviving sender does not get rid of its messages");
    expect_nothing_of_the_dead(c);
    ledger_expect_complete(&c->w->ledger);
    atomic_store(&c->w->stage, LEAVE);
    for (unsigned i = 0; i < SURVIVORS; i++)
        child_join(c->survivors[i]);
    if (names_with("") > 0)
        names_print();
    check_is(names_with(""), 0);
}
