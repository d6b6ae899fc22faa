/* SPDX-License-Identifier: MIT
 *
 * handle.c - handles that are closed, used by two threads at once, inherited by a fork, or left by a thread that ended.
 */
#include "harness.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- closed ---- */

static void a_closed_sender_is_known(void) {
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    ferry_sender_stats_t stats = {.size = sizeof stats};
    uint64_t undelivered = 5;
    void *data = NULL;
    ferry_msg_t *m = NULL;
    close_sender(tx);
    check_error(ferry_send(tx, "x", 1, PATIENCE), -EBADF, "closed");
    check_error(ferry_claim(tx, 1, PATIENCE, &data), -EBADF, "closed");
    check_error(ferry_commit(tx, 1), -EBADF, "closed");
    check_error(ferry_abort(tx), -EBADF, "closed");
    check_error(ferry_msg_new(tx, 1, PATIENCE, &data, &m), -EBADF, "closed");
    check_error(ferry_sender_wait(tx, 1, PATIENCE), -EBADF, "closed");
    check_error(ferry_sender_flush(tx, PATIENCE), -EBADF, "closed");
    check_error(ferry_sender_stats(tx, &stats), -EBADF, "closed");
    check_error(ferry_sender_close(tx, PATIENCE, &undelivered), -EBADF, "closed");
    check_is(undelivered, 5);
    check(data == NULL && m == NULL);
    check_is(ferry_sender_close(NULL, PATIENCE, &undelivered), 0);
    close_node(node);
}

static void a_closed_receiver_is_known(void) {
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    ferry_receiver_stats_t stats = {.size = sizeof stats};
    char buf[8];
    size_t len = 5;
    ferry_msg_t *m = NULL;
    close_receiver(rx);
    check_error(ferry_recv(rx, PATIENCE, &m), -EBADF, "closed");
    check_error(ferry_recv_into(rx, buf, sizeof buf, PATIENCE, &len), -EBADF, "closed");
    check_error(ferry_recv_batch(rx, &m, 1, PATIENCE), -EBADF, "closed");
    check_error(ferry_receiver_fd(rx), -EBADF, "closed");
    check_error(ferry_receiver_senders(rx), -EBADF, "closed");
    check_error(ferry_receiver_stats(rx, &stats), -EBADF, "closed");
    check_error(ferry_receiver_close(rx), -EBADF, "closed");
    check(m == NULL && len == 5);
    check_is(ferry_receiver_close(NULL), 0);
    close_node(node);
}

static void closing_a_node_closes_its_ends_and_names_them(void) {
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "forgotten", FERRY_QUEUE, NULL);
    ferry_receiver_t *rx = open_receiver(node, "missed", FERRY_TOPIC, NULL);
    ferry_msg_t *m = NULL;
    check_is(ferry_close(node), 2);
    check(strstr(ferry_last_error(), "forgotten") && strstr(ferry_last_error(), "missed"));
    check_error(ferry_send(tx, "x", 1, PATIENCE), -EBADF, "closed");
    check_error(ferry_recv(rx, PATIENCE, &m), -EBADF, "closed");
    check_is(ferry_close(NULL), 0);
}

static void handles_opened_after_others_were_closed_do_not_revive_these(void) {
    ferry_t *node = open_node("test");
    ferry_sender_t *old = open_sender(node, "q", FERRY_QUEUE, NULL);
    close_sender(old);
    for (unsigned i = 0; i < 100; i++) {
        ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
        check(tx == old || ferry_send(old, "x", 1, FERRY_NOW) == -EBADF);
        check_is(sender_stats(tx).messages, 0);
        close_sender(tx);
    }
    close_node(node);
}

/* ---- two threads in one handle ---- */

typedef struct intruder {
    ferry_receiver_t *rx;
    ferry_sender_t *tx;
    atomic_uint stop;
} intruder_t;

