/* SPDX-License-Identifier: MIT
 *
 * net_channels.c - queues and topics between machines: order, sizes, ends, deaths, a server that is killed.
 *
 * Each test has a server of its own and two or three processes on "machines" of their own (engine.h).
 */
#include <string.h>

#include "engine.h"

#define MESSAGES 3000u
#define GREETING 1000000u /* a number that only tells that a receiver is linked */
#define LARGE (20u << 20) /* over what the server takes at once */

#define BURST 200u     /* messages by pointer; who may be overtaken can hold 64 */
#define BURST_END 999u /* the size tells that it is over */

/* What the processes of a test share. */
typedef struct stage {
    engine_t *engine;
    atomic_uint ready;
    atomic_uint linked;
    atomic_uint go;
    atomic_uint received;
    uint64_t from;  /* what a sending process sends: numbers from here */
    uint64_t count; /* and how many */
    bool waits;     /* once `go` is set */
    uint32_t seen[MESSAGES];
} stage_t;

static stage_t *stage_new(void) {
    engine_t *engine = engine_start();
    stage_t *s = share(sizeof *s);
    s->engine = engine;
    s->count = MESSAGES;
    return s;
}

static ferry_t *on(stage_t *s, const char *machine) {
    engine_machine(s->engine, machine);
    return open_node(engine_space(s->engine));
}

/* ---- queues ---- */

static void send_numbers(void *arg) {
    stage_t *s = arg;
    ferry_t *node = on(s, "sender");
    if (s->waits) {
        await(&s->go, 1);
    }
    ferry_sender_t *tx = open_sender(node, "numbers", FERRY_QUEUE, NULL);
    for (uint64_t i = 0; i < s->count; i++) {
        send_number(tx, s->from + i);
    }
    close_sender(tx);
    close_node(node);
}

static void a_queue_keeps_its_order_and_ends(void) {
    stage_t *s = stage_new();
    pid_t sender = child_start(send_numbers, s);
    ferry_t *node = on(s, "receiver");
    ferry_receiver_t *rx = open_receiver(node, "numbers", FERRY_QUEUE, NULL);
    ferry_msg_t *m;
    for (uint64_t i = 0; i < MESSAGES; i++) {
        m = receive(rx);
        ferry_msg_info_t info = info_of(m);
        check_is(number_in(m), i);
        check_is(info.sequence, i + 1);
        check_is(info.attempt, 1);
        check(info.sender_node != ferry_node_id(node) && info.sender_node != 0);
        release(m);
    }
    check_error(ferry_recv(rx, PATIENCE, &m), -EPIPE, "");
    child_join(sender);
    close_receiver(rx);
    close_node(node);
    engine_stop(s->engine);
}

static const size_t sizes[] = {0, 1, 7, 8, 63, 64, 65, 1000, 4096, 65535, 65536, 1u << 20, (1u << 20) + 1, LARGE};
#define SIZES (sizeof sizes / sizeof sizes[0])

static void send_sizes(void *arg) {
    stage_t *s = arg;
    ferry_t *node = on(s, "sender");
    ferry_sender_t *tx = open_sender(node, "sizes", FERRY_QUEUE, NULL);
    for (size_t i = 0; i < SIZES; i++) {
        void *data;
        ferry_msg_t *m;
        check_is(ferry_msg_new(tx, sizes[i], PATIENCE, &data, &m), 0);
        fill(data, sizes[i], i);
        check_is(ferry_msg_set_tag(m, 1000 + i), 0);
        check_is(ferry_send_msg(tx, m, PATIENCE), 0);
        release(m);
    }
    close_sender(tx);
    close_node(node);
}

static void messages_of_all_sizes_arrive_whole(void) {
    stage_t *s = stage_new();
    pid_t sender = child_start(send_sizes, s);
    ferry_t *node = on(s, "receiver");
    ferry_receiver_t *rx = open_receiver(node, "sizes", FERRY_QUEUE, NULL);
    for (size_t i = 0; i < SIZES; i++) {
        ferry_msg_t *m = receive(rx);
        check_is(ferry_msg_size(m), sizes[i]);
        check(filled(ferry_msg_data(m), sizes[i], i));
        check_is(info_of(m).tag, 1000 + i);
        release(m);
    }
    child_join(sender);
    close_receiver(rx);
    close_node(node);
    engine_stop(s->engine);
}

