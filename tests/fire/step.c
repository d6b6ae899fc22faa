/* SPDX-License-Identifier: MIT
 *
 * step.c - SIGKILL at controlled points: after the first instruction of a call, after the second, and so on to the
 * last; and, for the long calls, at the door of every system call that they make.
 *
 * The victim stops itself before and after the call; in between it is stepped (stepping.h).
 */
#include "conductor.h"
#include "stepping.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* One thing to be killed in: what comes before it, what is stepped. */
typedef struct scenario {
    const char *name;
    void (*prepare)(void);
    void (*act)(void);
} scenario_t;

/* ---- the victim ---- */

static struct {
    world_t *w;
    slot_t *v;
    ferry_t *node;
    ferry_sender_t *tx;
    ferry_receiver_t *rx;
    ferry_msg_t *m;
    void *data;
    unsigned char small[100];
    unsigned char large[2200]; /* more than a ring takes; a copying instruction is
                                one step for each piece */
} me;

static void open_as_sender(void) {
    me.tx = open_sender(me.node, "notes", FERRY_QUEUE, NULL);
    check_is(ferry_sender_wait(me.tx, 1, PATIENCE), 1);
    job_write(me.small, sizeof me.small, me.v->who, 1);
    job_write(me.large, sizeof me.large, me.v->who, 1);
    check_is(ferry_send(me.tx, me.large, sizeof me.large, PATIENCE), 0); /* the pool has its first segment */
}

static void claim_small(void) {
    open_as_sender();
    check_is(ferry_claim(me.tx, sizeof me.small, PATIENCE, &me.data), 0);
    job_write(me.data, sizeof me.small, me.v->who, 2);
}

static void own_message_sent(void) {
    open_as_sender();
    check_is(ferry_msg_new(me.tx, sizeof me.large, PATIENCE, &me.data, &me.m), 0);
    job_write(me.data, sizeof me.large, me.v->who, 2);
    check_is(ferry_send_msg(me.tx, me.m, PATIENCE), 0);
}

static void await_job(const char *channel, ferry_kind_t kind) {
    me.rx = open_receiver(me.node, channel, kind, NULL);
    ferry_pollitem_t item = {.receiver = me.rx, .events = FERRY_POLL_IN};
    check_is(ferry_poll(&item, 1, PATIENCE), 1);
}

static void job_is_there(void) {
    await_job("jobs", FERRY_QUEUE);
}

static void news_are_there(void) {
    await_job("news", FERRY_TOPIC);
}

static void job_is_held(void) {
    job_is_there();
    me.m = receive(me.rx);
    job_t job = job_read(ferry_msg_data(me.m), ferry_msg_size(me.m));
    job_seen(&me.w->ledger, &job, me.m);
}

static void only_node_is_open(void) {
}

static void act_send_small(void) {
    check_is(ferry_send(me.tx, me.small, sizeof me.small, PATIENCE), 0);
}
static void act_send_large(void) {
    check_is(ferry_send(me.tx, me.large, sizeof me.large, PATIENCE), 0);
}
static void act_commit(void) {
    check_is(ferry_commit(me.tx, sizeof me.small), 0);
}
static void act_edit(void) {
    check(ferry_msg_edit(me.m, &me.data) >= 0);
}
static void act_receive(void) {
    me.m = receive(me.rx);
}
static void act_release(void) {
    release(me.m);
}
static void act_close_receiver(void) {
    check_is(ferry_receiver_close(me.rx), me.m ? 1 : 0);
}
static void act_close_sender(void) {
    check_is(ferry_sender_close(me.tx, FERRY_NOW, NULL), 0);
}
static void act_open_receiver(void) {
    me.rx = open_receiver(me.node, "jobs", FERRY_QUEUE, NULL);
}
static void act_open_sender(void) {
    me.tx = open_sender(me.node, "news", FERRY_TOPIC, NULL);
}
static void act_close_node(void) {
    check_is(ferry_close(me.node), 1);
}

typedef struct victim_arg {
    world_t *w;
    slot_t *v;
    const scenario_t *scenario;
} victim_arg_t;

static void be_victim(void *arg) {
    victim_arg_t *a = arg;
    me.w = a->w;
    me.v = a->v;
    me.node = open_node("test");
    atomic_store(&me.v->node, ferry_node_id(me.node));
    a->scenario->prepare();
    atomic_store(&me.v->met, a->scenario->prepare != only_node_is_open);
    stepping_mark();
    a->scenario->act();
    stepping_mark();
    pause(); /* to be killed in any case */
}

/* ---- the hunt ---- */

#define STEP_PATIENCE (SECOND / 5) /* a system call that waits for others is a place to be killed, too */

