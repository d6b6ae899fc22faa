/* SPDX-License-Identifier: MIT
 *
 * overstay.c - receivers that must be done within a time: who holds a message for longer loses it to another one, is
 * told, and does no harm.
 */
#include "harness.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

#define WITHIN (40 * MILLISECOND)
#define LONG (3600 * SECOND)

typedef struct scene {
    atomic_uint step;
    atomic_uint done;
    atomic_uint count;
    atomic_uint released[256];
} scene_t;

static ferry_receiver_t *open_bounded(ferry_t *node, int64_t within, uint32_t prefetch) {
    ferry_receiver_options_t options = {.ack_within = within, .prefetch = prefetch};
    return open_receiver(node, "work", FERRY_QUEUE, &options);
}

/* ---- another one gets it ---- */

static void hold_too_long(ferry_t *node, void *arg) {
    scene_t *scene = arg;
    ferry_receiver_t *rx = open_bounded(node, WITHIN, 0);
    atomic_fetch_add(&scene->step, 1);
    ferry_msg_t *m = receive(rx);
    check_is(number_in(m), 5);
    atomic_fetch_add(&scene->step, 1);
    await(&scene->done, 1);
    check_error(ferry_msg_progress(m), -ESTALE, "work ack_within");
    check_is(number_in(m), 5); /* its bytes stay */
    check_error(ferry_msg_release(m), -ESTALE, "work ack_within another");
    check_is(receiver_stats(rx).held, 0);
    check_is(receive_number(rx), 6); /* and it takes part again */
    close_receiver(rx);
}

static void hold_for_too_long(where_t where, const ferry_contract_t *contract) {
    scene_t *scene = share(sizeof *scene);
    crew_t *crew = crew_begin(where);
    crew_add(crew, hold_too_long, scene);
    ferry_t *node = crew_node(crew);
    ferry_sender_t *tx = open_sender(node, "work", FERRY_QUEUE, contract);
    await(&scene->step, 1);
    send_number(tx, 5);
    await(&scene->step, 2);
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, NULL);
    ferry_msg_t *m = receive(rx);
    check_is(number_in(m), 5);
    check_is(info_of(m).attempt, 2);
    release(m);
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    close_receiver(rx);
    atomic_store(&scene->done, 1);
    send_number(tx, 6);
    close_sender(tx);
    crew_end(crew);
}

static void what_is_held_too_long_goes_to_another_receiver(where_t where) {
    hold_for_too_long(where, NULL);
}

static void what_was_sent_by_rendezvous_does_so_too(where_t where) {
    const ferry_contract_t meets = {.rendezvous = 1};
    hold_for_too_long(where, &meets);
}

/* What lies ready for one that is stopped goes to others, too. */
static void take_one_and_be_stopped(void *arg) {
    scene_t *scene = arg;
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_bounded(node, WITHIN, 10);
    atomic_fetch_add(&scene->step, 1);
    ferry_msg_t *m = receive(rx);
    atomic_fetch_add(&scene->step, 1);
    await(&scene->done, 1);
    check_is(ferry_msg_release(m), -ESTALE);
    check_is(receive_number(rx), 100);
    check_is(receiver_stats(rx).messages, 2); /* what others got meanwhile it has never had */
    check_is(receiver_stats(rx).bytes, 2 * sizeof(uint64_t));
    close_receiver(rx);
    close_node(node);
}

static void a_stopped_receivers_messages_go_to_others(void) {
    scene_t *scene = share(sizeof *scene);
    pid_t pid = child_start(take_one_and_be_stopped, scene);
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "work", FERRY_QUEUE, NULL);
    await(&scene->step, 1);
    for (uint64_t i = 0; i < 10; i++)
        send_number(tx, i);
    await(&scene->step, 2);
    check_is(kill(pid, SIGSTOP), 0);
    ferry_receiver_options_t nothing = {.prefetch = 1};
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, &nothing);
    bool seen[10] = {false};
    for (unsigned i = 0; i < 10; i++) {
        ferry_msg_t *m = receive(rx);
        check(number_in(m) < 10 && !seen[number_in(m)]);
        seen[number_in(m)] = true;
        check_is(info_of(m).attempt, number_in(m) == 0 ? 2 : 1);
        release(m);
    }
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    close_receiver(rx);
    atomic_store(&scene->done, 1);
    check_is(kill(pid, SIGCONT), 0);
    send_number(tx, 100);
    close_sender(tx);
    child_join(pid);
    close_node(node);
}

