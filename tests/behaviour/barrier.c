/* SPDX-License-Identifier: MIT
 *
 * barrier.c - barriers: nobody goes on before all have arrived, and nobody waits for the dead.
 */
#include "objects.h"

#include <pthread.h>

/* ---- rounds ---- */

#define MEMBERS 4
#define ROUNDS 500

typedef struct march {
    ferry_wait_t wait;
    atomic_uint arrived[ROUNDS];
    atomic_uint last[ROUNDS];
} march_t;

static void march(ferry_t *node, void *arg) {
    march_t *m = arg;
    ferry_sync_options_t options = {.wait = m->wait};
    ferry_barrier_t *barrier = NULL;
    check_is(ferry_barrier_open(node, "gate", MEMBERS, &options, &barrier), 0);
    for (unsigned i = 0; i < ROUNDS; i++) {
        atomic_fetch_add(&m->arrived[i], 1);
        int answer = ferry_barrier_wait(barrier, PATIENCE);
        check(answer == 0 || answer == FERRY_BARRIER_LAST);
        check_is(atomic_load(&m->arrived[i]), MEMBERS);
        check(i + 2 >= ROUNDS || atomic_load(&m->arrived[i + 2]) == 0);
        atomic_fetch_add(&m->last[i], answer == FERRY_BARRIER_LAST);
    }
    /* Whoever closes a barrier in which others still wake up must not disturb these. */
    check_is(ferry_barrier_close(barrier), 0);
}

static void run_march(where_t where, ferry_wait_t wait) {
    march_t *m = share(sizeof *m);
    m->wait = wait;
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < MEMBERS; i++)
        crew_add(crew, march, m);
    crew_end(crew);
    for (unsigned i = 0; i < ROUNDS; i++)
        check_is(m->last[i], 1);
}

static void nobody_goes_on_before_all_have_arrived(where_t where) {
    run_march(where, FERRY_WAIT_ADAPTIVE);
}

static void nobody_goes_on_before_all_have_arrived_when_all_sleep(where_t where) {
    run_march(where, FERRY_WAIT_BLOCK);
}

/* ---- arriving and going away ---- */

typedef struct scene {
    atomic_uint go;
    atomic_uint opened;
    atomic_uint answering;
    atomic_uint answered; /* what they answered can be read */
    atomic_int answers[MEMBERS];
} scene_t;

static void wait_once(ferry_t *node, void *arg) {
    scene_t *scene = arg;
    ferry_barrier_t *barrier = open_barrier(node, "gate", 2);
    atomic_fetch_add(&scene->opened, 1);
    await(&scene->go, 1);
    int answer = ferry_barrier_wait(barrier, PATIENCE);
    atomic_store(&scene->answers[atomic_fetch_add(&scene->answering, 1)], answer);
    atomic_fetch_add(&scene->answered, 1);
    check_is(ferry_barrier_close(barrier), 0);
}

/* Whoever gives up has not arrived: two who give up are not a pair. */
static void who_gives_up_has_not_arrived(where_t where) {
    scene_t *scene = share(sizeof *scene);
    crew_t *crew = crew_begin(where);
    crew_add(crew, wait_once, scene);
    ferry_barrier_t *one = open_barrier(crew_node(crew), "gate", 2), *other = open_barrier(crew_node(crew), "gate", 2);
    for (unsigned i = 0; i < 5; i++) {
        check_error(ferry_barrier_wait(one, FERRY_NOW), -EAGAIN, "");
        check_error(ferry_barrier_wait(other, FERRY_NOW), -EAGAIN, "");
        check_error(ferry_barrier_wait(one, MILLISECOND), -ETIMEDOUT, "gate");
        check_error(ferry_barrier_wait(other, MILLISECOND), -ETIMEDOUT, "gate");
    }
    check_is(ferry_barrier_close(other), 0);
    atomic_store(&scene->go, 1);
    int answer;
    do { /* it may come late */
        answer = ferry_barrier_wait(one, FERRY_NOW);
        nap(MILLISECOND / 10);
    } while (answer == -EAGAIN);
    check_is(answer, FERRY_BARRIER_LAST);
    await(&scene->answered, 1);
    check_is(scene->answers[0], 0);
    check_is(ferry_barrier_wait(one, FERRY_NOW), -EAGAIN);
    check_is(ferry_barrier_close(one), 0);
    crew_end(crew);
}

