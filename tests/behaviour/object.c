/* SPDX-License-Identifier: MIT
 *
 * object.c - what holds for synchronization objects of every kind: names and kinds, who keeps them alive, handles that
 * are closed, inherited by a fork, used by two threads or moved from one to another.
 */
#include "objects.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- names, kinds and options ---- */

static void refuse(ferry_t *node, kind_t kind, const char *name, int error, const char *words) {
    object_t object;
    check_error(object_try_open(node, kind, name, NULL, &object), error, words);
    check(object.mutex == NULL);
}

static void bad_names_are_refused(void) {
    char name[102];
    memset(name, 'n', 101);
    name[101] = '\0';
    ferry_t *node = open_node("test");
    for (kind_t kind = 0; kind < KINDS; kind++) {
        refuse(node, kind, "", -EINVAL, "name");
        refuse(node, kind, ".hidden", -EINVAL, ".hidden");
        refuse(node, kind, "a/b", -EINVAL, "a/b");
        refuse(node, kind, "a b", -EINVAL, "name");
        refuse(node, kind, name, -EINVAL, "100");
        refuse(node, kind, NULL, -EINVAL, "name");
        object_t longest = object_open(node, kind, name + 1, NULL);
        object_close(&longest);
    }
    close_node(node);
}

static void bad_options_are_refused(void) {
    ferry_t *node = open_node("test");
    ferry_sync_options_t no_wait = {.wait = (ferry_wait_t)77};
    ferry_sync_options_t short_size = {.size = 1};
    for (kind_t kind = 0; kind < KINDS; kind++) {
        object_t object;
        check_error(object_try_open(node, kind, "o", &no_wait, &object), -EINVAL, "wait 77");
        check_error(object_try_open(node, kind, "o", &short_size, &object), -EINVAL, "size");
        check(object.mutex == NULL);
    }
    close_node(node);
}

/* What the ends of one test tell each other. */
typedef struct stages {
    atomic_uint opened;
    atomic_uint may_close;
    atomic_uint closed;
} stages_t;

static const char *name_of(kind_t kind) {
    static __thread char name[32];
    snprintf(name, sizeof name, "object-%u", (unsigned)kind);
    return name;
}

static void open_one_of_each(ferry_t *node, object_t objects[KINDS]) {
    for (kind_t kind = 0; kind < KINDS; kind++)
        objects[kind] = object_open(node, kind, name_of(kind), NULL);
}

static void close_all(object_t objects[KINDS]) {
    for (kind_t kind = 0; kind < KINDS; kind++)
        object_close(&objects[kind]);
}

static void keep_one_of_each(ferry_t *node, void *arg) {
    stages_t *stages = arg;
    object_t objects[KINDS];
    open_one_of_each(node, objects);
    atomic_store(&stages->opened, 1);
    await(&stages->may_close, 1);
    close_all(objects);
    atomic_store(&stages->closed, 1);
}

static void a_name_is_that_of_one_kind(where_t where) {
    stages_t *stages = share(sizeof *stages);
    crew_t *crew = crew_begin(where);
    crew_add(crew, keep_one_of_each, stages);
    await(&stages->opened, 1);
    for (kind_t is = 0; is < KINDS; is++)
        for (kind_t asked = 0; asked < KINDS; asked++) {
            char words[64];
            snprintf(words, sizeof words, "%s %s %s", name_of(is), kind_word(is), kind_word(asked));
            if (strcmp(kind_word(is), kind_word(asked)) != 0)
                refuse(crew_node(crew), asked, name_of(is), -EPROTOTYPE, words);
        }
    atomic_store(&stages->may_close, 1);
    crew_end(crew);
}

static void objects_and_channels_may_have_the_same_name(void) {
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "both", FERRY_QUEUE, NULL);
    ferry_mutex_t *mutex = open_mutex(node, "both");
    ferry_receiver_t *rx = open_receiver(node, "both", FERRY_QUEUE, NULL);
    send_number(tx, 5);
    check_is(receive_number(rx), 5);
    check_is(ferry_mutex_lock(mutex, FERRY_NOW), 0);
    check_is(ferry_mutex_unlock(mutex), 0);
    check_is(ferry_mutex_close(mutex), 0);
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
}

