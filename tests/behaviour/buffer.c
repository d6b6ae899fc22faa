/* SPDX-License-Identifier: MIT
 *
 * buffer.c - the bounded buffer inside a region: what was put comes out, once and in order; who must wait, waits.
 */
#include "objects.h"
#include "regions.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>

#define PARTIES_MAX 4

/* The root object. */
typedef struct shop {
    ferry_ref_t buffer;
    ferry_ref_t other;
    atomic_uint opened, go, done;
    atomic_uint passed;                  /* gets and puts that have come back */
    atomic_uint seen[PARTIES_MAX][4096]; /* how often each item of each producer came out */
} shop_t;

static ferry_region_t *open_shop(ferry_t *node) {
    return open_region_with_root(node, "shop", MIB, sizeof(shop_t));
}

static shop_t *shop_of(ferry_region_t *region) {
    return ferry_region_root(region);
}

static ferry_buffer_t *open_buffer(ferry_region_t *region, uint32_t slots, uint64_t bytes,
                                   const ferry_sync_options_t *options) {
    ferry_buffer_t *buffer = NULL;
    check_is(ferry_buffer_open(region, &shop_of(region)->buffer, slots, bytes, options, &buffer), 0);
    return buffer;
}

static void close_buffer(ferry_buffer_t *buffer) {
    check_is(ferry_buffer_close(buffer), 0);
}

static void put_number(ferry_buffer_t *buffer, uint64_t number) {
    check_is(ferry_buffer_put(buffer, &number, sizeof number, PATIENCE), 0);
}

static uint64_t get_number(ferry_buffer_t *buffer) {
    uint64_t number = 0;
    size_t size = 0;
    check_is(ferry_buffer_get(buffer, &number, sizeof number, PATIENCE, &size), 0);
    check_is(size, sizeof number);
    return number;
}

/* ---- one handle ---- */

static void items_of_any_size_come_out_as_they_went_in(void) {
    ferry_t *node = open_node("test");
    ferry_region_t *region = open_shop(node);
    ferry_buffer_t *buffer = open_buffer(region, 3, 300, NULL);
    unsigned char in[300], out[301];
    size_t size;
    for (uint64_t i = 0; i < 901; i += 3) {
        for (uint64_t k = 0; k < 3; k++) {
            fill(in, (i + k) % 301, i + k);
            check_is(ferry_buffer_put(buffer, in, (i + k) % 301, FERRY_NOW), 0);
            check_is(ferry_buffer_count(buffer), k + 1);
        }
        for (uint64_t k = 0; k < 3; k++) {
            memset(out, 0xee, sizeof out);
            check_is(ferry_buffer_get(buffer, out, sizeof out, FERRY_NOW, &size), 0);
            check_is(size, (i + k) % 301);
            check(filled(out, size, i + k) && out[size] == 0xee);
        }
        check_is(ferry_buffer_count(buffer), 0);
    }
    close_buffer(buffer);
    close_region(region);
    close_node(node);
}

static void a_full_buffer_takes_nothing_and_an_empty_one_gives_nothing(void) {
    ferry_t *node = open_node("test");
    ferry_region_t *region = open_shop(node);
    ferry_buffer_t *buffer = open_buffer(region, 2, 8, NULL);
    uint64_t number = 7;
    size_t size = 99;
    int64_t began = monotonic();
    check_error(ferry_buffer_get(buffer, &number, 8, FERRY_NOW, &size), -EAGAIN, "empty");
    check_error(ferry_buffer_get(buffer, &number, 8, 20 * MILLISECOND, &size), -ETIMEDOUT, "item shop 20.000");
    check(monotonic() - began >= 20 * MILLISECOND);
    check(number == 7 && size == 99);
    put_number(buffer, 1);
    put_number(buffer, 2);
    began = monotonic();
    check_error(ferry_buffer_put(buffer, &number, 8, FERRY_NOW), -EAGAIN, "full");
    check_error(ferry_buffer_put(buffer, &number, 8, 20 * MILLISECOND), -ETIMEDOUT, "room shop 20.000");
    check(monotonic() - began >= 20 * MILLISECOND);
    check_is(ferry_buffer_count(buffer), 2);
    check_is(get_number(buffer), 1);
    put_number(buffer, 3);
    check_is(get_number(buffer), 2);
    check_is(get_number(buffer), 3);
    close_buffer(buffer);
    close_region(region);
    close_node(node);
}