typedef struct hunt {
    conductor_t c;
    unsigned started;
    way_t way; /* of the scenario */
} hunt_t;

static pid_t start_victim(hunt_t *h, const scenario_t *scenario) {
    slot_t *v = &h->c.w->slots[0];
    memset(v, 0, sizeof *v);
    v->who = ++h->started;
    victim_arg_t arg = {h->c.w, v, scenario};
    return stepping_start(be_victim, &arg);
}

static void kill_traced(hunt_t *h, pid_t pid) {
    stepping_kill(pid);
    h->c.deaths++;
}

/* How many steps the whole call takes. */
static unsigned count_steps(hunt_t *h, const scenario_t *scenario, bool by_call) {
    unsigned steps;
    pid_t pid = start_victim(h, scenario);
    enum stopped at = stepping_walk(pid, &h->way, by_call, STEP_PATIENCE, &steps);
    if (at == GONE)
        fprintf(stderr, "# %s failed when nobody killed it\n", scenario->name);
    check(at == AT_MARK || at == BLOCKED);
    kill_traced(h, pid);
    return steps;
}

static void kill_after(hunt_t *h, const scenario_t *scenario, unsigned steps, bool by_call) {
    pid_t pid = start_victim(h, scenario);
    (void)stepping_go(pid, &h->way, steps, by_call, STEP_PATIENCE);
    kill_traced(h, pid);
    conductor_expect_progress(&h->c);
    conductor_expect_no_traces(&h->c, &h->c.w->slots[0]);
}

/* At most `points` points, evenly spread from the first to the last. */
static void hunt_in(hunt_t *h, const scenario_t *scenario, bool by_call, unsigned points) {
    unsigned steps = count_steps(h, scenario, by_call);
    unsigned stride = steps / points + 1;
    unsigned deaths = 0;
    for (unsigned at = 1; at <= steps; at += h->way.strayed ? 0 : stride, deaths++)
        kill_after(h, scenario, at, by_call);
    printf("# %-32s %6u %s, killed after every %u: %u times\n", scenario->name, steps,
           by_call ? "doors of system calls" : "instructions", stride, deaths);
    fflush(stdout);
}

static void hunt(const scenario_t *scenarios, size_t count, bool by_call, unsigned usual) {
    unsigned points = fire_count("FERRY_FIRE_POINTS", "points in each call", usual, usual);
    static hunt_t h;
    conductor_begin(&h.c, 4 * MILLISECOND); /* stepping needs the processors */
    for (size_t i = 0; i < count; i++)
        hunt_in(&h, &scenarios[i], by_call, points);
    conductor_end(&h.c);
    printf("# slowest recovery %.1f ms\n", (double)h.c.slowest / 1e6);
}

/* ---- the tests ---- */

static const scenario_t sending[] = {
    {"ferry_send, in the ring", open_as_sender, act_send_small},
    {"ferry_send, in the pool", open_as_sender, act_send_large},
    {"ferry_commit", claim_small, act_commit},
    {"ferry_msg_edit of a sent message", own_message_sent, act_edit},
};

static const scenario_t receiving[] = {
    {"ferry_recv from a queue", job_is_there, act_receive},
    {"ferry_recv from a topic", news_are_there, act_receive},
    {"ferry_msg_release", job_is_held, act_release},
};

static const scenario_t opening_and_closing[] = {
    {"ferry_receiver_open", only_node_is_open, act_open_receiver},
    {"ferry_sender_open", only_node_is_open, act_open_sender},
    {"ferry_receiver_close, one held", job_is_held, act_close_receiver},
    {"ferry_receiver_close", news_are_there, act_close_receiver},
    {"ferry_sender_close", open_as_sender, act_close_sender},
    {"ferry_close with a receiver open", job_is_held, act_close_node},
};

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

static void killed_after_any_instruction_of_sending(void) {
    hunt(sending, COUNT(sending), false, 16);
}

static void killed_after_any_instruction_of_receiving(void) {
    hunt(receiving, COUNT(receiving), false, 18);
}

static void killed_at_any_system_call_of_opening_and_closing(void) {
    hunt(opening_and_closing, COUNT(opening_and_closing), true, 15);
}

static void killed_within_closing(void) {
    hunt(&opening_and_closing[2], 3, false, 8);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(killed_after_any_instruction_of_sending),
        TEST(killed_after_any_instruction_of_receiving),
        TEST(killed_at_any_system_call_of_opening_and_closing),
        TEST(killed_within_closing),
    };
    return run_suite("step", tests, sizeof tests / sizeof tests[0], argc, argv);
}
