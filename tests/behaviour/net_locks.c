/* SPDX-License-Identifier: MIT
 *
 * net_locks.c - mutex, reader-writer lock, semaphore, barrier and event between machines: what holds on one machine
 * holds there, too; and what a distance adds: leases that are lost and told, servers that go and come back.
 */
#include "engine.h"
#include "objects.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* One test at a time; its children see all of it. */
typedef struct scene {
    atomic_uint step;    /* goes up */
    atomic_uint members; /* that are at a certain point */
    atomic_uint taken;
    volatile uint64_t sum, last_token;
    uint64_t tokens[8];
} scene_t;

static engine_t *engine;
static scene_t *scene;

static ferry_t *node_on(const char *machine) {
    engine_machine(engine, machine);
    return open_node(engine_space(engine));
}

static void set_up(void) {
    engine = engine_start();
    scene = share(sizeof *scene);
}

/* ---- the kinds, between two machines ---- */

#define EACH 60

static void count_up(void *arg) {
    kind_t kind = *(kind_t *)arg;
    char machine[16];
    snprintf(machine, sizeof machine, "m%u", atomic_fetch_add(&scene->members, 1));
    ferry_t *node = node_on(machine);
    object_t lock = object_open(node, kind, "lock", NULL);
    atomic_fetch_add(&scene->step, 1);
    await(&scene->step, 3);
    for (int i = 0; i < EACH; i++) {
        check_is(object_take(&lock, PATIENCE), 0);
        uint64_t sum = scene->sum;
        if (kind == MUTEX || kind == WRITER) {
            check(object_token(&lock) > scene->last_token);
            scene->last_token = object_token(&lock);
        }
        scene->sum = sum + 1;
        check_is(object_give(&lock), 0);
    }
    object_close(&lock);
    close_node(node);
}

static void one_at_a_time(kind_t kind) {
    pid_t pids[3];
    set_up();
    for (unsigned i = 0; i < 3; i++)
        pids[i] = child_start(count_up, &kind);
    for (unsigned i = 0; i < 3; i++)
        child_join(pids[i]);
    check_is(scene->sum, 3 * EACH);
    engine_stop(engine);
}

static void a_mutex_lets_one_in_at_a_time(void) {
    one_at_a_time(MUTEX);
}

static void writers_and_units_come_in_one_at_a_time(void) {
    one_at_a_time(WRITER);
    one_at_a_time(OWNED);
    one_at_a_time(PLAIN);
}

static void the_rules_of_handles_hold(void) {
    set_up();
    ferry_t *a = node_on("a");
    ferry_t *b = node_on("b");
    ferry_mutex_t *mine = open_mutex(a, "rules"), *other = open_mutex(b, "rules");
    ferry_rwlock_t *wrong = NULL;
    check_error(ferry_rwlock_open(b, "rules", NULL, &wrong), -EPROTOTYPE, "rules mutex");
    check_error(ferry_mutex_unlock(mine), -EALREADY, "nobody holds");
    check_error(ferry_mutex_check(mine), -EPERM, "does not hold");
    check_is(ferry_mutex_token(mine), 0);
    check_is(ferry_mutex_trylock(mine), 0);
    check(ferry_mutex_token(mine) > 0);
    check_is(ferry_mutex_check(mine), 0);
    check_error(ferry_mutex_lock(mine, PATIENCE), -EDEADLK, "already");
    check_error(ferry_mutex_trylock(other), -EAGAIN, "rules");
    check_error(ferry_mutex_unlock(other), -EPERM, "another");
    check_error(ferry_mutex_close(mine), -EBUSY, "unlock");
    int64_t begin = monotonic();
    check_error(ferry_mutex_lock(other, 100 * MILLISECOND), -ETIMEDOUT, "100.000 ms");
    check(monotonic() - begin >= 100 * MILLISECOND);
    check_is(ferry_mutex_unlock(mine), 0);
    check_is(ferry_mutex_lock(other, FERRY_NOW), 0);
    check_error(ferry_mutex_repaired(other), -EINVAL, "nothing");
    check_is(ferry_mutex_unlock(other), 0);
    check_is(ferry_mutex_close(other), 0);
    check_error(ferry_mutex_unlock(other), -EBADF, "closed");
    check_is(ferry_mutex_close(mine), 0);
    /* Gone with the last: now the name may be that of something else. */
    check_is(ferry_rwlock_open(b, "rules", NULL, &wrong), 0);
    check_is(ferry_close(b), 1);
    close_node(a);
    engine_stop(engine);
}

