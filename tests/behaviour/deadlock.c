/* SPDX-License-Identifier: MIT
 *
 * deadlock.c - deadlocks of every sort that are not just a ring of locks: several units, several readers, a queue or a
 * topic, a child process, one thread alone; who is told, when nobody is, and what can be seen from outside.
 */
#include "objects.h"

#include <stdio.h>
#include <string.h>

/* What the actors of one play share. Each takes its cue, and tells how its wait ended. */
typedef struct play {
    int64_t deadlock_after;
    int64_t timeout;
    atomic_uint ready;
    atomic_uint cue;
    atomic_uint told;  /* how many were told of the deadlock */
    atomic_uint ended; /* how many waits have ended */
    atomic_int answer; /* of the last of them */
    char sentence[2048];
} play_t;

static play_t *new_play(void) {
    play_t *play = share(sizeof *play);
    play->deadlock_after = 5 * MILLISECOND;
    play->timeout = PATIENCE;
    return play;
}

static object_t open_here(ferry_t *node, const play_t *play, kind_t kind, const char *name) {
    ferry_sync_options_t options = {.deadlock_after = play->deadlock_after};
    return object_open(node, kind, name, &options);
}

static object_t hold_here(ferry_t *node, play_t *play, kind_t kind, const char *name) {
    object_t object = open_here(node, play, kind, name);
    check_is(object_take(&object, PATIENCE), 0);
    return object;
}

/* All have what they hold: the one with the next cue may go on. */
static void take_cue(play_t *play, unsigned cue) {
    atomic_fetch_add(&play->ready, 1);
    await(&play->cue, cue);
}

static void note(play_t *play, int answer) {
    if (answer == -EDEADLK) {
        snprintf(play->sentence, sizeof play->sentence, "%s", ferry_last_error());
        atomic_fetch_add(&play->told, 1);
    }
    atomic_store(&play->answer, answer);
    atomic_fetch_add(&play->ended, 1);
}

/* Waits for it and has it, or is told of the deadlock; gives back what it got. */
static void want_here(play_t *play, object_t *object) {
    int answer = object_take(object, play->timeout);
    check(answer == 0 || answer == -EDEADLK || (answer == -ETIMEDOUT && play->timeout < PATIENCE));
    note(play, answer);
    if (answer == 0)
        check_is(object_give(object), 0);
}

/* Holds one thing while it wants another. */
static void hold_and_want(ferry_t *node, play_t *play, unsigned cue, kind_t held, const char *held_name, kind_t wanted,
                          const char *wanted_name) {
    object_t mine = hold_here(node, play, held, held_name), other = open_here(node, play, wanted, wanted_name);
    take_cue(play, cue);
    want_here(play, &other);
    check_is(object_give(&mine), 0);
    object_close(&mine);
    object_close(&other);
}

static void await_that_all_are_ready(play_t *play, unsigned count) {
    await(&play->ready, count);
}

/* Time for several looks. Nobody may have been told of a deadlock by then. */
static void await_silence(play_t *play) {
    nap(20 * play->deadlock_after);
    check_is(atomic_load(&play->told), 0);
    check_is(atomic_load(&play->ended), 0);
}