static void a_hundred_objects_do_not_mix(void) {
    enum { MANY = 100 };
    ferry_t *node = open_node("test"), *other = open_node("test");
    ferry_mutex_t *mutexes[MANY];
    char name[32];
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "m%u", i);
        mutexes[i] = open_mutex(node, name);
        check_is(i % 3 == 0 ? ferry_mutex_trylock(mutexes[i]) : 0, 0);
    }
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "m%u", i);
        ferry_mutex_t *same = open_mutex(other, name);
        check_is(ferry_mutex_trylock(same), i % 3 == 0 ? -EAGAIN : 0);
        check_is(i % 3 == 0 ? ferry_mutex_unlock(mutexes[i]) : ferry_mutex_unlock(same), 0);
        check_is(ferry_mutex_close(same), 0);
        check_is(ferry_mutex_close(mutexes[i]), 0);
    }
    close_node(other);
    close_node(node);
}

/* ---- who keeps an object alive ---- */

static void be_in_the_way_of_each(ferry_t *node, void *arg) {
    stages_t *stages = arg;
    object_t obstacles[KINDS];
    await(&stages->opened, 1);
    for (kind_t kind = 0; kind < KINDS; kind++)
        obstacles[kind] = obstacle_open(node, kind, name_of(kind));
    atomic_store(&stages->opened, 2);
    await(&stages->may_close, 2);
    for (kind_t kind = 0; kind < KINDS; kind++)
        obstacle_close(&obstacles[kind]);
    atomic_store(&stages->closed, 2);
}

/* The one who came second is in the way; whoever comes third, when the first is gone, must meet it. */
static void every_holder_serves_an_object_to_those_who_come_later(where_t where) {
    stages_t *stages = share(sizeof *stages);
    object_t objects[KINDS];
    crew_t *crew = crew_begin(where);
    crew_add(crew, keep_one_of_each, stages);
    crew_add(crew, be_in_the_way_of_each, stages);
    await(&stages->opened, 2);
    atomic_store(&stages->may_close, 1);
    await(&stages->closed, 1);
    open_one_of_each(crew_node(crew), objects);
    for (kind_t kind = 0; kind < KINDS; kind++)
        check_is(object_take(&objects[kind], FERRY_NOW), -EAGAIN);
    atomic_store(&stages->may_close, 2);
    await(&stages->closed, 2);
    for (kind_t kind = 0; kind < BARRIER; kind++) {
        check_is(object_take(&objects[kind], FERRY_NOW), 0);
        check_is(object_give(&objects[kind]), 0);
    }
    close_all(objects);
    crew_end(crew);
}

static void an_object_is_gone_with_its_last_holder(void) {
    ferry_t *node = open_node("test");
    for (uint32_t count = 3; count < 6; count++) {
        ferry_semaphore_t *semaphore = open_semaphore(node, "o", count);
        check_is(ferry_semaphore_value(semaphore), count);
        check_is(ferry_semaphore_acquire(semaphore, FERRY_NOW), 0);
        check_is(ferry_semaphore_value(semaphore), count - 1);
        check_is(ferry_semaphore_close(semaphore), 0);
    }
    for (unsigned i = 0; i < 3; i++) {
        ferry_event_t *event = open_event(node, "o");
        check_is(ferry_event_is_set(event), 0);
        check_is(ferry_event_count(event), 0);
        check_is(ferry_event_set(event), 0);
        check_is(ferry_event_close(event), 0);
    }
    for (kind_t kind = 0; kind < KINDS; kind++) {
        object_t object = object_open(node, kind, "o", NULL);
        object_close(&object);
    }
    close_node(node);
}

static void take_one_of_each_and_die(ferry_t *node, void *arg) {
    stages_t *stages = arg;
    object_t objects[KINDS];
    open_one_of_each(node, objects);
    for (kind_t kind = 0; kind < BARRIER; kind++)
        check_is(object_take(&objects[kind], FERRY_NOW), 0);
    check_is(ferry_event_set(objects[EVENT].event), 0);
    atomic_store(&stages->opened, 1);
    await(&stages->may_close, 1);
    crew_die();
}

static void an_object_is_gone_when_its_last_holder_is_killed(void) {
    stages_t *stages = share(sizeof *stages);
    crew_t *crew = crew_begin(IN_PROCESSES);
    crew_add(crew, take_one_of_each_and_die, stages);
    await(&stages->opened, 1);
    ferry_t *node = crew_node(crew);
    atomic_store(&stages->may_close, 1);
    crew_bury(crew, 0);
    object_t objects[KINDS];
    open_one_of_each(node, objects);
    for (kind_t kind = 0; kind < BARRIER; kind++) {
        check_is(object_take(&objects[kind], FERRY_NOW), 0);
        check_is(object_give(&objects[kind]), 0);
    }
    check_is(ferry_event_is_set(objects[EVENT].event), 0);
    close_all(objects);
    crew_end(crew);
}