static void readers_go_in_together(void) {
    set_up();
    ferry_t *a = node_on("a"), *b = node_on("b");
    ferry_rwlock_t *one = open_rwlock(a, "book"), *two = open_rwlock(b, "book");
    check_is(ferry_rwlock_read(one, PATIENCE), 0);
    check_is(ferry_rwlock_read(two, PATIENCE), 0);
    ferry_rwlock_t *writer = open_rwlock(b, "book");
    check_error(ferry_rwlock_write(writer, 50 * MILLISECOND), -ETIMEDOUT, "book");
    check_is(ferry_rwlock_unlock(one), 0);
    check_is(ferry_rwlock_unlock(two), 0);
    check_is(ferry_rwlock_write(writer, PATIENCE), 0);
    check(ferry_rwlock_token(writer) > 0);
    check_is(ferry_rwlock_check(writer), 0);
    check_error(ferry_rwlock_read(one, FERRY_NOW), -EAGAIN, "book");
    check_is(ferry_rwlock_unlock(writer), 0);
    check_is(ferry_rwlock_close(one) + ferry_rwlock_close(two) + ferry_rwlock_close(writer), 0);
    close_node(a);
    close_node(b);
    engine_stop(engine);
}

static void semaphores_count_as_the_first_has_said(void) {
    set_up();
    ferry_t *a = node_on("a"), *b = node_on("b");
    ferry_semaphore_t *none = NULL;
    check_error(ferry_semaphore_open(a, "slots", FERRY_ANY, NULL, &none), -ENOENT, "slots");
    ferry_semaphore_t *one = open_semaphore(a, "slots", 2);
    check_error(ferry_semaphore_open(b, "slots", 3, NULL, &none), -EPROTOTYPE, "slots 2 3");
    ferry_semaphore_t *two = open_semaphore(b, "slots", FERRY_ANY);
    check_is(ferry_semaphore_value(two), 2);
    check_is(ferry_semaphore_acquire(one, PATIENCE), 0);
    check_is(ferry_semaphore_acquire(two, PATIENCE), 0);
    check_error(ferry_semaphore_acquire(two, FERRY_NOW), -EAGAIN, "slots");
    check_is(ferry_semaphore_release(two), 0);
    check_is(ferry_semaphore_release(two), 0);
    check_is(ferry_semaphore_release(two), 0);
    check_is(ferry_semaphore_value(one), 3);
    ferry_semaphore_t *own = open_owned_semaphore(a, "owned", 2);
    check_error(ferry_semaphore_release(own), -EPERM, "owned");
    check_is(ferry_semaphore_acquire(own, PATIENCE), 0);
    check_is(ferry_semaphore_acquire(own, PATIENCE), 0);
    check_is(ferry_semaphore_check(own), 0);
    check_error(ferry_semaphore_check(one), -EPERM, "slots");
    check_is(ferry_semaphore_value(own), 0);
    check_error(ferry_semaphore_close(own), -EBUSY, "release");
    check_is(ferry_semaphore_release(own) + ferry_semaphore_release(own), 0);
    check_is(ferry_semaphore_close(own) + ferry_semaphore_close(one) + ferry_semaphore_close(two), 0);
    close_node(a);
    close_node(b);
    engine_stop(engine);
}

