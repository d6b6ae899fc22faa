/* SPDX-License-Identifier: MIT
 *
 * route.c - which way messages go on a link, and why.
 */
#include "routes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct script {
    atomic_uint sent;
    atomic_uint stop;
} script_t;

static void send_ten(ferry_t *node, void *arg) {
    script_t *script = arg;
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);

    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    for (uint64_t i = 0; i < 10; i++)
        send_number(tx, i);
    atomic_store(&script->sent, 1);
    await(&script->stop, 1);
    drop_sender(tx);
}

static void a_link_shows_its_way_and_why_no_other_is_taken(where_t where) {
    script_t *script = share(sizeof *script);
    crew_t *crew = crew_begin(where);
    ferry_route_t *route;

    crew_add(crew, send_ten, script);
    ferry_receiver_t *rx = open_receiver(crew_node(crew), "q", FERRY_QUEUE, NULL);
    await(&script->sent, 1);
    const ferry_route_link_t *l = only_link("q", &route);
    ferry_way_t way = where == IN_THREADS ? FERRY_WAY_THREAD : FERRY_WAY_SHM;
    check_is(l->way, way);
    check_is(l->kind, FERRY_QUEUE);
    check_is(l->receiver.node, ferry_node_id(crew_node(crew)));
    check_is(l->receiver.pid, getpid());
    check(l->sender.told && l->receiver.told);
    check_is(l->waiting, 10);
    for (int i = 0; i < FERRY_WAYS; i++) {
        check_is(l->ways[i].way, FERRY_WAY_THREAD + i);
        check_is(l->ways[i].taken, l->ways[i].way == way);
        check(l->ways[i].why[0] != '\0');
    }
    if (where == IN_NODES)
        check(strstr(l->ways[0].why, "in two nodes") != NULL);
    check(strstr(l->completion_ns.why, "only receiver") != NULL);
    ferry_route_close(route);
    for (uint64_t i = 0; i < 10; i++)
        check_is(receive_number(rx), i);
    /* The second message was looked at. */
    l = only_link("q", &route);
    check(l->latency_samples + l->wake_samples > 0);
    check(l->least_latency_ns > 0);
    check_is(l->waiting, 0);
    ferry_route_close(route);
    atomic_store(&script->stop, 1);
    crew_join(crew, 0);
    close_receiver(rx);
    crew_end(crew);
}

static void what_is_not_there_is_told(void) {
    ferry_route_t *route = NULL;

    check_error(ferry_route("nowhere", "q", NULL, &route), -ENOENT, "nowhere");
    ferry_t *node = open_node("test");
    check_error(ferry_route("test", "q", NULL, &route), -ENOENT, "nobody q");
    check_error(ferry_route("test", "a b", NULL, &route), -EINVAL, "name");
    check_error(ferry_route("test", "q", NULL, NULL), -EINVAL, "NULL");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    check_is(ferry_route("test", "q", NULL, &route), 0);
    check_is(ferry_route_links(route), 0);
    check_is(ferry_route_senders(route), 1);
    check_is(ferry_route_receivers(route), 0);
    check(ferry_route_link(route, 0) == NULL);
    ferry_route_close(route);
    ferry_route_close(NULL);
    check_is(ferry_route_links(NULL), 0);
    drop_sender(tx);
    close_node(node);
}

/* Messages that Ferry itself looks at are the program's like all others. */
static void a_message_that_was_looked_at_is_as_it_was_sent(void) {
    static unsigned char bytes[5000];
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    ferry_route_t *route;

    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    for (uint64_t i = 0; i < 400; i++) {
        size_t len = i % 3 == 0 ? 64 : i % 3 == 1 ? 1000 : 5000;
        fill(bytes, len, i);
        check_is(ferry_send(tx, bytes, len, PATIENCE), 0);
        ferry_msg_t *m = receive(rx);
        ferry_msg_info_t info = info_of(m);
        check_is(info.time_ns, 0);
        check_is(info.tag, 0);
        check_is(info.sequence, i + 1);
        check_is(ferry_msg_size(m), len);
        check(filled(ferry_msg_data(m), len, i));
        release(m);
    }
    const ferry_route_link_t *l = only_link("q", &route);
    check(l->latency_samples + l->wake_samples >= 3);
    ferry_route_close(route);
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
}

/* Also those that are written in place: calls are. */
static void a_claimed_message_is_looked_at_like_any_other(void) {
    const size_t sizes[] = {64, 1000, 5000, 100000};
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    ferry_route_t *route;

    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    for (uint64_t i = 0; i < 400; i++) {
        size_t len = sizes[i % 4];
        void *data = NULL;
        check_is(ferry_claim(tx, len + i % 2, PATIENCE, &data), 0);
        fill(data, len, i);
        check_is(ferry_commit(tx, len), 0);
        ferry_msg_t *m = receive(rx);
        check_is(info_of(m).time_ns, 0);
        check_is(info_of(m).sequence, i + 1);
        check_is(ferry_msg_size(m), len);
        check(filled(ferry_msg_data(m), len, i));
        release(m);
    }
    const ferry_route_link_t *l = only_link("q", &route);
    check(l->latency_samples + l->wake_samples >= 3);
    ferry_route_close(route);
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
}

static void a_capacity_holds_whatever_is_looked_at(void) {
    ferry_t *node = open_node("test");
    ferry_contract_t contract = {.capacity = 20};
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, &contract);

    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    for (int round = 0; round < 30; round++) {
        uint64_t number = 0;
        while (ferry_send(tx, &number, sizeof number, FERRY_NOW) == 0)
            check(++number <= 20);
        check_is(number, 20);
        for (uint64_t i = 0; i < number; i++)
            release(receive(rx));
    }
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
}

