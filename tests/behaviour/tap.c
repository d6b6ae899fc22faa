/* SPDX-License-Identifier: MIT
 *
 * tap.c - receivers that only look: what they see, and that nobody notices them.
 */
#include "harness.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

static const ferry_receiver_options_t looking = {.tap = 1};

static void expect_end(ferry_receiver_t *rx) {
    ferry_msg_t *m = NULL;
    check_error(ferry_recv(rx, PATIENCE, &m), -EPIPE, "ended");
}

/* ---- what a tap sees ---- */

enum { PLAIN = 300 };

typedef struct scene {
    ferry_kind_t kind;
    atomic_uint watched; /* the tap is open */
    atomic_uint taken;
} scene_t;

static void take_all(ferry_t *node, void *arg) {
    scene_t *scene = arg;
    ferry_receiver_t *rx = open_receiver(node, "flow", scene->kind, NULL);
    atomic_fetch_add(&scene->watched, 1);
    for (uint64_t i = 0; i < PLAIN; i++)
        check_is(receive_number(rx), i);
    atomic_store(&scene->taken, 1);
    expect_end(rx);
    close_receiver(rx);
}

static void send_all(ferry_t *node, void *arg) {
    scene_t *scene = arg;
    await(&scene->watched, 2);
    ferry_sender_t *tx = open_sender(node, "flow", scene->kind, NULL);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    for (uint64_t i = 0; i < PLAIN; i++)
        send_number(tx, i);
    check_is(ferry_sender_flush(tx, PATIENCE), 0); /* the tap has looked at nothing yet, and that does not matter */
    check_is(sender_stats(tx).receivers, 1);
    close_sender(tx);
}

static void look_at_all(where_t where, ferry_kind_t kind) {
    scene_t *scene = share(sizeof *scene);
    scene->kind = kind;
    crew_t *crew = crew_begin(where);
    crew_add(crew, take_all, scene);
    unsigned sender = crew_add(crew, send_all, scene);
    ferry_receiver_t *tap = open_receiver(crew_node(crew), "flow", FERRY_QUEUE, &looking);
    atomic_fetch_add(&scene->watched, 1);
    crew_join(crew, sender);
    await(&scene->taken, 1);
    for (uint64_t i = 0; i < PLAIN; i++) {
        ferry_msg_t *m = receive(tap);
        check_is(number_in(m), i);
        check_is(info_of(m).sequence, i + 1);
        check_is(info_of(m).lost_before, 0);
        release(m);
    }
    expect_end(tap);
    close_receiver(tap);
    crew_end(crew);
}

static void a_tap_sees_what_goes_through_a_queue_and_takes_nothing(where_t where) {
    look_at_all(where, FERRY_QUEUE);
}

static void a_tap_sees_what_goes_over_a_topic_and_holds_nobody_back(where_t where) {
    look_at_all(where, FERRY_TOPIC);
}

static void a_tap_sees_several_senders_and_whatever_kind_comes_next(void) {
    ferry_t *node = open_node("test");
    ferry_t *other = open_node("test");
    ferry_receiver_options_t options = {.tap = 1, .senders = 3};
    ferry_receiver_t *tap = open_receiver(node, "flow", FERRY_TOPIC, &options);
    ferry_sender_t *a = open_sender(other, "flow", FERRY_QUEUE, NULL);
    ferry_sender_t *b = open_sender(node, "flow", FERRY_QUEUE, &(ferry_contract_t){.type_name = "one"});
    send_number(a, 1); /* nobody receives: it waits */
    send_number(b, 2);
    check_is(receive_number(tap) + receive_number(tap), 3);
    check_is(drop_sender(a), 1);
    check_is(drop_sender(b), 1);
    ferry_sender_t *c = open_sender(other, "flow", FERRY_TOPIC, &(ferry_contract_t){.type_name = "another"});
    send_number(c, 3);
    check_is(receive_number(tap), 3);
    close_sender(c);
    expect_end(tap);
    close_receiver(tap);
    close_node(other);
    close_node(node);
}

static void a_tap_shows_claims_large_messages_and_what_is_sent_by_pointer(void) {
    ferry_t *node = open_node("test");
    ferry_receiver_t *tap = open_receiver(node, "flow", FERRY_QUEUE, &looking);
    ferry_receiver_t *rx = open_receiver(node, "flow", FERRY_QUEUE, NULL);
    ferry_sender_t *tx = open_sender(node, "flow", FERRY_QUEUE, NULL);
    const size_t sizes[] = {40, 3000, 100000};
    for (unsigned i = 0; i < 3; i++) {
        void *data = NULL;
        check_is(ferry_claim(tx, sizes[i], PATIENCE, &data), 0);
        fill(data, sizes[i], i);
        check_is(ferry_commit(tx, sizes[i]), 0);
        ferry_msg_t *m = NULL;
        check_is(ferry_msg_new(tx, sizes[i], PATIENCE, &data, &m), 0);
        fill(data, sizes[i], 10 + i);
        check_is(ferry_send_msg(tx, m, PATIENCE), 0);
        release(m);
    }
    for (unsigned i = 0; i < 6; i++) {
        ferry_msg_t *seen = receive(tap);
        ferry_msg_t *got = receive(rx);
        check_is(ferry_msg_size(seen), sizes[i / 2]);
        check(filled(ferry_msg_data(seen), sizes[i / 2], i % 2 * 10 + i / 2));
        check(memcmp(ferry_msg_data(seen), ferry_msg_data(got), sizes[i / 2]) == 0);
        release(seen);
        release(got);
    }
    close_sender(tx);
    close_receiver(rx);
    close_receiver(tap);
    close_node(node);
}

