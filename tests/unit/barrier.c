/* SPDX-License-Identifier: MIT
 *
 * Barriers (sync/barrier.h): what is told where a death and the end of the time come together. All else: interleave.h.
 */
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "platform/clock.h"
#include "sync/barrier.h"
#include "sync/wait.h"
#include "sync/word.h"

#define PARTIES 2
#define ME 9
#define SOON_NS 10000000
#define TIMEOUT_NS 100000000

static union {
    fi_barrier_memory_t shared;
    uint64_t words[1 + PARTIES + FI_MEMBERS(PARTIES)];
} memory;

/* Who buries the dead has no processor between the word and the wake-up; then a signal comes to `waiter`, if not
 * NULL. */
static void *break_without_a_word(void *waiter) {
    while (!(fi_load_acquire64(&memory.shared.word) & FI_WAITERS)) {
        fi_sleep_until(fi_now_ns() + SOON_NS);
    }
    fi_sleep_until(fi_now_ns() + SOON_NS);
    fi_store_release64(&memory.shared.word, fi_load_acquire64(&memory.shared.word) | FI_BROKEN);
    if (waiter) {
        pthread_kill(*(pthread_t *)waiter, SIGUSR1);
    }
    return NULL;
}

/* Beside these two, 0 being nobody. */
static int wait_while_it_breaks(uint64_t first, uint64_t second, pthread_t *waiter) {
    const fi_barrier_t barrier = {.shared = &memory.shared, .parties = PARTIES};
    fi_waiter_t who = {.policy = FERRY_WAIT_BLOCK, .grace = -1};
    fi_wait_t w = fi_wait_begin(&who, waiter ? FERRY_FOREVER : TIMEOUT_NS);
    pthread_t breaker;

    memory.shared.word = 0;
    memory.shared.slot[0] = first;
    memory.shared.slot[1] = second;
    assert_int_equal(pthread_create(&breaker, NULL, break_without_a_word, waiter), 0);
    int r = fi_barrier_wait(&barrier, ME, &w);
    pthread_join(breaker, NULL);
    return r;
}

static void a_death_before_the_end_of_the_time_is_told_to_who_has_arrived(void **state) {
    (void)state;
    assert_int_equal(wait_while_it_breaks(0, 0, NULL), -EOWNERDEAD);
}

/* All have come, and the last of them has not said so yet. */
static void a_death_before_the_end_of_the_time_is_told_to_who_waits_for_the_next_round(void **state) {
    (void)state;
    assert_int_equal(wait_while_it_breaks(1, 2, NULL), -EOWNERDEAD);
}

static void hear(int signal) {
    (void)signal;
}

static void a_death_before_a_signal_is_told_to_all_who_wait(void **state) {
    (void)state;
    const struct sigaction ends_waits = {.sa_handler = hear};
    pthread_t me = pthread_self();
    sigaction(SIGUSR1, &ends_waits, NULL);
    assert_int_equal(wait_while_it_breaks(0, 0, &me), -EOWNERDEAD);
    assert_int_equal(wait_while_it_breaks(1, 2, &me), -EOWNERDEAD);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_death_before_the_end_of_the_time_is_told_to_who_has_arrived),
        cmocka_unit_test(a_death_before_the_end_of_the_time_is_told_to_who_waits_for_the_next_round),
        cmocka_unit_test(a_death_before_a_signal_is_told_to_all_who_wait),
    };
    return cmocka_run_group_tests_name("barrier", tests, NULL, NULL);
}