/* One that did not fit, and was too late to be asked for again with more room. */
static void what_another_one_has_is_not_received_into_a_buffer(void) {
    const struct {
        int64_t timeout;
        int answer;
    } cases[] = {
        {FERRY_NOW, -EAGAIN},
        {1, -ETIMEDOUT}, /* over with the one that is too late */
        {MILLISECOND, -ETIMEDOUT},
    };
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "work", FERRY_QUEUE, NULL);
    ferry_receiver_t *slow = open_bounded(node, WITHIN, 0);
    unsigned char large[100];
    uint64_t small = 0;
    size_t len = 0;
    fill(large, sizeof large, 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_is(ferry_send(tx, large, sizeof large, PATIENCE), 0);
        check_error(ferry_recv_into(slow, &small, sizeof small, PATIENCE, &len), -EMSGSIZE, "");
        ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, NULL);
        ferry_msg_t *m = receive(rx);
        check_is(info_of(m).attempt, 2);
        check_error(ferry_recv_into(slow, large, sizeof large, cases[i].timeout, &len), cases[i].answer, "");
        release(m);
        close_receiver(rx);
    }
    send_number(tx, 7);
    check_is(ferry_recv_into(slow, large, sizeof large, PATIENCE, &len), 0);
    check_is(len, sizeof small);
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    close_sender(tx);
    close_receiver(slow);
    close_node(node);
}

static void the_only_receiver_gets_it_again(void) {
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_bounded(node, WITHIN, 0);
    ferry_sender_t *tx = open_sender(node, "work", FERRY_QUEUE, NULL);
    send_number(tx, 1);
    ferry_msg_t *first = receive(rx);
    ferry_msg_t *second = receive(rx);
    check_is(number_in(second), 1);
    check_is(info_of(second).attempt, 2);
    check_error(ferry_msg_reject(first, 0), -ESTALE, "work");
    check_error(ferry_msg_release(first), -EBADF, "released");
    int answer = ferry_msg_release(second); /* unless this machine stood still */
    check(answer == 0 || answer == -ESTALE);
    if (answer == -ESTALE)
        release(receive(rx));
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
}

/* ---- nobody else gets it ---- */

static void who_tells_of_progress_or_is_quick_keeps_it(void) {
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_bounded(node, 5 * SECOND, 0);
    ferry_receiver_t *idle = open_bounded(node, LONG, 1);
    ferry_sender_t *tx = open_sender(node, "work", FERRY_QUEUE, NULL);
    ferry_msg_t *m[2], *none;
    send_number(tx, 1);
    send_number(tx, 2);
    ferry_receiver_t *both[2] = {rx, idle};
    for (unsigned i = 0; i < 2; i++)
        m[i] = receive(both[i]);
    int64_t end = monotonic() + 150 * MILLISECOND;
    while (monotonic() < end) {
        check_is(ferry_msg_progress(m[0]), 0);
        check_is(ferry_msg_progress(m[1]), 0);
        check_is(ferry_recv(rx, 10 * MILLISECOND, &none), -ETIMEDOUT);
    }
    release(m[0]);
    check_is(ferry_msg_reject(m[1], 0), 0);
    while (ferry_recv(rx, MILLISECOND, &none) != 0 && ferry_recv(idle, MILLISECOND, &none) != 0)
        continue;
    check_is(info_of(none).attempt, 2);
    release(none);
    close_sender(tx);
    close_receiver(rx);
    close_receiver(idle);
    close_node(node);
}

