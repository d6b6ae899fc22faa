/* SPDX-License-Identifier: MIT
 *
 * event.c - events: set, taken back, waited for; and as a condition that a program's state has changed.
 */
#include "objects.h"

/* ---- one handle ---- */

static void an_event_is_set_until_it_is_taken_back(void) {
    ferry_t *node = open_node("test");
    ferry_event_t *event = open_event(node, "news"), *other = open_event(node, "news");
    check_is(ferry_event_is_set(event), 0);
    check_is(ferry_event_reset(event), 0);
    check_error(ferry_event_wait(event, FERRY_NOW), -EAGAIN, "");
    check_is(ferry_event_set(event), 0);
    check_is(ferry_event_set(event), 0);
    for (unsigned i = 0; i < 3; i++) {
        check_is(ferry_event_is_set(other), 1);
        check_is(ferry_event_wait(other, i ? PATIENCE : FERRY_NOW), 0);
    }
    check_is(ferry_event_reset(other), 1);
    check_is(ferry_event_reset(event), 0);
    check_is(ferry_event_is_set(event), 0);
    check_error(ferry_event_wait(event, FERRY_NOW), -EAGAIN, "");
    check_is(ferry_event_close(event), 0);
    check_is(ferry_event_close(other), 0);
    close_node(node);
}

static void an_auto_reset_event_lets_one_through_for_each_set(void) {
    ferry_t *node = open_node("test");
    ferry_event_t *event = open_auto_event(node, "news"), *other = open_auto_event(node, "news");
    for (unsigned i = 0; i < 3; i++) {
        check_is(ferry_event_set(event), 0);
        check_is(ferry_event_set(event), 0); /* set is set: the second time adds nothing */
        check_is(ferry_event_is_set(other), 1);
        check_is(ferry_event_wait(other, PATIENCE), 0);
        check_is(ferry_event_is_set(event), 0);
        check_is(ferry_event_wait(other, FERRY_NOW), -EAGAIN);
        check_is(ferry_event_wait(event, FERRY_NOW), -EAGAIN);
    }
    check_is(ferry_event_set(event), 0);
    check_is(ferry_event_reset(other), 1);
    check_is(ferry_event_wait(event, FERRY_NOW), -EAGAIN);
    check_is(ferry_event_close(event), 0);
    check_is(ferry_event_close(other), 0);
    close_node(node);
}

static void every_set_is_counted(void) {
    ferry_t *node = open_node("test");
    ferry_event_t *event = open_event(node, "news"), *other = open_event(node, "news");
    for (int i = 0; i < 10; i++) {
        check_is(ferry_event_count(other), i);
        check_is(ferry_event_wait_after(other, i, FERRY_NOW), -EAGAIN);
        check_is(ferry_event_set(event), 0);
        check_is(ferry_event_wait_after(other, i, FERRY_NOW), 0);
        check_is(ferry_event_wait_after(other, i, FERRY_NOW), 0);
        check_is(ferry_event_is_set(event), 1);
        if (i % 2)
            check_is(ferry_event_reset(other), 1);
        check_is(ferry_event_wait_after(other, i, FERRY_NOW), 0);
    }
    check_is(ferry_event_close(event), 0);
    check_is(ferry_event_close(other), 0);
    close_node(node);
}

/* ---- waiters ---- */

#define WAITERS 3

typedef struct audience {
    uint32_t auto_reset;
    atomic_uint opened;
    atomic_uint go;
    atomic_uint passed;
} audience_t;

/* Shown as waiting after a millisecond. */
static ferry_event_t *open_to_be_seen(ferry_t *node, const audience_t *audience) {
    ferry_sync_options_t options = {.deadlock_after = MILLISECOND};
    return object_open(node, audience->auto_reset ? AUTO_EVENT : EVENT, "news", &options).event;
}

static void wait_for_news(ferry_t *node, void *arg) {
    audience_t *audience = arg;
    ferry_event_t *event = open_to_be_seen(node, audience);
    atomic_fetch_add(&audience->opened, 1);
    await(&audience->go, 1);
    check_is(ferry_event_wait(event, PATIENCE), 0);
    atomic_fetch_add(&audience->passed, 1);
    check_is(ferry_event_close(event), 0);
}