/* Holders come and go all the time: there must never be two objects of one name that are both held. */
typedef struct churn {
    kind_t kind;
    volatile uint64_t inside;
    volatile uint64_t sum;
} churn_t;

#define CHURNS 250
#define CHURNERS 4

static void open_take_give_and_close(ferry_t *node, void *arg) {
    churn_t *churn = arg;
    for (unsigned i = 0; i < CHURNS; i++) {
        object_t object = object_open(node, churn->kind, "o", NULL);
        check_is(object_take(&object, PATIENCE), 0);
        check_is(churn->inside, 0);
        churn->inside = 1;
        churn->sum = churn->sum + 1;
        churn->inside = 0;
        check_is(object_give(&object), 0);
        object_close(&object);
    }
}

static void run_churn(where_t where, kind_t kind) {
    churn_t *churn = share(sizeof *churn);
    churn->kind = kind;
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < CHURNERS; i++)
        crew_add(crew, open_take_give_and_close, churn);
    crew_end(crew);
    check_is(churn->sum, CHURNERS * CHURNS);
}

static void a_mutex_that_is_opened_and_closed_all_the_time_is_one(where_t where) {
    run_churn(where, MUTEX);
}

static void a_semaphore_that_is_opened_and_closed_all_the_time_is_one(where_t where) {
    run_churn(where, OWNED);
}

static void stop_with_one_of_each(void *arg) {
    stages_t *stages = arg;
    object_t objects[KINDS];
    ferry_t *node = open_node("test");
    open_one_of_each(node, objects);
    atomic_store(&stages->opened, 1);
    raise(SIGSTOP);
    await(&stages->may_close, 1);
    close_all(objects);
    close_node(node);
}

static void an_object_whose_holder_is_stopped_is_not_made_anew(void) {
    stages_t *stages = share(sizeof *stages);
    pid_t child = child_start(stop_with_one_of_each, stages);
    ferry_t *node = open_node("test");
    await(&stages->opened, 1);
    siginfo_t info;
    check_is(waitid(P_PID, (id_t)child, &info, WSTOPPED), 0);
    refuse(node, MUTEX, name_of(MUTEX), -ETIMEDOUT, "object-0");
    check_is(kill(child, SIGCONT), 0);
    object_t mutex = object_open(node, MUTEX, name_of(MUTEX), NULL);
    check_is(object_take(&mutex, FERRY_NOW), 0);
    check_is(object_give(&mutex), 0);
    object_close(&mutex);
    atomic_store(&stages->may_close, 1);
    child_join(child);
    close_node(node);
}

static void closing_a_node_closes_its_objects_and_names_them(void) {
    ferry_t *node = open_node("test");
    object_t objects[KINDS];
    open_one_of_each(node, objects);
    check_is(ferry_close(node), KINDS);
    for (kind_t kind = 0; kind < KINDS; kind++)
        check(strstr(ferry_last_error(), name_of(kind)) != NULL);
    for (kind_t kind = 0; kind < KINDS; kind++)
        check_error(object_take(&objects[kind], FERRY_NOW), -EBADF, "closed");
}

/* ---- handles ---- */

static void a_closed_handle_is_known(void) {
    ferry_t *node = open_node("test");
    object_t objects[KINDS];
    open_one_of_each(node, objects);
    close_all(objects);
    for (kind_t kind = 0; kind < KINDS; kind++) {
        check_error(object_take(&objects[kind], PATIENCE), -EBADF, "closed");
        check_error(object_give(&objects[kind]), -EBADF, "closed");
        check_error(object_try_close(&objects[kind]), -EBADF, "closed");
        object_t none = {.kind = kind};
        check_error(object_take(&none, PATIENCE), -EBADF, "");
        check_error(object_give(&none), -EBADF, "");
        check_is(object_try_close(&none), 0);
    }
    check_error(ferry_mutex_repaired(objects[MUTEX].mutex), -EBADF, "closed");
    check_error(ferry_rwlock_repaired(objects[WRITER].rwlock), -EBADF, "closed");
    check_error(ferry_semaphore_value(objects[PLAIN].semaphore), -EBADF, "closed");
    check_error(ferry_barrier_reset(objects[BARRIER].barrier), -EBADF, "closed");
    check_error(ferry_event_reset(objects[EVENT].event), -EBADF, "closed");
    check_error(ferry_event_is_set(objects[EVENT].event), -EBADF, "closed");
    check_error(ferry_event_count(objects[EVENT].event), -EBADF, "closed");
    check_is(ferry_mutex_token(objects[MUTEX].mutex), 0);
    check_is(ferry_rwlock_token(objects[WRITER].rwlock), 0);
    close_node(node);
}