static void meet_ten_times(void *arg) {
    (void)arg;
    ferry_t *node = node_on("other");
    ferry_barrier_t *barrier = open_barrier(node, "gate", 2);
    ferry_event_t *event = open_event(node, "go");
    ferry_event_t *each = open_auto_event(node, "each");
    for (int i = 0; i < 10; i++) {
        int r = ferry_barrier_wait(barrier, PATIENCE);
        check(r == 0 || r == FERRY_BARRIER_LAST);
        atomic_fetch_add(&scene->taken, (unsigned)r);
    }
    check_is(ferry_event_wait(event, PATIENCE), 0);
    int count = ferry_event_count(event);
    atomic_store(&scene->step, 1);
    check_is(ferry_event_wait_after(event, count, PATIENCE), 0);
    for (int i = 0; i < 5; i++) {
        check_is(ferry_event_wait(each, PATIENCE), 0);
        atomic_store(&scene->step, 2 + (unsigned)i);
    }
    check_is(ferry_barrier_close(barrier) + ferry_event_close(event) + ferry_event_close(each), 0);
    close_node(node);
}

static void barriers_and_events_reach_the_other_machine(void) {
    set_up();
    pid_t other = child_start(meet_ten_times, NULL);
    ferry_t *node = node_on("a");
    ferry_barrier_t *barrier = open_barrier(node, "gate", 2);
    ferry_event_t *event = open_event(node, "go");
    ferry_event_t *each = open_auto_event(node, "each");
    for (int i = 0; i < 10; i++) {
        int r = ferry_barrier_wait(barrier, PATIENCE);
        check(r == 0 || r == FERRY_BARRIER_LAST);
        atomic_fetch_add(&scene->taken, (unsigned)r);
    }
    check_error(ferry_event_wait(event, FERRY_NOW), -EAGAIN, "go set");
    check_is(ferry_event_is_set(event), 0);
    check_is(ferry_event_set(event), 0);
    check_is(ferry_event_is_set(event), 1);
    await(&scene->step, 1);
    check_is(ferry_event_set(event), 0);
    check_is(ferry_event_reset(event), 1);
    for (unsigned i = 0; i < 5; i++) {
        check_is(ferry_event_set(each), 0);
        await(&scene->step, 2 + i);
        check_is(ferry_event_is_set(each), 0);
    }
    child_join(other);
    check_is(scene->taken, 10); /* one of each round */
    check_error(ferry_barrier_wait(barrier, FERRY_NOW), -EAGAIN, "gate");
    check_error(ferry_barrier_wait(barrier, 50 * MILLISECOND), -ETIMEDOUT, "gate");
    check_is(ferry_barrier_close(barrier) + ferry_event_close(event) + ferry_event_close(each), 0);
    close_node(node);
    engine_stop(engine);
}

/* ---- deaths ---- */

static void hold_and_stay(void *arg) {
    (void)arg;
    ferry_t *node = node_on("doomed");
    ferry_mutex_t *mutex = open_mutex(node, "ledger");
    ferry_semaphore_t *units = open_owned_semaphore(node, "units", 1);
    check_is(ferry_mutex_lock(mutex, PATIENCE), 0);
    check_is(ferry_semaphore_acquire(units, PATIENCE), 0);
    ferry_barrier_t *barrier = open_barrier(node, "gate", 3);
    scene->tokens[0] = ferry_mutex_token(mutex);
    atomic_store(&scene->step, 1);
    (void)ferry_barrier_wait(barrier, PATIENCE);
}

