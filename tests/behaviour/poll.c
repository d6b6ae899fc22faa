/* SPDX-License-Identifier: MIT
 *
 * poll.c - waiting for many ends and plain descriptors at once, and a receiver's own descriptor.
 */
#include "harness.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define MANY 40

static void only_what_is_ready_is_reported(void) {
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx[MANY];
    ferry_sender_t *tx[MANY];
    ferry_pollitem_t items[MANY + 1] = {0};
    int fds[2];
    check_is(pipe(fds), 0);
    for (unsigned i = 0; i < MANY; i++) {
        char name[] = {'c', (char)('0' + i / 10), (char)('0' + i % 10), '\0'};
        tx[i] = open_sender(node, name, FERRY_QUEUE, NULL);
        rx[i] = open_receiver(node, name, FERRY_QUEUE, NULL);
        items[i] = (ferry_pollitem_t){.receiver = rx[i], .events = FERRY_POLL_IN};
    }
    items[MANY] = (ferry_pollitem_t){.fd = fds[0], .events = FERRY_POLL_IN};
    check_is(ferry_poll(items, MANY + 1, FERRY_NOW), 0);
    check_is(ferry_poll(items, MANY + 1, 3 * MILLISECOND), 0);
    for (unsigned i = 0; i < MANY; i++) {
        send_number(tx[i], i);
        check_is(ferry_poll(items, MANY + 1, PATIENCE), 1);
        for (unsigned k = 0; k <= MANY; k++)
            check_is(items[k].revents, k == i ? FERRY_POLL_IN : 0);
        check_is(ferry_poll(items, MANY + 1, FERRY_NOW), 1); /* level-triggered */
        check_is(receive_number(rx[i]), i);
    }
    check_is(write(fds[1], "x", 1), 1);
    check_is(ferry_poll(items, MANY + 1, PATIENCE), 1);
    check_is(items[MANY].revents, FERRY_POLL_IN);
    send_number(tx[3], 3);
    send_number(tx[7], 7);
    check_is(ferry_poll(items, MANY + 1, PATIENCE), 3);
    check_is(items[3].revents, FERRY_POLL_IN);
    check_is(items[7].revents, FERRY_POLL_IN);
    release(receive(rx[3]));
    release(receive(rx[7]));
    for (unsigned i = 0; i < MANY; i++) {
        close_sender(tx[i]);
        close_receiver(rx[i]);
    }
    close(fds[0]);
    close(fds[1]);
    close_node(node);
}

static void a_sender_is_ready_when_it_has_room(void) {
    ferry_t *node = open_node("test");
    ferry_contract_t contract = {.capacity = 2};
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, &contract);
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    ferry_pollitem_t item = {.sender = tx, .events = FERRY_POLL_OUT};
    check_is(ferry_poll(&item, 1, FERRY_NOW), 1);
    check_is(item.revents, FERRY_POLL_OUT);
    send_number(tx, 0);
    send_number(tx, 1);
    check_is(ferry_poll(&item, 1, 3 * MILLISECOND), 0);
    check_is(item.revents, 0);
    check_is(receive_number(rx), 0);
    check_is(ferry_poll(&item, 1, PATIENCE), 1);
    check_is(item.revents, FERRY_POLL_OUT);
    check_is(receive_number(rx), 1);
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
}

