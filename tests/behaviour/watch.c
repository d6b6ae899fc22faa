/* SPDX-License-Identifier: MIT
 *
 * watch.c - being told when nodes come and go.
 */
#include "harness.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct stay {
    atomic_uint open;
    atomic_uint end;
    uint64_t node;
} stay_t;

static void open_and(stay_t *stay, ferry_t **node) {
    *node = open_node("test");
    stay->node = ferry_node_id(*node);
    atomic_store(&stay->open, 1);
    await(&stay->end, 1);
}

static void closes(void *arg) {
    ferry_t *node = NULL;
    open_and(arg, &node);
    close_node(node);
}

static void exits(void *arg) {
    ferry_t *node = NULL;
    open_and(arg, &node);
    exit(0);
}

/* Until just before it leaves, it has no descriptor to let anybody in with. */
static void open_and_admit_nobody(stay_t *stay, ferry_t **node) {
    *node = open_node("test");
    stay->node = ferry_node_id(*node);
    int lowest_free = dup(0);
    check(lowest_free >= 0 && close(lowest_free) == 0);
    allow_descriptors((unsigned)lowest_free);
    atomic_store(&stay->open, 1);
    await(&stay->end, 1);
    allow_descriptors(1024);
}

static void closes_before_it_admits(void *arg) {
    ferry_t *node = NULL;
    open_and_admit_nobody(arg, &node);
    close_node(node);
}

static void exits_before_it_admits(void *arg) {
    ferry_t *node = NULL;
    open_and_admit_nobody(arg, &node);
    exit(0);
}

static void expect(ferry_watch_t *w, ferry_change_t what, uint64_t node, pid_t pid, bool was_there) {
    ferry_watch_event_t e = {.size = sizeof e};
    check_is(ferry_watch_next(w, PATIENCE, &e), 0);
    check_is(e.what, what);
    check_is(e.node, node);
    check_is(e.pid, pid);
    check_is(e.was_there, was_there);
    check(e.name[0] != '\0');
}

static ferry_watch_t *open_watch(ferry_t *node) {
    ferry_watch_t *w = NULL;
    check_is(ferry_watch_open(node, &w), 0);
    return w;
}

static void nothing_more(ferry_watch_t *w) {
    ferry_watch_event_t e = {.size = sizeof e};
    check_error(ferry_watch_next(w, FERRY_NOW, &e), -EAGAIN, "");
}

static void who_was_there_is_told_first_and_who_leaves_is_told_so(void) {
    stay_t *stay = share(sizeof *stay);
    pid_t pid = child_start(closes, stay);
    await(&stay->open, 1);
    ferry_t *node = open_node("test");
    ferry_watch_t *w = open_watch(node);
    expect(w, FERRY_NODE_JOINED, stay->node, pid, true);
    nothing_more(w);
    atomic_store(&stay->end, 1);
    expect(w, FERRY_NODE_LEFT, stay->node, pid, false);
    nothing_more(w);
    child_join(pid);
    ferry_watch_close(w);
    close_node(node);
}

static void who_comes_is_told_and_who_exits_without_closing_has_left(void) {
    stay_t *stay = share(sizeof *stay);

    pid_t pid = child_start(exits, stay);
    ferry_t *node = open_node("test");
    ferry_watch_t *w = open_watch(node);
    await(&stay->open, 1);
    ferry_watch_event_t e = {.size = sizeof e};
    check_is(ferry_watch_next(w, PATIENCE, &e), 0);
    check_is(e.what, FERRY_NODE_JOINED);
    check_is(e.node, stay->node);
    check_is(e.uid, geteuid());
    atomic_store(&stay->end, 1);
    expect(w, FERRY_NODE_LEFT, stay->node, pid, false);
    child_join(pid);
    ferry_watch_close(w);
    close_node(node);
}

static void *open_without_end(void *node) {
    ferry_sender_t *tx = NULL;
    (void)ferry_sender_open(node, "held-up", FERRY_QUEUE, NULL, &tx);
    return NULL;
}

/* Another thread has the node's lock meanwhile, and waits for the directory's. */
static void exits_while_it_is_busy(void *arg) {
    ferry_t *node = NULL;
    pthread_t thread;
    open_and(arg, &node);
    check_is(pthread_create(&thread, NULL, open_without_end, node), 0);
    check_is(pthread_detach(thread), 0);
    nap(100 * MILLISECOND);
    exit(0);
}

