/* SPDX-License-Identifier: MIT
 *
 * kill_victims.c - those who are killed, at any moment. Each call is announced before and taken back after it.
 */
#include "kill.h"

#include <string.h>

#define HELD_MAX 8
#define LARGE 40000
#define HARDLY_PATIENT (400 * MILLISECOND)

typedef struct self {
    world_t *w;
    slot_t *v;
    dice_t dice;
    ferry_t *node;
    ferry_sender_t *tx;
    ferry_receiver_t *rx;
    uint64_t number;
    ferry_msg_t *held[HELD_MAX];
    unsigned held_count;
    int64_t entered;
} self_t;

static void in(self_t *s, enum op op) {
    s->entered = clock_ns();
    atomic_store(&s->v->op, op);
}

/* Out of the call again; passes its result on. */
static int out(self_t *s, int result) {
    enum op op = atomic_exchange(&s->v->op, IN_PROGRAM);
    int64_t took = clock_ns() - s->entered;
    if (took > atomic_load(&s->w->slowest[op]))
        atomic_store(&s->w->slowest[op], took);
    atomic_fetch_add(&s->v->calls, 1);
    return result;
}

static bool chance(self_t *s, unsigned one_in) {
    return dice_below(&s->dice, one_in) == 0;
}

/* No room in time is nobody's fault: receivers may be dead or dying. */
static bool sent(int r) {
    check(r == 0 || r == -ETIMEDOUT || r == -EAGAIN || r == -EDQUOT);
    return r == 0;
}

static void open_own_node(self_t *s) {
    in(s, IN_OPEN_NODE);
    check_is(out(s, ferry_open("test", NULL, &s->node)), 0);
    atomic_store(&s->v->met, 0);
    atomic_store(&s->v->node, ferry_node_id(s->node));
}

static void open_own_sender(self_t *s, const char *channel, ferry_kind_t kind) {
    ferry_contract_t contract = {.quota = chance(s, 2) ? 512 << 10 : 0, .capacity = chance(s, 3) ? 40 : 0};
    in(s, IN_OPEN_SENDER);
    check_is(out(s, ferry_sender_open(s->node, channel, kind, &contract, &s->tx)), 0);
    if (clock_ns() - s->entered > HARDLY_PATIENT)
        atomic_store(&s->w->impatient[s->v->who], 1);
    atomic_store(&s->v->met, 1);
    s->number = 0;
}

static void open_own_receiver(self_t *s, const char *channel, ferry_kind_t kind) {
    ferry_receiver_options_t options = {.wait = (ferry_wait_t)dice_below(&s->dice, 3)};
    options.may_lose = kind == FERRY_TOPIC && chance(s, 2);
    in(s, IN_OPEN_RECEIVER);
    check_is(out(s, ferry_receiver_open(s->node, channel, kind, &options, &s->rx)), 0);
    atomic_store(&s->v->met, 1);
}

static void close_own_sender(self_t *s) {
    in(s, IN_CLOSE_SENDER);
    check_is(out(s, ferry_sender_close(s->tx, MILLISECOND, NULL)), 0);
    s->tx = NULL;
}

static void close_own_node(self_t *s) {
    in(s, IN_CLOSE_NODE);
    check_is(out(s, ferry_close(s->node)), 0);
}

/* ---- sending ---- */

static void send_plain(self_t *s, size_t size) {
    static unsigned char buffer[LARGE + sizeof(job_t)];
    job_write(buffer, size, s->v->who, s->number + 1);
    in(s, size > 2048 ? IN_SEND_LARGE : IN_SEND);
    s->number += sent(out(s, ferry_send(s->tx, buffer, size, 20 * MILLISECOND)));
}