/* The ring is full, and blocks are free again: a send finds them, and so does who asks before. */
static void a_sender_is_ready_when_blocks_behind_the_oldest_are_released(void) {
    enum { MOST = 20000, IN_BLOCKS = 16 };
    ferry_t *node = open_node("test");
    ferry_contract_t contract = {.quota = 64 << 10};
    ferry_sender_t *tx = open_sender(node, "work", FERRY_QUEUE, &contract);
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, NULL);
    ferry_msg_t **held = calloc(MOST, sizeof(ferry_msg_t *));
    ferry_pollitem_t item = {.sender = tx, .events = FERRY_POLL_OUT};
    unsigned count = 0;
    uint64_t number = 0;
    char large[3000] = "";
    /* Once the ring is full, a larger one comes, as soon as its reader has accepted it. */
    for (int r = 0; r == 0 || ferry_poll(&item, 1, 500 * MILLISECOND) == 1; number++) {
        check(number < MOST);
        bool in_block = number > 0 && number < IN_BLOCKS;
        r = in_block ? ferry_send(tx, large, sizeof large, FERRY_NOW)
                     : ferry_send(tx, &number, sizeof number, FERRY_NOW);
        /* When the ring is full, the others wait behind it, until the quota is used up. */
        if (r == 0 && number < IN_BLOCKS)
            held[count++] = receive(rx);
        else if (r == 0 && count < MOST && ferry_recv(rx, FERRY_NOW, &held[count]) == 0)
            count++;
        r = in_block ? 0 : r; /* the quota may be used up before */
    }
    check(count >= IN_BLOCKS && count < MOST);
    check_is(ferry_poll(&item, 1, FERRY_NOW), 0);
    for (unsigned i = 1; i < IN_BLOCKS - 1; i++)
        release(held[i]);
    check_is(ferry_poll(&item, 1, PATIENCE), 1);
    check_is(ferry_send(tx, &number, sizeof number, FERRY_NOW), 0);
    release(held[0]);
    for (unsigned i = IN_BLOCKS - 1; i < count; i++)
        release(held[i]);
    free(held);
    close_receiver(rx);
    check_is(ferry_sender_close(tx, FERRY_NOW, NULL), 0);
    close_node(node);
}

static void *release_later(void *m) {
    nap(20 * MILLISECOND);
    release(m);
    return NULL;
}

/* Messages wait, but it holds as many as it allowed itself. */
static void a_receiver_that_may_hold_no_more_is_ready_when_it_has_released(void) {
    ferry_t *node = open_node("test");
    ferry_receiver_options_t options = {.max_held = 2};
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, &options);
    ferry_pollitem_t item = {.receiver = rx, .events = FERRY_POLL_IN};
    ferry_msg_t *none = NULL;
    pthread_t other;
    for (uint64_t i = 0; i < 6; i++)
        send_number(tx, i);
    ferry_msg_t *first = receive(rx), *second = receive(rx);
    check_is(ferry_poll(&item, 1, 20 * MILLISECOND), 0);
    release(first);
    check_is(ferry_poll(&item, 1, PATIENCE), 1);
    first = receive(rx);
    check_is(pthread_create(&other, NULL, release_later, second), 0);
    check_is(ferry_poll(&item, 1, PATIENCE), 1);
    check_is(pthread_join(other, NULL), 0);
    second = receive(rx);
    struct pollfd fd = {.fd = ferry_receiver_fd(rx), .events = POLLIN};
    check_is(ferry_recv(rx, FERRY_NOW, &none), -EDQUOT);
    check_is(poll(&fd, 1, 20), 0);
    release(first);
    check_is(poll(&fd, 1, PATIENCE / MILLISECOND), 1);
    first = receive(rx);
    check_is(ferry_recv(rx, FERRY_NOW, &none), -EDQUOT);
    check_is(pthread_create(&other, NULL, release_later, second), 0);
    check_is(poll(&fd, 1, PATIENCE / MILLISECOND), 1);
    check_is(pthread_join(other, NULL), 0);
    check_is(receive_number(rx), 5);
    release(first);
    close_sender(tx);
    check_is(ferry_poll(&item, 1, PATIENCE), 1);
    check(item.revents & FERRY_POLL_END);
    close_receiver(rx);
    close_node(node);
}

static void the_end_is_reported_without_being_asked_for(void) {
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    ferry_pollitem_t item = {.receiver = rx};
    check_is(ferry_poll(&item, 1, FERRY_NOW), 0);
    close_sender(tx);
    check_is(ferry_poll(&item, 1, PATIENCE), 1);
    check_is(item.revents, FERRY_POLL_END);
    int fds[2];
    ferry_pollitem_t plain = {0};
    check_is(pipe(fds), 0);
    plain.fd = fds[0];
    close(fds[1]);
    check_is(ferry_poll(&plain, 1, PATIENCE), 1);
    check_is(plain.revents, FERRY_POLL_END);
    close(fds[0]);
    check_is(ferry_poll(&plain, 1, PATIENCE), 1);
    check_is(plain.revents, FERRY_POLL_ERR);
    close_receiver(rx);
    close_node(node);
}