static void *stay_in_recv(void *arg) {
    intruder_t *in = arg;
    ferry_msg_t *m = NULL;
    while (!atomic_load(&in->stop)) { /* -EBUSY: the other thread was in first, for a moment */
        int answer = ferry_recv(in->rx, 50 * MILLISECOND, &m);
        check(answer == -ETIMEDOUT || answer == -EBUSY);
    }
    return NULL;
}

static bool receiver_is_busy(void *arg) {
    ferry_msg_t *m = NULL;
    return ferry_recv(((intruder_t *)arg)->rx, FERRY_NOW, &m) == -EBUSY;
}

static void two_threads_in_one_receiver_are_noticed(void) {
    ferry_t *node = open_node("test");
    intruder_t in = {.rx = open_receiver(node, "q", FERRY_QUEUE, NULL)};
    pthread_t thread;
    check_is(pthread_create(&thread, NULL, stay_in_recv, &in), 0);
    await_that(receiver_is_busy, &in, "nobody noticed two threads in one receiver");
    check(strstr(ferry_last_error(), "thread"));
    atomic_store(&in.stop, 1);
    pthread_join(thread, NULL);
    ferry_receiver_close(in.rx); /* its last user may have been the thread that ended */
    close_node(node);
}

static void *stay_in_wait(void *arg) {
    intruder_t *in = arg;
    while (!atomic_load(&in->stop)) {
        int answer = ferry_sender_wait(in->tx, 5, 50 * MILLISECOND);
        check(answer == -ETIMEDOUT || answer == -EBUSY);
    }
    return NULL;
}

static bool sender_is_busy(void *arg) {
    return ferry_sender_wait(((intruder_t *)arg)->tx, 5, FERRY_NOW) == -EBUSY;
}

static void two_threads_in_one_sender_are_noticed(void) {
    ferry_t *node = open_node("test");
    intruder_t in = {.tx = open_sender(node, "q", FERRY_QUEUE, NULL)};
    pthread_t thread;
    check_is(pthread_create(&thread, NULL, stay_in_wait, &in), 0);
    await_that(sender_is_busy, &in, "nobody noticed two threads in one sender");
    check(strstr(ferry_last_error(), "thread"));
    atomic_store(&in.stop, 1);
    pthread_join(thread, NULL);
    ferry_sender_close(in.tx, FERRY_NOW, NULL);
    close_node(node);
}

typedef struct lent {
    ferry_sender_t *tx;
    atomic_uint used;
    atomic_uint may_end;
} lent_t;

static void *use_and_end(void *arg) {
    lent_t *lent = arg;
    send_number(lent->tx, 1);
    atomic_store(&lent->used, 1);
    await(&lent->may_end, 1);
    return NULL;
}

static void a_handle_may_move_from_thread_to_thread(void) {
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    for (unsigned i = 0; i < 20; i++) {
        pthread_t thread;
        lent_t lent = {.tx = tx};
        check_is(pthread_create(&thread, NULL, use_and_end, &lent), 0);
        await(&lent.used, 1);
        send_number(tx, 2); /* taken back: the thread that ends now owns it no more */
        atomic_store(&lent.may_end, 1);
        pthread_join(thread, NULL);
        send_number(tx, 3);
        for (uint64_t want = 1; want <= 3; want++)
            check_is(receive_number(rx), want);
    }
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
}

/* ---- fork ---- */

typedef struct inherited {
    ferry_t *node;
    ferry_sender_t *tx;
    ferry_receiver_t *rx;
    ferry_msg_t *held;
    ferry_msg_t *own;
} inherited_t;

