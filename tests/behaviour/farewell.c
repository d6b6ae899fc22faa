/* SPDX-License-Identifier: MIT
 *
 * farewell.c - what a topic's sender leaves behind for readers that may lose messages: it does not wait for them, but
 * what it has told them of its memory still goes on its way, and what they can no longer read is counted.
 */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "calls.h"
#include "harness.h"

#define LARGE (260 * 1024) /* each has memory of its own, which is announced on its own */
#define MESSAGES 800       /* of which more are announced than a socket holds */
#define READERS 4

typedef struct parting {
    pid_t readers[READERS];
    atomic_uint linked;  /* all have met the sender */
    atomic_uint closing; /* the sender's node is about to be closed */
    bool in_time;        /* they go on meanwhile */
} parting_t;

typedef struct reader {
    parting_t *parting;
    ferry_receiver_options_t options;
} reader_t;

static void wake_all(const parting_t *p) {
    for (unsigned i = 0; i < READERS; i++)
        check_is(kill(p->readers[i], SIGCONT), 0);
}

/* Stands still with its whole process while all is sent, and reads afterwards. */
static void read_late(void *arg) {
    const reader_t *r = arg;
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "t", FERRY_TOPIC, &r->options);
    uint64_t came = 0;
    uint64_t last = 0;
    ferry_msg_t *m = NULL;
    int answer;
    await(&r->parting->linked, 1);
    check_is(raise(SIGSTOP), 0);
    while ((answer = ferry_recv(rx, PATIENCE, &m)) == 0) {
        came++;
        last = info_of(m).sequence > last ? info_of(m).sequence : last;
        release(m);
    }
    check_is(answer, -EPIPE);
    check_is(came + receiver_stats(rx).lost, MESSAGES);
    if (r->parting->in_time)
        check_is(last, MESSAGES);
    close_receiver(rx);
    close_node(node);
}

/* Wakes the readers while the sender's node is being closed. */
static void wake_in_time(void *arg) {
    parting_t *p = arg;
    await(&p->closing, 1);
    nap(20 * MILLISECOND);
    wake_all(p);
}

static void await_standstill(const parting_t *p) {
    for (unsigned i = 0; i < READERS; i++) {
        int status = 0;
        check_is(waitpid(p->readers[i], &status, WUNTRACED), p->readers[i]);
        check(WIFSTOPPED(status));
    }
}

static void send_tagged(ferry_sender_t *tx, uint64_t tag, size_t size) {
    ferry_msg_t *m = NULL;
    void *data = NULL;
    check_is(ferry_msg_new(tx, size, FERRY_NOW, &data, &m), 0);
    check_is(ferry_msg_set_tag(m, tag), 0);
    check_is(ferry_send_msg(tx, m, FERRY_NOW), 0);
    release(m);
}

static void send_and_leave(parting_t *p) {
    ferry_contract_t contract = {.quota = 1ull << 30};
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, &contract);
    check(ferry_sender_wait(tx, READERS, PATIENCE) == READERS);
    p->linked = 1;
    await_standstill(p);
    for (unsigned i = 0; i < MESSAGES; i++)
        send_tagged(tx, i % 7, LARGE);
    close_sender(tx);
    p->closing = 1;
    close_node(node);
}

static void part(bool in_time) {
    static const ferry_receiver_options_t wishes[READERS] = {
        {.may_lose = 1}, {.depth = 100}, {.newest = FERRY_NEWEST_ONLY}, {.newest = FERRY_NEWEST_PER_TAG}};
    parting_t *p = share(sizeof *p);
    reader_t readers[READERS];
    p->in_time = in_time;
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (reader_t){p, wishes[i]};
        p->readers[i] = child_start(read_late, &readers[i]);
    }
    pid_t waker = in_time ? child_start(wake_in_time, p) : 0;
    send_and_leave(p);
    if (in_time)
        child_join(waker);
    else
        wake_all(p);
    for (unsigned i = 0; i < READERS; i++)
        child_join(p->readers[i]);
}