static void receive_some_and_hold(void *arg) {
    stage_t *s = arg;
    ferry_t *node = on(s, "mortal");
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, NULL);
    atomic_fetch_add(&s->ready, 1);
    (void)receive(rx); /* never released */
    atomic_store(&s->received, 1);
    nap(60 * SECOND);
}

static void what_a_killed_receiver_held_goes_to_another_one(void) {
    stage_t *s = stage_new();
    pid_t mortal = child_start(receive_some_and_hold, s);
    await(&s->ready, 1);
    ferry_t *node = on(s, "here");
    ferry_sender_t *tx = open_sender(node, "work", FERRY_QUEUE, NULL);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    for (uint64_t i = 0; i < 10; i++) {
        send_number(tx, i);
    }
    await(&s->received, 1);
    child_kill(mortal);
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, NULL);
    bool seen[10] = {false};
    for (int i = 0; i < 10; i++) {
        ferry_msg_t *m = receive(rx);
        check(number_in(m) < 10 && !seen[number_in(m)]);
        check(number_in(m) != 0 || info_of(m).attempt == 2);
        seen[number_in(m)] = true;
        release(m);
    }
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
    engine_stop(s->engine);
}

static void send_and_be_killed(void *arg) {
    stage_t *s = arg;
    ferry_t *node = on(s, "sender");
    ferry_sender_t *tx = open_sender(node, "numbers", FERRY_QUEUE, NULL);
    send_number(tx, 7);
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    atomic_store(&s->ready, 1);
    nap(60 * SECOND);
}

static void a_receiver_hears_of_its_senders_death(void) {
    stage_t *s = stage_new();
    pid_t sender = child_start(send_and_be_killed, s);
    ferry_t *node = on(s, "receiver");
    ferry_receiver_t *rx = open_receiver(node, "numbers", FERRY_QUEUE, NULL);
    ferry_msg_t *m;
    check_is(receive_number(rx), 7);
    await(&s->ready, 1);
    child_kill(sender);
    check_error(ferry_recv(rx, PATIENCE, &m), -EPIPE, "");
    close_receiver(rx);
    close_node(node);
    engine_stop(s->engine);
}

static void near_and_far_receivers_share_a_queue(void) {
    stage_t *s = stage_new();
    s->waits = true;
    pid_t sender = child_start(send_numbers, s);
    ferry_t *a = on(s, "a");
    ferry_receiver_t *one = open_receiver(a, "numbers", FERRY_QUEUE, NULL);
    ferry_t *b = on(s, "b");
    ferry_receiver_t *two = open_receiver(b, "numbers", FERRY_QUEUE, NULL);
    ferry_receiver_t *both[] = {one, two};
    uint64_t last[2] = {0, 0};
    atomic_store(&s->go, 1);
    for (uint64_t got = 0; got < MESSAGES;) {
        for (int i = 0; i < 2; i++) {
            ferry_msg_t *m;
            /* All there is: on a busy machine each wait in vain for the other one may take long, and the sender waits
             * for the last. */
            while (ferry_recv(both[i], MILLISECOND, &m) == 0) {
                check(number_in(m) + 1 > last[i]);
                last[i] = number_in(m) + 1;
                check_is(++s->seen[number_in(m)], 1);
                got++;
                release(m);
            }
        }
    }
    check(last[0] > 0 && last[1] > 0);
    child_join(sender);
    close_receiver(one);
    close_receiver(two);
    close_node(a);
    close_node(b);
    engine_stop(s->engine);
}

/* ---- topics ---- */