static void use_inherited(void *arg) {
    inherited_t *in = arg;
    ferry_sender_t *tx = NULL;
    ferry_receiver_t *rx = NULL;
    ferry_msg_t *m = NULL;
    ferry_msg_info_t info = {0};
    ferry_msg_place_t place = {0};
    void *data = NULL;
    check_error(ferry_msg_info(in->held, &info), -ECHILD, "fork open");
    check_error(ferry_msg_set_size(in->own, 1), -ECHILD, "fork open");
    check_error(ferry_msg_set_tag(in->own, 1), -ECHILD, "fork open");
    check_error(ferry_msg_place(in->held, &place), -ECHILD, "fork open");
    check_error(ferry_send(in->tx, "x", 1, PATIENCE), -ECHILD, "fork open");
    check_error(ferry_claim(in->tx, 1, PATIENCE, &data), -ECHILD, "fork open");
    check_error(ferry_sender_flush(in->tx, PATIENCE), -ECHILD, "fork open");
    check_error(ferry_recv(in->rx, PATIENCE, &m), -ECHILD, "fork open");
    check_error(ferry_receiver_fd(in->rx), -ECHILD, "fork open");
    check_error(ferry_sender_open(in->node, "q", FERRY_QUEUE, NULL, &tx), -ECHILD, "fork open");
    check_error(ferry_receiver_open(in->node, "q", FERRY_QUEUE, NULL, &rx), -ECHILD, "fork open");
    check_error(ferry_msg_release(in->held), -ECHILD, "fork open");
    check_error(ferry_msg_edit(in->own, &data), -ECHILD, "fork open");
    check_error(ferry_send_msg(in->tx, in->own, PATIENCE), -ECHILD, "fork open");
    check_error(ferry_receiver_close(in->rx), -ECHILD, "fork open");
    check_error(ferry_sender_close(in->tx, PATIENCE, NULL), -ECHILD, "fork open");
    check_error(ferry_close(in->node), -ECHILD, "fork");
}

static inherited_t open_for_fork(void) {
    inherited_t in = {.node = open_node("test")};
    void *data = NULL;
    in.tx = open_sender(in.node, "q", FERRY_QUEUE, NULL);
    in.rx = open_receiver(in.node, "q", FERRY_QUEUE, NULL);
    send_number(in.tx, 1);
    in.held = receive(in.rx);
    check_is(ferry_msg_new(in.tx, 5000, PATIENCE, &data, &in.own), 0);
    return in;
}

static void close_after_fork(inherited_t *in) {
    check_is(number_in(in->held), 1);
    release(in->held);
    release(in->own);
    for (uint64_t i = 0; i < 1000; i++) {
        send_number(in->tx, i);
        check_is(receive_number(in->rx), i);
    }
    close_sender(in->tx);
    close_receiver(in->rx);
    close_node(in->node);
}

static void a_forked_child_is_told_to_open_its_own_node(void) {
    inherited_t in = open_for_fork();
    child_join(child_start(use_inherited, &in));
    close_after_fork(&in);
}

#if !UNDER_TSAN /* it cannot start threads in the child of a process that had several */
static void work_with_own_node(void *arg) {
    (void)arg;
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "from-child", FERRY_QUEUE, NULL);
    send_number(tx, 77);
    close_sender(tx);
    close_node(node);
}

static void a_forked_child_that_opens_its_own_node_meets_its_parent(void) {
    inherited_t in = open_for_fork();
    ferry_receiver_t *rx = open_receiver(in.node, "from-child", FERRY_QUEUE, NULL);
    pid_t child = child_start(work_with_own_node, NULL);
    check_is(receive_number(rx), 77);
    child_join(child);
    close_receiver(rx);
    close_after_fork(&in);
}
#endif

static void sleep_on(void *arg) {
    await(arg, 1);
}

static void keep_socket_and_die(void *arg) {
    atomic_uint *stage = arg;
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    send_number(tx, 1);
    fflush(NULL);
    if (fork() == 0) { /* has all descriptors of its parent, and outlives it */
        sleep_on(stage);
        _exit(0);
    }
    _exit(0);
}