static void an_item_that_is_too_large_stays_where_it_is(void) {
    ferry_t *node = open_node("test");
    ferry_region_t *region = open_shop(node);
    ferry_buffer_t *buffer = open_buffer(region, 2, 16, NULL);
    char bytes[17] = "0123456789abcdef";
    size_t size = 0;
    check_error(ferry_buffer_put(buffer, bytes, 17, PATIENCE), -EMSGSIZE, "16 17");
    check_is(ferry_buffer_count(buffer), 0);
    check_is(ferry_buffer_put(buffer, bytes, 16, PATIENCE), 0);
    memset(bytes, 'x', sizeof bytes);
    check_error(ferry_buffer_get(buffer, bytes, 15, PATIENCE, &size), -EMSGSIZE, "16 15");
    check_is(size, 16);
    check_is(bytes[0], 'x');
    check_is(ferry_buffer_count(buffer), 1);
    check_error(ferry_buffer_get(buffer, NULL, 0, PATIENCE, NULL), -EMSGSIZE, "16");
    check_is(ferry_buffer_get(buffer, bytes, 16, PATIENCE, NULL), 0);
    check_is(memcmp(bytes, "0123456789abcdef", 16), 0);
    close_buffer(buffer);
    close_region(region);
    close_node(node);
}

static void what_was_put_before_the_end_comes_out(void) {
    ferry_t *node = open_node("test");
    ferry_region_t *region = open_shop(node);
    ferry_buffer_t *buffer = open_buffer(region, 2, 8, NULL), *other = open_buffer(region, 0, 0, NULL);
    uint64_t number = 0;
    put_number(buffer, 1);
    check_is(ferry_buffer_end(other), 0);
    check_error(ferry_buffer_put(buffer, &number, 8, PATIENCE), -EPIPE, "ended");
    check_is(get_number(buffer), 1);
    check_error(ferry_buffer_get(buffer, &number, 8, PATIENCE, NULL), -EPIPE, "ended");
    check_is(ferry_buffer_end(buffer), 0);
    check_error(ferry_buffer_get(other, &number, 8, FERRY_NOW, NULL), -EPIPE, "ended");
    close_buffer(other);
    close_buffer(buffer);
    close_region(region);
    close_node(node);
}

/* ---- producers and consumers ---- */

typedef struct traffic {
    uint32_t slots;
    unsigned items; /* of each producer */
    unsigned number;
    ferry_wait_t wait;
} traffic_t;

static ferry_buffer_t *begin_traffic(ferry_region_t *region, const traffic_t *t) {
    ferry_sync_options_t options = {.wait = t->wait};
    ferry_buffer_t *buffer = open_buffer(region, t->slots, 16, &options);
    atomic_fetch_add(&shop_of(region)->opened, 1);
    await(&shop_of(region)->go, 1);
    return buffer;
}

static void produce(ferry_t *node, void *arg) {
    const traffic_t *t = arg;
    ferry_region_t *region = open_shop(node);
    ferry_buffer_t *buffer = begin_traffic(region, t);
    for (uint64_t i = 0; i < t->items; i++) {
        uint64_t item[2] = {t->number, i};
        check_is(ferry_buffer_put(buffer, item, sizeof item, PATIENCE), 0);
    }
    close_buffer(buffer);
    atomic_fetch_add(&shop_of(region)->done, 1);
    close_region(region);
}

/* Of each producer, the items come in order: nobody gets an older one after a newer one. */
static void consume(ferry_t *node, void *arg) {
    const traffic_t *t = arg;
    ferry_region_t *region = open_shop(node);
    ferry_buffer_t *buffer = begin_traffic(region, t);
    uint64_t next[PARTIES_MAX] = {0}, item[2];
    size_t size;
    int r;
    while ((r = ferry_buffer_get(buffer, item, sizeof item, PATIENCE, &size)) == 0) {
        check(size == sizeof item && item[0] < PARTIES_MAX && item[1] < t->items && item[1] >= next[item[0]]);
        next[item[0]] = item[1] + 1;
        atomic_fetch_add(&shop_of(region)->seen[item[0]][item[1]], 1);
    }
    check_error(r, -EPIPE, "ended");
    close_buffer(buffer);
    close_region(region);
}