static void send_claimed(self_t *s, size_t size) {
    void *data;
    in(s, IN_CLAIM);
    if (!sent(out(s, ferry_claim(s->tx, size, 20 * MILLISECOND, &data))))
        return;
    job_write(data, size, s->v->who, s->number + 1);
    bool give_up = chance(s, 8);
    in(s, IN_COMMIT);
    check_is(out(s, give_up ? ferry_abort(s->tx) : ferry_commit(s->tx, size)), 0);
    s->number += !give_up;
}

static void send_by_pointer(self_t *s, size_t size) {
    ferry_msg_t *m;
    void *data;
    in(s, IN_MSG_NEW);
    if (!sent(out(s, ferry_msg_new(s->tx, size, 20 * MILLISECOND, &data, &m))))
        return;
    for (unsigned times = 1 + (unsigned)dice_below(&s->dice, 4);; times--) {
        job_write(data, size, s->v->who, s->number + 1);
        in(s, IN_SEND_MSG);
        s->number += sent(out(s, ferry_send_msg(s->tx, m, 20 * MILLISECOND)));
        if (times == 1)
            break;
        in(s, IN_EDIT);
        int r = out(s, ferry_msg_edit(m, &data));
        if (r < 0) {
            check_is(r, -EDQUOT);
            break;
        }
    }
    in(s, IN_RELEASE_OWN);
    check_is(out(s, ferry_msg_release(m)), 0);
}

static void flush(self_t *s) {
    in(s, IN_FLUSH);
    int r = out(s, ferry_sender_flush(s->tx, 5 * MILLISECOND));
    check(r == 0 || r == -ETIMEDOUT);
}

static void send_something(self_t *s) {
    size_t size = sizeof(job_t) + dice_below(&s->dice, chance(s, 4) ? LARGE : 200);
    switch (dice_below(&s->dice, 4)) {
    case 0:
        send_claimed(s, size);
        break;
    case 1:
        send_by_pointer(s, size);
        break;
    default:
        send_plain(s, size);
    }
    if (chance(s, 40))
        flush(s);
}

_Noreturn static void send_for_ever(self_t *s, const char *channel, ferry_kind_t kind) {
    for (;;) {
        open_own_sender(s, channel, kind);
        while (!chance(s, 200))
            send_something(s);
        close_own_sender(s);
    }
}

/* Few at a time, so that they are in the receiver's ring when their send returns: these must arrive. */
_Noreturn static void note_for_ever(self_t *s) {
    open_own_sender(s, "notes", FERRY_QUEUE);
    in(s, IN_FLUSH);
    check_is(out(s, ferry_sender_wait(s->tx, 1, PATIENCE)), 1);
    for (;;) {
        for (unsigned i = 0; i < 8; i++) {
            uint64_t before = s->number;
            send_plain(s, sizeof(job_t) + dice_below(&s->dice, 200));
            atomic_fetch_add(&s->v->noted, s->number - before);
        }
        in(s, IN_FLUSH);
        check_is(out(s, ferry_sender_flush(s->tx, PATIENCE)), 0);
    }
}

/* ---- receiving ---- */

static void release_one(self_t *s, unsigned i, bool queue) {
    ferry_msg_t *m = s->held[i];
    job_t job = job_read(ferry_msg_data(m), ferry_msg_size(m)); /* still as it was sent */
    s->held[i] = s->held[--s->held_count];
    in(s, IN_RELEASE);
    check_is(out(s, ferry_msg_release(m)), 0);
    if (queue)
        job_done(&s->w->ledger, &job);
}

static void keep(self_t *s, ferry_msg_t *m, bool queue) {
    job_t job = job_read(ferry_msg_data(m), ferry_msg_size(m));
    if (queue)
        job_seen(&s->w->ledger, &job, m);
    s->held[s->held_count++] = m;
}

static bool received(int r) {
    check(r >= 0 || r == -ETIMEDOUT || r == -EAGAIN || r == -EPIPE);
    return r >= 0;
}