static void what_a_killed_one_held_is_taken_over(void) {
    set_up();
    pid_t doomed = child_start(hold_and_stay, NULL);
    ferry_t *node = node_on("a");
    ferry_mutex_t *mutex = open_mutex(node, "ledger");
    ferry_semaphore_t *units = open_owned_semaphore(node, "units", 1);
    ferry_barrier_t *barrier = open_barrier(node, "gate", 3);
    await(&scene->step, 1);
    child_kill(doomed);
    int64_t begin = monotonic();
    check_is(ferry_mutex_lock(mutex, PATIENCE), FERRY_OWNER_DIED);
    check(monotonic() - begin < PATIENCE);
    check(ferry_mutex_token(mutex) > scene->tokens[0]);
    check_is(ferry_mutex_repaired(mutex), 0);
    check_is(ferry_mutex_unlock(mutex), 0);
    check_is(ferry_mutex_lock(mutex, PATIENCE), 0);
    check_is(ferry_mutex_unlock(mutex), 0);
    check_is(ferry_semaphore_acquire(units, PATIENCE), 0);
    check_is(ferry_semaphore_release(units), 0);
    check_error(ferry_barrier_wait(barrier, PATIENCE), -EOWNERDEAD, "gate died");
    check_is(ferry_barrier_reset(barrier), 0);
    check_error(ferry_barrier_wait(barrier, 10 * MILLISECOND), -ETIMEDOUT, "gate");
    check_is(ferry_mutex_close(mutex) + ferry_semaphore_close(units) + ferry_barrier_close(barrier), 0);
    close_node(node);
    engine_stop(engine);
}

static void *take_and_end(void *arg) {
    check_is(ferry_mutex_lock(arg, PATIENCE), 0);
    return NULL;
}

static void a_thread_that_ends_and_a_node_that_closes_leave_it_unrepaired(void) {
    set_up();
    ferry_t *a = node_on("a"), *b = node_on("b");
    ferry_mutex_t *left = open_mutex(a, "left"), *taker = open_mutex(b, "left");
    pthread_t thread;
    check_is(pthread_create(&thread, NULL, take_and_end, left), 0);
    check_is(pthread_join(thread, NULL), 0);
    check_is(ferry_mutex_lock(taker, PATIENCE), FERRY_OWNER_DIED);
    check_is(ferry_mutex_repaired(taker), 0);
    check_is(ferry_mutex_unlock(taker), 0);
    check_error(ferry_mutex_lock(left, PATIENCE), -EOWNERDEAD, "ended");
    check_is(ferry_mutex_close(left), 0);
    left = open_mutex(a, "left");
    check_is(ferry_mutex_lock(left, PATIENCE), 0);
    check_is(ferry_close(a), 1);
    check_is(ferry_mutex_lock(taker, PATIENCE), FERRY_OWNER_DIED);
    check_is(ferry_mutex_unlock(taker), 0); /* as it was */
    check_error(ferry_mutex_lock(taker, PATIENCE), -ENOTRECOVERABLE, "unusable");
    check_is(ferry_mutex_close(taker), 0);
    close_node(b);
    engine_stop(engine);
}

static void hold_unheard(void *arg) {
    (void)arg;
    ferry_t *node = node_on("stopped");
    ferry_mutex_t *mutex = open_mutex(node, "ledger");
    check_is(ferry_mutex_lock(mutex, PATIENCE), 0);
    scene->tokens[0] = ferry_mutex_token(mutex);
    atomic_store(&scene->step, 1);
    await(&scene->step, 2); /* is stopped meanwhile */
    check_error(ferry_mutex_check(mutex), -ESTALE, "lease ledger lost");
    check(ferry_mutex_token(mutex) == scene->tokens[0]);
    check_error(ferry_mutex_unlock(mutex), -ESTALE, "lease ledger lost");
    check_is(ferry_mutex_token(mutex), 0);
    atomic_store(&scene->step, 3);
    check_is(ferry_mutex_lock(mutex, PATIENCE), 0);
    check(ferry_mutex_token(mutex) > scene->tokens[1]);
    check_is(ferry_mutex_unlock(mutex), 0);
    check_is(ferry_mutex_close(mutex), 0);
    close_node(node);
}

