/* SPDX-License-Identifier: MIT
 *
 * meeting.c - two processes that open the same objects at the same moment: both may dial, and are then connected twice.
 * And two that lose their connection, and live; and those that may not be linked.
 */
#include "harness.h"
#include "objects.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define MEETINGS 60

typedef struct meeting {
    atomic_uint opened;
    atomic_uint held;
} meeting_t;

/* Each opens what the other one has open already, both at once. */
static object_t open_crosswise(meeting_t *m, ferry_t *node, const char *mine, const char *theirs, object_t *other) {
    object_t own = object_open(node, MUTEX, mine, NULL);
    atomic_fetch_add(&m->opened, 1);
    await(&m->opened, 2);
    *other = object_open(node, MUTEX, theirs, NULL);
    return own;
}

static void hold_and_be_killed(void *arg) {
    meeting_t *m = arg;
    object_t hers;
    object_t his = open_crosswise(m, open_node("test"), "his", "hers", &hers);
    check_is(object_take(&his, PATIENCE), 0);
    check_is(object_take(&hers, PATIENCE), 0);
    atomic_store(&m->held, 1);
    await(&m->held, 2);
}

static void take_over(object_t *object) {
    check_is(object_take(object, PATIENCE), FERRY_OWNER_DIED);
    check_is(object_repaired(object), 0);
    check_is(object_give(object), 0);
    object_close(object);
}

static void who_opened_at_the_same_moment_hears_of_the_others_death(void) {
    for (unsigned i = 0; i < MEETINGS; i++) {
        meeting_t *m = share(sizeof *m);
        pid_t holder = child_start(hold_and_be_killed, m);
        ferry_t *node = open_node("test");
        object_t his;
        object_t hers = open_crosswise(m, node, "hers", "his", &his);
        await(&m->held, 1);
        child_kill(holder);
        take_over(&his);
        take_over(&hers);
        close_node(node);
    }
}

typedef struct parting {
    atomic_uint ready;
    atomic_uint received;
} parting_t;

#define NUMBERS 200u

static void receive_all_numbers(void *arg) {
    parting_t *p = arg;
    const ferry_receiver_options_t options = {.size = sizeof options, .senders = UINT32_MAX};
    bool seen[NUMBERS] = {false};
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, &options);
    object_t mutex = object_open(node, MUTEX, "m", NULL);
    check_is(object_take(&mutex, FERRY_NOW), 0);
    atomic_store(&p->ready, 1);
    for (unsigned i = 0; i < NUMBERS;) {
        uint64_t number = receive_number(rx);
        i += !seen[number];
        seen[number] = true;
        atomic_store(&p->received, i);
    }
    check_is(object_give(&mutex), 0);
    object_close(&mutex);
    close_receiver(rx);
    close_node(node);
}

/* As if too much had waited in it, or no memory had been left for what came. */
static void cut_all_connections(void) {
    for (int fd = 3; fd < 256; fd++) {
        int type = 0, listens = 1;
        socklen_t size = sizeof type, bytes = sizeof listens;
        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET &&
            getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &bytes) == 0 && !listens)
            check_is(shutdown(fd, SHUT_RDWR), 0);
    }
}

static void who_loses_a_connection_to_one_who_lives_meets_him_again(void) {
    parting_t *p = share(sizeof *p);
    pid_t receiver = child_start(receive_all_numbers, p);
    await(&p->ready, 1);
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    object_t mutex = object_open(node, MUTEX, "m", NULL);
    for (uint64_t i = 0; i < NUMBERS; i++) {
        if (i == NUMBERS / 2) {
            cut_all_connections();
            check_is(object_take(&mutex, 100 * MILLISECOND), -ETIMEDOUT);
        }
        send_number(tx, i);
    }
    await(&p->received, NUMBERS);
    check_is(object_take(&mutex, PATIENCE), 0);
    check_is(object_give(&mutex), 0);
    object_close(&mutex);
    close_sender(tx);
    child_join(receiver);
    close_node(node);
}

/* ---- a machine that stands still ---- */