static int lock_directory(void) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/test", getenv("FERRY_DIR"));
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    check(fd >= 0 && flock(fd, LOCK_EX) == 0);
    return fd;
}

static bool has_left_though_it_was_busy(where_t where) {
    (void)where;
    stay_t *stay = share(sizeof *stay);
    pid_t pid = child_start(exits_while_it_is_busy, stay);
    await(&stay->open, 1);
    ferry_t *node = open_node("test");
    ferry_watch_t *w = open_watch(node);
    expect(w, FERRY_NODE_JOINED, stay->node, pid, true);
    int fd = lock_directory();
    atomic_store(&stay->end, 1);
    nap(400 * MILLISECOND);
    close(fd);
    ferry_watch_event_t e = {.size = sizeof e};
    check_is(ferry_watch_next(w, PATIENCE, &e), 0);
    check_is(e.node, stay->node);
    child_join(pid);
    ferry_watch_close(w);
    close_node(node);
    return e.what == FERRY_NODE_LEFT;
}

/* It waits for its own lock, but not for long: where this process stands still, for too short a time. */
static void who_exits_while_a_thread_of_it_is_inside_has_left(void) {
    check_in_some_try(has_left_though_it_was_busy, ALONE, "who exits while a thread of it is inside has left");
}

/* The one who watches has waited half a second for its name. */
static void expect_to_leave_before_it_admits(void (*run)(void *arg)) {
    stay_t *stay = share(sizeof *stay);
    pid_t pid = child_start(run, stay);
    await(&stay->open, 1);
    ferry_t *node = open_node("test");
    ferry_watch_t *w = open_watch(node);
    expect(w, FERRY_NODE_JOINED, stay->node, pid, true);
    atomic_store(&stay->end, 1);
    expect(w, FERRY_NODE_LEFT, stay->node, pid, false);
    child_join(pid);
    ferry_watch_close(w);
    close_node(node);
}

static void who_leaves_before_it_has_admitted_the_watch_has_not_died(void) {
    expect_to_leave_before_it_admits(closes_before_it_admits);
    expect_to_leave_before_it_admits(exits_before_it_admits);
}

static void who_is_killed_has_died(void) {
    stay_t *stay = share(sizeof *stay);
    pid_t pid = child_start(closes, stay);
    await(&stay->open, 1);
    ferry_t *node = open_node("test");
    ferry_watch_t *w = open_watch(node);
    expect(w, FERRY_NODE_JOINED, stay->node, pid, true);
    child_kill(pid);
    expect(w, FERRY_NODE_DIED, stay->node, pid, false);
    ferry_watch_close(w);
    close_node(node);
}

static void who_is_stopped_is_shown_and_who_is_expelled_is_told_so(void) {
    stay_t *stay = share(sizeof *stay);
    pid_t pid = child_start(closes, stay);
    await(&stay->open, 1);
    ferry_t *node = open_node("test");
    check_is(kill(pid, SIGSTOP), 0);
    check_is(waitpid(pid, NULL, WUNTRACED), pid);
    ferry_watch_t *w = open_watch(node);
    expect(w, FERRY_NODE_JOINED, stay->node, pid, true);
    check_is(ferry_kick("test", NULL, stay->node, NULL), 0);
    expect(w, FERRY_NODE_EXPELLED, stay->node, pid, false);
    child_kill(pid);
    nothing_more(w);
    ferry_watch_close(w);
    close_node(node);
}

static void a_watch_is_polled_with_other_things(void) {
    ferry_t *node = open_node("test");
    ferry_watch_t *w = open_watch(node);
    ferry_pollitem_t item = {.fd = ferry_watch_fd(w), .events = FERRY_POLL_IN};
    nothing_more(w);
    check_is(ferry_poll(&item, 1, 20 * MILLISECOND), 0); /* it is quiet while nothing happens */
    ferry_t *other = open_node("test");
    ferry_watch_event_t e = {.size = sizeof e};
    int r = -EAGAIN;
    for (int i = 0; i < 100 && r == -EAGAIN; i++) {
        check_is(ferry_poll(&item, 1, PATIENCE), 1);
        r = ferry_watch_next(w, FERRY_NOW, &e);
    }
    check_is(r, 0);
    check_is(e.what, FERRY_NODE_JOINED);
    check_is(e.node, ferry_node_id(other));
    close_node(other);
    check_is(ferry_watch_next(w, PATIENCE, &e), 0);
    check_is(e.what, FERRY_NODE_LEFT);
    ferry_watch_close(w);
    close_node(node);
}