static void a_stopped_holder_loses_its_lease_and_is_told(void) {
    set_up();
    pid_t holder = child_start(hold_unheard, NULL);
    await(&scene->step, 1);
    ferry_t *node = node_on("a");
    ferry_mutex_t *mutex = open_mutex(node, "ledger");
    check_is(kill(holder, SIGSTOP), 0);
    check_is(ferry_mutex_lock(mutex, PATIENCE), FERRY_OWNER_DIED);
    scene->tokens[1] = ferry_mutex_token(mutex);
    check(scene->tokens[1] > scene->tokens[0]);
    atomic_store(&scene->step, 2);
    check_is(kill(holder, SIGCONT), 0);
    await(&scene->step, 3);
    check_is(ferry_mutex_check(mutex), 0);
    check_is(ferry_mutex_repaired(mutex), 0);
    check_is(ferry_mutex_unlock(mutex), 0);
    child_join(holder);
    check_is(ferry_mutex_close(mutex), 0);
    close_node(node);
    engine_stop(engine);
}

/* ---- the server goes and comes back ---- */

static void wait_through(void *arg) {
    (void)arg;
    ferry_t *node = node_on("b");
    ferry_mutex_t *mutex = open_mutex(node, "ledger");
    ferry_event_t *event = open_event(node, "go");
    atomic_store(&scene->step, 1);
    await(&scene->step, 2);
    atomic_store(&scene->step, 3);
    check_is(ferry_mutex_lock(mutex, PATIENCE), 0);
    scene->tokens[1] = ferry_mutex_token(mutex);
    check_is(ferry_mutex_unlock(mutex), 0);
    check_is(ferry_event_wait(event, PATIENCE), 0);
    check_is(ferry_mutex_close(mutex) + ferry_event_close(event), 0);
    close_node(node);
}

static void locks_and_waits_outlive_a_server(void) {
    set_up();
    pid_t other = child_start(wait_through, NULL);
    ferry_t *node = node_on("a");
    ferry_mutex_t *mutex = open_mutex(node, "ledger");
    ferry_event_t *event = open_event(node, "go");
    check_is(ferry_mutex_lock(mutex, PATIENCE), 0);
    await(&scene->step, 1);
    atomic_store(&scene->step, 2);
    await(&scene->step, 3);
    nap(100 * MILLISECOND);
    engine_kill(engine);
    nap(100 * MILLISECOND);
    check_is(ferry_mutex_check(mutex), 0);
    check_error(ferry_event_wait(event, 50 * MILLISECOND), -ETIMEDOUT, "go");
    engine_restart(engine);
    check_is(ferry_mutex_check(mutex), 0);
    uint64_t token = ferry_mutex_token(mutex);
    check_is(ferry_mutex_unlock(mutex), 0);
    engine_kill(engine);
    engine_restart(engine);
    check_is(ferry_event_set(event), 0);
    child_join(other);
    check(scene->tokens[1] > token);
    check_is(ferry_mutex_close(mutex) + ferry_event_close(event), 0);
    close_node(node);
    engine_stop(engine);
}

static void without_a_server_a_lease_is_over_and_told(void) {
    set_up();
    ferry_t *node = node_on("a");
    ferry_mutex_t *mutex = open_mutex(node, "ledger");
    check_is(ferry_mutex_lock(mutex, PATIENCE), 0);
    engine_kill(engine);
    int64_t begin = monotonic();
    int r;
    while ((r = ferry_mutex_check(mutex)) == 0 && monotonic() - begin < PATIENCE)
        nap(20 * MILLISECOND);
    check_error(r, -ESTALE, "lease ledger no connection");
    check(monotonic() - begin < PATIENCE);
    check_error(ferry_mutex_unlock(mutex), -ESTALE, "lease ledger");
    begin = monotonic();
    check_error(ferry_mutex_lock(mutex, 100 * MILLISECOND), -ETIMEDOUT, "no connection");
    check(monotonic() - begin < PATIENCE / 2);
    check_is(ferry_shutdown(node), 0);
    check_error(ferry_mutex_lock(mutex, PATIENCE), -ESHUTDOWN, "shut down");
    engine_restart(engine);
    check_is(ferry_mutex_close(mutex), 0);
    close_node(node);
    engine_stop(engine);
}

static void *shut_down_later(void *node) {
    nap(100 * MILLISECOND);
    check_is(ferry_shutdown(node), 0);
    return NULL;
}

static void ignore(int number) {
    (void)number;
}