static crew_t *gather(where_t where, audience_t *audience) {
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < WAITERS; i++)
        crew_add(crew, wait_for_news, audience);
    return crew;
}

static void a_set_event_lets_all_its_waiters_go(where_t where) {
    audience_t *audience = share(sizeof *audience);
    crew_t *crew = gather(where, audience);
    ferry_event_t *event = open_event(crew_node(crew), "news");
    atomic_store(&audience->go, 1);
    await_waits(WAITERS);
    check_is(atomic_load(&audience->passed), 0);
    check_is(ferry_event_set(event), 0);
    /* Taken back at once: those who waited when it was set go all the same. */
    check_is(ferry_event_reset(event), 1);
    await(&audience->passed, WAITERS);
    check_is(ferry_event_is_set(event), 0);
    check_is(ferry_event_close(event), 0);
    crew_end(crew);
}

static void a_set_auto_reset_event_lets_one_waiter_go(where_t where) {
    audience_t *audience = share(sizeof *audience);
    audience->auto_reset = 1;
    crew_t *crew = gather(where, audience);
    ferry_event_t *event = open_auto_event(crew_node(crew), "news");
    atomic_store(&audience->go, 1);
    await_waits(WAITERS);
    for (unsigned i = 1; i <= WAITERS; i++) {
        check_is(ferry_event_set(event), 0);
        await(&audience->passed, i);
        nap(3 * MILLISECOND);
        check_is(atomic_load(&audience->passed), i);
        check_is(ferry_event_is_set(event), 0);
    }
    check_is(ferry_event_close(event), 0);
    crew_end(crew);
}

static void all_openers_agree_on_the_reset(where_t where) {
    audience_t *audience = share(sizeof *audience);
    crew_t *crew = gather(where, audience);
    await(&audience->opened, WAITERS);
    object_t other;
    check_error(object_try_open(crew_node(crew), AUTO_EVENT, "news", NULL, &other), -EPROTOTYPE, "news reset");
    check(other.event == NULL);
    ferry_event_t *event = open_event(crew_node(crew), "news");
    check_is(ferry_event_set(event), 0);
    atomic_store(&audience->go, 1);
    await(&audience->passed, WAITERS);
    check_is(ferry_event_close(event), 0);
    crew_end(crew);
}

/* ---- a condition ---- */

#define TRIPS 3000

/* Two who tell each other a number: each sets its event after it has changed its number. */
typedef struct talk {
    kind_t kind; /* EVENT: used as a condition; AUTO_EVENT: waited for */
    ferry_wait_t wait;
    atomic_uint trips;
    atomic_uint asked, answered;
    atomic_uint stop;
    atomic_uint meddlers;
} talk_t;

static object_t open_side(ferry_t *node, const talk_t *talk, const char *name) {
    ferry_sync_options_t options = {.wait = talk->wait};
    return object_open(node, talk->kind, name, &options);
}

static void await_number(object_t *event, const atomic_uint *number, unsigned value) {
    for (;;) {
        int count = event->kind == EVENT ? ferry_event_count(event->event) : 0;
        check(count >= 0);
        if (atomic_load(number) >= value)
            return;
        if (event->kind == EVENT)
            check_is(ferry_event_wait_after(event->event, count, PATIENCE), 0);
        else
            check_is(ferry_event_wait(event->event, PATIENCE), 0);
    }
}

static void answer_all(ferry_t *node, void *arg) {
    talk_t *talk = arg;
    object_t there = open_side(node, talk, "there"), back = open_side(node, talk, "back");
    for (unsigned i = 1; i <= talk->trips; i++) {
        await_number(&there, &talk->asked, i);
        atomic_store(&talk->answered, i);
        check_is(ferry_event_set(back.event), 0);
    }
    object_close(&there);
    object_close(&back);
}