/* Impatient participants among patient ones: in the end every round has had its four, and exactly one last. */
static void march_impatiently(ferry_t *node, void *arg) {
    march_t *m = arg;
    ferry_barrier_t *barrier = open_barrier(node, "gate", MEMBERS);
    uint64_t seed = (uint64_t)ferry_node_id(node);
    for (unsigned i = 0; i < ROUNDS / 4; i++) {
        int answer;
        do
            answer = ferry_barrier_wait(barrier, random_below(&seed, 3) * (MILLISECOND / 20));
        while (answer == -EAGAIN || answer == -ETIMEDOUT);
        check(answer == 0 || answer == FERRY_BARRIER_LAST);
        atomic_fetch_add(&m->arrived[i], 1);
        atomic_fetch_add(&m->last[i], answer == FERRY_BARRIER_LAST);
        check(i < 2 || atomic_load(&m->arrived[i - 2]) == MEMBERS);
    }
    check_is(ferry_barrier_close(barrier), 0);
}

static void impatient_participants_meet_in_the_end(where_t where) {
    march_t *m = share(sizeof *m);
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < MEMBERS; i++)
        crew_add(crew, march_impatiently, m);
    crew_end(crew);
    for (unsigned i = 0; i < ROUNDS / 4; i++) {
        check_is(m->arrived[i], MEMBERS);
        check_is(m->last[i], 1);
    }
}

static void a_single_party_never_waits(void) {
    ferry_t *node = open_node("test");
    ferry_barrier_t *barrier = open_barrier(node, "gate", 1);
    for (unsigned i = 0; i < 100; i++)
        check_is(ferry_barrier_wait(barrier, i % 2 ? FERRY_NOW : FERRY_FOREVER), FERRY_BARRIER_LAST);
    check_is(ferry_barrier_close(barrier), 0);
    close_node(node);
}

static void closing_properly_is_no_death(where_t where) {
    scene_t *scene = share(sizeof *scene);
    crew_t *crew = crew_begin(where);
    crew_add(crew, wait_once, scene);
    ferry_barrier_t *leaver = open_barrier(crew_node(crew), "gate", 2);
    ferry_barrier_t *barrier = open_barrier(crew_node(crew), "gate", 2);
    await(&scene->opened, 1);
    check_is(ferry_barrier_wait(leaver, FERRY_NOW), -EAGAIN);
    check_is(ferry_barrier_close(leaver), 0);
    atomic_store(&scene->go, 1);
    int answer = ferry_barrier_wait(barrier, PATIENCE);
    await(&scene->answered, 1);
    check_is(answer + scene->answers[0], FERRY_BARRIER_LAST);
    check(answer >= 0 && scene->answers[0] >= 0);
    check_is(ferry_barrier_close(barrier), 0);
    crew_end(crew);
}

/* ---- what all must agree on ---- */

static void refuse(ferry_t *node, uint32_t parties, int error, const char *words) {
    ferry_barrier_t *barrier = NULL;
    check_error(ferry_barrier_open(node, "gate", parties, NULL, &barrier), error, words);
    check(barrier == NULL);
}

static void impossible_numbers_of_parties_are_refused(void) {
    ferry_t *node = open_node("test");
    refuse(node, 0, -EINVAL, "4096");
    refuse(node, FERRY_MAX_PARTIES + 1, -EINVAL, "4097");
    refuse(node, FERRY_ANY, -ENOENT, "gate");
    ferry_barrier_t *barrier = open_barrier(node, "gate", FERRY_MAX_PARTIES);
    check_is(ferry_barrier_wait(barrier, FERRY_NOW), -EAGAIN);
    check_is(ferry_barrier_close(barrier), 0);
    close_node(node);
}

static void all_openers_agree_on_the_parties(where_t where) {
    scene_t *scene = share(sizeof *scene);
    crew_t *crew = crew_begin(where);
    crew_add(crew, wait_once, scene);
    await(&scene->opened, 1);
    refuse(crew_node(crew), 3, -EPROTOTYPE, "gate 2 3");
    ferry_barrier_t *any = open_barrier(crew_node(crew), "gate", FERRY_ANY);
    atomic_store(&scene->go, 1);
    check(ferry_barrier_wait(any, PATIENCE) >= 0);
    check_is(ferry_barrier_close(any), 0);
    crew_end(crew);
}

