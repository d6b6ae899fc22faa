/* SPDX-License-Identifier: MIT */
#include "lines.h"

lines_t *lines_new(void) {
    engine_t *engine = engine_start();
    lines_t *s = share(sizeof *s);
    s->engine = engine;
    s->near = relay_start(engine);
    s->far = relay_start(engine);
    return s;
}

ferry_t *lines_node(lines_t *s, const char *machine, const relay_t *line) {
    engine_machine(s->engine, machine);
    return open_node(relay_space(line));
}

void lines_end(lines_t *s) {
    relay_stop(s->near);
    relay_stop(s->far);
    engine_stop(s->engine);
}

/* The next one is number `i`: 1; 0: that was all; -1: its sender, or this node, was given up, and the receiver is told
 * so, by the next attempt, by what was lost, or by an end before the end. */
static int take(lines_t *s, ferry_receiver_t *rx, unsigned i) {
    ferry_msg_t *m;
    bool closed = atomic_load(&s->closed);
    int r = ferry_recv(rx, PATIENCE, &m);
    if (r < 0) {
        check_error(r, -EPIPE, "");
        return closed && i == atomic_load(&s->sent) ? 0 : -1;
    }
    ferry_msg_info_t info = info_of(m);
    bool told = info.attempt > 1 || info.lost_before > 0;
    check(told || number_in(m) == i);
    release(m);
    return told ? -1 : 1;
}

static void take_all(ferry_receiver_t *rx[2], const atomic_uint *until) {
    ferry_msg_t *m;
    while (!atomic_load(until)) {
        for (int k = 0; k < 2; k++)
            if (ferry_recv(rx[k], MILLISECOND, &m) == 0)
                release(m);
        nap(MILLISECOND);
    }
}

static void receive_both(void *arg) {
    lines_t *s = arg;
    ferry_t *node = lines_node(s, "receiver", s->far);
    ferry_receiver_t *rx[] = {open_receiver(node, "numbers", FERRY_QUEUE, NULL),
                              open_receiver(node, "news", FERRY_TOPIC, NULL)};
    int r = 1;
    atomic_store(&s->ready, 1);
    for (unsigned i = 0; r > 0 && (r = take(s, rx[0], i)) > 0; i++) {
        r = take(s, rx[1], i);
        check(r != 0);
        atomic_store(&s->received, i + 1);
    }
    r = r == 0 ? take(s, rx[1], atomic_load(&s->received)) : r;
    if (r < 0) {
        atomic_store(&s->given_up, 1);
        take_all(rx, &s->over);
    }
    close_receiver(rx[0]);
    close_receiver(rx[1]);
    close_node(node);
}

numbers_t numbers_begin(lines_t *s) {
    numbers_t n = {.receiver = child_start(receive_both, s)};
    await(&s->ready, 1);
    n.node = lines_node(s, "sender", s->near);
    n.queue = open_sender(n.node, "numbers", FERRY_QUEUE, NULL);
    n.topic = open_sender(n.node, "news", FERRY_TOPIC, NULL);
    check_is(ferry_sender_wait(n.queue, 1, PATIENCE), 1);
    check_is(ferry_sender_wait(n.topic, 1, PATIENCE), 1);
    return n;
}

void numbers_send(lines_t *s, numbers_t *n, unsigned to) {
    for (unsigned i = atomic_load(&s->sent); i < to; i++) {
        send_number(n->queue, i);
        send_number(n->topic, i);
        atomic_store(&s->sent, i + 1);
    }
}

bool numbers_end(lines_t *s, numbers_t *n) {
    atomic_store(&s->closed, 1);
    close_sender(n->queue);
    close_sender(n->topic);
    atomic_store(&s->over, 1);
    child_join(n->receiver);
    bool whole = !atomic_load(&s->given_up);
    close_node(n->node);
    lines_end(s);
    return whole;
}