static void readers_that_go_on_while_a_node_is_closed_hear_all_that_it_has_told_them(void) {
    part(true);
}

static void what_is_told_to_nobody_any_more_is_lost_and_counted(void) {
    part(false);
}

/* ---- memory that is gone before a reader has heard of it ---- */

#define QUOTA (2u << 20)
#define MOST_DESCRIPTORS 100 /* one for each memory, and a node's own */

static void stand_still(void *arg) {
    parting_t *p = arg;
    ferry_receiver_options_t options = {.may_lose = 1};
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "t", FERRY_TOPIC, &options);
    uint64_t came = 0;
    ferry_msg_t *m = NULL;
    await(&p->linked, 1);
    check_is(raise(SIGSTOP), 0);
    int answer;
    while ((answer = ferry_recv(rx, PATIENCE, &m)) == 0) {
        came++;
        bool last = info_of(m).sequence == MESSAGES;
        release(m);
        if (last)
            break;
    }
    check_is(answer, 0);
    check_is(came + receiver_stats(rx).lost, MESSAGES);
    close_receiver(rx);
    close_node(node);
}

static void who_is_stopped_keeps_no_memory_that_its_sender_has_given_up(void) {
    ferry_contract_t contract = {.quota = QUOTA};
    parting_t *p = share(sizeof *p);
    pid_t reader = child_start(stand_still, p);
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, &contract);
    int status = 0;
    check(ferry_sender_wait(tx, 1, PATIENCE) == 1);
    p->linked = 1;
    check_is(waitpid(reader, &status, WUNTRACED), reader);
    check(WIFSTOPPED(status));
    for (unsigned i = 0; i < MESSAGES; i++)
        send_tagged(tx, i, LARGE + i * 7919 % 199 * 4096); /* hardly any fits where another one was */
    check(count_descriptors() < MOST_DESCRIPTORS);
    check_is(kill(reader, SIGCONT), 0);
    child_join(reader);
    close_sender(tx);
    close_node(node);
}

/* ---- what is kept for a reader by tag, and had no room ---- */

#define TAGS 40
#define ROOM (1u << 20) /* for hardly more of them */

static void of_what_is_kept_by_tag_all_that_is_left_comes_and_the_rest_counts_as_lost(void) {
    ferry_contract_t contract = {.quota = ROOM};
    ferry_receiver_options_t options = {.newest = FERRY_NEWEST_PER_TAG};
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, &contract);
    ferry_receiver_t *rx = open_receiver(node, "t", FERRY_TOPIC, &options);
    uint64_t came = 0;
    uint64_t last = 0;
    ferry_msg_t *m = NULL;
    int answer;
    for (unsigned i = 0; i < 2 * TAGS; i++) {
        send_tagged(tx, i, 20000);
        if (i == TAGS) {
            release(receive(rx)); /* it knows of the others from here on, which others again will take the room of */
            came = 1;
        }
    }
    close_sender(tx);
    while ((answer = ferry_recv(rx, PATIENCE, &m)) == 0) {
        came++;
        last = info_of(m).sequence > last ? info_of(m).sequence : last;
        release(m);
    }
    check_is(answer, -EPIPE);
    check_is(last, 2 * TAGS);
    check_is(came + receiver_stats(rx).lost, 2 * TAGS);
    check(came > TAGS / 2);
    close_receiver(rx);
    close_node(node);
}

int main(int argc, char **argv) {
    static const test_t tests[] = {
        TEST(readers_that_go_on_while_a_node_is_closed_hear_all_that_it_has_told_them),
        TEST(what_is_told_to_nobody_any_more_is_lost_and_counted),
        TEST(who_is_stopped_keeps_no_memory_that_its_sender_has_given_up),
        TEST(of_what_is_kept_by_tag_all_that_is_left_comes_and_the_rest_counts_as_lost),
    };
    return run_suite("farewell", tests, sizeof tests / sizeof *tests, argc, argv);
}
