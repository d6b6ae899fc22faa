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

static void receive_both(void *arg) {
    lines_t *s = arg;
    ferry_t *node = lines_node(s, "receiver", s->far);
    ferry_receiver_t *rx[] = {open_receiver(node, "numbers", FERRY_QUEUE, NULL),
                              open_receiver(node, "news", FERRY_TOPIC, NULL)};
    ferry_msg_t *m;
    int r = 0;
    atomic_store(&s->ready, 1);
    for (unsigned i = 0; (r = ferry_recv(rx[0], PATIENCE, &m)) == 0; i++) {
        check_is(number_in(m), i);
        release(m);
        m = receive(rx[1]);
        check_is(number_in(m), i);
        check_is(info_of(m).lost_before, 0);
        release(m);
        atomic_store(&s->received, i + 1);
    }
    check_error(r, -EPIPE, "");
    check_error(ferry_recv(rx[1], PATIENCE, &m), -EPIPE, "");
    check_is(atomic_load(&s->received), atomic_load(&s->sent));
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

void numbers_end(lines_t *s, numbers_t *n) {
    close_sender(n->queue);
    close_sender(n->topic);
    child_join(n->receiver);
    close_node(n->node);
    lines_end(s);
}