typedef struct inherited {
    ferry_t *node;
    object_t objects[KINDS];
} inherited_t;

static void use_inherited(void *arg) {
    inherited_t *in = arg;
    object_t object;
    for (kind_t kind = 0; kind < KINDS; kind++) {
        check_error(object_take(&in->objects[kind], PATIENCE), -ECHILD, "fork open");
        check_error(object_give(&in->objects[kind]), -ECHILD, "fork open");
        check_error(object_try_close(&in->objects[kind]), -ECHILD, "fork open");
        check_error(object_try_open(in->node, kind, "new", NULL, &object), -ECHILD, "fork open");
    }
    check_error(ferry_process_wait_begins(in->node, getppid()), -ECHILD, "fork open");
    check_error(ferry_close(in->node), -ECHILD, "fork");
}

/* What the parent holds is still held when the child has ended, and nobody is told of a death. */
static void a_forked_child_is_told_to_open_its_own_node(void) {
    inherited_t in = {.node = open_node("test")};
    ferry_t *other = open_node("test");
    object_t others[KINDS];
    open_one_of_each(in.node, in.objects);
    open_one_of_each(other, others);
    others[READER].kind = WRITER; /* two readers would not notice each other */
    for (kind_t kind = 0; kind < BARRIER; kind++)
        check_is(object_take(&in.objects[kind], FERRY_NOW), 0);
    child_join(child_start(use_inherited, &in));
    for (kind_t kind = 0; kind < BARRIER; kind++) {
        check_is(object_take(&others[kind], FERRY_NOW), -EAGAIN);
        check_is(object_give(&in.objects[kind]), 0);
        check_is(object_take(&others[kind], FERRY_NOW), 0);
        check_is(object_give(&others[kind]), 0);
    }
    close_all(others);
    close_all(in.objects);
    close_node(other);
    close_node(in.node);
}

static void *take_and_give(void *arg) {
    object_t *object = arg;
    int answer = object_take(object, PATIENCE);
    check(answer == 0 || (object->kind == BARRIER && answer == FERRY_BARRIER_LAST));
    if (object->kind < BARRIER)
        check_is(object_give(object), 0);
    return NULL;
}

/* One thread sleeps in the handle; it is not disturbed. */
static void two_threads_in_one_handle_are_noticed(void) {
    ferry_sync_options_t options = {.deadlock_after = MILLISECOND}; /* shown as waiting after that */
    ferry_t *node = open_node("test");
    for (kind_t kind = 0; kind < KINDS; kind++) {
        object_t obstacle = obstacle_open(node, kind, name_of(kind));
        object_t object = object_open(node, kind, name_of(kind), &options);
        pthread_t thread;
        check_is(pthread_create(&thread, NULL, take_and_give, &object), 0);
        await_waits(1);
        check_error(object_take(&object, FERRY_NOW), -EBUSY, "thread");
        check_error(object_take(&object, PATIENCE), -EBUSY, "thread");
        if (kind < EVENT) /* an event can be set by anybody at any time */
            check_error(object_give(&object), -EBUSY, "thread");
        check_error(object_try_close(&object), -EBUSY, "thread");
        obstacle_remove(&obstacle);
        pthread_join(thread, NULL);
        object_close(&object);
        obstacle_close(&obstacle);
    }
    close_node(node);
}

static void *take_and_end(void *arg) {
    check_is(object_take(arg, FERRY_NOW), 0);
    return NULL;
}

static void *take_give_and_end(void *arg) {
    take_and_end(arg);
    check_is(object_give(arg), 0);
    return NULL;
}

static void run_thread(void *(*run)(void *arg), object_t *object) {
    pthread_t thread;
    check_is(pthread_create(&thread, NULL, run, object), 0);
    pthread_join(thread, NULL);
}

/* Each thread begins when the one before has ended, and is easily taken for it. */
static void a_handle_outlives_threads_that_held_nothing_when_they_ended(void) {
    ferry_t *node = open_node("test");
    for (kind_t kind = 0; kind < KINDS_HELD; kind++) {
        object_t object = object_open(node, kind, name_of(kind), NULL);
        for (unsigned i = 0; i < 50; i++)
            run_thread(take_give_and_end, &object);
        check_is(object_take(&object, FERRY_NOW), 0);
        check_is(object_give(&object), 0);
        object_close(&object);
    }
    close_node(node);
}