/* ---- a link that changes while it runs ---- */

typedef struct pace {
    atomic_uint ready;
    atomic_uint slow; /* the first receiver takes its time */
    atomic_uint stop;
} pace_t;

static void receive_all(ferry_t *node, pace_t *pace, bool may_be_slow) {
    ferry_receiver_options_t options = {.max_held = 1};
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, may_be_slow ? &options : NULL);
    ferry_msg_t *m;

    atomic_fetch_add(&pace->ready, 1);
    while (!atomic_load(&pace->stop)) {
        int r = ferry_recv(rx, 20 * MILLISECOND, &m);
        if (r == -EPIPE)
            break;
        if (r < 0)
            continue;
        if (may_be_slow && atomic_load(&pace->slow))
            nap(2 * MILLISECOND);
        release(m);
    }
    ferry_receiver_close(rx);
}

static void receive_slowly(ferry_t *node, void *arg) {
    receive_all(node, arg, true);
}

static void receive_quickly(ferry_t *node, void *arg) {
    receive_all(node, arg, false);
}

static void send_on(ferry_sender_t *tx, unsigned count) {
    for (uint64_t i = 0; i < count; i++)
        send_number(tx, i);
}

/* Does one of the two links say this of its turn, and what it takes for a message? */
static bool says(const ferry_route_t *route, const char *words, uint64_t least_ns) {
    for (size_t i = 0; i < ferry_route_links(route); i++) {
        const ferry_route_link_t *l = ferry_route_link(route, i);
        if (l->service_ns >= least_ns && strstr(l->completion_ns.why, words))
            return true;
    }
    return false;
}

static void a_receiver_that_grows_slow_is_passed_over_and_its_link_says_why(void) {
    give_profile(usual_host); /* it may last long enough to measure otherwise */
    pace_t *pace = share(sizeof *pace);
    crew_t *crew = crew_begin(IN_PROCESSES);
    ferry_route_t *route;
    bool found = false;

    crew_add(crew, receive_slowly, pace);
    crew_add(crew, receive_quickly, pace);
    ferry_sender_t *tx = open_sender(crew_node(crew), "q", FERRY_QUEUE, NULL);
    await(&pace->ready, 2);
    check_is(ferry_sender_wait(tx, 2, PATIENCE), 2);
    bool passed_over = true; /* a machine that stands still makes any receiver slow for a while */
    for (int64_t end = monotonic() + PATIENCE; passed_over && monotonic() < end;) {
        send_on(tx, 1000);
        check_is(ferry_route("test", "q", NULL, &route), 0);
        check_is(ferry_route_links(route), 2);
        passed_over = says(route, "passed over", MILLISECOND);
        ferry_route_close(route);
    }
    check(!passed_over);
    atomic_store(&pace->slow, 1);
    for (int64_t end = monotonic() + PATIENCE; !found && monotonic() < end;) {
        send_on(tx, 50);
        check_is(ferry_route("test", "q", NULL, &route), 0);
        found = says(route, "passed over", MILLISECOND);
        ferry_route_close(route);
    }
    check(found);
    atomic_store(&pace->stop, 1);
    drop_sender(tx);
    crew_join(crew, 0);
    crew_join(crew, 1);
    crew_end(crew);
    check_is(unlink(in_directory("given")), 0);
}

static void answer(ferry_t *node, void *arg) {
    pace_t *pace = arg;
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);

    atomic_fetch_add(&pace->ready, 1);
    while (!atomic_load(&pace->stop)) {
        ferry_msg_t *m;
        if (ferry_recv(rx, SECOND, &m) == 0)
            release(m);
    }
    ferry_receiver_close(rx);
}

/* What comes too seldom is not worth spinning for. */
static void a_receiver_whose_link_grows_slow_spins_no_longer_and_says_why(void) {
    pace_t *pace = share(sizeof *pace);
    crew_t *crew = crew_begin(IN_PROCESSES);
    ferry_route_t *route;
    bool found = false;

    crew_add(crew, answer, pace);
    ferry_sender_t *tx = open_sender(crew_node(crew), "q", FERRY_QUEUE, NULL);
    await(&pace->ready, 1);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    send_on(tx, 2000);
    for (int64_t end = monotonic() + PATIENCE; !found && monotonic() < end;) {
        for (int i = 0; i < 10; i++) {
            nap(2 * MILLISECOND);
            send_number(tx, 0);
        }
        const ferry_route_link_t *l = only_link("q", &route);
        found = l->spin_ns.value == 1000 && strstr(l->spin_ns.why, "waits outlasted") && l->wake_samples > 0;
        ferry_route_close(route);
    }
    check(found);
    atomic_store(&pace->stop, 1);
    send_number(tx, 0);
    drop_sender(tx);
    crew_join(crew, 0);
    crew_end(crew);
}

int main(int argc, char **argv) {
    static const test_t tests[] = {
        TEST_ALL(a_link_shows_its_way_and_why_no_other_is_taken),
        TEST(what_is_not_there_is_told),
        TEST(a_message_that_was_looked_at_is_as_it_was_sent),
        TEST(a_claimed_message_is_looked_at_like_any_other),
        TEST(a_capacity_holds_whatever_is_looked_at),
        TEST(a_receiver_that_grows_slow_is_passed_over_and_its_link_says_why),
        TEST(a_receiver_whose_link_grows_slow_spins_no_longer_and_says_why),
    };
    unsetenv("FERRY_HOST_PROFILE"); /* which keeps other tests from measuring */
    return run_suite("route", tests, sizeof tests / sizeof tests[0], argc, argv);
}