static void expect_each_once(const shop_t *shop, unsigned producers, unsigned items) {
    for (unsigned p = 0; p < producers; p++)
        for (unsigned i = 0; i < items; i++)
            check_is(atomic_load(&shop->seen[p][i]), 1);
}

static void run_traffic(where_t where, uint32_t slots, unsigned producers, unsigned consumers, unsigned items,
                        ferry_wait_t wait) {
    traffic_t t[2 * PARTIES_MAX];
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < producers + consumers; i++) {
        t[i] = (traffic_t){slots, items, i, wait};
        crew_add(crew, i < producers ? produce : consume, &t[i]);
    }
    ferry_region_t *region = open_shop(crew_node(crew));
    shop_t *shop = shop_of(region);
    await(&shop->opened, producers + consumers);
    atomic_store(&shop->go, 1);
    await(&shop->done, producers);
    ferry_buffer_t *buffer = open_buffer(region, 0, 0, NULL);
    check_is(ferry_buffer_end(buffer), 0);
    for (unsigned i = 0; i < producers + consumers; i++)
        crew_join(crew, i);
    check_is(ferry_buffer_count(buffer), 0);
    expect_each_once(shop, producers, items);
    close_buffer(buffer);
    close_region(region);
    crew_end(crew);
}

static void each_item_comes_out_once_and_in_order(where_t where) {
    run_traffic(where, 4, 3, 3, 3000, FERRY_WAIT_ADAPTIVE);
}

static void each_item_comes_out_once_when_all_sleep(where_t where) {
    run_traffic(where, 1, 2, 2, 1000, FERRY_WAIT_BLOCK);
}

static void each_item_comes_out_once_when_nobody_sleeps(where_t where) {
    run_traffic(where, 64, 1, 1, 4000, FERRY_WAIT_SPIN);
}

static void one_feeds_many(where_t where) {
    run_traffic(where, 2, 1, 4, 3000, FERRY_WAIT_BLOCK);
}

static void many_feed_one(where_t where) {
    run_traffic(where, 2, 4, 1, 1500, FERRY_WAIT_ADAPTIVE);
}

/* ---- waiting ---- */

#define WAITERS 3u

/* Shown as waiting after a millisecond, and asleep from the start. */
static const ferry_sync_options_t to_be_seen = {.wait = FERRY_WAIT_BLOCK, .deadlock_after = MILLISECOND};

/* `arg`: waits for this flag first; NULL: at once. */
static void get_one(ferry_t *node, void *arg) {
    ferry_region_t *region = open_shop(node);
    ferry_buffer_t *buffer = open_buffer(region, WAITERS + 1, 8, &to_be_seen);
    if (arg)
        await(arg, 1);
    int r = ferry_buffer_get(buffer, &(uint64_t){0}, 8, PATIENCE, NULL);
    check(r == 0 || r == -EPIPE);
    atomic_fetch_add(&shop_of(region)->passed, 1);
    close_buffer(buffer);
    close_region(region);
}

static void put_one(ferry_t *node, void *arg) {
    (void)arg;
    ferry_region_t *region = open_shop(node);
    ferry_buffer_t *buffer = open_buffer(region, 1, 8, &to_be_seen);
    await(&shop_of(region)->go, 1);
    int r = ferry_buffer_put(buffer, &(uint64_t){1}, 8, PATIENCE);
    check(r == 0 || r == -EPIPE);
    atomic_fetch_add(&shop_of(region)->passed, 1);
    close_buffer(buffer);
    close_region(region);
}

static void each_put_lets_one_go_and_the_end_all(where_t where) {
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < WAITERS; i++)
        crew_add(crew, get_one, NULL);
    ferry_region_t *region = open_shop(crew_node(crew));
    ferry_buffer_t *buffer = open_buffer(region, WAITERS + 1, 8, NULL);
    await_waits(WAITERS);
    put_number(buffer, 1);
    await(&shop_of(region)->passed, 1);
    nap(3 * MILLISECOND);
    check_is(atomic_load(&shop_of(region)->passed), 1);
    check_is(ferry_buffer_end(buffer), 0);
    await(&shop_of(region)->passed, WAITERS);
    close_buffer(buffer);
    close_region(region);
    crew_end(crew);
}

