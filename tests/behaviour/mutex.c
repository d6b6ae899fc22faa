/* SPDX-License-Identifier: MIT
 *
 * mutex.c - mutexes, and what writers, readers and holders of a semaphore's units have in common with them: one at a
 * time, in which order, and what is answered to those who do not keep to the rules.
 */
#include "objects.h"

#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
#include <unistd.h>

/* ---- one at a time ---- */

#define MEMBERS 4

typedef struct contest {
    kind_t kind;
    ferry_wait_t wait;
    unsigned each;
    volatile uint64_t sum; /* nothing but the lock protects it */
    volatile uint64_t last_token;
    atomic_uint entered;
    atomic_uint members;
    atomic_uint taken;
} contest_t;

/* All open it before anybody uses it: otherwise it could come and go, and its numbers begin anew. */
static object_t enter_contest(ferry_t *node, contest_t *contest) {
    ferry_sync_options_t options = {.wait = contest->wait};
    object_t lock = object_open(node, contest->kind, "lock", &options);
    atomic_fetch_add(&contest->entered, 1);
    await(&contest->entered, MEMBERS);
    return lock;
}

static void count_one(contest_t *contest, object_t *lock) {
    contest->sum = contest->sum + 1;
    if (contest->kind != MUTEX && contest->kind != WRITER)
        return;
    uint64_t token = object_token(lock);
    check(token > contest->last_token);
    contest->last_token = token;
}

static void count_up(ferry_t *node, void *arg) {
    contest_t *contest = arg;
    object_t lock = enter_contest(node, contest);
    for (unsigned i = 0; i < contest->each; i++) {
        check_is(object_take(&lock, PATIENCE), 0);
        count_one(contest, &lock);
        check_is(object_give(&lock), 0);
    }
    atomic_fetch_add(&contest->taken, contest->each);
    object_close(&lock);
}

static void run_contest(where_t where, kind_t kind, ferry_wait_t wait, unsigned each,
                        void (*run)(ferry_t *node, void *arg)) {
    contest_t *contest = share(sizeof *contest);
    *contest = (contest_t){.kind = kind, .wait = wait, .each = each};
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < MEMBERS; i++)
        crew_add(crew, run, contest);
    crew_end(crew);
    check(contest->taken > 0);
    check_is(contest->sum, contest->taken);
}

static void a_mutex_lets_one_in_at_a_time(where_t where) {
    run_contest(where, MUTEX, FERRY_WAIT_ADAPTIVE, 20000, count_up);
}

static void a_mutex_lets_one_in_at_a_time_when_all_sleep(where_t where) {
    run_contest(where, MUTEX, FERRY_WAIT_BLOCK, 5000, count_up);
}

static void a_mutex_lets_one_in_at_a_time_when_all_spin(where_t where) {
    run_contest(where, MUTEX, FERRY_WAIT_SPIN, 50, count_up);
}

static void writers_come_in_one_at_a_time(where_t where) {
    run_contest(where, WRITER, FERRY_WAIT_ADAPTIVE, 10000, count_up);
}

static void an_owned_unit_is_held_by_one_at_a_time(where_t where) {
    run_contest(where, OWNED, FERRY_WAIT_ADAPTIVE, 10000, count_up);
}

static void a_plain_unit_is_held_by_one_at_a_time(where_t where) {
    run_contest(where, PLAIN, FERRY_WAIT_ADAPTIVE, 10000, count_up);
}

static void ignore(int number) {
    (void)number;
}