static void closed_handles_are_reported_and_nonsense_is_refused(void) {
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    ferry_pollitem_t both = {.receiver = rx, .sender = tx, .events = FERRY_POLL_IN};
    ferry_pollitem_t nothing = {.fd = -1, .events = FERRY_POLL_IN};
    check_error(ferry_poll(&both, 1, FERRY_NOW), -EINVAL, "");
    check_error(ferry_poll(&nothing, 1, FERRY_NOW), -EINVAL, "");
    ferry_pollitem_t items[] = {{.receiver = rx, .events = FERRY_POLL_IN}, {.sender = tx, .events = FERRY_POLL_OUT}};
    close_sender(tx);
    close_receiver(rx);
    check_is(ferry_poll(items, 2, PATIENCE), 2);
    check_is(items[0].revents, FERRY_POLL_ERR);
    check_is(items[1].revents, FERRY_POLL_ERR);
    close_node(node);
}

static void an_empty_poll_is_a_sleep(void) {
    check_is(ferry_poll(NULL, 0, MILLISECOND), 0);
}

/* ---- woken from elsewhere ---- */

#define ROUNDS 400

typedef struct script {
    atomic_uint round;
    int fd; /* a pipe's write end; a forked member has its own */
} script_t;

/* In turn: a message on "a", one on "b", a byte in the pipe; each only when the last has been seen. */
static void make_ready(ferry_t *node, void *arg) {
    script_t *script = arg;
    ferry_sender_t *a = open_sender(node, "a", FERRY_QUEUE, NULL);
    ferry_sender_t *b = open_sender(node, "b", FERRY_TOPIC, NULL);
    check_is(ferry_sender_wait(a, 1, PATIENCE), 1);
    check_is(ferry_sender_wait(b, 1, PATIENCE), 1);
    for (unsigned i = 0; i < ROUNDS; i++) {
        await(&script->round, i);
        if (i % 7 == 0)
            nap(MILLISECOND / 2);
        if (i % 3 == 0)
            send_number(a, i);
        else if (i % 3 == 1)
            send_number(b, i);
        else
            check_is(write(script->fd, "x", 1), 1);
    }
    close_sender(a);
    close_sender(b);
}

static void a_poll_is_woken_by_whatever_becomes_ready(where_t where) {
    int fds[2];
    char byte;
    check_is(pipe(fds), 0);
    script_t *script = share(sizeof *script);
    script->fd = fds[1];
    crew_t *crew = crew_begin(where);
    crew_add(crew, make_ready, script);
    ferry_receiver_t *a = open_receiver(crew_node(crew), "a", FERRY_QUEUE, NULL);
    ferry_receiver_t *b = open_receiver(crew_node(crew), "b", FERRY_TOPIC, NULL);
    ferry_pollitem_t items[] = {{.receiver = a, .events = FERRY_POLL_IN},
                                {.receiver = b, .events = FERRY_POLL_IN},
                                {.fd = fds[0], .events = FERRY_POLL_IN}};
    for (unsigned i = 0; i < ROUNDS; i++) {
        check_is(ferry_poll(items, 3, PATIENCE), 1);
        for (unsigned k = 0; k < 3; k++)
            check_is(items[k].revents, k == i % 3 ? FERRY_POLL_IN : 0);
        if (i % 3 == 2)
            check_is(read(fds[0], &byte, 1), 1);
        else
            check_is(receive_number(i % 3 ? b : a), i);
        atomic_store(&script->round, i + 1);
    }
    crew_join(crew, 0);
    close_receiver(a);
    close_receiver(b);
    close(fds[0]);
    close(fds[1]);
    crew_end(crew);
}

/* ---- a receiver's descriptor ---- */

/* Takes what is there. The descriptor may still be readable once after that, but not for ever. */
static uint64_t drain(ferry_receiver_t *rx, int epoll, uint64_t next) {
    struct epoll_event event;
    ferry_msg_t *m = NULL;
    unsigned spurious = 0;
    do {
        int answer;
        while ((answer = ferry_recv(rx, FERRY_NOW, &m)) == 0) {
            check_is(number_in(m), next++);
            release(m);
        }
        check_is(answer, -EAGAIN);
        check(++spurious < 100);
    } while (epoll_wait(epoll, &event, 1, 0) > 0);
    return next;
}

