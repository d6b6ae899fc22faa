/* SPDX-License-Identifier: MIT
 *
 * It reads numbers from a pipe: a group to watch, or, negative, to forget. The end of the pipe is our death. Others
 * that are forked from us have the pipe until they execute something; those die with us.
 */
#include "warden.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_GROUPS = 1024 };

static int orders = -1;
static pid_t warden;

/* --- the warden -------------------------------------------------------------------------------------------------- */

static void replace(pid_t *groups, pid_t old, pid_t new) {
    size_t i = 0;

    while (i < MOST_GROUPS && groups[i] != old)
        i++;
    if (i < MOST_GROUPS)
        groups[i] = new;
}

static _Noreturn void watch_over(int from) {
    static const int for_others[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP};
    static pid_t groups[MOST_GROUPS]; /* 0: free */
    pid_t order;
    ssize_t n;

    for (size_t i = 0; i < sizeof for_others / sizeof for_others[0]; i++)
        signal(for_others[i], SIG_IGN);
    while ((n = read(from, &order, sizeof order)) != 0) {
        if (n == (ssize_t)sizeof order)
            replace(groups, order > 0 ? 0 : -order, order > 0 ? order : 0);
        else if (errno != EINTR)
            break;
    }
    for (size_t i = 0; i < MOST_GROUPS; i++) {
        if (groups[i] > 1)
            (void)kill(-groups[i], SIGKILL);
    }
    _exit(0);
}

/* --- our side ---------------------------------------------------------------------------------------------------- */

bool warden_start(void) {
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return false;
    warden = fork();
    if (warden == 0) {
        close(ends[1]);
        watch_over(ends[0]);
    }
    close(ends[0]);
    if (warden > 0)
        orders = ends[1];
    else
        close(ends[1]);
    return warden > 0;
}

void warden_end(void) {
    if (orders < 0)
        return;
    close(orders);
    orders = -1;
    while (waitpid(warden, NULL, 0) < 0 && errno == EINTR)
        continue;
}

/* So few bytes go into a pipe as a whole. Without a warden that still lives, the command alone dies with us. */
static void order(pid_t number) {
    if (orders >= 0)
        (void)!write(orders, &number, sizeof number);
}

void warden_watch(pid_t group) {
    order(group);
}

void warden_forget(pid_t group) {
    order(-group);
}