static void ring_every(suseconds_t microseconds) {
    struct itimerval timer = {.it_value = {.tv_usec = microseconds}, .it_interval = {.tv_usec = microseconds}};
    check_is(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

/* Takes it with all sorts of timeouts, under signals: whoever is told that it has the lock has it, and nobody else. */
static void count_up_impatiently(ferry_t *node, void *arg) {
    static const int64_t timeouts[] = {FERRY_NOW, 1, 20000, MILLISECOND / 5, MILLISECOND, PATIENCE};
    contest_t *contest = arg;
    uint64_t seed = atomic_fetch_add(&contest->members, 1);
    struct sigaction action = {.sa_handler = ignore};
    check_is(sigaction(SIGALRM, &action, NULL), 0);
    ring_every(300);
    object_t lock = enter_contest(node, contest);
    for (unsigned i = 0; i < contest->each; i++) {
        int answer = object_take(&lock, timeouts[random_below(&seed, 6)]);
        check(answer == 0 || answer == -EAGAIN || answer == -ETIMEDOUT || answer == -EINTR);
        if (answer != 0)
            continue;
        count_one(contest, &lock);
        if (random_below(&seed, 100) == 0)
            nap(MILLISECOND / 10);
        check_is(object_give(&lock), 0);
        atomic_fetch_add(&contest->taken, 1);
    }
    ring_every(0);
    object_close(&lock);
}

static void impatient_takers_of_a_mutex_disturb_nobody(where_t where) {
    run_contest(where, MUTEX, FERRY_WAIT_ADAPTIVE, 2000, count_up_impatiently);
}

static void impatient_writers_disturb_nobody(where_t where) {
    run_contest(where, WRITER, FERRY_WAIT_BLOCK, 1500, count_up_impatiently);
}

static void impatient_takers_of_a_unit_disturb_nobody(where_t where) {
    run_contest(where, OWNED, FERRY_WAIT_BLOCK, 1500, count_up_impatiently);
}

/* ---- in which order ---- */

/* The kinds for which the order shows: readers go in together. */
static const kind_t exclusive[] = {MUTEX, WRITER, OWNED, PLAIN};
#define EXCLUSIVE (sizeof exclusive / sizeof exclusive[0])

typedef struct line {
    atomic_uint members;
    atomic_uint turn;
    atomic_int tid;   /* of the member whose turn it is, when it goes to wait */
    unsigned asleep;  /* how often in a row it was seen asleep */
    bool others_pass; /* others open and close the lock meanwhile */
    atomic_uint taken[EXCLUSIVE];
    unsigned order[EXCLUSIVE][MEMBERS];
} line_t;

static const char *const names[BARRIER] = {"mutex", "written", "read", "owned", "plain"};

/* All is opened before anybody waits: who opens an object makes others look after it. */
static void stand_in_line(ferry_t *node, void *arg) {
    line_t *line = arg;
    ferry_sync_options_t options = {.wait = FERRY_WAIT_BLOCK, .deadlock_after = PATIENCE};
    object_t locks[EXCLUSIVE];
    for (unsigned i = 0; i < EXCLUSIVE; i++)
        locks[i] = object_open(node, exclusive[i], names[exclusive[i]], &options);
    unsigned self = atomic_fetch_add(&line->members, 1);
    for (unsigned i = 0; i < EXCLUSIVE; i++) {
        await(&line->turn, i * MEMBERS + self + 1);
        atomic_store(&line->tid, gettid());
        check_is(object_take(&locks[i], PATIENCE), 0);
        line->order[i][atomic_load(&line->taken[i])] = self;
        atomic_fetch_add(&line->taken[i], 1);
        check_is(object_give(&locks[i]), 0);
    }
    for (unsigned i = 0; i < EXCLUSIVE; i++)
        object_close(&locks[i]);
}

static char state_of(int tid) {
    char path[64], state = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", tid);
    FILE *stat = fopen(path, "re");
    if (!stat || fscanf(stat, "%*d (%*[^)]) %c", &state) != 1)
        state = 0;
    if (stat)
        fclose(stat);
    return state;
}

/* Again and again, so that it does not just pause on its way. */
static bool is_asleep(void *arg) {
    line_t *line = arg;
    int tid = atomic_load(&line->tid);
    line->asleep = tid && state_of(tid) == 'S' ? line->asleep + 1 : 0;
    return line->asleep >= 10;
}

static void open_and_close(kind_t kind) {
    ferry_t *passer = open_node("test");
    object_t object = object_open(passer, kind, names[kind], NULL);
    object_close(&object);
    close_node(passer);
}

/* One after the other goes to sleep, and has waited for a millisecond when it is seen asleep. */
static void let_all_wait(line_t *line, unsigned i) {
    for (unsigned member = 0; member < MEMBERS; member++) {
        line->asleep = 0;
        atomic_store(&line->tid, 0);
        atomic_store(&line->turn, i * MEMBERS + member + 1);
        await_that(is_asleep, line, "the member whose turn it is does not sleep");
        if (line->others_pass)
            open_and_close(exclusive[i]);
    }
}

static void run_line(where_t where, bool others_pass) {
    line_t *line = share(sizeof *line);
    object_t obstacles[EXCLUSIVE];
    line->others_pass = others_pass;
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < MEMBERS; i++)
        crew_add(crew, stand_in_line, line);
    for (unsigned i = 0; i < EXCLUSIVE; i++)
        obstacles[i] = obstacle_open(crew_node(crew), exclusive[i], names[exclusive[i]]);
    await(&line->members, MEMBERS);
    nap(20 * MILLISECOND);
    for (unsigned i = 0; i < EXCLUSIVE; i++) {
        let_all_wait(line, i);
        obstacle_remove(&obstacles[i]);
        await(&line->taken[i], MEMBERS);
        for (unsigned member = 0; member < MEMBERS; member++)
            check_is(line->order[i][member], member);
        obstacle_close(&obstacles[i]);
    }
    crew_end(crew);
}

static void who_fell_asleep_first_gets_it_first(where_t where) {
    run_line(where, false);
}

static void others_who_come_and_go_cost_nobody_the_place_in_the_line(where_t where) {
    run_line(where, true);
}

typedef struct greed {
    kind_t kind;
    atomic_uint taken;
    atomic_uint stop;
} greed_t;

/* Has it nearly all the time, and asks for it again as soon as it has given it back. */
static void be_greedy(ferry_t *node, void *arg) {
    greed_t *greed = arg;
    object_t lock = object_open(node, greed->kind, "lock", NULL);
    while (!atomic_load(&greed->stop)) {
        check_is(object_take(&lock, PATIENCE), 0);
        atomic_fetch_add(&greed->taken, 1);
        nap(MILLISECOND / 5);
        check_is(object_give(&lock), 0);
    }
    object_close(&lock);
}

/* A waiter is overtaken for a millisecond; that the machine stood still meanwhile must not be held against anybody. */
static void outwait_the_greedy(where_t where, kind_t kind) {
    enum { TRIES = 10, FEW = 60 };
    greed_t *greed = share(sizeof *greed);
    unsigned good = 0;
    greed->kind = kind;
    crew_t *crew = crew_begin(where);
    crew_add(crew, be_greedy, greed);
    object_t lock = object_open(crew_node(crew), kind, "lock", NULL);
    for (unsigned i = 0; i < TRIES; i++) {
        await(&greed->taken, atomic_load(&greed->taken) + 2);
        unsigned before = atomic_load(&greed->taken);
        check_is(object_take(&lock, PATIENCE), 0);
        good += atomic_load(&greed->taken) - before <= FEW;
        check_is(object_give(&lock), 0);
    }
    check(good >= TRIES / 2);
    atomic_store(&greed->stop, 1);
    object_close(&lock);
    crew_end(crew);
}

static void a_greedy_holder_of_a_mutex_starves_nobody(where_t where) {
    outwait_the_greedy(where, MUTEX);
}

static void a_greedy_writer_starves_nobody(where_t where) {
    outwait_the_greedy(where, WRITER);
}

static void a_greedy_holder_of_a_unit_starves_nobody(where_t where) {
    outwait_the_greedy(where, OWNED);
}

/* ---- the rules ---- */

/* The two handles are of two nodes: what holds there holds within one, too. */
typedef struct two {
    ferry_t *nodes[2];
    object_t first, second;
} two_t;

static two_t open_two(kind_t kind) {
    two_t two = {.nodes = {open_node("test"), open_node("test")}};
    two.first = object_open(two.nodes[0], kind, names[kind], NULL);
    two.second = object_open(two.nodes[1], kind, names[kind], NULL);
    return two;
}

static void close_two(two_t *two) {
    object_close(&two->first);
    object_close(&two->second);
    close_node(two->nodes[0]);
    close_node(two->nodes[1]);
}

static void taking_again_what_the_handle_holds_is_a_deadlock_at_once(void) {
    for (kind_t kind = MUTEX; kind <= READER; kind++) {
        two_t two = open_two(kind);
        check_is(object_take(&two.first, FERRY_NOW), 0);
        check_error(object_take(&two.first, FERRY_NOW), -EDEADLK, names[kind]);
        check_error(object_take(&two.first, FERRY_FOREVER), -EDEADLK, names[kind]);
        check_is(object_give(&two.first), 0);
        check_is(object_take(&two.second, FERRY_NOW), 0);
        check_is(object_give(&two.second), 0);
        close_two(&two);
    }
}

static void what_nobody_holds_cannot_be_given_back(void) {
    for (kind_t kind = MUTEX; kind <= OWNED; kind++) {
        int error = kind == OWNED ? -EPERM : -EALREADY;
        two_t two = open_two(kind);
        check_error(object_give(&two.first), error, names[kind]);
        check_is(object_take(&two.first, FERRY_NOW), 0);
        check_is(object_give(&two.first), 0);
        check_error(object_give(&two.first), error, names[kind]);
        check_error(object_give(&two.second), error, names[kind]);
        check_is(object_take(&two.second, FERRY_NOW), 0);
        check_is(object_give(&two.second), 0);
        close_two(&two);
    }
}

static void what_another_holds_cannot_be_given_back(void) {
    for (kind_t kind = MUTEX; kind <= OWNED; kind++) {
        two_t two = open_two(kind);
        check_is(object_take(&two.first, FERRY_NOW), 0);
        check_error(object_give(&two.second), -EPERM, names[kind]);
        check_is(object_give(&two.first), 0);
        close_two(&two);
    }
}

static void a_handle_that_holds_is_not_closed(void) {
    for (kind_t kind = MUTEX; kind <= OWNED; kind++) {
        two_t two = open_two(kind);
        check_is(object_take(&two.first, FERRY_NOW), 0);
        check_error(object_try_close(&two.first), -EBUSY, names[kind]);
        if (kind == READER)
            two.second.kind = WRITER;
        check_is(object_take(&two.second, FERRY_NOW), -EAGAIN);
        check_is(object_give(&two.first), 0);
        close_two(&two);
    }
}

static void what_is_whole_cannot_be_repaired(void) {
    for (kind_t kind = MUTEX; kind <= WRITER; kind++) {
        two_t two = open_two(kind);
        check_error(object_repaired(&two.first), -EPERM, names[kind]);
        check_is(object_take(&two.first, FERRY_NOW), 0);
        check_error(object_repaired(&two.first), -EINVAL, names[kind]);
        check_error(object_repaired(&two.second), -EPERM, names[kind]);
        check_is(object_give(&two.first), 0);
        check_is(object_take(&two.second, FERRY_NOW), 0);
        check_is(object_give(&two.second), 0);
        close_two(&two);
    }
}

static void every_acquisition_has_a_larger_number(void) {
    for (kind_t kind = MUTEX; kind <= WRITER; kind++) {
        two_t two = open_two(kind);
        uint64_t last = 0;
        for (unsigned i = 0; i < 100; i++) {
            object_t *lock = i % 3 ? &two.first : &two.second;
            check_is(object_token(lock), 0);
            check_is(object_take(lock, FERRY_NOW), 0);
            check(object_token(lock) > last);
            last = object_token(lock);
            check_is(object_token(lock == &two.first ? &two.second : &two.first), 0);
            check_is(object_give(lock), 0);
            check_is(object_token(lock), 0);
        }
        close_two(&two);
    }
}

static void ask_as_a_child(void *arg) {
    two_t *two = arg;
    check_is(object_token(&two->first), 0);
    check_error(object_give(&two->first), -ECHILD, "fork");
}

static void a_forked_child_holds_nothing(void) {
    for (kind_t kind = MUTEX; kind <= WRITER; kind++) {
        two_t two = open_two(kind);
        check_is(object_take(&two.first, FERRY_NOW), 0);
        child_join(child_start(ask_as_a_child, &two));
        check(object_token(&two.first) > 0);
        check_is(object_give(&two.first), 0);
        close_two(&two);
    }
}

static void trying_is_taking_without_waiting(void) {
    two_t two = open_two(MUTEX);
    check_is(ferry_mutex_trylock(two.first.mutex), 0);
    check_error(ferry_mutex_trylock(two.second.mutex), -EAGAIN, "");
    check_error(ferry_mutex_trylock(two.first.mutex), -EDEADLK, names[MUTEX]);
    check_is(ferry_mutex_unlock(two.first.mutex), 0);
    check_is(ferry_mutex_trylock(two.second.mutex), 0);
    check_is(ferry_mutex_unlock(two.second.mutex), 0);
    close_two(&two);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST_PROTECTED(a_mutex_lets_one_in_at_a_time),
        TEST_PROTECTED(a_mutex_lets_one_in_at_a_time_when_all_sleep),
        TEST_PROTECTED(a_mutex_lets_one_in_at_a_time_when_all_spin),
        TEST_PROTECTED(writers_come_in_one_at_a_time),
        TEST_PROTECTED(an_owned_unit_is_held_by_one_at_a_time),
        TEST_PROTECTED(a_plain_unit_is_held_by_one_at_a_time),
        TEST_BOTH(impatient_takers_of_a_mutex_disturb_nobody),
        TEST_BOTH(impatient_writers_disturb_nobody),
        TEST_BOTH(impatient_takers_of_a_unit_disturb_nobody),
        TEST_ALL(who_fell_asleep_first_gets_it_first),
        TEST_ALL(others_who_come_and_go_cost_nobody_the_place_in_the_line),
        TEST_ALL(a_greedy_holder_of_a_mutex_starves_nobody),
        TEST_ALL(a_greedy_writer_starves_nobody),
        TEST_ALL(a_greedy_holder_of_a_unit_starves_nobody),
        TEST(taking_again_what_the_handle_holds_is_a_deadlock_at_once),
        TEST(what_nobody_holds_cannot_be_given_back),
        TEST(what_another_holds_cannot_be_given_back),
        TEST(a_handle_that_holds_is_not_closed),
        TEST(what_is_whole_cannot_be_repaired),
        TEST(every_acquisition_has_a_larger_number),
        TEST(a_forked_child_holds_nothing),
        TEST(trying_is_taking_without_waiting),
    };
    return run_suite("mutex", tests, sizeof tests / sizeof tests[0], argc, argv);
}
