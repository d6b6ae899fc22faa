/* SPDX-License-Identifier: MIT
 *
 * sweep.c - somebody removes the directory of a space, or parts of it, while nodes are connected; and forks and lost
 * descriptors that could hide a death.
 */
#include "fire.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- a swept directory ---- */

typedef struct talk {
    atomic_uint ready;
    atomic_uint stop;
    atomic_ullong said;
    atomic_ullong heard;
    atomic_ullong heard_new; /* from newcomers */
} talk_t;

static void keep_saying(void *arg) {
    talk_t *t = arg;
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "talk", FERRY_QUEUE, NULL);
    atomic_fetch_add(&t->ready, 1);
    while (!atomic_load(&t->stop)) {
        send_number(tx, atomic_fetch_add(&t->said, 1) + 1);
        nap(MILLISECOND / 4);
    }
    close_sender(tx);
    close_node(node);
}

static void keep_hearing(void *arg) {
    talk_t *t = arg;
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "talk", FERRY_QUEUE, NULL);
    atomic_fetch_add(&t->ready, 1);
    for (int r = 0; r != -EPIPE || !atomic_load(&t->stop);) {
        ferry_msg_t *m = NULL;
        r = ferry_recv(rx, 10 * MILLISECOND, &m);
        check(r == 0 || r == -ETIMEDOUT || r == -EPIPE);
        if (r == 0) {
            uint64_t number = number_in(m);
            atomic_fetch_add(number > UINT64_MAX / 2 ? &t->heard_new : &t->heard, 1);
            release(m);
        }
    }
    close_receiver(rx);
    close_node(node);
}

static void be_newcomer(void *arg) {
    (void)arg;
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "talk", FERRY_QUEUE, NULL);
    send_number(tx, UINT64_MAX);
    close_sender(tx); /* lingers until it was heard */
    close_node(node);
}

typedef struct duo {
    talk_t *t;
    pid_t hearer;
    pid_t sayer;
} duo_t;

static duo_t begin_talk(void) {
    duo_t d = {.t = share(sizeof(talk_t))};
    d.hearer = child_start(keep_hearing, d.t);
    await(&d.t->ready, 1);
    d.sayer = child_start(keep_saying, d.t);
    await(&d.t->ready, 2);
    return d;
}

static bool names_are_back(void *arg) {
    (void)arg;
    return names_with("n-") >= 2 && names_with("e-talk:rq:") == 1 && names_with("e-talk:sq:") == 1;
}

static void expect_names_back(unsigned round) {
    int64_t end = clock_ns() + PATIENCE;
    while (!names_are_back(NULL)) {
        if (clock_ns() > end) {
            fprintf(stderr, "# after sweep %u:\n", round);
            names_print();
            check_failed("the names come back", __FILE__, __LINE__);
        }
        nap(MILLISECOND);
    }
}

typedef struct hearing {
    talk_t *t;
    uint64_t heard;
    uint64_t heard_new;
} hearing_t;

static bool old_and_new_were_heard(void *arg) {
    const hearing_t *want = arg;
    return atomic_load(&want->t->heard) >= want->heard && atomic_load(&want->t->heard_new) == want->heard_new;
}

static void expect_all_meet(talk_t *t) {
    hearing_t want = {t, atomic_load(&t->heard) + 5, atomic_load(&t->heard_new) + 1};
    child_join(child_start(be_newcomer, NULL));
    await_that(old_and_new_were_heard, &want, "not everybody is heard after the sweep");
}

static void end_talk(const duo_t *d) {
    atomic_store(&d->t->stop, 1);
    child_join(d->sayer);
    child_join(d->hearer);
    check_is(atomic_load(&d->t->heard), atomic_load(&d->t->said));
    if (names_with("") > 0)
        names_print();
    check_is(names_with(""), 0);
}

static void after_the_directory_was_swept_newcomers_meet_those_who_were_there(void) {
    duo_t d = begin_talk();
    for (unsigned i = 0; i < 20; i++) {
        sweep_space();
        if (i % 2) /* else the newcomer comes at once: it may be the one who makes
                  the directory again */
            expect_names_back(i);
        expect_all_meet(d.t);
    }
    end_talk(&d);
}