static void subscribe(stage_t *s, const char *machine) {
    ferry_t *node = on(s, machine);
    ferry_receiver_t *rx = open_receiver(node, "news", FERRY_TOPIC, NULL);
    ferry_msg_t *m;
    atomic_fetch_add(&s->ready, 1);
    check_is(receive_number(rx), GREETING);
    atomic_fetch_add(&s->linked, 1);
    for (uint64_t i = 0; i < MESSAGES; i++) {
        while (number_in(m = receive(rx)) == GREETING && i == 0)
            release(m);
        check_is(number_in(m), i);
        check_is(info_of(m).lost_before, 0);
        release(m);
    }
    check_error(ferry_recv(rx, PATIENCE, &m), -EPIPE, "");
    close_receiver(rx);
    close_node(node);
}

static void subscribe_a(void *arg) {
    subscribe(arg, "a");
}

static void subscribe_b(void *arg) {
    subscribe(arg, "b");
}

static void a_topic_reaches_all_machines_whole(void) {
    stage_t *s = stage_new();
    pid_t a = child_start(subscribe_a, s);
    pid_t b = child_start(subscribe_b, s);
    await(&s->ready, 2);
    ferry_t *node = on(s, "publisher");
    ferry_sender_t *tx = open_sender(node, "news", FERRY_TOPIC, NULL);
    for (int64_t end = monotonic() + PATIENCE; atomic_load(&s->linked) < 2; nap(5 * MILLISECOND)) {
        check(monotonic() < end);
        send_number(tx, GREETING); /* who was not linked within a second misses the first ones */
    }
    for (uint64_t i = 0; i < MESSAGES; i++) {
        send_number(tx, i);
    }
    close_sender(tx);
    child_join(a);
    child_join(b);
    close_node(node);
    engine_stop(s->engine);
}

static void receive_to_the_end_of_a_burst(void *arg) {
    stage_t *s = arg;
    ferry_t *node = on(s, "a");
    ferry_receiver_t *rx = open_receiver(node, "frames", FERRY_TOPIC, NULL);
    atomic_store(&s->ready, 1);
    for (size_t size = 0; size != BURST_END;) {
        ferry_msg_t *m = receive(rx);
        size = ferry_msg_size(m);
        check(filled(ferry_msg_data(m), size, size));
        release(m);
    }
    atomic_store(&s->received, 1);
    close_receiver(rx);
    close_node(node);
}

/* The last messages come, however many were lost before. */
static void a_burst_that_nobody_may_hold_back_does_not_stop_a_topic(void) {
    static unsigned char frame[20000];
    stage_t *s = stage_new();
    pid_t receiver = child_start(receive_to_the_end_of_a_burst, s);
    await(&s->ready, 1);
    const ferry_contract_t contract = {.size = sizeof contract, .hold = FERRY_HOLD_NEVER};
    ferry_t *node = on(s, "sender");
    ferry_sender_t *tx = open_sender(node, "frames", FERRY_TOPIC, &contract);
    fill(frame, sizeof frame, sizeof frame);
    for (unsigned i = 0; i < BURST; i++) {
        check_is(ferry_send(tx, frame, sizeof frame, FERRY_NOW), 0);
    }
    fill(frame, BURST_END, BURST_END);
    for (int64_t end = monotonic() + PATIENCE; !atomic_load(&s->received) && monotonic() < end;) {
        nap(20 * MILLISECOND);
        check_is(ferry_send(tx, frame, BURST_END, FERRY_NOW), 0);
    }
    check_is(atomic_load(&s->received), 1);
    close_sender(tx);
    child_join(receiver);
    close_node(node);
    engine_stop(s->engine);
}

static void publish_and_stay(void *arg) {
    stage_t *s = arg;
    const ferry_contract_t keeps = {.size = sizeof keeps, .retain = 3};
    ferry_t *node = on(s, "publisher");
    ferry_sender_t *tx = open_sender(node, "motd", FERRY_TOPIC, &keeps);
    for (uint64_t i = 0; i < 5; i++) {
        send_number(tx, i);
    }
    atomic_store(&s->ready, 1);
    await(&s->go, 1);
    send_number(tx, 5);
    close_sender(tx);
    close_node(node);
}