/* ---- that nobody notices it ---- */

static void a_tap_that_does_not_look_uses_no_quota_up(void) {
    enum { MESSAGES = 400, SIZE = 20000 };
    static unsigned char bytes[SIZE];
    ferry_t *node = open_node("test");
    ferry_receiver_t *tap = open_receiver(node, "flow", FERRY_QUEUE, &looking);
    ferry_receiver_t *rx = open_receiver(node, "flow", FERRY_QUEUE, NULL);
    ferry_sender_t *tx = open_sender(node, "flow", FERRY_QUEUE, &(ferry_contract_t){.quota = 1 << 20});
    for (unsigned i = 0; i < MESSAGES; i++) {
        fill(bytes, SIZE, i);
        ferry_pollitem_t room = {.sender = tx, .events = FERRY_POLL_OUT};
        check_is(ferry_poll(&room, 1, FERRY_NOW), 1);
        check_is(ferry_send(tx, bytes, SIZE, FERRY_NOW), 0);
        release(receive(rx));
    }
    uint64_t got = 0;
    uint64_t lost = 0;
    for (bool last = false; !last; got++) {
        ferry_msg_t *m = receive(tap);
        lost += info_of(m).lost_before;
        check(filled(ferry_msg_data(m), SIZE, info_of(m).sequence - 1));
        last = info_of(m).sequence == MESSAGES;
        release(m);
    }
    check_is(got + lost, MESSAGES);
    check(lost > 0 && got > 1);
    check_is(receiver_stats(tap).lost, lost);
    close_sender(tx);
    close_receiver(rx);
    close_receiver(tap);
    close_node(node);
}

static void a_message_that_only_a_tap_may_still_look_at_is_edited_in_place(void) {
    ferry_t *node = open_node("test");
    ferry_receiver_t *tap = open_receiver(node, "flow", FERRY_QUEUE, &looking);
    ferry_receiver_t *rx = open_receiver(node, "flow", FERRY_QUEUE, NULL);
    ferry_sender_t *tx = open_sender(node, "flow", FERRY_QUEUE, NULL);
    ferry_msg_t *m = NULL;
    void *data = NULL;
    check_is(ferry_msg_new(tx, 5000, PATIENCE, &data, &m), 0);
    fill(data, 5000, 1);
    check_is(ferry_send_msg(tx, m, PATIENCE), 0);
    release(receive(rx));
    check_is(ferry_msg_edit(m, &data), 0);
    fill(data, 5000, 2);
    check_is(ferry_send_msg(tx, m, PATIENCE), 0);
    release(receive(rx));
    ferry_msg_t *seen = receive(tap);
    check_is(info_of(seen).sequence, 2);
    check_is(info_of(seen).lost_before, 1);
    check(filled(ferry_msg_data(seen), 5000, 2));
    release(seen);
    release(m);
    close_sender(tx);
    close_receiver(rx);
    close_receiver(tap);
    close_node(node);
}

/* ---- at full speed ---- */

enum { STREAM = UNDER_SANITIZER ? 4000 : 40000 };

static size_t size_of(uint64_t i) {
    return i % 64 == 63 ? 4000 : 8 + i % 100;
}

typedef struct stream {
    atomic_uint tapped;
    atomic_uint go;
} stream_t;

static void pour(void *arg) {
    stream_t *s = arg;
    static unsigned char bytes[4000];
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "flow", FERRY_QUEUE, &(ferry_contract_t){.quota = 1 << 20});
    await(&s->go, 1);
    for (uint64_t i = 0; i < STREAM; i++) {
        fill(bytes, size_of(i), i);
        check_is(ferry_send(tx, bytes, size_of(i), PATIENCE), 0);
    }
    close_sender(tx);
    close_node(node);
}

static void drain(void *arg) {
    stream_t *s = arg;
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "flow", FERRY_QUEUE, NULL);
    atomic_fetch_add(&s->tapped, 1);
    for (uint64_t i = 0; i < STREAM; i++) {
        ferry_msg_t *m = receive(rx);
        check_is(ferry_msg_size(m), size_of(i));
        check(filled(ferry_msg_data(m), size_of(i), i));
        release(m);
    }
    close_receiver(rx);
    close_node(node);
}