static void ask_all(ferry_t *node, void *arg) {
    talk_t *talk = arg;
    object_t there = open_side(node, talk, "there"), back = open_side(node, talk, "back");
    for (unsigned i = 1; i <= talk->trips; i++) {
        if (atomic_load(&talk->stop))
            atomic_store(&talk->trips, i);
        atomic_store(&talk->asked, i);
        check_is(ferry_event_set(there.event), 0);
        await_number(&back, &talk->answered, i);
        if (i % 100 == 0)
            nap(MILLISECOND / 10); /* lets the other side fall asleep now and then */
    }
    object_close(&there);
    object_close(&back);
}

static void run_talk(where_t where, kind_t kind, ferry_wait_t wait) {
    talk_t *talk = share(sizeof *talk);
    *talk = (talk_t){.kind = kind, .wait = wait, .trips = TRIPS};
    crew_t *crew = crew_begin(where);
    crew_add(crew, answer_all, talk);
    ask_all(crew_node(crew), talk);
    crew_end(crew);
}

static void no_change_of_a_condition_is_missed(where_t where) {
    run_talk(where, EVENT, FERRY_WAIT_ADAPTIVE);
}

static void no_change_of_a_condition_is_missed_when_both_sleep(where_t where) {
    run_talk(where, EVENT, FERRY_WAIT_BLOCK);
}

static void no_set_of_an_auto_reset_event_is_missed(where_t where) {
    run_talk(where, AUTO_EVENT, FERRY_WAIT_ADAPTIVE);
}

static void no_set_of_an_auto_reset_event_is_missed_when_both_sleep(where_t where) {
    run_talk(where, AUTO_EVENT, FERRY_WAIT_BLOCK);
}

/* An auto-reset event that is set once is a token: whoever waits successfully has it, until setting it again. */
typedef struct token {
    atomic_uint holders;
    atomic_uint taken;
} token_t;

static void pass_token(ferry_t *node, void *arg) {
    token_t *token = arg;
    ferry_event_t *event = open_auto_event(node, "token");
    for (unsigned i = 0; i < TRIPS; i++) {
        check_is(ferry_event_wait(event, PATIENCE), 0);
        check_is(atomic_fetch_add(&token->holders, 1), 0);
        atomic_fetch_add(&token->taken, 1);
        atomic_fetch_sub(&token->holders, 1);
        check_is(ferry_event_set(event), 0);
    }
    check_is(ferry_event_close(event), 0);
}

static void one_set_never_lets_two_through(where_t where) {
    token_t *token = share(sizeof *token);
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < WAITERS; i++)
        crew_add(crew, pass_token, token);
    ferry_event_t *event = open_auto_event(crew_node(crew), "token");
    check_is(ferry_event_set(event), 0);
    await(&token->taken, WAITERS * TRIPS);
    for (unsigned i = 0; i < WAITERS; i++)
        crew_join(crew, i);
    check_is(ferry_event_is_set(event), 1);
    check_is(ferry_event_close(event), 0);
    crew_end(crew);
}

/* ---- deaths ---- */

static void wait_to_be_killed(void *arg) {
    wait_for_news(open_node("test"), arg);
}

/* The doomed one fell asleep first: a single set would have been its own. */
static void kill_the_first_of_two_waiters(uint32_t auto_reset) {
    audience_t *audience = share(sizeof *audience), *later = share(sizeof *later);
    audience->auto_reset = later->auto_reset = auto_reset;
    pid_t doomed = child_start(wait_to_be_killed, audience);
    crew_t *crew = crew_begin(IN_PROCESSES);
    crew_add(crew, wait_for_news, later);
    ferry_event_t *event = open_to_be_seen(crew_node(crew), audience);
    atomic_store(&audience->go, 1);
    await_waits(1);
    atomic_store(&later->go, 1);
    await_waits(2);
    child_kill(doomed);
    check_is(atomic_load(&later->passed), 0);
    check_is(ferry_event_set(event), 0);
    await(&later->passed, 1);
    check_is(atomic_load(&audience->passed), 0);
    check_is(ferry_event_close(event), 0);
    crew_end(crew);
}

