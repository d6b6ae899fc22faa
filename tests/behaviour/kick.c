/* SPDX-License-Identifier: MIT
 *
 * kick.c - expelling a node: what becomes of what it held, and what it learns.
 */
#include "harness.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

typedef struct scene {
    atomic_uint taken;
    atomic_uint others_done;
    uint64_t node;
} scene_t;

static ferry_kicked_t kick(uint64_t node) {
    ferry_kicked_t kicked = {.size = sizeof kicked};
    check_is(ferry_kick("test", NULL, node, &kicked), 0);
    return kicked;
}

/* Takes one message, and learns that it was expelled when it asks for the next one. */
static void hold_and_learn(void *arg) {
    scene_t *scene = arg;
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, NULL);
    ferry_msg_t *held = receive(rx);
    scene->node = ferry_node_id(node);
    atomic_store(&scene->taken, 1);
    await(&scene->others_done, 1);
    ferry_msg_t *m = NULL;
    int r = 0;
    while ((r = ferry_recv(rx, PATIENCE, &m)) == 0) /* until it knows */
        ferry_msg_release(m);
    check_error(r, -ESHUTDOWN, "expelled kick"); /* neither the end nor what others have got */
    ferry_pollitem_t item = {.receiver = rx, .events = FERRY_POLL_IN};
    check_error(ferry_poll(&item, 1, PATIENCE), -ESHUTDOWN, "expelled kick");
    ferry_sender_t *tx = NULL;
    check_error(ferry_sender_open(node, "jobs", FERRY_QUEUE, NULL, &tx), -ESHUTDOWN, "expelled");
    check_error(ferry_msg_progress(held), -ESHUTDOWN, "jobs expelled another");
    check_error(ferry_msg_reject(held, 0), -ESHUTDOWN, "jobs expelled another");
    check_error(ferry_msg_release(held), -ESHUTDOWN, "jobs expelled another");
    check_error(ferry_msg_release(held), -EBADF, "");
    close_receiver(rx);
    close_node(node);
    node = open_node("test"); /* nothing keeps it from beginning anew */
    close_node(node);
}

static void expel_who_holds_a_message(bool stops) {
    scene_t *scene = share(sizeof *scene);
    pid_t holder = child_start(hold_and_learn, scene);
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, NULL);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    for (uint64_t i = 0; i < 5; i++)
        send_number(tx, i);
    await(&scene->taken, 1);
    if (stops) {
        check_is(kill(holder, SIGSTOP), 0);
        check_is(waitpid(holder, NULL, WUNTRACED), holder);
    }
    ferry_kicked_t kicked = kick(scene->node);
    check_is(kicked.told, !stops);
    check_is(kicked.pid, holder);
    check_is(kicked.silent, 0);
    check(kicked.peers == 1 || (!stops && kicked.peers == 0)); /* it may have been quicker to leave */
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, NULL);
    for (uint64_t i = 0; i < 5; i++) {
        ferry_msg_t *m = receive(rx);
        check_is(number_in(m), i);
        check_is(info_of(m).attempt, i == 0 ? 2 : 1);
        release(m);
    }
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    check_error(ferry_kick("test", NULL, scene->node, NULL), -ENOENT, "no node");
    atomic_store(&scene->others_done, 1);
    if (stops)
        check_is(kill(holder, SIGCONT), 0);
    child_join(holder);
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
}

static void what_an_expelled_node_holds_goes_to_others_and_it_is_told(void) {
    expel_who_holds_a_message(false);
}

static void a_stopped_node_is_expelled_and_learns_it_when_it_goes_on(void) {
    expel_who_holds_a_message(true);
}

static bool has_no_sender(void *rx) {
    return ferry_receiver_senders(rx) == 0;
}

/* Its only sender goes on. `waits`: it is expelled while it does; else it is to know before it receives. */
static void learn(scene_t *scene, bool waits) {
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, NULL);
    scene->node = ferry_node_id(node);
    atomic_store(&scene->taken, 1);
    if (!waits) {
        await(&scene->others_done, 1);
        await_that(has_no_sender, rx, "the expelled node knows it");
    }
    ferry_msg_t *m = NULL;
    check_error(ferry_recv(rx, PATIENCE, &m), -ESHUTDOWN, "expelled kick");
    close_receiver(rx);
    close_node(node);
}

static void wait_and_learn(void *scene) {
    learn(scene, true);
}

/* What it has not taken is not its own any more. */
static void lie_ready_and_learn(void *scene) {
    learn(scene, false);
}

static void who_waits_when_it_is_expelled_does_not_take_that_for_the_end(void) {
    scene_t *scene = share(sizeof *scene);
    pid_t waiter = child_start(wait_and_learn, scene);
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, NULL);
    await(&scene->taken, 1);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    nap(5 * MILLISECOND); /* it sleeps by now, mostly */
    kick(scene->node);
    child_join(waiter);
    close_sender(tx);
    close_node(node);
}

