/* SPDX-License-Identifier: MIT
 *
 * cell_poll.c - the descriptor that tells of puts: when it is readable, and that it is so in time for everybody.
 */
#include "cells.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

static void a_descriptor_is_readable_from_a_put_to_the_next_rearming(void) {
    ferry_t *node = open_node("test");
    ferry_cell_t *cells = open_cells(node, "c", 3), *other = open_cells(node, "c", 3);
    int fd = ferry_cell_fd(cells);
    check(fd >= 0);
    check_is(ferry_cell_fd(cells), fd);
    for (uint32_t i = 0; i < 6; i++) {
        check_is(ferry_cell_rearm(cells), 0);
        check(!is_readable(fd, 0));
        put_number(i % 2 ? cells : other, i % 3, i);
        check(is_readable(fd, 0));
        put_number(other, 0, i);
        check(is_readable(fd, 0)); /* level-triggered */
    }
    check_is(ferry_cell_rearm(cells), 0);
    check(!is_readable(fd, 0));
    close_cell(other);
    close_cell(cells);
    close_node(node);
}

typedef struct line {
    atomic_uint polling, go;
} line_t;

static void put_on_demand(ferry_t *node, void *arg) {
    line_t *line = arg;
    ferry_cell_t *cells = open_cells(node, "c", 3);
    for (unsigned i = 1; i <= 20; i++) {
        await(&line->go, i);
        put_number(cells, i % 3, i);
    }
    close_cell(cells);
}

/* By poll, epoll and ferry_poll. */
static void await_readable(int fd, int epoll, unsigned way) {
    struct epoll_event event;
    ferry_pollitem_t item = {.fd = fd, .events = FERRY_POLL_IN};
    switch (way % 3) {
    case 0:
        check(is_readable(fd, (int)(PATIENCE / MILLISECOND)));
        break;
    case 1:
        check_is(epoll_wait(epoll, &event, 1, (int)(PATIENCE / MILLISECOND)), 1);
        break;
    default:
        check_is(ferry_poll(&item, 1, PATIENCE), 1);
        check_is(item.revents, FERRY_POLL_IN);
        break;
    }
}

static void a_put_elsewhere_makes_the_descriptor_readable(where_t where) {
    line_t *line = share(sizeof *line);
    crew_t *crew = crew_begin(where);
    crew_add(crew, put_on_demand, line);
    ferry_cell_t *cells = open_cells(crew_node(crew), "c", 3);
    uint64_t seen[3] = {0};
    uint32_t changed[3];
    int fd = ferry_cell_fd(cells), epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    check(epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
    for (unsigned i = 1; i <= 20; i++) {
        int found = 0;
        check_is(ferry_cell_rearm(cells), 0);
        atomic_store(&line->go, i);
        while (found == 0) { /* it may be told for nothing */
            await_readable(fd, epoll, i);
            check_is(ferry_cell_rearm(cells), 0);
            found = ferry_cell_watch(cells, seen, changed, 3, FERRY_NOW);
            found = found == -EAGAIN ? 0 : found;
        }
        check_is(found, 1);
        check(changed[0] == i % 3);
    }
    close(epoll);
    crew_join(crew, 0);
    close_cell(cells);
    crew_end(crew);
}

/* A newcomer arms his descriptor sooner than all holders can have heard of him. */
static void come_and_poll(ferry_t *node, void *arg) {
    line_t *line = arg;
    for (unsigned i = 1; i <= 50; i++) {
        ferry_cell_t *cells = open_cells(node, "c", 3);
        int fd = ferry_cell_fd(cells);
        check_is(ferry_cell_rearm(cells), 0);
        uint64_t version = version_of(cells, 0);
        atomic_store(&line->polling, i);
        check(is_readable(fd, (int)(PATIENCE / MILLISECOND)));
        check_is(ferry_cell_wait(cells, version, PATIENCE), 0);
        close_cell(cells);
    }
}

static void a_newcomer_is_told_of_puts_at_once(where_t where) {
    line_t *line = share(sizeof *line);
    crew_t *crew = crew_begin(where);
    crew_add(crew, come_and_poll, line);
    ferry_cell_t *cells = open_cells(crew_node(crew), "c", 3);
    for (unsigned i = 1; i <= 50; i++) {
        for (int64_t end = monotonic() + PATIENCE; atomic_load(&line->polling) < i;)
            check(monotonic() < end); /* no nap: it shall be at once */
        put_number(cells, 0, i);
    }
    crew_join(crew, 0);
    close_cell(cells);
    crew_end(crew);
}

/* ---- somebody is stopped ---- */

typedef struct pause {
    atomic_uint polling, seen;
} pause_t;

static void poll_for_two_puts(void *arg) {
    pause_t *pause = arg;
    ferry_t *node = open_node("test");
    ferry_cell_t *cells = open_cells(node, "c", 3);
    int fd = ferry_cell_fd(cells);
    uint64_t before = 0;
    for (unsigned i = 1; i <= 2; i++) {
        do {
            check(is_readable(fd, (int)(PATIENCE / MILLISECOND)));
            check_is(ferry_cell_rearm(cells), 0);
        } while (version_of(cells, i) == before);
        atomic_store(&pause->seen, i);
    }
    close_cell(cells);
    close_node(node);
}

/* Others go on telling each other meanwhile: more often than can be kept for him. */
static void a_poller_that_was_stopped_is_told_when_it_goes_on(void) {
    pause_t *pause = share(sizeof *pause);
    pid_t poller = child_start(poll_for_two_puts, pause);
    ferry_t *node = open_node("test");
    ferry_cell_t *cells = open_cells(node, "c", 3);
    int status;
    check(ferry_cell_fd(cells) >= 0);
    put_number(cells, 1, 1);
    await(&pause->seen, 1);
    check(kill(poller, SIGSTOP) == 0 && waitpid(poller, &status, WUNTRACED) == poller && WIFSTOPPED(status));
    for (unsigned i = 0; i < 30000; i++) {
        check_is(ferry_cell_rearm(cells), 0);
        put_number(cells, 0, i);
    }
    check(kill(poller, SIGCONT) == 0);
    nap(50 * MILLISECOND);
    check_is(ferry_cell_rearm(cells), 0);
    put_number(cells, 2, 1);
    await(&pause->seen, 2);
    child_join(poller);
    close_cell(cells);
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(a_descriptor_is_readable_from_a_put_to_the_next_rearming),
        TEST_ALL(a_put_elsewhere_makes_the_descriptor_readable),
        TEST_ALL(a_newcomer_is_told_of_puts_at_once),
        TEST(a_poller_that_was_stopped_is_told_when_it_goes_on),
    };
    return run_suite("cell-poll", tests, sizeof tests / sizeof tests[0], argc, argv);
}
