/* SPDX-License-Identifier: MIT
 *
 * crowd.c - a thousand channels in one space, over some processes, whose ends come and go while messages flow.
 */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "harness.h"

#define MOST 1000u
#define WORKERS 3u
#define ROUNDS 6u

typedef struct crowd {
    unsigned queues;
    atomic_uint ready;
    atomic_uint reopened;
    atomic_uint seen[MOST][ROUNDS]; /* how often each message came */
    atomic_uint received;
    atomic_uint next_worker;
} crowd_t;

/* Raises the limit if it may. How many queues can be had, with so many descriptors for each? */
static unsigned queues_for(unsigned most, rlim_t each) {
    struct rlimit limit;
    check_is(getrlimit(RLIMIT_NOFILE, &limit), 0);
    rlim_t needed = most * each + 100;
    if (limit.rlim_cur < needed)
        limit.rlim_cur = limit.rlim_max < needed ? limit.rlim_max : needed;
    check_is(setrlimit(RLIMIT_NOFILE, &limit), 0);
    return limit.rlim_cur < needed ? (unsigned)((limit.rlim_cur - 100) / each) : most;
}

static const char *name_of(unsigned queue, char name[16]) {
    snprintf(name, 16, "q%u", queue);
    return name;
}

static ferry_receiver_t *receiver_of(ferry_t *node, unsigned queue) {
    static const ferry_receiver_options_t stays = {.senders = UINT32_MAX};
    char name[16];
    return open_receiver(node, name_of(queue, name), FERRY_QUEUE, &stays);
}

static unsigned take_all(ferry_receiver_t *rx, crowd_t *c, unsigned queue) {
    ferry_msg_t *m;
    unsigned count = 0;
    while (ferry_recv(rx, FERRY_NOW, &m) == 0) {
        check(number_in(m) < ROUNDS);
        check_is(atomic_fetch_add(&c->seen[queue][number_in(m)], 1), 0);
        release(m);
        count++;
    }
    atomic_fetch_add(&c->received, count);
    return count;
}

/* Receives from every third queue; whenever it has taken something, another receiver goes and comes again. */
static void work(ferry_t *node, void *arg) {
    crowd_t *c = arg;
    static ferry_receiver_t *rx[MOST];
    unsigned first = atomic_fetch_add(&c->next_worker, 1);
    unsigned again = first;
    for (unsigned q = first; q < c->queues; q += WORKERS)
        rx[q] = receiver_of(node, q);
    atomic_fetch_add(&c->ready, 1);
    while (atomic_load(&c->received) < c->queues * ROUNDS) {
        unsigned count = 0;
        for (unsigned q = first; q < c->queues; q += WORKERS)
            count += take_all(rx[q], c, q);
        if (count > 0 && again < c->queues) {
            check_is(ferry_receiver_close(rx[again]), 0);
            rx[again] = receiver_of(node, again);
            atomic_fetch_add(&c->reopened, 1);
            again += 10 * WORKERS;
        } else if (count == 0) {
            nap(MILLISECOND);
        }
    }
    for (unsigned q = first; q < c->queues; q += WORKERS)
        close_receiver(rx[q]);
}

static void a_thousand_queues_lose_nothing_while_their_ends_come_and_go(void) {
    static ferry_sender_t *tx[MOST];
    char name[16];
    crowd_t *c = share(sizeof *c);
    c->queues = queues_for(UNDER_SANITIZER ? 60 : MOST, 5);
    crew_t *crew = crew_begin(IN_PROCESSES);
    for (unsigned i = 0; i < WORKERS; i++)
        crew_add(crew, work, c);
    ferry_t *node = crew_node(crew);
    for (unsigned q = 0; q < c->queues; q++)
        tx[q] = open_sender(node, name_of(q, name), FERRY_QUEUE, NULL);
    for (uint64_t i = 0; i < ROUNDS; i++) {
        for (unsigned q = 0; q < c->queues; q++) {
            send_number(tx[q], i);
            if (i == ROUNDS / 2 && q % 20 == 0) {
                close_sender(tx[q]);
                tx[q] = open_sender(node, name_of(q, name), FERRY_QUEUE, NULL);
            }
        }
    }
    for (unsigned q = 0; q < c->queues; q++)
        close_sender(tx[q]);
    crew_end(crew);
    for (unsigned q = 0; q < c->queues; q++) {
        for (unsigned i = 0; i < ROUNDS; i++)
            check_is(c->seen[q][i], 1);
    }
    check(c->reopened > 0);
}

/* ---- a crowd that does nothing ---- */

#define IDLE 200u

typedef struct idle {
    atomic_uint ready;
    atomic_uint linked;
    uint64_t bytes; /* by which the receiver's process has grown */
} idle_t;

/* Private memory that this process has touched. */
static uint64_t private_bytes(void) {
    char line[4352];
    unsigned long long kib = 0;
    FILE *f = fopen("/proc/self/smaps_rollup", "re");
    check(f != NULL);
    while (fgets(line, sizeof line, f) != NULL)
        (void)sscanf(line, "Anonymous: %llu kB", &kib);
    fclose(f);
    check(kib > 0);
    return kib * 1024;
}

/* All rings and control areas, its own and those of others; they are allocated in full. */
static uint64_t shared_bytes(void) {
    char line[4352];
    unsigned long long from, to;
    uint64_t bytes = 0;
    FILE *f = fopen("/proc/self/maps", "re");
    check(f != NULL);
    while (fgets(line, sizeof line, f) != NULL) {
        bool counts = strstr(line, "/memfd:ferry-ring") != NULL || strstr(line, "/memfd:ferry-ctl") != NULL;
        if (counts && sscanf(line, "%llx-%llx", &from, &to) == 2)
            bytes += to - from;
    }
    fclose(f);
    return bytes;
}

static void be_linked(void *arg) {
    idle_t *idle = arg;
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    (void)private_bytes(); /* makes what looking needs */
    uint64_t before = private_bytes();
    atomic_store(&idle->ready, 1);
    await(&idle->linked, 1);
    idle->bytes = private_bytes() - before;
    atomic_store(&idle->ready, 2);
    await(&idle->linked, 2);
    close_receiver(rx);
    close_node(node);
}

static void an_idle_link_takes_at_most_16_kib_of_both_sides(void) {
    static ferry_sender_t *tx[IDLE];
    idle_t *idle = share(sizeof *idle);
    if (UNDER_SANITIZER)
        return; /* its shadows count, too */
    unsigned count = queues_for(IDLE, 6);
    pid_t child = child_start(be_linked, idle);
    ferry_t *node = open_node("test");
    await(&idle->ready, 1);
    (void)private_bytes();
    uint64_t before = private_bytes();
    for (unsigned i = 0; i < count; i++)
        tx[i] = open_sender(node, "q", FERRY_QUEUE, NULL);
    for (unsigned i = 0; i < count; i++)
        check_is(ferry_sender_wait(tx[i], 1, PATIENCE), 1);
    atomic_store(&idle->linked, 1);
    await(&idle->ready, 2);
    check((private_bytes() - before + shared_bytes() + idle->bytes) / count <= 16384);
    for (unsigned i = 0; i < count; i++)
        close_sender(tx[i]);
    atomic_store(&idle->linked, 2);
    child_join(child);
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(a_thousand_queues_lose_nothing_while_their_ends_come_and_go),
        TEST(an_idle_link_takes_at_most_16_kib_of_both_sides),
    };
    return run_suite("crowd", tests, sizeof tests / sizeof tests[0], argc, argv);
}