static int watch(ferry_receiver_t *rx) {
    int fd = ferry_receiver_fd(rx);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    check(fd >= 0 && epoll >= 0);
    check_is(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), 0);
    check_is(ferry_receiver_fd(rx), fd); /* always the same */
    return epoll;
}

static bool readable(int epoll, int64_t timeout) {
    struct epoll_event event;
    int count;
    do
        count = epoll_wait(epoll, &event, 1, (int)(timeout / MILLISECOND));
    while (count < 0 && errno == EINTR);
    check(count >= 0);
    return count == 1;
}

static void a_receivers_descriptor_is_readable_while_messages_wait(void) {
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    int epoll = watch(rx);
    drain(rx, epoll, 0);
    check(!readable(epoll, 3 * MILLISECOND));
    for (uint64_t i = 0; i < 3; i++)
        send_number(tx, i);
    for (uint64_t i = 0; i < 3; i++) {
        check(readable(epoll, PATIENCE));
        check(readable(epoll, 0)); /* level-triggered */
        check_is(receive_number(rx), i);
    }
    drain(rx, epoll, 3);
    close_sender(tx);
    check(readable(epoll, PATIENCE)); /* the end is something to be told */
    close(epoll);
    close_receiver(rx);
    close_node(node);
}

static void a_message_that_waited_before_the_descriptor_was_asked_for_makes_it_readable(void) {
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    send_number(tx, 0);
    send_number(tx, 1);
    check_is(receive_number(rx), 0);
    int epoll = watch(rx);
    check(readable(epoll, PATIENCE));
    check_is(receive_number(rx), 1);
    drain(rx, epoll, 2);
    close(epoll);
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
}

typedef struct later {
    ferry_t *node;
    int64_t nap;
} later_t;

static void *send_later(void *arg) {
    const later_t *later = arg;
    ferry_sender_t *tx = open_sender(later->node, "q", FERRY_QUEUE, NULL);
    nap(later->nap);
    send_number(tx, 0);
    close_sender(tx);
    return NULL;
}

/* Until it has slept for one: on a busy machine it may come too late for that. */
static ferry_receiver_stats_t receive_asleep(ferry_t *node, ferry_receiver_t *rx) {
    ferry_receiver_stats_t stats = {.size = sizeof stats};
    for (later_t later = {node, 20 * MILLISECOND}; stats.sleeps == 0; later.nap *= 2) {
        pthread_t sender;
        check(later.nap < PATIENCE);
        check_is(pthread_create(&sender, NULL, send_later, &later), 0);
        check_is(receive_number(rx), 0);
        check_is(pthread_join(sender, NULL), 0);
        check_is(ferry_receiver_stats(rx, &stats), 0);
    }
    return stats;
}

/* A ring stays in the doorbell until the next sleep, which must not end for it; nor may the descriptor tell of it. */
static void what_ended_one_sleep_ends_no_other_one(void) {
    ferry_t *node = open_node("test");
    ferry_receiver_options_t options = {.wait = FERRY_WAIT_BLOCK};
    ferry_sender_t *stays = open_sender(node, "q", FERRY_QUEUE, NULL);
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, &options);
    ferry_msg_t *none = NULL;
    uint64_t before = receive_asleep(node, rx).sleeps;
    check_error(ferry_recv(rx, 50 * MILLISECOND, &none), -ETIMEDOUT, "q");
    check(receiver_stats(rx).sleeps - before < 20); /* somebody has left, too, and may ring */
    (void)receive_asleep(node, rx);
    int epoll = watch(rx);
    unsigned looks = 0;
    do {
        drain(rx, epoll, 2);
        check(++looks < 20);
    } while (readable(epoll, 3 * MILLISECOND)); /* as above: whoever has left may still ring */
    close(epoll);
    close_sender(stays);
    close_receiver(rx);
    close_node(node);
}