static void each_get_lets_one_go_and_the_end_all(where_t where) {
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < 1 + WAITERS; i++)
        crew_add(crew, put_one, NULL);
    ferry_region_t *region = open_shop(crew_node(crew));
    ferry_buffer_t *buffer = open_buffer(region, 1, 8, NULL);
    atomic_store(&shop_of(region)->go, 1);
    await_waits(WAITERS);
    check_is(atomic_load(&shop_of(region)->passed), 1);
    check_is(get_number(buffer), 1);
    await(&shop_of(region)->passed, 2);
    nap(3 * MILLISECOND);
    check_is(atomic_load(&shop_of(region)->passed), 2);
    check_is(ferry_buffer_end(buffer), 0);
    await(&shop_of(region)->passed, 1 + WAITERS);
    close_buffer(buffer);
    close_region(region);
    crew_end(crew);
}

static void *sleep_in_get(void *arg) {
    ferry_buffer_t *buffer = NULL;
    ferry_region_t *region = open_shop(arg);
    check_is(ferry_buffer_open(region, &shop_of(region)->buffer, 1, 8, &to_be_seen, &buffer), 0);
    check_error(ferry_buffer_get(buffer, &(uint64_t){0}, 8, PATIENCE, NULL), -ESHUTDOWN, "shut shop");
    return NULL;
}

static void a_shutdown_ends_the_wait(void) {
    ferry_t *node = open_node("test");
    pthread_t thread;
    check_is(pthread_create(&thread, NULL, sleep_in_get, node), 0);
    await_waits(1);
    check_is(ferry_shutdown(node), 0);
    check_is(pthread_join(thread, NULL), 0);
    check(ferry_close(node) >= 0); /* a buffer and a region of a thread that has ended were open */
}

static void on_alarm(int signal) {
    (void)signal;
}

static void a_signal_ends_the_wait(void) {
    ferry_t *node = open_node("test");
    ferry_region_t *region = open_shop(node);
    ferry_buffer_t *buffer = open_buffer(region, 1, 8, &to_be_seen);
    struct sigaction action = {.sa_handler = on_alarm};
    struct itimerval timer = {.it_value = {.tv_usec = 20000}, .it_interval = {.tv_usec = 20000}}, none = {0};
    check_is(sigaction(SIGALRM, &action, NULL), 0);
    check_is(setitimer(ITIMER_REAL, &timer, NULL), 0);
    check_error(ferry_buffer_get(buffer, &(uint64_t){0}, 8, PATIENCE, NULL), -EINTR, "signal shop");
    put_number(buffer, 1);
    check_error(ferry_buffer_put(buffer, &(uint64_t){2}, 8, PATIENCE), -EINTR, "signal shop");
    check_is(setitimer(ITIMER_REAL, &none, NULL), 0);
    check_is(get_number(buffer), 1);
    close_buffer(buffer);
    close_region(region);
    close_node(node);
}

/* ---- deaths and stops ---- */

static void get_one_as_a_process(void *arg) {
    ferry_t *node = open_node("test");
    get_one(node, arg);
    close_node(node);
}

/* Some fell asleep first, and one after them. */
typedef struct sleepers {
    pid_t first[WAITERS];
    pid_t last;
    ferry_t *node;
    ferry_region_t *region;
    ferry_buffer_t *buffer;
} sleepers_t;

static sleepers_t let_them_sleep(void) {
    sleepers_t s;
    atomic_uint *turn = share(sizeof *turn);
    for (unsigned i = 0; i < WAITERS; i++)
        s.first[i] = child_start(get_one_as_a_process, NULL);
    s.last = child_start(get_one_as_a_process, turn);
    s.node = open_node("test");
    s.region = open_shop(s.node);
    s.buffer = open_buffer(s.region, WAITERS + 1, 8, NULL);
    await_waits(WAITERS);
    atomic_store(turn, 1);
    await_waits(WAITERS + 1);
    return s;
}

static void wake_up(const sleepers_t *s) {
    close_buffer(s->buffer);
    close_region(s->region);
    close_node(s->node);
}

/* The item would have been for one of the dead. */
static void killed_consumers_strand_no_other(void) {
    sleepers_t s = let_them_sleep();
    for (unsigned i = 0; i < WAITERS; i++)
        check_is(kill(s.first[i], SIGKILL), 0);
    put_number(s.buffer, 1);
    for (unsigned i = 0; i < WAITERS; i++)
        (void)child_wait(s.first[i]);
    child_join(s.last);
    check_is(atomic_load(&shop_of(s.region)->passed), 1);
    put_number(s.buffer, 2);
    check_is(get_number(s.buffer), 2);
    wake_up(&s);
}