static void remove_some_names(unsigned round) {
    char command[600];
    static const char *const patterns[] = {"n-*", "e-*", "e-talk:r*", ".tmp-*"};
    snprintf(command, sizeof command, "rm -f '%s'/test/%s", getenv("FERRY_DIR"), patterns[round % 4]);
    check(system(command) == 0);
}

static void after_single_names_were_swept_newcomers_meet_those_who_were_there(void) {
    duo_t d = begin_talk();
    for (unsigned i = 0; i < 20; i++) {
        remove_some_names(i);
        expect_names_back(i);
        expect_all_meet(d.t);
    }
    end_talk(&d);
}

static void move_away(const char *to) {
    char from[512], path[512];
    snprintf(from, sizeof from, "%s/test", getenv("FERRY_DIR"));
    snprintf(path, sizeof path, "%s/%s", getenv("FERRY_DIR"), to);
    check(rename(from, path) == 0);
}

static void remove_moved(const char *name) {
    char command[600];
    snprintf(command, sizeof command, "rm -rf '%s'/%s", getenv("FERRY_DIR"), name);
    check(system(command) == 0);
}

static void after_the_directory_was_moved_away_newcomers_meet_those_who_were_there(void) {
    duo_t d = begin_talk();
    move_away("old");
    expect_names_back(0);
    expect_all_meet(d.t);
    end_talk(&d);
    remove_moved("old");
}

/* ---- a child that is forked and lives on ---- */

/* What an inherited handle answers; run in the child. */
static void use_what_was_inherited(ferry_t *node, ferry_sender_t *tx, ferry_receiver_t *rx, ferry_msg_t *held) {
    ferry_msg_t *m = NULL;
    ferry_sender_t *another = NULL;
    check_error(ferry_send(tx, "x", 1, FERRY_FOREVER), -ECHILD, "fork");
    check_error(ferry_recv(rx, FERRY_FOREVER, &m), -ECHILD, "fork");
    check_error(ferry_msg_release(held), -ECHILD, "fork");
    check_error(ferry_sender_open(node, "more", FERRY_QUEUE, NULL, &another), -ECHILD, "fork");
}

static void be_parent_that_is_killed(void *arg) {
    atomic_uint *stage = arg;
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "there", FERRY_QUEUE, NULL);
    ferry_receiver_t *rx = open_receiver(node, "back", FERRY_QUEUE, NULL);
    send_number(tx, 1);
    ferry_msg_t *held = receive(rx);
    fflush(NULL);
    pid_t child = fork();
    check(child >= 0);
    if (child == 0) {
        use_what_was_inherited(node, tx, rx, held);
        atomic_store(stage, 1);
        await(stage, 3);
        use_what_was_inherited(node, tx, rx, held);
        _exit(0);
    }
    await(stage, 1);
    send_number(tx, 2); /* the fork has not disturbed us */
    atomic_store(stage, 2);
    pause();
}

/* From the parent's death until its peer has heard of it, although the child has every descriptor. */
static int64_t kill_parent(atomic_uint *stage, pid_t parent, ferry_receiver_t *there, ferry_sender_t *back) {
    ferry_msg_t *m = NULL;
    check_is(receive_number(there), 1);
    check_is(receive_number(there), 2);
    await(stage, 2);
    int64_t begin = clock_ns();
    child_kill(parent);
    check_error(ferry_recv(there, PATIENCE, &m), -EPIPE, "");
    int64_t took = clock_ns() - begin;
    check_error(ferry_sender_flush(back, 20 * MILLISECOND), -ETIMEDOUT, ""); /* the message it held has come back */
    return took;
}