static void check_sentence(const play_t *play, const char *words) {
    char list[128];
    snprintf(list, sizeof list, "%s", words);
    for (char *rest = NULL, *word = strtok_r(list, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        if (strstr(play->sentence, word))
            continue;
        fprintf(stderr, "# no \"%s\" in: %s\n", word, play->sentence);
        check(!"the sentence names what is in the circle");
    }
}

static void end_play(crew_t *crew, play_t *play, unsigned waits, const char *words) {
    crew_end(crew);
    check_is(atomic_load(&play->ended), waits);
    check_is(atomic_load(&play->told), 1);
    check_sentence(play, words);
}

/* ---- one thread alone ---- */

static void a_thread_that_waits_for_itself_is_told(void) {
    static const struct {
        kind_t held, wanted;
    } ways[] = {{MUTEX, MUTEX}, {WRITER, WRITER}, {WRITER, READER}, {READER, WRITER}, {OWNED, OWNED}};
    ferry_t *node = open_node("test"), *other = open_node("test");
    for (unsigned i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        object_t mine = object_open(node, ways[i].held, "mine", NULL);
        object_t again = object_open(i % 2 ? node : other, ways[i].wanted, "mine", NULL);
        check_is(object_take(&mine, FERRY_NOW), 0);
        check_error(object_take(&again, PATIENCE), -EDEADLK, "mine deadlock");
        check_is(object_give(&mine), 0);
        check_is(object_take(&again, PATIENCE), 0);
        check_is(object_give(&again), 0);
        object_close(&mine);
        object_close(&again);
    }
    close_node(other);
    close_node(node);
}

/* ---- several units ---- */

static void hold_mutex_and_want_a_unit(ferry_t *node, void *arg) {
    play_t *play = arg;
    object_t mutex = hold_here(node, play, MUTEX, "mutex");
    ferry_sync_options_t options = {.deadlock_after = play->deadlock_after, .owned = 1};
    object_t unit = {.kind = OWNED};
    check_is(ferry_semaphore_open(node, "two-units", 2, &options, &unit.semaphore), 0);
    take_cue(play, 1);
    want_here(play, &unit);
    check_is(object_give(&mutex), 0);
    object_close(&mutex);
    object_close(&unit);
}

static void hold_a_unit_and_want_mutex(ferry_t *node, void *arg, unsigned cue) {
    play_t *play = arg;
    object_t unit = {.kind = OWNED, .semaphore = open_owned_semaphore(node, "two-units", 2)};
    object_t mutex = open_here(node, play, MUTEX, "mutex");
    check_is(object_take(&unit, FERRY_NOW), 0);
    take_cue(play, cue);
    want_here(play, &mutex);
    check_is(object_give(&unit), 0);
    object_close(&mutex);
    object_close(&unit);
}

static void hold_the_first_unit(ferry_t *node, void *arg) {
    hold_a_unit_and_want_mutex(node, arg, 1);
}

static void hold_the_second_unit(ferry_t *node, void *arg) {
    hold_a_unit_and_want_mutex(node, arg, 2);
}

/* As long as one who holds a unit runs, it may give it back. */
static void two_units_are_stuck_when_both_holders_are(where_t where) {
    play_t *play = new_play();
    crew_t *crew = crew_begin(where);
    crew_add(crew, hold_mutex_and_want_a_unit, play);
    crew_add(crew, hold_the_first_unit, play);
    crew_add(crew, hold_the_second_unit, play);
    crew_node(crew);
    await_that_all_are_ready(play, 3);
    atomic_store(&play->cue, 1);
    await_waits(2);
    await_silence(play);
    atomic_store(&play->cue, 2);
    end_play(crew, play, 3, "mutex two-units");
}

/* ---- several readers ---- */

static void hold_mutex_and_want_to_write(ferry_t *node, void *arg) {
    hold_and_want(node, arg, 1, MUTEX, "mutex", WRITER, "page");
}

static void read_and_want_mutex(ferry_t *node, void *arg) {
    hold_and_want(node, arg, 2, READER, "page", MUTEX, "mutex");
}

static void read_and_run(ferry_t *node, void *arg) {
    play_t *play = arg;
    object_t reader = hold_here(node, play, READER, "page");
    take_cue(play, 3);
    check_is(object_give(&reader), 0);
    object_close(&reader);
}

/* A writer needs all readers to leave: that one of them runs does not help. */
static void a_writer_is_stuck_when_one_of_its_readers_is(where_t where) {
    play_t *play = new_play();
    crew_t *crew = crew_begin(where);
    crew_add(crew, hold_mutex_and_want_to_write, play);
    crew_add(crew, read_and_want_mutex, play);
    crew_add(crew, read_and_run, play);
    crew_node(crew);
    await_that_all_are_ready(play, 3);
    atomic_store(&play->cue, 1);
    await_waits(1);
    await_silence(play);
    atomic_store(&play->cue, 2);
    await(&play->told, 1);
    atomic_store(&play->cue, 3);
    end_play(crew, play, 2, "mutex page");
}

static void want_to_write(ferry_t *node, void *arg) {
    play_t *play = arg;
    object_t writer = open_here(node, play, WRITER, "page");
    take_cue(play, 1);
    want_here(play, &writer);
    object_close(&writer);
}

static void hold_mutex_and_want_to_read(ferry_t *node, void *arg) {
    hold_and_want(node, arg, 2, MUTEX, "mutex", READER, "page");
}

static void read_and_want_mutex_last(ferry_t *node, void *arg) {
    hold_and_want(node, arg, 3, READER, "page", MUTEX, "mutex");
}

/* Readers wait for a writer that waits, so it is part of the circle though it holds nothing. */
static void a_reader_is_stuck_behind_a_writer_that_is(where_t where) {
    play_t *play = new_play();
    crew_t *crew = crew_begin(where);
    crew_add(crew, read_and_want_mutex_last, play);
    crew_add(crew, want_to_write, play);
    crew_add(crew, hold_mutex_and_want_to_read, play);
    crew_node(crew);
    await_that_all_are_ready(play, 3);
    atomic_store(&play->cue, 1);
    await_waits(1);
    atomic_store(&play->cue, 2);
    await_waits(2);
    await_silence(play);
    atomic_store(&play->cue, 3);
    end_play(crew, play, 3, "mutex page");
}

/* ---- channels ---- */

static void receive_and_want_mutex(ferry_t *node, play_t *play, ferry_kind_t kind) {
    ferry_receiver_t *rx = open_receiver(node, "full", kind, NULL);
    object_t mutex = open_here(node, play, MUTEX, "mutex");
    take_cue(play, 1);
    want_here(play, &mutex);
    check_is(receive_number(rx), 1);
    check_is(receive_number(rx), 2);
    close_receiver(rx);
    object_close(&mutex);
}

static void send_with_mutex(ferry_t *node, play_t *play, ferry_kind_t kind) {
    ferry_contract_t contract = {.capacity = 1, .hold = kind == FERRY_TOPIC ? FERRY_HOLD_BACK : FERRY_HOLD_ANY};
    ferry_sender_t *tx = open_sender(node, "full", kind, &contract);
    object_t mutex = hold_here(node, play, MUTEX, "mutex");
    uint64_t second = 2;
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    send_number(tx, 1);
    take_cue(play, 2);
    int answer = ferry_send(tx, &second, sizeof second, PATIENCE);
    check(answer == 0 || answer == -EDEADLK);
    note(play, answer);
    check_is(object_give(&mutex), 0);
    if (answer == -EDEADLK)
        send_number(tx, second);
    close_sender(tx);
    object_close(&mutex);
}

static void receive_from_queue(ferry_t *node, void *arg) {
    receive_and_want_mutex(node, arg, FERRY_QUEUE);
}

static void send_to_queue(ferry_t *node, void *arg) {
    send_with_mutex(node, arg, FERRY_QUEUE);
}

static void receive_from_topic(ferry_t *node, void *arg) {
    receive_and_want_mutex(node, arg, FERRY_TOPIC);
}

static void send_to_topic(ferry_t *node, void *arg) {
    send_with_mutex(node, arg, FERRY_TOPIC);
}

/* The receiver waits for the lock of a sender that waits for the receiver: one waits first, then the other. */
static void run_channel(where_t where, void (*receive_it)(ferry_t *node, void *arg),
                        void (*send_it)(ferry_t *node, void *arg), const char *words) {
    play_t *play = new_play();
    crew_t *crew = crew_begin(where);
    crew_add(crew, receive_it, play);
    crew_add(crew, send_it, play);
    crew_node(crew);
    await_that_all_are_ready(play, 2);
    atomic_store(&play->cue, 1);
    await_waits(1);
    await_silence(play);
    atomic_store(&play->cue, 2);
    end_play(crew, play, 2, words);
}

static void a_circle_through_a_full_queue_is_found(where_t where) {
    run_channel(where, receive_from_queue, send_to_queue, "mutex full");
}

static void a_circle_through_a_full_topic_is_found(where_t where) {
    run_channel(where, receive_from_topic, send_to_topic, "mutex full");
}

/* ---- a child process ---- */

static void want_what_the_parent_holds(void *arg) {
    play_t *play = arg;
    ferry_t *node = open_node("test");
    object_t mutex = open_here(node, play, MUTEX, "mutex");
    take_cue(play, 1);
    want_here(play, &mutex);
    object_close(&mutex);
    close_node(node);
}

static void a_child_that_wants_what_its_waiting_parent_holds_is_told(void) {
    play_t *play = new_play();
    pid_t child = child_start(want_what_the_parent_holds, play);
    ferry_t *node = open_node("test");
    object_t mutex = hold_here(node, play, MUTEX, "mutex");
    await_that_all_are_ready(play, 1);
    atomic_store(&play->cue, 1);
    await_waits(1);
    await_silence(play); /* it may still be given back: nobody waits for the child */
    check_is(ferry_process_wait_begins(node, child), 0);
    check_error(ferry_process_wait_begins(node, child), -EBUSY, "");
    child_join(child);
    check_is(ferry_process_wait_ended(node), 0);
    check_is(atomic_load(&play->told), 1);
    check_sentence(play, "mutex child");
    check_is(object_give(&mutex), 0);
    object_close(&mutex);
    close_node(node);
}

static void stay(void *arg) {
    await(arg, 1);
}

static void a_wait_for_a_child_can_be_begun_again_when_it_has_ended(void) {
    atomic_uint *end = share(sizeof *end);
    pid_t child = child_start(stay, end);
    ferry_t *node = open_node("test");
    check_error(ferry_process_wait_begins(node, 0), -EINVAL, "");
    check_error(ferry_process_wait_begins(node, -5), -EINVAL, "");
    for (unsigned i = 0; i < 3; i++) {
        check_is(ferry_process_wait_begins(node, child), 0);
        check_error(ferry_process_wait_begins(node, child), -EBUSY, "");
        check_is(ferry_process_wait_ended(node), 0);
    }
    atomic_store(end, 1);
    child_join(child);
    close_node(node);
}

/* ---- nobody is told ---- */

static void hold_left_and_want_right(ferry_t *node, void *arg) {
    hold_and_want(node, arg, 1, MUTEX, "left", MUTEX, "right");
}

static void hold_right_and_want_left(ferry_t *node, void *arg) {
    hold_and_want(node, arg, 1, MUTEX, "right", MUTEX, "left");
}

static void who_does_not_want_to_know_is_not_told(where_t where) {
    play_t *play = new_play();
    play->deadlock_after = -1;
    play->timeout = 200 * MILLISECOND;
    crew_t *crew = crew_begin(where);
    crew_add(crew, hold_left_and_want_right, play);
    crew_add(crew, hold_right_and_want_left, play);
    crew_node(crew);
    await_that_all_are_ready(play, 2);
    atomic_store(&play->cue, 1);
    crew_end(crew);
    check_is(atomic_load(&play->told), 0);
    check_is(atomic_load(&play->ended), 2);
}

/* A look that is due later than can be counted is due never, not now. */
static void who_wants_to_know_much_later_is_not_told_now(void) {
    ferry_t *node = open_node("test");
    ferry_sync_options_t late = {.deadlock_after = INT64_MAX};
    ferry_mutex_t *first = NULL, *second = NULL;
    check_is(ferry_mutex_open(node, "own", NULL, &first), 0);
    check_is(ferry_mutex_open(node, "own", &late, &second), 0);
    check_is(ferry_mutex_lock(first, FERRY_NOW), 0);
    check_is(ferry_mutex_lock(second, 20 * MILLISECOND), -ETIMEDOUT);
    check_is(ferry_mutex_unlock(first), 0);
    check_is(ferry_mutex_close(first), 0);
    check_is(ferry_mutex_close(second), 0);
    close_node(node);
}

static void hold_left_and_die(void *arg) {
    play_t *play = arg;
    ferry_t *node = open_node("test");
    object_t left = hold_here(node, play, MUTEX, "left"), right = open_here(node, play, MUTEX, "right");
    take_cue(play, 1);
    (void)object_take(&right, PATIENCE);
    (void)left;
}

/* Death ends a circle, too: nobody had looked for it yet. */
static void who_is_left_by_a_dead_one_in_a_circle_goes_on(void) {
    play_t *play = new_play();
    play->deadlock_after = PATIENCE;
    pid_t child = child_start(hold_left_and_die, play);
    ferry_t *node = open_node("test");
    object_t right = hold_here(node, play, MUTEX, "right"), left = open_here(node, play, MUTEX, "left");
    await_that_all_are_ready(play, 1);
    atomic_store(&play->cue, 1);
    check_is(object_take(&left, 20 * MILLISECOND), -ETIMEDOUT);
    child_kill(child);
    check_is(object_take(&left, PATIENCE), FERRY_OWNER_DIED);
    check_is(object_repaired(&left), 0);
    check_is(object_give(&left), 0);
    check_is(object_give(&right), 0);
    object_close(&left);
    object_close(&right);
    close_node(node);
}

/* ---- seen from outside ---- */

static const ferry_look_wait_t *find_wait(const ferry_look_t *look, const char *name, size_t *index) {
    for (*index = 0; *index < ferry_look_waits(look); ++*index)
        if (strcmp(ferry_look_wait(look, *index)->name, name) == 0)
            return ferry_look_wait(look, *index);
    check(!"the wait is shown");
    return NULL;
}

static void check_shown(const ferry_look_t *look, const char *name, const char *next, bool in_circle) {
    size_t i, k;
    const ferry_look_wait_t *wait = find_wait(look, name, &i);
    check_is(wait->what, FERRY_FOR_MUTEX);
    check(wait->node != 0 && wait->tid != 0 && wait->thread[0] != '\0');
    check(wait->age_ns > 0 && wait->age_ns < (uint64_t)PATIENCE);
    check_is(wait->holders, 1);
    check_is(wait->circle != 0, in_circle);
    const ferry_look_holder_t *holder = ferry_look_holder(look, i, 0);
    check(holder != NULL && holder->node != 0);
    if (!next)
        check_is(holder->wait, -1);
    else
        check(find_wait(look, next, &k)->circle == wait->circle && holder->wait == (int32_t)k);
}

static void want_until_seen(ferry_t *node, play_t *play, const char *held, const char *wanted) {
    object_t mine = hold_here(node, play, MUTEX, held), other = open_here(node, play, MUTEX, wanted);
    int answer;
    take_cue(play, 1);
    do
        answer = object_take(&other, 300 * MILLISECOND);
    while (answer == -ETIMEDOUT && atomic_load(&play->cue) < 2);
    check(answer == 0 || answer == -ETIMEDOUT);
    check_is(object_give(&mine), 0);
    check(answer != 0 || object_give(&other) == 0);
    object_close(&mine);
    object_close(&other);
}

static void want_right_until_seen(ferry_t *node, void *arg) {
    want_until_seen(node, arg, "left", "right");
}

static void want_left_until_seen(ferry_t *node, void *arg) {
    want_until_seen(node, arg, "right", "left");
}

static bool both_are_shown(void *arg) {
    ferry_look_t *look = NULL;
    (void)arg;
    check_is(ferry_look("test", NULL, &look), 0);
    bool both = ferry_look_waits(look) == 2;
    if (both) {
        check_shown(look, "left", "right", true);
        check_shown(look, "right", "left", true);
    }
    ferry_look_close(look);
    return both;
}

/* Nobody looks for the deadlock: it lasts. */
static void a_circle_is_shown_as_long_as_it_lasts(where_t where) {
    play_t *play = new_play();
    play->deadlock_after = -1;
    crew_t *crew = crew_begin(where);
    crew_add(crew, want_right_until_seen, play);
    crew_add(crew, want_left_until_seen, play);
    crew_node(crew);
    await_that_all_are_ready(play, 2);
    atomic_store(&play->cue, 1);
    await_that(both_are_shown, NULL, "the two waits of the circle are not shown");
    atomic_store(&play->cue, 2);
    crew_end(crew);
}

static void who_waits_for_one_that_runs_is_shown_in_no_circle(where_t where) {
    play_t *play = new_play();
    crew_t *crew = crew_begin(where);
    crew_add(crew, hold_left_and_want_right, play);
    object_t right = hold_here(crew_node(crew), play, MUTEX, "right");
    await_that_all_are_ready(play, 1);
    atomic_store(&play->cue, 1);
    await_waits(1);
    ferry_look_t *look = NULL;
    check_is(ferry_look("test", NULL, &look), 0);
    check_is(ferry_look_waits(look), 1);
    check_shown(look, "right", NULL, false);
    ferry_look_close(look);
    check_is(object_give(&right), 0);
    object_close(&right);
    crew_end(crew);
    check_is(atomic_load(&play->told), 0);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(a_thread_that_waits_for_itself_is_told),
        TEST_ALL(two_units_are_stuck_when_both_holders_are),
        TEST_ALL(a_writer_is_stuck_when_one_of_its_readers_is),
        TEST_ALL(a_reader_is_stuck_behind_a_writer_that_is),
        TEST_ALL(a_circle_through_a_full_queue_is_found),
        TEST_ALL(a_circle_through_a_full_topic_is_found),
        TEST(a_child_that_wants_what_its_waiting_parent_holds_is_told),
        TEST(a_wait_for_a_child_can_be_begun_again_when_it_has_ended),
        TEST_ALL(who_does_not_want_to_know_is_not_told),
        TEST(who_wants_to_know_much_later_is_not_told_now),
        TEST(who_is_left_by_a_dead_one_in_a_circle_goes_on),
        TEST_ALL(a_circle_is_shown_as_long_as_it_lasts),
        TEST_ALL(who_waits_for_one_that_runs_is_shown_in_no_circle),
    };
    return run_suite("deadlock", tests, sizeof tests / sizeof tests[0], argc, argv);
}