static void send_in_bursts(ferry_t *node, void *arg) {
    atomic_uint *received = arg;
    ferry_sender_t *tx = open_sender(node, "bursts", FERRY_QUEUE, NULL);
    uint64_t next = 0;
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    for (unsigned burst = 0; burst < 300; burst++) {
        for (unsigned i = 0; i <= burst % 5; i++)
            send_number(tx, next++);
        if (burst % 10 == 0)
            nap(MILLISECOND / 2);
        await(received, (unsigned)next);
    }
    close_sender(tx);
}

static void a_receivers_descriptor_misses_no_message(where_t where) {
    atomic_uint *received = share(sizeof *received);
    crew_t *crew = crew_begin(where);
    crew_add(crew, send_in_bursts, received);
    ferry_receiver_t *rx = open_receiver(crew_node(crew), "bursts", FERRY_QUEUE, NULL);
    int epoll = watch(rx);
    for (uint64_t next = 0; next < 900;) {
        ferry_msg_t *m = NULL;
        check(readable(epoll, PATIENCE));
        while (ferry_recv(rx, FERRY_NOW, &m) == 0) {
            check_is(number_in(m), next++);
            release(m);
        }
        atomic_store(received, (unsigned)next);
    }
    crew_join(crew, 0);
    close(epoll);
    close_receiver(rx);
    crew_end(crew);
}

#define NEWCOMERS 300

typedef struct crowd {
    atomic_uint ready;
    atomic_uint seen;
} crowd_t;

/* Each brings memory of its own, which is announced beside the ring. */
static void send_one_each(void *arg) {
    crowd_t *c = arg;
    ferry_t *node = open_node("test");
    await(&c->ready, 1);
    for (unsigned i = 0; i < NEWCOMERS; i++) {
        void *data;
        ferry_msg_t *m;
        ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
        check_is(ferry_msg_new(tx, 8, PATIENCE, &data, &m), 0);
        memset(data, 0, 8);
        check_is(ferry_send_msg(tx, m, PATIENCE), 0);
        release(m);
        await(&c->seen, i + 1);
        close_sender(tx);
    }
    close_node(node);
}

/* What is announced while a call looks in vain must make the descriptor readable when that has returned. */
static void memory_that_is_announced_during_a_call_makes_the_descriptor_readable(void) {
    crowd_t *c = share(sizeof *c);
    pid_t other = child_start(send_one_each, c);
    ferry_t *node = open_node("test");
    const ferry_receiver_options_t stays = {.senders = UINT32_MAX};
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, &stays);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
    check_is(epoll_ctl(epoll, EPOLL_CTL_ADD, ferry_receiver_fd(rx), &ev), 0);
    atomic_store(&c->ready, 1);
    for (unsigned got = 0; got < NEWCOMERS;) {
        ferry_msg_t *m;
        int r = ferry_recv(rx, FERRY_NOW, &m);
        if (r == 0) {
            release(m);
            atomic_store(&c->seen, ++got);
        } else {
            check_is(r, -EAGAIN);
            check_is(epoll_wait(epoll, &ev, 1, (int)(PATIENCE / MILLISECOND)), 1);
        }
    }
    child_join(other);
    close(epoll);
    close_receiver(rx);
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(only_what_is_ready_is_reported),
        TEST(a_sender_is_ready_when_it_has_room),
        TEST(a_sender_is_ready_when_blocks_behind_the_oldest_are_released),
        TEST(a_receiver_that_may_hold_no_more_is_ready_when_it_has_released),
        TEST(the_end_is_reported_without_being_asked_for),
        TEST(closed_handles_are_reported_and_nonsense_is_refused),
        TEST(an_empty_poll_is_a_sleep),
        TEST_BOTH(a_poll_is_woken_by_whatever_becomes_ready),
        TEST(a_receivers_descriptor_is_readable_while_messages_wait),
        TEST(memory_that_is_announced_during_a_call_makes_the_descriptor_readable),
        TEST(a_message_that_waited_before_the_descriptor_was_asked_for_makes_it_readable),
        TEST(what_ended_one_sleep_ends_no_other_one),
        TEST_BOTH(a_receivers_descriptor_misses_no_message),
    };
    return run_suite("poll", tests, sizeof tests / sizeof tests[0], argc, argv);
}