/* ---- deaths ---- */

/* Four parties: two that live on, one that is killed, one that comes when it is over, and this process in its place. */
#define PARTIES 4

typedef enum moment { BEFORE_THE_OTHERS_WAIT, WHILE_THE_OTHERS_WAIT, WHILE_IT_WAITS_ITSELF } moment_t;

typedef struct doom {
    moment_t moment;
    atomic_uint opened;
    atomic_uint go;
    atomic_uint told;
} doom_t;

/* Shown as waiting after a millisecond. */
static ferry_barrier_t *open_to_be_seen(ferry_t *node) {
    ferry_sync_options_t options = {.deadlock_after = MILLISECOND};
    ferry_barrier_t *barrier = NULL;
    check_is(ferry_barrier_open(node, "gate", PARTIES, &options, &barrier), 0);
    return barrier;
}

static void be_killed(void *arg) {
    doom_t *doom = arg;
    ferry_barrier_t *barrier = open_to_be_seen(open_node("test"));
    atomic_fetch_add(&doom->opened, 1);
    await(&doom->go, 1);
    if (doom->moment == WHILE_IT_WAITS_ITSELF)
        ferry_barrier_wait(barrier, PATIENCE);
    await(&doom->go, 9);
}

static void be_told_and_go_on(ferry_barrier_t *barrier, doom_t *doom) {
    check_error(ferry_barrier_wait(barrier, PATIENCE), -EOWNERDEAD, "gate");
    check_error(ferry_barrier_wait(barrier, PATIENCE), -EOWNERDEAD, "gate");
    check_error(ferry_barrier_wait(barrier, FERRY_NOW), -EOWNERDEAD, "gate");
    atomic_fetch_add(&doom->told, 1);
    await(&doom->go, 3);
    for (unsigned i = 0; i < 3; i++)
        check(ferry_barrier_wait(barrier, PATIENCE) >= 0);
    check_is(ferry_barrier_close(barrier), 0);
}

static void live_on(ferry_t *node, void *arg) {
    doom_t *doom = arg;
    ferry_barrier_t *barrier = open_to_be_seen(node);
    atomic_fetch_add(&doom->opened, 1);
    await(&doom->go, 1);
    be_told_and_go_on(barrier, doom);
}

static void come_late(ferry_t *node, void *arg) {
    doom_t *doom = arg;
    await(&doom->go, 2);
    be_told_and_go_on(open_to_be_seen(node), doom);
}

static void kill_one(moment_t moment) {
    doom_t *doom = share(sizeof *doom);
    doom->moment = moment;
    crew_t *crew = crew_begin(IN_PROCESSES);
    crew_add(crew, live_on, doom);
    crew_add(crew, live_on, doom);
    crew_add(crew, come_late, doom);
    pid_t doomed = child_start(be_killed, doom);
    ferry_t *node = crew_node(crew);
    await(&doom->opened, 3);
    if (moment == BEFORE_THE_OTHERS_WAIT)
        child_kill(doomed);
    atomic_store(&doom->go, 1);
    if (moment != BEFORE_THE_OTHERS_WAIT) {
        await_waits(moment == WHILE_IT_WAITS_ITSELF ? 3 : 2);
        child_kill(doomed);
    }
    await(&doom->told, 2);
    atomic_store(&doom->go, 2);
    await(&doom->told, 3);
    ferry_barrier_t *barrier = open_barrier(node, "gate", PARTIES);
    check_error(ferry_barrier_wait(barrier, FERRY_NOW), -EOWNERDEAD, "gate");
    check_is(ferry_barrier_reset(barrier), 0);
    atomic_store(&doom->go, 3);
    for (unsigned i = 0; i < 3; i++)
        check(ferry_barrier_wait(barrier, PATIENCE) >= 0);
    check_is(ferry_barrier_close(barrier), 0);
    crew_end(crew);
}

static void kill_one_now(void *moment) {
    kill_one(*(moment_t *)moment);
}

/* Several times, each in a process of its own: all nodes must have seen the death before the new round, or none of them
 * may break it once more. */
static void kill_one_again_and_again(moment_t moment) {
    for (unsigned i = 0; i < 8; i++)
        child_join(child_start(kill_one_now, &moment));
}