static void a_forked_child_that_lives_on_does_not_hide_its_parents_death(void) {
    atomic_uint *stage = share(sizeof *stage);
    pid_t parent = child_start(keep_socket_and_die, stage);
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    ferry_msg_t *m = NULL;
    check_is(receive_number(rx), 1);
    child_join(parent);
    check_error(ferry_recv(rx, PATIENCE, &m), -EPIPE, "");
    atomic_store(stage, 1);
    check(waitpid(-1, NULL, 0) > 0); /* the grandchild, which came to us */
    close_receiver(rx);
    close_node(node);
}

/* ---- a thread that ends ---- */

typedef struct leaver {
    ferry_t *node;
    ferry_sender_t *tx;
    ferry_receiver_t *rx;
    atomic_uint taken;
    atomic_uint sent;
} leaver_t;

static void *take_two_and_end(void *arg) {
    leaver_t *leaver = arg;
    leaver->rx = open_receiver(leaver->node, "work", FERRY_QUEUE, NULL);
    receive(leaver->rx);
    receive(leaver->rx);
    return NULL;
}

static void what_a_thread_held_when_it_ended_comes_back(void) {
    leaver_t leaver = {.node = open_node("test")};
    pthread_t thread;
    ferry_sender_t *tx = open_sender(leaver.node, "work", FERRY_QUEUE, NULL);
    for (uint64_t i = 0; i < 5; i++)
        send_number(tx, i);
    check_is(pthread_create(&thread, NULL, take_two_and_end, &leaver), 0);
    pthread_join(thread, NULL);
    ferry_receiver_t *rx = open_receiver(leaver.node, "work", FERRY_QUEUE, NULL);
    bool seen[5] = {false};
    for (unsigned i = 0; i < 5; i++) {
        ferry_msg_t *m = receive(rx);
        uint64_t number = number_in(m);
        check(number < 5 && !seen[number]);
        seen[number] = true;
        check(number >= 2 || info_of(m).attempt == 2);
        release(m);
    }
    ferry_msg_t *m = NULL;
    check_error(ferry_recv(leaver.rx, PATIENCE, &m), -EOWNERDEAD, "thread");
    check(ferry_receiver_close(leaver.rx) >= 0);
    close_sender(tx);
    close_receiver(rx);
    close_node(leaver.node);
}

static void *send_three_and_end(void *arg) {
    leaver_t *leaver = arg;
    leaver->tx = open_sender(leaver->node, "work", FERRY_QUEUE, NULL);
    for (uint64_t i = 0; i < 3; i++)
        send_number(leaver->tx, i);
    return NULL;
}

static void what_a_thread_sent_before_it_ended_is_drained_and_then_comes_the_end(void) {
    leaver_t leaver = {.node = open_node("test")};
    pthread_t thread;
    ferry_receiver_t *rx = open_receiver(leaver.node, "work", FERRY_QUEUE, NULL);
    check_is(pthread_create(&thread, NULL, send_three_and_end, &leaver), 0);
    pthread_join(thread, NULL);
    for (uint64_t i = 0; i < 3; i++)
        check_is(receive_number(rx), i);
    ferry_msg_t *m = NULL;
    check_error(ferry_recv(rx, PATIENCE, &m), -EPIPE, "");
    check_error(ferry_send(leaver.tx, "x", 1, PATIENCE), -EOWNERDEAD, "thread");
    check_is(ferry_sender_close(leaver.tx, FERRY_NOW, NULL), 0);
    close_receiver(rx);
    close_node(leaver.node);
}

static void end_threads_in_process(void *arg) {
    leaver_t *shared = arg;
    leaver_t leaver = {.node = open_node("test")};
    pthread_t thread;
    check_is(pthread_create(&thread, NULL, take_two_and_end, &leaver), 0);
    pthread_join(thread, NULL);
    atomic_store(&shared->taken, 1);
    await(&shared->sent, 1);
    check(ferry_close(leaver.node) >= 0);
}

