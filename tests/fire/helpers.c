/* SPDX-License-Identifier: MIT
 *
 * helpers.c - see helpers.h.
 */
#include "helpers.h"

#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void be_helper(void *arg) {
    helper_t *h = arg;
    h->node = open_node("test");
    for (;;) {
        while (sem_wait(&h->asked) < 0) {
        }
        if (!h->errand)
            break;
        h->answer = h->errand(h);
        snprintf(h->said, sizeof h->said, "%s", ferry_last_error());
        atomic_store(&h->busy, 0);
        check(sem_post(&h->done) == 0);
    }
    close_node(h->node);
}

helper_t *helpers_start(unsigned count, void *world) {
    helper_t *helpers = share(count * sizeof *helpers);
    for (unsigned i = 0; i < count; i++) {
        helper_t *h = &helpers[i];
        h->world = world;
        check(sem_init(&h->asked, 1, 0) == 0 && sem_init(&h->done, 1, 0) == 0);
        h->pid = child_start(be_helper, h);
    }
    return helpers;
}

void helpers_end(helper_t *helpers, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        helpers[i].errand = NULL;
        check(sem_post(&helpers[i].asked) == 0);
    }
    for (unsigned i = 0; i < count; i++)
        child_join(helpers[i].pid);
}

void helper_ask(helper_t *h, errand_t *errand) {
    h->errand = errand;
    atomic_store(&h->busy, 1);
    check(sem_post(&h->asked) == 0);
}

bool helper_is_done(helper_t *h) {
    return atomic_load(&h->busy) == 0;
}

static bool answers_within(helper_t *h, int64_t patience) {
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    int64_t at = end.tv_nsec + patience;
    end.tv_sec += at / SECOND;
    end.tv_nsec = at % SECOND;
    return sem_timedwait(&h->done, &end) == 0;
}

static void expect_alive(const helper_t *h) {
    int status;
    if (waitpid(h->pid, &status, WNOHANG) == 0)
        return;
    fprintf(stderr, "# a helper has ended (status %#x)\n", (unsigned)status);
    exit(1);
}

bool helper_answers(helper_t *h) {
    int64_t end = clock_ns() + PATIENCE;
    while (!answers_within(h, SECOND / 10)) {
        expect_alive(h);
        if (clock_ns() > end)
            return false;
    }
    return true;
}

int helper_answer(helper_t *h) {
    check(helper_answers(h));
    return h->answer;
}

int helper_do(helper_t *h, errand_t *errand) {
    helper_ask(h, errand);
    return helper_answer(h);
}

void wake_for_nothing(void *memory, size_t bytes) {
    uint32_t *words = memory;
    for (size_t i = 0; i < bytes / sizeof *words; i++)
        check(syscall(SYS_futex, &words[i], FUTEX_WAKE, INT_MAX, NULL, NULL, 0) >= 0);
}

bool sleeps_on_futex(pid_t tid) {
    char path[64], line[128] = "";
    snprintf(path, sizeof path, "/proc/%d/syscall", (int)tid);
    FILE *file = fopen(path, "re");
    check(file != NULL);
    bool read = fgets(line, sizeof line, file) != NULL;
    fclose(file);
    return read && strtol(line, NULL, 10) == SYS_futex; /* "running" is no number */
}

/* That it waits for the next errand looks the same: so this one must have begun before, and not be done afterwards. */
bool helper_sleeps(helper_t *h) {
    int asked = 0;
    check(sem_getvalue(&h->asked, &asked) == 0);
    return asked == 0 && sleeps_on_futex(h->pid) && !helper_is_done(h);
}

void helper_await_sleep(helper_t *h) {
    int64_t end = clock_ns() + PATIENCE;
    while (!helper_is_done(h) && !helper_sleeps(h)) {
        expect_alive(h);
        check(clock_ns() < end);
        nap(MILLISECOND / 50);
    }
}