static void receive_several(self_t *s, bool queue) {
    ferry_msg_t *several[HELD_MAX];
    in(s, IN_RECV_BATCH);
    int n = out(s, ferry_recv_batch(s->rx, several, HELD_MAX - s->held_count, MILLISECOND));
    for (int i = 0; received(n) && i < n; i++)
        keep(s, several[i], queue);
}

/* Of a topic: a queue's message would be released inside the call, before it could be written down that it was seen. */
static void receive_copy(self_t *s) {
    static unsigned char buffer[1 << 17];
    size_t size;
    in(s, IN_RECV_INTO);
    if (received(out(s, ferry_recv_into(s->rx, buffer, sizeof buffer, MILLISECOND, &size))))
        job_read(buffer, size);
}

static void poll_receiver(self_t *s) {
    ferry_pollitem_t item = {.receiver = s->rx, .events = FERRY_POLL_IN};
    in(s, IN_POLL);
    check(out(s, ferry_poll(&item, 1, MILLISECOND)) >= 0);
}

static void receive_something(self_t *s, bool queue) {
    ferry_msg_t *m;
    unsigned how = (unsigned)dice_below(&s->dice, 8);
    if (how == 0) {
        receive_several(s, queue);
    } else if (how == 1) {
        poll_receiver(s);
    } else if (how == 2 && !queue) {
        receive_copy(s);
    } else {
        in(s, IN_RECV);
        if (received(out(s, ferry_recv(s->rx, MILLISECOND, &m))))
            keep(s, m, queue);
    }
}

/* Sometimes with messages held: a queue's then go to somebody else. */
static void close_own_receiver(self_t *s) {
    in(s, IN_CLOSE_RECEIVER);
    check_is(out(s, ferry_receiver_close(s->rx)), (int)s->held_count);
    s->rx = NULL;
    while (s->held_count > 0) {
        in(s, IN_RELEASE);
        check_is(out(s, ferry_msg_release(s->held[--s->held_count])), 0);
    }
}

_Noreturn static void receive_for_ever(self_t *s, const char *channel, ferry_kind_t kind) {
    bool queue = kind == FERRY_QUEUE;
    for (;;) {
        open_own_receiver(s, channel, kind);
        while (!chance(s, 100)) {
            if (s->held_count < HELD_MAX)
                receive_something(s, queue);
            while (s->held_count == HELD_MAX || (s->held_count > 0 && chance(s, 2)))
                release_one(s, (unsigned)dice_below(&s->dice, s->held_count), queue);
        }
        close_own_receiver(s);
    }
}

/* ---- opening and closing all the time ---- */

_Noreturn static void open_for_ever(self_t *s) {
    for (;;) {
        ferry_kind_t kind = chance(s, 2) ? FERRY_QUEUE : FERRY_TOPIC;
        const char *channel = kind == FERRY_QUEUE ? "jobs" : "news";
        if (!s->node)
            open_own_node(s);
        open_own_receiver(s, channel, kind);
        open_own_sender(s, channel, kind);
        if (chance(s, 2) && kind == FERRY_QUEUE)
            send_something(s);
        if (chance(s, 2))
            receive_something(s, kind == FERRY_QUEUE);
        close_own_receiver(s);
        close_own_sender(s);
        if (chance(s, 2)) {
            close_own_node(s);
            s->node = NULL;
        }
    }
}

_Noreturn void victim_run(world_t *w, slot_t *v) {
    static self_t s;
    s = (self_t){.w = w, .v = v, .dice = {v->seed}};
    open_own_node(&s);
    switch (v->role) {
    case SENDER:
        send_for_ever(&s, "jobs", FERRY_QUEUE);
    case PUBLISHER:
        send_for_ever(&s, "news", FERRY_TOPIC);
    case RECEIVER:
        receive_for_ever(&s, "jobs", FERRY_QUEUE);
    case SUBSCRIBER:
        receive_for_ever(&s, "news", FERRY_TOPIC);
    case NOTE_TAKER:
        note_for_ever(&s);
    default:
        open_for_ever(&s);
    }
}