static void what_lies_ready_for_an_expelled_node_is_taken_once(void) {
    scene_t *scene = share(sizeof *scene);
    pid_t reader = child_start(lie_ready_and_learn, scene);
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, NULL);
    await(&scene->taken, 1);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    for (uint64_t i = 0; i < 3; i++)
        send_number(tx, i);
    kick(scene->node);
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, NULL);
    for (uint64_t i = 0; i < 3; i++)
        check_is(receive_number(rx), i);
    atomic_store(&scene->others_done, 1);
    child_join(reader);
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
}

static void hold_a_lock(void *arg) {
    scene_t *scene = arg;
    ferry_t *node = open_node("test");
    ferry_mutex_t *mutex = NULL;
    check_is(ferry_mutex_open(node, "lock", NULL, &mutex), 0);
    check_is(ferry_mutex_lock(mutex, PATIENCE), 0);
    scene->node = ferry_node_id(node);
    atomic_store(&scene->taken, 1);
    for (;;)
        nap(SECOND);
}

static void its_death_gives_it_back(pid_t holder, ferry_mutex_t *mutex) {
    child_kill(holder);
    check_is(ferry_mutex_lock(mutex, PATIENCE), 1); /* its owner has died */
    check_is(ferry_mutex_repaired(mutex), 0);
    check_is(ferry_mutex_unlock(mutex), 0);
    check_is(ferry_mutex_close(mutex), 0);
}

static void a_lock_of_an_expelled_node_stays_held_until_its_process_ends(void) {
    scene_t *scene = share(sizeof *scene);
    pid_t holder = child_start(hold_a_lock, scene);
    await(&scene->taken, 1);
    ferry_t *node = open_node("test");
    ferry_mutex_t *mutex = NULL;
    check_is(ferry_mutex_open(node, "lock", NULL, &mutex), 0);
    check_is(kill(holder, SIGSTOP), 0);
    check_is(waitpid(holder, NULL, WUNTRACED), holder);
    check_is(kick(scene->node).told, 0);
    check_error(ferry_mutex_lock(mutex, 50 * MILLISECOND), -ETIMEDOUT, "");
    its_death_gives_it_back(holder, mutex);
    close_node(node);
}

static void hold_it_too(void *arg) {
    scene_t *scene = arg;
    ferry_t *node = open_node("test");
    ferry_mutex_t *mutex = NULL;
    await(&scene->taken, 1);
    check_is(ferry_mutex_open(node, "lock", NULL, &mutex), 0);
    atomic_store(&scene->taken, 2);
    for (;;)
        nap(SECOND);
}

/* Who comes later finds no name of the holder's: those who had the lock open with him have to tell. */
static void who_comes_after_it_was_expelled_waits_for_its_process_too(void) {
    scene_t *scene = share(sizeof *scene);
    pid_t holder = child_start(hold_a_lock, scene), other = child_start(hold_it_too, scene);
    await(&scene->taken, 2);
    check_is(kill(holder, SIGSTOP), 0);
    check_is(waitpid(holder, NULL, WUNTRACED), holder);
    check_is(kick(scene->node).told, 0);
    ferry_t *node = open_node("test");
    ferry_mutex_t *mutex = NULL;
    check_is(ferry_mutex_open(node, "lock", NULL, &mutex), 0);
    child_kill(other); /* what this one had is to be looked at: is the holder dead, too? */
    check_error(ferry_mutex_lock(mutex, 300 * MILLISECOND), -ETIMEDOUT, "");
    its_death_gives_it_back(holder, mutex);
    close_node(node);
}

static void only_what_is_there_can_be_expelled(void) {
    ferry_t *node = open_node("test");
    check_error(ferry_kick("test", NULL, 0, NULL), -EINVAL, "0 id");
    check_error(ferry_kick("test", NULL, 4711, NULL), -ENOENT, "0000000000001267 ferry ls");
    check_error(ferry_kick("nowhere", NULL, 1, NULL), -ENOENT, "nowhere");
    ferry_kicked_t kicked = {.size = 3};
    check_error(ferry_kick("test", NULL, 1, &kicked), -EINVAL, "ferry_kicked_t size");
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(what_an_expelled_node_holds_goes_to_others_and_it_is_told),
        TEST(a_stopped_node_is_expelled_and_learns_it_when_it_goes_on),
        TEST(who_waits_when_it_is_expelled_does_not_take_that_for_the_end),
        TEST(what_lies_ready_for_an_expelled_node_is_taken_once),
        TEST(a_lock_of_an_expelled_node_stays_held_until_its_process_ends),
        TEST(who_comes_after_it_was_expelled_waits_for_its_process_too),
        TEST(only_what_is_there_can_be_expelled),
    };
    return run_suite("kick", tests, sizeof tests / sizeof tests[0], argc, argv);
}
