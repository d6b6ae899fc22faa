/* SPDX-License-Identifier: MIT
 *
 * processes.c - starts a crew as processes, and collects it.
 */
#include "crew.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static char space[64];
static bool interrupted; /**< a member was ended by Ctrl-C */

/** Closes the node. Who did well has left nothing open. */
static int leave(ferry_t *node, int result) {
    int left = ferry_close(node);
    return left != 0 && result == 0 ? crew_failed("leaving the space") : result;
}

/** A member's whole life. It inherits no node: a node belongs to the process that opened it. */
static _Noreturn void live(const crew_t *crew, unsigned number, pid_t parent) {
    /* If the parent is killed, nobody would end this process; the check closes the gap before the call. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(1);
    }
    ferry_options_t options = {.name = crew->name != NULL ? crew->name(number) : NULL};
    ferry_t *node;
    int result = ferry_open(space, &options, &node) < 0 ? crew_failed("opening the space")
                                                        : leave(node, crew->work(node, number, crew->job));
    fflush(stdout);
    _exit(result == 0 ? 0 : 1);
}

/** Ends the members that still run: they may wait for one that has failed. */
static void stop(const pid_t *members, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        if (members[i] > 0) {
            kill(members[i], SIGTERM);
        }
    }
}

static void forget(pid_t *members, unsigned n, pid_t pid) {
    for (unsigned i = 0; i < n; i++) {
        members[i] = members[i] == pid ? 0 : members[i];
    }
}

/** Waits for `n` members. Returns 0 when all ended well or were killed as planned. */
static int wait_all(const crew_t *crew, pid_t *members, unsigned n) {
    unsigned deaths = 0;
    int result = 0;
    for (unsigned left = n; left > 0; left--) {
        int status = 0;
        pid_t pid = waitpid(-1, &status, 0);
        if (pid < 0) {
            fprintf(stderr, "%s: waiting for the processes: %s\n", program_invocation_short_name, strerror(errno));
            return -1;
        }
        forget(members, n, pid);
        bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
        if (status == 0 || (killed && deaths++ < crew->deaths)) {
            continue;
        }
        interrupted = interrupted || (WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
        if (WIFSIGNALED(status) && result == 0 && !interrupted) {
            fprintf(stderr, "%s: a process was killed by signal %d (%s)\n", program_invocation_short_name,
                    WTERMSIG(status), strsignal(WTERMSIG(status)));
        }
        stop(members, n);
        result = -1;
    }
    return result;
}

/** Starts and collects the members. */
static int run(const crew_t *crew) {
    pid_t parent = getpid(), members[CREW_MOST];
    fflush(NULL); /* what is buffered now would be printed by every child */
    unsigned started = 0;
    for (; started < crew->members; started++) {
        members[started] = fork();
        if (members[started] == 0) {
            live(crew, started, parent);
        }
        if (members[started] < 0) {
            fprintf(stderr, "%s: a process cannot be started: %s\n", program_invocation_short_name, strerror(errno));
            stop(members, started);
            break;
        }
    }
    /* Ctrl-C reaches all processes of the terminal; this one stays until the others are gone. */
    void (*before)(int) = signal(SIGINT, SIG_IGN);
    int result = wait_all(crew, members, started);
    signal(SIGINT, before);
    return started == crew->members ? result : -1;
}

int crew_run(const crew_t *crew) {
    snprintf(space, sizeof(space), "%.40s.%d", program_invocation_short_name, (int)getpid());
    crew_t one = {.work = crew_threads, .job = (void *)crew, .members = 1};
    int result = run(crew->threads ? &one : crew);
    ferry_look_t *look;
    if (result != 0 && ferry_look(space, NULL, &look) == 0) { /* looking sweeps what the dead have left there */
        ferry_look_close(look);
    }
    if (interrupted) {
        raise(SIGINT);
    }
    return result;
}
