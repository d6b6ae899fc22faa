/* SPDX-License-Identifier: MIT
 *
 * stack.c - how much stack a thread needs that calls the library.
 */
#include "harness.h"

#include <pthread.h>

#define ENOUGH (64 << 10) /* as ferry/base.h says; what sanitizers add is not counted */

static void exchange(ferry_t *node) {
    static const char bytes[100000];
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    ferry_msg_t *m = NULL;
    send_number(tx, 1);
    check_is(receive_number(rx), 1);
    check_is(ferry_send(tx, bytes, sizeof bytes, PATIENCE), 0);
    m = receive(rx);
    check_is(ferry_msg_size(m), sizeof bytes);
    release(m);
    check_error(ferry_recv(rx, MILLISECOND, &m), -ETIMEDOUT, "q");
    close_sender(tx);
    close_receiver(rx);
}

static void lock_and_look(ferry_t *node) {
    ferry_mutex_t *mutex = NULL;
    ferry_look_t *look = NULL;
    check_is(ferry_mutex_open(node, "m", NULL, &mutex), 0);
    check_is(ferry_mutex_lock(mutex, PATIENCE), 0);
    check_is(ferry_look("test", NULL, &look), 0);
    ferry_look_close(look);
    check_is(ferry_mutex_unlock(mutex), 0);
    check_is(ferry_mutex_close(mutex), 0);
}

static void call_nobody(ferry_t *node) {
    ferry_client_t *client = NULL;
    check_is(ferry_client_open(node, "s", NULL, &client), 0);
    check_error(ferry_call(client, "m", NULL, 0, PATIENCE, NULL), -ENOENT, "nobody serves");
    check_is(ferry_client_close(client, PATIENCE, NULL), 0);
}

static void *use_all(void *arg) {
    ferry_t *node = open_node("test");
    exchange(node);
    lock_and_look(node);
    call_nobody(node);
    close_node(node);
    return arg;
}

static void a_thread_with_a_small_stack_can_use_the_library(void) {
    pthread_attr_t small;
    pthread_t thread;
    pthread_attr_init(&small);
    check_is(pthread_attr_setstacksize(&small, UNDER_SANITIZER ? 16 * ENOUGH : ENOUGH), 0);
    check_is(pthread_create(&thread, &small, use_all, NULL), 0);
    check_is(pthread_join(thread, NULL), 0);
    pthread_attr_destroy(&small);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(a_thread_with_a_small_stack_can_use_the_library),
    };
    return run_suite("stack", tests, sizeof tests / sizeof tests[0], argc, argv);
}