static void a_handle_dies_with_the_thread_that_held_something(void) {
    ferry_t *node = open_node("test");
    for (unsigned i = 0; i < 20; i++) {
        kind_t kind = i % KINDS_HELD;
        object_t object = object_open(node, kind, name_of(kind), NULL);
        object_t next = object_open(node, kind, name_of(kind), NULL);
        if (i % 3)
            run_thread(take_give_and_end, &object);
        run_thread(take_and_end, &object);
        next.kind = kind == READER ? WRITER : kind;
        check(object_take(&next, PATIENCE) >= 0);
        check_error(object_take(&object, PATIENCE), -EOWNERDEAD, "thread");
        check_error(object_give(&object), -EOWNERDEAD, "thread");
        object_close(&object);
        check_is(object_give(&next), 0);
        object_close(&next);
    }
    close_node(node);
}

/* At whatever step of the burial somebody asks: the handle is dead before anybody else has what it held. */
static void a_handle_is_dead_before_another_one_gets_what_it_held(void) {
    ferry_t *node = open_node("test");
    for (unsigned i = 0; i < 80; i++) {
        kind_t kind = i % KINDS_HELD;
        object_t object = object_open(node, kind, name_of(kind), NULL);
        object_t next = object_open(node, kind == READER ? WRITER : kind, name_of(kind), NULL);
        int answer;
        run_thread(take_and_end, &object);
        do {
            check_is(object_take(&object, FERRY_NOW), -EOWNERDEAD);
            answer = object_take(&next, FERRY_NOW);
        } while (answer == -EAGAIN);
        check(answer >= 0);
        check_error(object_take(&object, FERRY_NOW), -EOWNERDEAD, "thread");
        object_close(&object);
        check_is(object_give(&next), 0);
        object_close(&next);
    }
    close_node(node);
}

typedef struct lent {
    object_t object;
    atomic_uint taken;
    atomic_uint given;
} lent_t;

static void *take_for_another(void *arg) {
    lent_t *lent = arg;
    check_is(object_take(&lent->object, FERRY_NOW), 0);
    atomic_store(&lent->taken, 1);
    await(&lent->given, 1);
    return NULL;
}

/* Taken by one thread, given back by another, while the first one lives; then the first one ends, which is no death. */
static void a_handle_may_move_to_another_thread_while_it_holds(void) {
    ferry_t *node = open_node("test"), *elsewhere = open_node("test");
    for (kind_t kind = 0; kind < BARRIER; kind++) {
        lent_t lent = {.object = object_open(node, kind, name_of(kind), NULL)};
        object_t other = object_open(elsewhere, kind == READER ? WRITER : kind, name_of(kind), NULL);
        pthread_t thread;
        check_is(pthread_create(&thread, NULL, take_for_another, &lent), 0);
        await(&lent.taken, 1);
        check_is(object_take(&other, FERRY_NOW), -EAGAIN);
        check_is(object_give(&lent.object), 0);
        check_is(object_take(&lent.object, FERRY_NOW), 0);
        atomic_store(&lent.given, 1);
        pthread_join(thread, NULL);
        check_is(object_take(&other, 2 * MILLISECOND), -ETIMEDOUT);
        check_is(object_give(&lent.object), 0);
        check_is(object_take(&other, FERRY_NOW), 0);
        check_is(object_give(&other), 0);
        object_close(&other);
        object_close(&lent.object);
    }
    close_node(elsewhere);
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(bad_names_are_refused),
        TEST(bad_options_are_refused),
        TEST_ALL(a_name_is_that_of_one_kind),
        TEST(objects_and_channels_may_have_the_same_name),
        TEST(a_hundred_objects_do_not_mix),
        TEST_ALL(every_holder_serves_an_object_to_those_who_come_later),
        TEST(an_object_is_gone_with_its_last_holder),
        TEST(an_object_is_gone_when_its_last_holder_is_killed),
        TEST_PROTECTED(a_mutex_that_is_opened_and_closed_all_the_time_is_one),
        TEST_PROTECTED(a_semaphore_that_is_opened_and_closed_all_the_time_is_one),
        TEST(an_object_whose_holder_is_stopped_is_not_made_anew),
        TEST(closing_a_node_closes_its_objects_and_names_them),
        TEST(a_closed_handle_is_known),
        TEST(a_forked_child_is_told_to_open_its_own_node),
        TEST(two_threads_in_one_handle_are_noticed),
        TEST(a_handle_outlives_threads_that_held_nothing_when_they_ended),
        TEST(a_handle_dies_with_the_thread_that_held_something),
        TEST(a_handle_is_dead_before_another_one_gets_what_it_held),
        TEST(a_handle_may_move_to_another_thread_while_it_holds),
    };
    return run_suite("object", tests, sizeof tests / sizeof tests[0], argc, argv);
}