typedef struct standstill {
    atomic_uint ready;
    atomic_uint opening;
    atomic_int linked;
    atomic_uint opened;
    atomic_uint over;
} standstill_t;

static void be_there(void *arg) {
    standstill_t *s = arg;
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "numbers", FERRY_QUEUE, NULL);
    atomic_store(&s->ready, 1);
    await(&s->over, 1);
    close_receiver(rx);
    close_node(node);
}

static void open_meanwhile(void *arg) {
    standstill_t *s = arg;
    await(&s->ready, 2);
    ferry_t *node = open_node("test");
    atomic_store(&s->opening, 1);
    ferry_sender_t *tx = open_sender(node, "numbers", FERRY_QUEUE, NULL);
    atomic_store(&s->linked, ferry_sender_wait(tx, 1, FERRY_NOW));
    atomic_store(&s->opened, 1);
    await(&s->over, 1);
    drop_sender(tx);
    close_node(node);
}

/* Both stand still for longer than an open waits, and one of them before it could answer. */
static bool does_standing_still_not_count(where_t where) {
    (void)where;
    standstill_t *s = share(sizeof *s);
    pid_t there = child_start(be_there, s), comes = child_start(open_meanwhile, s);
    await(&s->ready, 1);
    check(kill(there, SIGSTOP) == 0);
    check(waitpid(there, NULL, WUNTRACED) == there);
    atomic_store(&s->ready, 2);
    await(&s->opening, 1);
    nap(100 * MILLISECOND);
    check(kill(comes, SIGSTOP) == 0);
    nap(SECOND);
    check(kill(comes, SIGCONT) == 0);
    nap(50 * MILLISECOND); /* it gives up now, if it counts all that time */
    check(kill(there, SIGCONT) == 0);
    await(&s->opened, 1);
    atomic_store(&s->over, 1);
    child_join(there);
    child_join(comes);
    return atomic_load(&s->linked) == 1;
}

static void an_open_waits_for_those_who_stood_still_with_it(void) {
    check_in_some_try(does_standing_still_not_count, ALONE, "an open waits for those who stood still with it");
}

/* ---- who may not be linked ---- */

#define OPENINGS 30
#define OPENINGS_TAKE (15 * SECOND) /* at most: each would wait for a second otherwise */

static void who_may_not_be_linked_is_not_waited_for(void) {
    const ferry_options_t options = {.max_links_per_peer = 1};
    ferry_receiver_t *rx[OPENINGS];
    ferry_sender_t *tx[OPENINGS];
    ferry_t *node = NULL;
    check_is(ferry_open("test", &options, &node), 0);
    ferry_t *peer = open_node("test");
    ferry_sender_t *first = open_sender(node, "first", FERRY_QUEUE, NULL);
    ferry_receiver_t *linked = open_receiver(peer, "first", FERRY_QUEUE, NULL);
    int64_t begin = monotonic();
    for (int i = 0; i < OPENINGS; i++)
        rx[i] = open_receiver(peer, "first", FERRY_QUEUE, NULL); /* nobody says that it was met */
    check(monotonic() - begin < OPENINGS_TAKE);
    ferry_receiver_t *met = open_receiver(peer, "second", FERRY_QUEUE, NULL);
    begin = monotonic();
    for (int i = 0; i < OPENINGS; i++)
        tx[i] = open_sender(node, "second", FERRY_QUEUE, NULL); /* they are told of it, and it never comes */
    check(monotonic() - begin < OPENINGS_TAKE);
    for (int i = 0; i < OPENINGS; i++) {
        close_receiver(rx[i]);
        close_sender(tx[i]);
    }
    send_number(first, 1);
    check_is(receive_number(linked), 1);
    close_receiver(linked);
    close_receiver(met);
    close_sender(first);
    close_node(peer);
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(who_opened_at_the_same_moment_hears_of_the_others_death),
        TEST(who_loses_a_connection_to_one_who_lives_meets_him_again),
        TEST(an_open_waits_for_those_who_stood_still_with_it),
        TEST(who_may_not_be_linked_is_not_waited_for),
    };
    return run_suite("meeting", tests, sizeof tests / sizeof tests[0], argc, argv);
}
