/* SPDX-License-Identifier: MIT
 *
 * net_route.c - which way messages go between machines, and why no nearer one is taken.
 */
#include <string.h>
#include <unistd.h>

#include "engine.h"

typedef struct stage {
    engine_t *engine;
    atomic_uint ready;
    atomic_uint stop;
    uint64_t node;
} stage_t;

static void receive_there(void *arg) {
    stage_t *s = arg;
    engine_machine(s->engine, "there");
    ferry_t *node = open_node(engine_space(s->engine));
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    ferry_receiver_t *topic = open_receiver(node, "t", FERRY_TOPIC, NULL);
    ferry_sender_t *back = open_sender(node, "back", FERRY_QUEUE, NULL);
    s->node = ferry_node_id(node);
    atomic_store(&s->ready, 1);
    while (!atomic_load(&s->stop)) {
        ferry_msg_t *m;
        if (ferry_recv(rx, 50 * MILLISECOND, &m) == 0)
            release(m);
    }
    drop_sender(back);
    close_receiver(topic);
    close_receiver(rx);
    close_node(node);
}

/* The link with an end on the other machine; NULL: there is none. */
static const ferry_route_link_t *far_link(const ferry_route_t *route, uint64_t node) {
    for (size_t i = 0; i < ferry_route_links(route); i++) {
        const ferry_route_link_t *l = ferry_route_link(route, i);
        if (l->sender.node == node || l->receiver.node == node)
            return l;
    }
    return NULL;
}

/*
 * With so many links, an answer of everybody here, and, if `far` is not 0, word of that node. Ends meet a while after
 * they have been opened; and on a busy machine an answer may take longer than it is waited for: a second here, a tenth
 * of one from elsewhere.
 */
static bool is_complete(const ferry_route_t *route, size_t links, uint64_t far) {
    const ferry_route_link_t *l = far ? far_link(route, far) : NULL;
    return ferry_route_links(route) >= links && ferry_route_silent(route) == 0 &&
           (!far || (l && (l->sender.node == far ? &l->sender : &l->receiver)->host[0]));
}

static ferry_route_t *route_with(const engine_t *engine, const char *channel, size_t links, uint64_t far) {
    int64_t end = monotonic() + PATIENCE;
    for (;;) {
        ferry_route_t *route;
        check_is(ferry_route(engine_space(engine), channel, NULL, &route), 0);
        if (is_complete(route, links, far) || monotonic() > end)
            return route;
        ferry_route_close(route);
    }
}

static void check_far(const stage_t *s, const char *channel, size_t links, bool sends) {
    ferry_route_t *route = route_with(s->engine, channel, links, s->node);
    char here[65] = "";
    const ferry_route_link_t *l = far_link(route, s->node);
    check(l != NULL);
    const ferry_route_end_t *far = sends ? &l->receiver : &l->sender;
    const ferry_route_end_t *near = sends ? &l->sender : &l->receiver;
    check_is(l->way, FERRY_WAY_NATS);
    check_is(near->pid, getpid());
    check_is(far->node, s->node);
    check(near->told && !far->told && near->host[0] == '\0');
    check_is(gethostname(here, sizeof here - 1), 0);
    check(strcmp(far->host, here) == 0 && far->name[0] != '\0');
    check(l->ways[2].taken && !l->ways[0].taken && !l->ways[1].taken);
    /* The other "machine" is this one, with another directory: that a farther way is taken is not kept silent. */
    check(strstr(l->ways[1].why, "in another base directory") != NULL);
    check(strstr(l->ways[2].why, "on this machine, out of reach") != NULL);
    ferry_route_close(route);
}

static void links_to_other_machines_are_shown_with_what_keeps_them_from_a_nearer_way(void) {
    engine_t *engine = engine_start();
    stage_t *s = share(sizeof *s);
    s->engine = engine;
    pid_t there = child_start(receive_there, s);
    await(&s->ready, 1);
    engine_machine(engine, "here");
    ferry_t *node = open_node(engine_space(engine));
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    ferry_sender_t *topic = open_sender(node, "t", FERRY_TOPIC, NULL);
    ferry_receiver_t *back = open_receiver(node, "back", FERRY_QUEUE, NULL);
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    check_is(ferry_sender_wait(tx, 2, PATIENCE), 2);
    for (uint64_t i = 0; i < 100; i++)
        send_number(tx, i);
    check_far(s, "q", 2, true);
    check_far(s, "t", 1, true);
    check_far(s, "back", 1, false);
    /* The queue's own receiver is reached by the near way at the same time. */
    ferry_route_t *route = route_with(engine, "q", 2, s->node);
    check_is(ferry_route_links(route), 2);
    const ferry_route_link_t *l = far_link(route, s->node);
    l = l == ferry_route_link(route, 0) ? ferry_route_link(route, 1) : ferry_route_link(route, 0);
    check_is(l->way, FERRY_WAY_THREAD);
    check(strstr(l->ways[2].why, "both ends are here") != NULL);
    ferry_route_close(route);
    atomic_store(&s->stop, 1);
    child_join(there);
    drop_sender(tx);
    drop_sender(topic);
    close_receiver(back);
    close_receiver(rx);
    close_node(node);
    engine_stop(engine);
}

/* What is here is known without the server. */
static void without_a_server_the_near_half_is_told(void) {
    engine_t *engine = engine_start();
    stage_t *s = share(sizeof *s);
    s->engine = engine;
    pid_t there = child_start(receive_there, s);
    await(&s->ready, 1);
    engine_machine(engine, "here");
    ferry_t *node = open_node(engine_space(engine));
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    engine_kill(engine);
    ferry_route_t *route = route_with(engine, "q", 0, 0);
    check_is(ferry_route_senders(route), 1);
    if (ferry_route_links(route) > 0) {
        const ferry_route_link_t *l = ferry_route_link(route, 0);
        check(l->way == FERRY_WAY_NATS && l->sender.told && l->receiver.host[0] == '\0');
    }
    ferry_route_close(route);
    engine_restart(engine);
    atomic_store(&s->stop, 1);
    child_join(there);
    drop_sender(tx);
    close_node(node);
    engine_stop(engine);
}

static int is_this_one(const char *name, void *arg) {
    return strcmp(name, arg) == 0 ? -EEXIST : 0;
}

static void a_durable_queue_says_so_and_its_space_is_among_all(void) {
    const ferry_contract_t durable = {.durable = FERRY_DURABLE};
    engine_t *engine = engine_start();
    engine_machine(engine, "here");
    ferry_t *node = open_node(engine_space(engine));
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, &durable);
    ferry_route_t *route = route_with(engine, "q", 1, 0);
    check(ferry_route_links(route) >= 1);
    const ferry_route_link_t *l = ferry_route_link(route, 0);
    check(l->durable && l->way == FERRY_WAY_NATS && strstr(l->ways[FERRY_WAY_NATS - 1].why, "durable"));
    ferry_route_close(route);
    check_is(ferry_spaces(NULL, is_this_one, (void *)(uintptr_t)engine_space(engine)), -EEXIST);
    close_sender(tx);
    close_node(node);
    engine_stop(engine);
}

int main(int argc, char **argv) {
    static const test_t tests[] = {
        TEST(links_to_other_machines_are_shown_with_what_keeps_them_from_a_nearer_way),
        TEST(without_a_server_the_near_half_is_told),
        TEST(a_durable_queue_says_so_and_its_space_is_among_all),
    };
    return run_suite("net-route", tests, sizeof tests / sizeof tests[0], argc, argv);
}