static void signals_and_shutdown_end_a_wait(void) {
    set_up();
    ferry_t *a = node_on("a"), *b = node_on("b");
    ferry_mutex_t *held = open_mutex(a, "ledger"), *mutex = open_mutex(b, "ledger");
    struct sigaction action = {.sa_handler = ignore};
    check_is(ferry_mutex_lock(held, PATIENCE), 0);
    check_is(sigaction(SIGALRM, &action, NULL), 0);
    ualarm(50000, 0);
    check_error(ferry_mutex_lock(mutex, PATIENCE), -EINTR, "signal");
    pthread_t thread;
    check_is(pthread_create(&thread, NULL, shut_down_later, b), 0);
    check_error(ferry_mutex_lock(mutex, PATIENCE), -ESHUTDOWN, "shut down");
    check_is(pthread_join(thread, NULL), 0);
    check_is(ferry_mutex_unlock(held), 0);
    check_is(ferry_mutex_close(held) + ferry_mutex_close(mutex), 0);
    close_node(a);
    close_node(b);
    engine_stop(engine);
}

/* ---- threads that are cancelled ---- */

/* ThreadSanitizer does not see what a thread locks after it was cancelled in ppoll (to it that call has not ended), so
 * from then on it takes all that locks protect for races. */
#if !UNDER_TSAN
static void *lock_until_cancelled(void *mutex) {
    atomic_fetch_add(&scene->step, 1);
    (void)ferry_mutex_lock(mutex, FERRY_FOREVER);
    check(!"the thread is cancelled in its wait");
    return NULL;
}

/* Nobody waits for those, whatever they were doing: asking, waiting in the line, or looking for a deadlock. */
static void who_is_cancelled_in_a_wait_leaves_the_line(void) {
    enum { WAITERS = 6 };
    set_up();
    ferry_t *a = node_on("a"), *b = node_on("b");
    ferry_mutex_t *held = open_mutex(a, "line"), *last = open_mutex(b, "line"), *mutex[WAITERS];
    pthread_t threads[WAITERS];
    void *result = NULL;
    check_is(ferry_mutex_lock(held, PATIENCE), 0);
    for (unsigned i = 0; i < WAITERS; i++) {
        mutex[i] = open_mutex(a, "line");
        check_is(pthread_create(&threads[i], NULL, lock_until_cancelled, mutex[i]), 0);
        await(&scene->step, i + 1);
        nap(i % 3 * 2 * MILLISECOND);
        check_is(pthread_cancel(threads[i]), 0);
    }
    for (unsigned i = 0; i < WAITERS; i++) {
        check_is(pthread_join(threads[i], &result), 0);
        check(result == PTHREAD_CANCELED);
    }
    check_is(ferry_mutex_unlock(held), 0);
    check_is(ferry_mutex_lock(last, FERRY_NOW), 0);
    check_is(ferry_mutex_unlock(last), 0);
    for (unsigned i = 0; i < WAITERS; i++)
        check_is(ferry_mutex_lock(mutex[i], PATIENCE) + ferry_mutex_unlock(mutex[i]), 0);
    check_is(ferry_close(a), WAITERS + 1);
    check_is(ferry_close(b), 1);
    engine_stop(engine);
}
#endif

static void *thaw_soon(void *arg) {
    (void)arg;
    nap(150 * MILLISECOND);
    engine_thaw(engine);
    return NULL;
}

/* Who waits for nobody still waits for the server. Where the machine stands still itself, once more. */
static void a_slow_server_is_waited_for_though_nobody_else_is(void) {
    int r = -ETIMEDOUT;
    set_up();
    ferry_t *node = node_on("a");
    ferry_mutex_t *mutex = open_mutex(node, "one");
    for (int i = 0; i < 10 && r != 0; i++) {
        pthread_t thread;
        engine_freeze(engine);
        check_is(pthread_create(&thread, NULL, thaw_soon, NULL), 0);
        r = ferry_mutex_lock(mutex, FERRY_NOW);
        check(r == 0 || strstr(ferry_last_error(), "server"));
        check_is(pthread_join(thread, NULL), 0);
    }
    check_is(r, 0);
    check_is(ferry_mutex_unlock(mutex), 0);
    check_is(ferry_close(node), 1);
    engine_stop(engine);
}