static int64_t one_parent_dies(void) {
    atomic_uint *stage = share(sizeof *stage);
    pid_t parent = child_start(be_parent_that_is_killed, stage);
    ferry_t *node = open_node("test");
    ferry_receiver_t *there = open_receiver(node, "there", FERRY_QUEUE, NULL);
    ferry_sender_t *back = open_sender(node, "back", FERRY_QUEUE, NULL);
    send_number(back, 7);
    int64_t took = kill_parent(stage, parent, there, back);
    ferry_receiver_t *heir = open_receiver(node, "back", FERRY_QUEUE, NULL);
    ferry_msg_t *m = receive(heir);
    check_is(number_in(m), 7);
    check_is(info_of(m).attempt, 2);
    release(m);
    atomic_store(stage, 3);
    int status = 0;
    check(waitpid(-1, &status, 0) > 0 && status == 0); /* the child, which came to us */
    close_receiver(heir);
    close_receiver(there);
    close_sender(back);
    close_node(node);
    return took;
}

static void a_child_that_lives_on_does_not_hide_that_its_parent_was_killed(void) {
    int64_t slowest = 0, fastest = INT64_MAX;
    for (unsigned i = 0; i < (FIRE_SLOW ? 5u : 20u); i++) {
        int64_t took = one_parent_dies();
        slowest = took > slowest ? took : slowest;
        fastest = took < fastest ? took : fastest;
    }
    printf("# the death of a parent was told after %.1f to %.1f ms\n", (double)fastest / 1e6, (double)slowest / 1e6);
    check(fastest < SECOND && slowest < PATIENCE / 2); /* a machine may stand still for a moment */
}

/* ---- closefrom ---- */

static void be_closer(void *arg) {
    atomic_uint *stage = arg;
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "there", FERRY_QUEUE, NULL);
    ferry_receiver_t *rx = open_receiver(node, "back", FERRY_QUEUE, NULL);
    ferry_msg_t *m = NULL;
    send_number(tx, 1);
    receive(rx);
    closefrom(3);
    atomic_store(stage, 1);
    await(stage, 2);
    int64_t before = cpu_ns_of(getpid());
    nap(SECOND / 2); /* our background thread has lost everything it waited on: it must not spin */
    int64_t spent = cpu_ns_of(getpid()) - before;
    printf("# %.1f ms of processor time in half a second after closefrom\n", (double)spent / 1e6);
    fflush(stdout);
    check(spent < SECOND / 4);
    for (unsigned i = 0; i < 1000; i++) { /* whatever these say: they return */
        (void)ferry_send(tx, &i, sizeof i, MILLISECOND);
        (void)ferry_recv(rx, FERRY_NOW, &m);
    }
    (void)ferry_close(node);
    _exit(0);
}

static void who_closes_all_descriptors_has_left(void) {
    atomic_uint *stage = share(sizeof *stage);
    pid_t closer = child_start(be_closer, stage);
    ferry_t *node = open_node("test");
    ferry_receiver_t *there = open_receiver(node, "there", FERRY_QUEUE, NULL);
    ferry_sender_t *back = open_sender(node, "back", FERRY_QUEUE, NULL);
    ferry_msg_t *m = NULL;
    send_number(back, 7);
    check_is(receive_number(there), 1);
    await(stage, 1);
    check_error(ferry_recv(there, PATIENCE, &m), -EPIPE, "");
    ferry_receiver_t *heir = open_receiver(node, "back", FERRY_QUEUE, NULL);
    check_is(receive_number(heir), 7);
    atomic_store(stage, 2);
    child_join(closer);
    close_receiver(heir);
    close_receiver(there);
    close_sender(back);
    close_node(node);
    check_is(names_with(""), 0);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(after_the_directory_was_swept_newcomers_meet_those_who_were_there),
        TEST(after_single_names_were_swept_newcomers_meet_those_who_were_there),
        TEST(after_the_directory_was_moved_away_newcomers_meet_those_who_were_there),
        TEST(a_child_that_lives_on_does_not_hide_that_its_parent_was_killed),
        TEST(who_closes_all_descriptors_has_left),
    };
    return run_suite("sweep", tests, sizeof tests / sizeof tests[0], argc, argv);
}