static void misuse_and_shutdown_are_told(void) {
    ferry_t *node = open_node("test");
    ferry_watch_event_t e = {.size = 3};
    ferry_watch_t *w = NULL;
    check_error(ferry_watch_open(NULL, &w), -EBADF, "node");
    w = open_watch(node);
    check_error(ferry_watch_next(w, FERRY_NOW, &e), -EINVAL, "size");
    check_error(ferry_watch_next(w, FERRY_NOW, NULL), -EINVAL, "NULL");
    e.size = sizeof e;
    check_error(ferry_watch_next(w, 10 * MILLISECOND, &e), -ETIMEDOUT, "");
    check_is(ferry_shutdown(node), 0);
    check_error(ferry_watch_next(w, PATIENCE, &e), -ESHUTDOWN, "shut down");
    ferry_watch_close(w);
    check_error(ferry_watch_next(w, FERRY_NOW, &e), -EBADF, "watch");
    ferry_watch_close(NULL);
    close_node(node);
}

static void *wait_for_shutdown(void *arg) {
    ferry_watch_event_t e = {.size = sizeof e};
    int r;
    do
        r = ferry_watch_next(arg, PATIENCE, &e);
    while (r == 0 || r == -EBUSY);
    check_is(r, -ESHUTDOWN);
    return NULL;
}

/* They wrote over each other's memory before. */
static void two_threads_in_one_watch_are_noticed(void) {
    ferry_t *node = open_node("test");
    ferry_watch_t *w = open_watch(node);
    ferry_watch_event_t e = {.size = sizeof e};
    pthread_t thread;
    check_is(pthread_create(&thread, NULL, wait_for_shutdown, w), 0);
    while (ferry_watch_next(w, FERRY_NOW, &e) != -EBUSY)
        continue;
    check_error(ferry_watch_next(w, FERRY_NOW, &e), -EBUSY, "another thread watch");
    ferry_watch_close(w); /* it stays open */
    close_node(open_node("test"));
    check_is(ferry_shutdown(node), 0);
    check_is(pthread_join(thread, NULL), 0);
    ferry_watch_close(w);
    check_error(ferry_watch_next(w, FERRY_NOW, &e), -EBADF, "watch");
    close_node(node);
}

/* A terminal would obey them. */
static void a_name_is_told_without_control_characters(void) {
    ferry_t *node = open_node("test");
    ferry_watch_t *w = open_watch(node);
    const ferry_options_t options = {.name = "\033[2Jnew\nline"};
    ferry_t *other = NULL;
    check_is(ferry_open("test", &options, &other), 0);
    ferry_watch_event_t e = {.size = sizeof e};
    check_is(ferry_watch_next(w, PATIENCE, &e), 0);
    check(strcmp(e.name, "?[2Jnew?line") == 0);
    ferry_look_t *look = NULL;
    check_is(ferry_look("test", NULL, &look), 0);
    unsigned found = 0;
    for (size_t i = 0; i < ferry_look_nodes(look); i++)
        found += strcmp(ferry_look_node(look, i)->name, "?[2Jnew?line") == 0;
    check_is(found, 1);
    ferry_look_close(look);
    ferry_watch_close(w);
    close_node(other);
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(who_was_there_is_told_first_and_who_leaves_is_told_so),
        TEST(who_comes_is_told_and_who_exits_without_closing_has_left),
        TEST(who_exits_while_a_thread_of_it_is_inside_has_left),
        TEST(who_leaves_before_it_has_admitted_the_watch_has_not_died),
        TEST(who_is_killed_has_died),
        TEST(who_is_stopped_is_shown_and_who_is_expelled_is_told_so),
        TEST(a_watch_is_polled_with_other_things),
        TEST(misuse_and_shutdown_are_told),
        TEST(two_threads_in_one_watch_are_noticed),
        TEST(a_name_is_told_without_control_characters),
    };
    return run_suite("watch", tests, sizeof tests / sizeof tests[0], argc, argv);
}