static void progress_without_a_limit_does_nothing(void) {
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, NULL);
    ferry_receiver_t *none = NULL;
    ferry_sender_t *tx = open_sender(node, "work", FERRY_QUEUE, NULL);
    ferry_msg_t *own;
    void *data;
    send_number(tx, 1);
    ferry_msg_t *m = receive(rx);
    check_is(ferry_msg_progress(m), 0);
    release(m);
    check_error(ferry_msg_progress(m), -EBADF, "released");
    check_is(ferry_msg_new(tx, 8, PATIENCE, &data, &own), 0);
    check_error(ferry_msg_progress(own), -EINVAL, "received");
    release(own);
    ferry_receiver_options_t wrong = {.ack_within = -1};
    check_error(ferry_receiver_open(node, "work", FERRY_QUEUE, &wrong, &none), -EINVAL, "ack_within -1");
    wrong.ack_within = SECOND;
    check_error(ferry_receiver_open(node, "news", FERRY_TOPIC, &wrong, &none), -EINVAL, "ack_within queues");
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
}

/* ---- exactly one release ---- */

static void *release_here(void *m) {
    return (void *)(intptr_t)ferry_msg_release(m);
}

/* Holds everything for about as long as it may, so that releases and deadlines meet. */
static void race(ferry_t *node, void *arg) {
    scene_t *scene = arg;
    ferry_receiver_t *rx = open_bounded(node, 2 * MILLISECOND, 4);
    ferry_msg_t *m;
    atomic_fetch_add(&scene->step, 1);
    for (unsigned i = 0; atomic_load(&scene->done) == 0; i++) {
        if (ferry_recv(rx, MILLISECOND, &m) != 0)
            continue;
        uint64_t number = number_in(m);
        check(number < 256);
        nap((int64_t)(i % 5) * MILLISECOND / 2 + (int64_t)(i % 7) * 50000);
        int answer;
        if (i % 3 == 0) {
            pthread_t thread;
            void *result;
            check_is(pthread_create(&thread, NULL, release_here, m), 0);
            check_is(pthread_join(thread, &result), 0);
            answer = (int)(intptr_t)result;
        } else {
            answer = ferry_msg_release(m);
        }
        check(answer == 0 || answer == -ESTALE);
        if (answer == 0) {
            check_is(atomic_fetch_add(&scene->released[number], 1), 0);
            atomic_fetch_add(&scene->count, 1);
        }
    }
    close_receiver(rx);
}

static void whatever_meets_a_deadline_is_released_exactly_once(where_t where) {
    scene_t *scene = share(sizeof *scene);
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < 3; i++)
        crew_add(crew, race, scene);
    ferry_sender_t *tx = open_sender(crew_node(crew), "work", FERRY_QUEUE, NULL);
    await(&scene->step, 3);
    for (uint64_t i = 0; i < 256; i++)
        send_number(tx, i);
    check_is(ferry_sender_flush(tx, 3 * PATIENCE), 0);
    await(&scene->count, 256); /* each is counted after it was released */
    for (unsigned i = 0; i < 256; i++)
        check_is(scene->released[i], 1);
    atomic_store(&scene->done, 1);
    close_sender(tx);
    crew_end(crew);
}

int main(int argc, char **argv) {
    static const test_t tests[] = {
        TEST_ALL(what_is_held_too_long_goes_to_another_receiver),
        TEST_ALL(what_was_sent_by_rendezvous_does_so_too),
        TEST(a_stopped_receivers_messages_go_to_others),
        TEST(what_another_one_has_is_not_received_into_a_buffer),
        TEST(the_only_receiver_gets_it_again),
        TEST(who_tells_of_progress_or_is_quick_keeps_it),
        TEST(progress_without_a_limit_does_nothing),
        TEST_BOTH(whatever_meets_a_deadline_is_released_exactly_once),
    };
    return run_suite("overstay", tests, sizeof tests / sizeof *tests, argc, argv);
}