static void a_participant_killed_before_the_others_wait_strands_nobody(void) {
    kill_one_again_and_again(BEFORE_THE_OTHERS_WAIT);
}

static void a_participant_killed_while_the_others_wait_strands_nobody(void) {
    kill_one_again_and_again(WHILE_THE_OTHERS_WAIT);
}

static void a_participant_killed_while_it_waits_strands_nobody(void) {
    kill_one_again_and_again(WHILE_IT_WAITS_ITSELF);
}

static void *take_part_and_end(void *arg) {
    ferry_barrier_t *barrier = open_barrier(arg, "gate", 2);
    check(ferry_barrier_wait(barrier, PATIENCE) >= 0);
    return barrier;
}

/* It had arrived, and was let go: its end is no loss to the round. */
static void a_thread_that_ends_outside_a_round_is_no_death(void) {
    ferry_t *node = open_node("test");
    ferry_barrier_t *barrier = open_barrier(node, "gate", 2);
    void *left[5];
    for (unsigned i = 0; i < 5; i++) {
        pthread_t thread;
        check_is(pthread_create(&thread, NULL, take_part_and_end, node), 0);
        check(ferry_barrier_wait(barrier, PATIENCE) >= 0);
        pthread_join(thread, &left[i]);
    }
    for (unsigned i = 0; i < 5; i++)
        check_is(ferry_barrier_close(left[i]), 0);
    check_is(ferry_barrier_close(barrier), 0);
    close_node(node);
}

static void who_waits_when_a_new_round_is_begun_is_told(where_t where) {
    scene_t *scene = share(sizeof *scene);
    crew_t *crew = crew_begin(where);
    crew_add(crew, wait_once, scene);
    ferry_barrier_t *barrier = open_barrier(crew_node(crew), "gate", 2);
    await(&scene->opened, 1);
    atomic_store(&scene->go, 1);
    while (!atomic_load(&scene->answered)) {
        check_is(ferry_barrier_reset(barrier), 0);
        nap(MILLISECOND);
    }
    check_is(scene->answers[0], -EOWNERDEAD);
    check_is(ferry_barrier_wait(barrier, FERRY_NOW), -EAGAIN);
    check_is(ferry_barrier_close(barrier), 0);
    crew_end(crew);
}

/* ---- more nodes than it can have ---- */

static void who_is_refused_is_in_nobodys_way(void) {
    enum { MOST = 80 };
    ferry_t *nodes[MOST];
    ferry_barrier_t *barriers[MOST], *refused = NULL;
    unsigned count = 0;
    int r = 0;
    ferry_t *late = open_node("test");
    for (; count < MOST; count++) {
        nodes[count] = open_node("test");
        r = ferry_barrier_open(nodes[count], "gate", 1, NULL, &barriers[count]);
        if (r < 0)
            break;
    }
    check(count < MOST);
    check_is(r, -EUSERS);
    check_error(ferry_barrier_open(late, "gate", 1, NULL, &refused), -EUSERS, "gate");
    for (unsigned i = 0; i < count; i++)
        check_is(ferry_barrier_close(barriers[i]), 0);
    ferry_barrier_t *barrier = open_barrier(late, "gate", 1);
    check_is(ferry_barrier_close(barrier), 0);
    for (unsigned i = 0; i <= count; i++)
        close_node(nodes[i]);
    close_node(late);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST_ALL(nobody_goes_on_before_all_have_arrived),
        TEST_ALL(nobody_goes_on_before_all_have_arrived_when_all_sleep),
        TEST_ALL(who_gives_up_has_not_arrived),
        TEST_ALL(impatient_participants_meet_in_the_end),
        TEST(a_single_party_never_waits),
        TEST_ALL(closing_properly_is_no_death),
        TEST(who_is_refused_is_in_nobodys_way),
        TEST(impossible_numbers_of_parties_are_refused),
        TEST_ALL(all_openers_agree_on_the_parties),
        TEST(a_participant_killed_before_the_others_wait_strands_nobody),
        TEST(a_participant_killed_while_the_others_wait_strands_nobody),
        TEST(a_participant_killed_while_it_waits_strands_nobody),
        TEST(a_thread_that_ends_outside_a_round_is_no_death),
        TEST_ALL(who_waits_when_a_new_round_is_begun_is_told),
    };
    return run_suite("barrier", tests, sizeof tests / sizeof tests[0], argc, argv);
}