/* Each of those who are stopped may be meant by one item, but not by all of them. */
static void stopped_consumers_hold_up_no_other(void) {
    sleepers_t s = let_them_sleep();
    for (unsigned i = 0; i < WAITERS; i++)
        check_is(kill(s.first[i], SIGSTOP), 0);
    for (unsigned i = 0; i < WAITERS + 1; i++)
        put_number(s.buffer, i);
    child_join(s.last);
    for (unsigned i = 0; i < WAITERS; i++) {
        check_is(kill(s.first[i], SIGCONT), 0);
        child_join(s.first[i]);
    }
    check_is(atomic_load(&shop_of(s.region)->passed), WAITERS + 1);
    check_is(ferry_buffer_count(s.buffer), 0);
    wake_up(&s);
}

/* ---- a thread that ends in the middle of a call ---- */

#if !UNDER_TSAN /* it ends in a signal handler, which that does not bear */
static void end_thread(int signal) {
    (void)signal;
    pthread_exit(NULL);
}

static void *get_and_be_ended(void *buffer) {
    (void)ferry_buffer_get(buffer, &(uint64_t){0}, 8, PATIENCE, NULL);
    check_failed("the thread ends in the call", __FILE__, __LINE__);
}

static bool is_lost(void *buffer) {
    return ferry_buffer_put(buffer, &(uint64_t){1}, 8, FERRY_NOW) == -EOWNERDEAD;
}

static void a_thread_that_ends_in_a_call_counts_as_dead(void) {
    sleepers_t s;
    atomic_uint *turn = share(sizeof *turn);
    pthread_t thread;
    struct sigaction action = {.sa_handler = end_thread};
    s.last = child_start(get_one_as_a_process, turn);
    s.node = open_node("test");
    s.region = open_shop(s.node);
    s.buffer = open_buffer(s.region, WAITERS + 1, 8, NULL);
    ferry_buffer_t *doomed = open_buffer(s.region, 0, 0, &to_be_seen);
    check_is(sigaction(SIGUSR1, &action, NULL), 0);
    check_is(pthread_create(&thread, NULL, get_and_be_ended, doomed), 0);
    await_waits(1);
    atomic_store(turn, 1);
    await_waits(2);
    check_is(pthread_kill(thread, SIGUSR1), 0);
    check_is(pthread_join(thread, NULL), 0);
    put_number(s.buffer, 1);
    child_join(s.last);
    await_that(is_lost, doomed, "the handle is not lost");
    check_error(ferry_buffer_get(doomed, &(uint64_t){0}, 8, FERRY_NOW, NULL), -EOWNERDEAD, "thread ended");
    close_buffer(doomed);
    ferry_look_t *look = NULL;
    check_is(ferry_look("test", NULL, &look), 0);
    check_is(ferry_look_waits(look), 0);
    ferry_look_close(look);
    wake_up(&s);
}
#endif

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(items_of_any_size_come_out_as_they_went_in),
        TEST(a_full_buffer_takes_nothing_and_an_empty_one_gives_nothing),
        TEST(an_item_that_is_too_large_stays_where_it_is),
        TEST(what_was_put_before_the_end_comes_out),
        TEST_ALL(each_item_comes_out_once_and_in_order),
        TEST_ALL(each_item_comes_out_once_when_all_sleep),
        TEST_BOTH(each_item_comes_out_once_when_nobody_sleeps),
        TEST_BOTH(one_feeds_many),
        TEST_BOTH(many_feed_one),
        TEST_ALL(each_put_lets_one_go_and_the_end_all),
        TEST_ALL(each_get_lets_one_go_and_the_end_all),
        TEST(a_shutdown_ends_the_wait),
        TEST(a_signal_ends_the_wait),
        TEST(killed_consumers_strand_no_other),
        TEST(stopped_consumers_hold_up_no_other),
#if !UNDER_TSAN
        TEST(a_thread_that_ends_in_a_call_counts_as_dead),
#endif
    };
    return run_suite("buffer", tests, sizeof tests / sizeof tests[0], argc, argv);
}