static void late_subscribers_elsewhere_get_what_is_retained(void) {
    stage_t *s = stage_new();
    pid_t publisher = child_start(publish_and_stay, s);
    await(&s->ready, 1);
    ferry_t *a = on(s, "a");
    ferry_receiver_t *first = open_receiver(a, "motd", FERRY_TOPIC, NULL);
    for (uint64_t i = 2; i < 5; i++) {
        check_is(receive_number(first), i);
    }
    ferry_t *b = on(s, "b");
    ferry_receiver_t *second = open_receiver(b, "motd", FERRY_TOPIC, NULL);
    for (uint64_t i = 2; i < 5; i++) {
        check_is(receive_number(second), i);
    }
    atomic_store(&s->go, 1);
    check_is(receive_number(first), 5);
    check_is(receive_number(second), 5);
    child_join(publisher);
    close_receiver(first);
    close_receiver(second);
    close_node(a);
    close_node(b);
    engine_stop(s->engine);
}

static const ferry_contract_t frames = {.size = sizeof frames, .type_name = "frame", .type_size = 64};
static const ferry_contract_t poses = {.size = sizeof poses, .type_name = "pose"};

static void publish_a_pose(void *arg) {
    stage_t *s = arg;
    ferry_contract_t contract = poses;
    contract.retain = 1; /* whoever is linked late shall have it, too */
    await(&s->ready, 1);
    ferry_t *node = on(s, "publisher");
    ferry_sender_t *tx = open_sender(node, "cam", FERRY_TOPIC, &contract);
    send_number(tx, 4711);
    await(&s->received, 1);
    close_sender(tx);
    close_node(node);
}

/* A link that may still come is waited for 20 s. Nobody shall wait for one that is refused. */
#define WITHOUT_THAT (15000 * MILLISECOND)

static void a_receiver_that_refuses_a_topic_does_not_delay_it_for_others(void) {
    static const char frame[64];
    ferry_msg_t *m;
    stage_t *s = stage_new();
    pid_t publisher = child_start(publish_a_pose, s);
    ferry_t *node = on(s, "a");
    ferry_receiver_t *refuses = open_receiver(node, "cam", FERRY_TOPIC, NULL);
    ferry_sender_t *near = open_sender(node, "cam", FERRY_TOPIC, &frames); /* it wants frames from now on */
    check_is(ferry_send(near, frame, sizeof frame, PATIENCE), 0);
    release(receive(refuses));
    close_sender(near);
    ferry_receiver_t *takes = open_receiver(node, "cam", FERRY_TOPIC, NULL);
    atomic_store(&s->ready, 1);
    check_is(ferry_recv(takes, WITHOUT_THAT, &m), 0);
    check_is(number_in(m), 4711);
    release(m);
    atomic_store(&s->received, 1);
    child_join(publisher);
    close_receiver(refuses);
    close_receiver(takes);
    close_node(node);
    engine_stop(s->engine);
}

static void publish_one(void *arg) {
    stage_t *s = arg;
    await(&s->ready, 1);
    ferry_t *node = on(s, "publisher");
    ferry_sender_t *tx = open_sender(node, "news", FERRY_TOPIC, NULL);
    send_number(tx, 1);
    uint64_t undelivered = 0;
    check_is(ferry_sender_close(tx, WITHOUT_THAT, &undelivered), 0);
    check_is(undelivered, 0);
    close_node(node);
}

static void receivers_that_a_node_may_not_link_do_not_delay_a_topic(void) {
    const ferry_options_t options = {.max_links_per_peer = 1};
    ferry_t *node = NULL;
    stage_t *s = stage_new();
    pid_t publisher = child_start(publish_one, s);
    engine_machine(s->engine, "a");
    check_is(ferry_open(engine_space(s->engine), &options, &node), 0);
    ferry_receiver_t *one = open_receiver(node, "news", FERRY_TOPIC, NULL);
    ferry_receiver_t *other = open_receiver(node, "news", FERRY_TOPIC, NULL);
    atomic_store(&s->ready, 1);
    child_join(publisher);
    close_receiver(one);
    close_receiver(other);
    close_node(node);
    engine_stop(s->engine);
}