static void a_tap_of_a_queue_at_full_speed_sees_whole_messages_or_counts_them_as_lost(void) {
    stream_t *s = share(sizeof *s);
    pid_t sender = child_start(pour, s);
    pid_t receiver = child_start(drain, s);
    ferry_t *node = open_node("test");
    ferry_receiver_t *tap = open_receiver(node, "flow", FERRY_QUEUE, &looking);
    await(&s->tapped, 1);
    while (ferry_receiver_senders(tap) < 1)
        nap(MILLISECOND);
    atomic_store(&s->go, 1);
    uint64_t next = 0;
    ferry_msg_t *m = NULL;
    int r = 0;
    while ((r = ferry_recv(tap, PATIENCE, &m)) == 0) {
        uint64_t i = info_of(m).sequence - 1;
        check_is(i, next + info_of(m).lost_before);
        check_is(ferry_msg_size(m), size_of(i));
        check(filled(ferry_msg_data(m), size_of(i), i));
        release(m);
        next = i + 1;
    }
    check_is(r, -EPIPE);
    check(next <= STREAM && next > 0);
    close_receiver(tap);
    close_node(node);
    child_join(sender);
    child_join(receiver);
}

/* ---- stopped and killed ---- */

static void look_on(void *arg) {
    stream_t *s = arg;
    ferry_t *node = open_node("test");
    ferry_receiver_t *tap = open_receiver(node, "flow", FERRY_QUEUE, &looking);
    atomic_store(&s->tapped, 1);
    for (;;) {
        ferry_msg_t *m = NULL;
        if (ferry_recv(tap, PATIENCE, &m) == 0)
            release(m);
    }
}

static void send_beside_a_tap_that_is(int signal) {
    static unsigned char bytes[4000];
    stream_t *s = share(sizeof *s);
    pid_t tapper = child_start(look_on, s);
    await(&s->tapped, 1);
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "flow", FERRY_QUEUE, NULL);
    ferry_sender_t *tx = open_sender(node, "flow", FERRY_QUEUE, &(ferry_contract_t){.quota = 1 << 20});
    for (uint64_t i = 0; i < 2000; i++) {
        if (i == 100) {
            check_is(kill(tapper, signal), 0);
            if (signal == SIGSTOP)
                check_is(waitpid(tapper, NULL, WUNTRACED), tapper);
        }
        if (i == 200) { /* newcomers do not wait for it either */
            ferry_sender_t *another = open_sender(node, "flow", FERRY_QUEUE, NULL);
            close_sender(another);
        }
        fill(bytes, size_of(i), i);
        check_is(ferry_send(tx, bytes, size_of(i), PATIENCE), 0);
        ferry_msg_t *m = receive(rx);
        check(filled(ferry_msg_data(m), size_of(i), i));
        release(m);
    }
    check_is(ferry_sender_flush(tx, FERRY_NOW), 0);
    close_sender(tx);
    close_receiver(rx);
    child_kill(tapper);
    close_node(node);
}

static void a_tap_that_is_stopped_holds_nobody_back(void) {
    send_beside_a_tap_that_is(SIGSTOP);
}

static void a_tap_that_is_killed_takes_nothing_along(void) {
    send_beside_a_tap_that_is(SIGKILL);
}

static void what_a_tap_has_looked_at_is_not_in_use(void) {
    char bytes[5000] = {0};
    ferry_t *node = open_node("test");
    ferry_receiver_t *tap = open_receiver(node, "flow", FERRY_TOPIC, &looking);
    ferry_sender_t *tx = open_sender(node, "flow", FERRY_TOPIC, NULL);
    for (unsigned i = 0; i < 4; i++) {
        check_is(ferry_send(tx, bytes, sizeof bytes, PATIENCE), 0);
    }
    check_is(sender_stats(tx).pool_blocks, 4); /* it has not looked yet, and still sees all */
    for (unsigned left = 4; left-- > 0;) {
        release(receive(tap));
        check_is(sender_stats(tx).pool_blocks, left);
    }
    close_sender(tx);
    close_receiver(tap);
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST_ALL(a_tap_sees_what_goes_through_a_queue_and_takes_nothing),
        TEST_ALL(a_tap_sees_what_goes_over_a_topic_and_holds_nobody_back),
        TEST(a_tap_sees_several_senders_and_whatever_kind_comes_next),
        TEST(a_tap_shows_claims_large_messages_and_what_is_sent_by_pointer),
        TEST(a_tap_that_does_not_look_uses_no_quota_up),
        TEST(a_message_that_only_a_tap_may_still_look_at_is_edited_in_place),
        TEST(a_tap_of_a_queue_at_full_speed_sees_whole_messages_or_counts_them_as_lost),
        TEST(what_a_tap_has_looked_at_is_not_in_use),
        TEST(a_tap_that_is_stopped_holds_nobody_back),
        TEST(a_tap_that_is_killed_takes_nothing_along),
    };
    return run_suite("tap", tests, sizeof tests / sizeof tests[0], argc, argv);
}