/* ---- many ---- */

#define GUESTS 17u /* more than are asked at once, and more than can be suspected */

static void open_and_wait_to_be_killed(void *arg) {
    (void)arg;
    ferry_t *node = node_on("dead");
    (void)open_barrier(node, "gate", GUESTS + 1);
    atomic_store(&scene->step, 1);
    for (;;)
        pause();
}

static void *wait_in_vain(void *arg) {
    check_error(ferry_barrier_wait(arg, PATIENCE), -EOWNERDEAD, "gate");
    return NULL;
}

static void a_death_is_noticed_among_many(void) {
    ferry_t *node[GUESTS];
    ferry_barrier_t *barrier[GUESTS];
    pthread_t thread[GUESTS];
    set_up();
    pid_t dead = child_start(open_and_wait_to_be_killed, NULL);
    await(&scene->step, 1);
    for (unsigned i = 0; i < GUESTS; i++) {
        char machine[16];
        snprintf(machine, sizeof machine, "m%u", i);
        node[i] = node_on(machine);
        barrier[i] = open_barrier(node[i], "gate", GUESTS + 1);
        check_is(pthread_create(&thread[i], NULL, wait_in_vain, barrier[i]), 0);
    }
    child_kill(dead);
    for (unsigned i = 0; i < GUESTS; i++)
        check_is(pthread_join(thread[i], NULL), 0);
    for (unsigned i = 0; i < GUESTS; i++) {
        check_is(ferry_barrier_close(barrier[i]), 0);
        close_node(node[i]);
    }
    engine_stop(engine);
}

/* ---- the end of nodes ---- */

static void use_parents_handle(ferry_mutex_t *mutex) {
    pid_t pid = fork();
    check(pid >= 0);
    if (pid == 0) {
        uint64_t token = ferry_mutex_token(mutex);
        int r = ferry_mutex_lock(mutex, FERRY_NOW);
        _exit(token == 0 && r == -ECHILD ? 0 : 1);
    }
    check_is(child_wait(pid), 0);
}

static void what_is_left_open_is_closed_and_counted(void) {
    set_up();
    ferry_t *node = node_on("a");
    (void)open_mutex(node, "one");
    (void)open_event(node, "two");
    ferry_mutex_t *mutex = open_mutex(node, "one");
    check_is(ferry_mutex_lock(mutex, PATIENCE), 0);
    use_parents_handle(mutex);
    check_is(ferry_close(node), 3);
    engine_stop(engine);
}

int main(int argc, char **argv) {
    static const test_t tests[] = {
        TEST(a_mutex_lets_one_in_at_a_time),
        TEST(writers_and_units_come_in_one_at_a_time),
        TEST(the_rules_of_handles_hold),
        TEST(readers_go_in_together),
        TEST(semaphores_count_as_the_first_has_said),
        TEST(barriers_and_events_reach_the_other_machine),
        TEST(what_a_killed_one_held_is_taken_over),
        TEST(a_thread_that_ends_and_a_node_that_closes_leave_it_unrepaired),
        TEST(a_stopped_holder_loses_its_lease_and_is_told),
        TEST(locks_and_waits_outlive_a_server),
        TEST(without_a_server_a_lease_is_over_and_told),
        TEST(signals_and_shutdown_end_a_wait),
#if !UNDER_TSAN
        TEST(who_is_cancelled_in_a_wait_leaves_the_line),
#endif
        TEST(a_slow_server_is_waited_for_though_nobody_else_is),
        TEST(a_death_is_noticed_among_many),
        TEST(what_is_left_open_is_closed_and_counted),
    };
    return run_suite("net_locks", tests, sizeof tests / sizeof tests[0], argc, argv);
}