static void a_thread_that_ends_in_another_process_gives_back_what_it_held(void) {
    leaver_t *shared = share(sizeof *shared);
    pid_t child = child_start(end_threads_in_process, shared);
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "work", FERRY_QUEUE, NULL);
    for (uint64_t i = 0; i < 2; i++)
        send_number(tx, i);
    await(&shared->taken, 1);
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, NULL);
    for (uint64_t i = 0; i < 2; i++) {
        ferry_msg_t *m = receive(rx);
        check_is(info_of(m).attempt, 2);
        release(m);
    }
    atomic_store(&shared->sent, 1);
    close_sender(tx);
    close_receiver(rx);
    child_join(child);
    close_node(node);
}

/* ---- a handle that moves while its thread ends ---- */

#define BAGGAGE 300 /* handles that the thread leaves, too: so that its end takes a while */

static void *send_and_end_slowly(void *arg) {
    leaver_t *leaver = arg;
    ferry_mutex_t *mutex = NULL;
    for (unsigned i = 0; i < BAGGAGE; i++) {
        check_is(ferry_mutex_open(leaver->node, "baggage", NULL, &mutex), 0);
        check_is(ferry_mutex_lock(mutex, PATIENCE), 0);
        check_is(ferry_mutex_unlock(mutex), 0);
    }
    leaver->tx = open_sender(leaver->node, "moving", FERRY_QUEUE, NULL);
    send_number(leaver->tx, 0);
    atomic_store(&leaver->sent, 1);
    return NULL;
}

/* The new thread gets an end that works, or learns that it is dead. */
static void take_it_over(int64_t after) {
    leaver_t leaver = {.node = open_node("test")};
    ferry_receiver_t *rx = open_receiver(leaver.node, "moving", FERRY_QUEUE, NULL);
    pthread_t thread;
    uint64_t number = 1;
    check_is(pthread_create(&thread, NULL, send_and_end_slowly, &leaver), 0);
    await(&leaver.sent, 1);
    for (int64_t begin = monotonic(); monotonic() - begin < after;)
        ;
    int r = ferry_send(leaver.tx, &number, sizeof number, PATIENCE);
    check(r == 0 || r == -EOWNERDEAD);
    pthread_join(thread, NULL);
    check_is(receive_number(rx), 0);
    if (r == 0) {
        nap(5 * MILLISECOND); /* the steward has done what it does after a thread's end */
        check_is(receive_number(rx), 1);
        send_number(leaver.tx, 2);
        check_is(receive_number(rx), 2);
    }
    check_is(ferry_sender_close(leaver.tx, FERRY_NOW, NULL), 0);
    close_receiver(rx);
    check_is(ferry_close(leaver.node), BAGGAGE);
}

static void a_handle_that_moves_while_its_thread_ends_works_or_is_dead(void) {
    for (int64_t i = 0; i < 20; i++)
        take_it_over(i * 20 * MILLISECOND / 1000);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(a_closed_sender_is_known),
        TEST(a_closed_receiver_is_known),
        TEST(closing_a_node_closes_its_ends_and_names_them),
        TEST(handles_opened_after_others_were_closed_do_not_revive_these),
        TEST(two_threads_in_one_receiver_are_noticed),
        TEST(two_threads_in_one_sender_are_noticed),
        TEST(a_handle_may_move_from_thread_to_thread),
        TEST(a_forked_child_is_told_to_open_its_own_node),
#if !UNDER_TSAN
        TEST(a_forked_child_that_opens_its_own_node_meets_its_parent),
#endif
        TEST(a_forked_child_that_lives_on_does_not_hide_its_parents_death),
        TEST(what_a_thread_held_when_it_ended_comes_back),
        TEST(what_a_thread_sent_before_it_ended_is_drained_and_then_comes_the_end),
        TEST(a_thread_that_ends_in_another_process_gives_back_what_it_held),
        TEST(a_handle_that_moves_while_its_thread_ends_works_or_is_dead),
    };
    return run_suite("handle", tests, sizeof tests / sizeof tests[0], argc, argv);
}