static void a_killed_waiter_strands_no_other_waiter(void) {
    kill_the_first_of_two_waiters(0);
}

static void a_killed_waiter_takes_no_set_away(void) {
    kill_the_first_of_two_waiters(1);
}

static void set_and_die(ferry_t *node, void *arg) {
    ferry_event_t *event = open_event(node, "news");
    await(arg, 1);
    check_is(ferry_event_set(event), 0);
    crew_die();
}

static void what_the_dead_have_set_is_set(where_t where) {
    atomic_uint *go = share(sizeof *go);
    crew_t *crew = crew_begin(where);
    crew_add(crew, set_and_die, go);
    ferry_event_t *event = open_event(crew_node(crew), "news");
    atomic_store(go, 1);
    check_is(ferry_event_wait(event, PATIENCE), 0);
    crew_bury(crew, 0);
    check_is(ferry_event_is_set(event), 1);
    check_is(ferry_event_count(event), 1);
    check_is(ferry_event_reset(event), 1);
    check_is(ferry_event_wait(event, FERRY_NOW), -EAGAIN);
    check_is(ferry_event_close(event), 0);
    crew_end(crew);
}

/* Sets and waits on both events of a talk, until it is killed. */
static void meddle(void *arg) {
    talk_t *talk = arg;
    ferry_t *node = open_node("test");
    object_t there = open_side(node, talk, "there"), back = open_side(node, talk, "back");
    atomic_fetch_add(&talk->meddlers, 1);
    for (uint64_t seed = ferry_node_id(node);;) {
        object_t *event = random_below(&seed, 2) ? &there : &back;
        int count = ferry_event_count(event->event);
        if (random_below(&seed, 3) == 0)
            check_is(ferry_event_set(event->event), 0);
        else
            ferry_event_wait_after(event->event, count, random_below(&seed, 3) * (MILLISECOND / 5));
    }
}

#define DEATHS 60

/* Two go on talking over events on which others set and wait until they are killed, at whatever instruction. */
static void deaths_in_the_middle_of_a_call_strand_nobody(void) {
    talk_t *talk = share(sizeof *talk);
    uint64_t seed = 1;
    *talk = (talk_t){.kind = EVENT, .trips = UINT32_MAX};
    crew_t *crew = crew_begin(IN_PROCESSES);
    crew_add(crew, answer_all, talk);
    crew_add(crew, ask_all, talk);
    for (unsigned i = 0; i < DEATHS; i++) {
        unsigned meddlers = atomic_load(&talk->meddlers);
        pid_t meddler = child_start(meddle, talk);
        await(&talk->meddlers, meddlers + 1);
        nap(random_below(&seed, 20) * (MILLISECOND / 10));
        child_kill(meddler);
        await(&talk->asked, atomic_load(&talk->asked) + 5);
    }
    atomic_store(&talk->stop, 1);
    crew_end(crew);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(an_event_is_set_until_it_is_taken_back),
        TEST(an_auto_reset_event_lets_one_through_for_each_set),
        TEST(every_set_is_counted),
        TEST_ALL(a_set_event_lets_all_its_waiters_go),
        TEST_ALL(a_set_auto_reset_event_lets_one_waiter_go),
        TEST_ALL(all_openers_agree_on_the_reset),
        TEST_ALL(no_change_of_a_condition_is_missed),
        TEST_ALL(no_change_of_a_condition_is_missed_when_both_sleep),
        TEST_ALL(no_set_of_an_auto_reset_event_is_missed),
        TEST_ALL(no_set_of_an_auto_reset_event_is_missed_when_both_sleep),
        TEST_ALL(one_set_never_lets_two_through),
        TEST(a_killed_waiter_strands_no_other_waiter),
        TEST(a_killed_waiter_takes_no_set_away),
        TEST_ALL(what_the_dead_have_set_is_set),
        TEST(deaths_in_the_middle_of_a_call_strand_nobody),
    };
    return run_suite("event", tests, sizeof tests / sizeof tests[0], argc, argv);
}