/* ---- what goes wrong ---- */

static void receive_through_a_restart(void *arg) {
    stage_t *s = arg;
    ferry_t *node = on(s, "receiver");
    ferry_receiver_t *rx = open_receiver(node, "numbers", FERRY_QUEUE, NULL);
    atomic_store(&s->ready, 1);
    for (uint64_t i = 0; i < MESSAGES; i++) {
        check_is(receive_number(rx), i);
        atomic_store(&s->received, (unsigned)i + 1);
    }
    close_receiver(rx);
    close_node(node);
}

static void nothing_is_lost_or_doubled_when_the_server_is_killed(void) {
    stage_t *s = stage_new();
    pid_t receiver = child_start(receive_through_a_restart, s);
    await(&s->ready, 1);
    ferry_t *node = on(s, "sender");
    ferry_sender_t *tx = open_sender(node, "numbers", FERRY_QUEUE, NULL);
    for (uint64_t i = 0; i < MESSAGES; i++) {
        if (i == MESSAGES / 3) {
            engine_kill(s->engine);
        }
        if (i == 2 * MESSAGES / 3) {
            engine_restart(s->engine);
        }
        send_number(tx, i);
    }
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    close_sender(tx);
    child_join(receiver);
    close_node(node);
    engine_stop(s->engine);
}

/* What nobody elsewhere has told within a second is not compared: then it is tried again. */
static int open_until_refused(ferry_t *node, ferry_kind_t kind, const ferry_contract_t *contract) {
    ferry_sender_t *tx = NULL;
    int r;
    for (int64_t end = monotonic() + PATIENCE; (r = ferry_sender_open(node, "cam", kind, contract, &tx)) == 0;) {
        drop_sender(tx);
        check(monotonic() < end);
    }
    return r;
}

static void contracts_are_compared_across_machines(void) {
    stage_t *s = stage_new();
    ferry_t *a = on(s, "a");
    const ferry_receiver_options_t wants = {.size = sizeof wants, .contract = &frames};
    ferry_receiver_t *rx = open_receiver(a, "cam", FERRY_QUEUE, &wants);
    ferry_t *b = on(s, "b");
    check_error(open_until_refused(b, FERRY_QUEUE, &poses), -EPROTOTYPE, "frame");
    check_error(open_until_refused(b, FERRY_TOPIC, NULL), -EPROTOTYPE, "queue");
    close_receiver(rx);
    close_node(a);
    close_node(b);
    engine_stop(s->engine);
}

static void open_in_a_child(void *arg) {
    ferry_t *node;
    check_error(ferry_open(engine_space(((stage_t *)arg)->engine), NULL, &node), -ECHILD, "forked");
    close_node(open_node("local"));
}

static void a_child_of_a_networked_process_is_told_that_it_cannot_be_one(void) {
    stage_t *s = stage_new();
    ferry_t *node = on(s, "a");
    child_join(child_start(open_in_a_child, s));
    close_node(node);
    engine_stop(s->engine);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(a_queue_keeps_its_order_and_ends),
        TEST(messages_of_all_sizes_arrive_whole),
        TEST(what_a_killed_receiver_held_goes_to_another_one),
        TEST(a_receiver_hears_of_its_senders_death),
        TEST(near_and_far_receivers_share_a_queue),
        TEST(a_topic_reaches_all_machines_whole),
        TEST(a_burst_that_nobody_may_hold_back_does_not_stop_a_topic),
        TEST(late_subscribers_elsewhere_get_what_is_retained),
        TEST(a_receiver_that_refuses_a_topic_does_not_delay_it_for_others),
        TEST(receivers_that_a_node_may_not_link_do_not_delay_a_topic),
        TEST(nothing_is_lost_or_doubled_when_the_server_is_killed),
        TEST(contracts_are_compared_across_machines),
        TEST(a_child_of_a_networked_process_is_told_that_it_cannot_be_one),
    };
    return run_suite("net_channels", tests, sizeof tests / sizeof tests[0], argc, argv);
}
