/* SPDX-License-Identifier: MIT
 *
 * start_processes.c - every part a process of its own, with a node of its own.
 */
#include "wordcount.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/** The child's whole life. It inherits no node: its parent has none. */
static _Noreturn void run(const job_t *job, const part_t *part, pid_t parent) {
    /* If the starter is killed, nobody would collect this process; the check closes the gap before the call. */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) {
        _exit(1);
    }
    ferry_options_t options = {.name = part->name};
    ferry_t *node;
    int result = -1;
    if (ferry_open(job->space, &options, &node) < 0) {
        failed(part->name, part->number, "opening the space");
    } else {
        interrupt_leaves(node);
        result = part->run(node, job, part->number);
        interrupt_ends(node);
    }
    fflush(stdout);
    _exit(result == 0 ? 0 : 1);
}

/** Ends the processes of `children` that still run. */
static void stop(const pid_t *children, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (children[i] > 0) {
            kill(children[i], SIGTERM);
        }
    }
}

/** Waits for all children; when one has failed, ends the others. Returns 0 when all did well. */
static int wait_all(pid_t *children, const part_t *parts, size_t n) {
    int result = 0;
    for (size_t left = n; left > 0; left--) {
        int status;
        pid_t pid = waitpid(-1, &status, 0); /* goes on after a signal: see interrupt.c */
        if (pid < 0) {
            fprintf(stderr, "wordcount: waiting for the processes: %s\n", strerror(errno));
            return -1;
        }
        size_t i = 0;
        while (i < n && children[i] != pid) {
            i++;
        }
        if (i < n) {
            children[i] = 0;
        }
        if (status != 0 && result == 0) {
            if (WIFSIGNALED(status) && !interrupt_came() && i < n) {
                fprintf(stderr, "wordcount: %s %u was killed by signal %d (%s)\n", parts[i].name, parts[i].number,
                        WTERMSIG(status), strsignal(WTERMSIG(status)));
            }
            stop(children, n);
            result = -1;
        }
    }
    return result;
}

int start_processes(const job_t *job, const part_t *parts, size_t n) {
    pid_t *children = calloc(n, sizeof(*children));
    if (children == NULL) {
        fprintf(stderr, "wordcount: there is not enough memory for %zu processes\n", n);
        return -1;
    }
    pid_t parent = getpid();
    fflush(NULL); /* what is buffered now would be printed by every child */
    size_t started = 0;
    for (; started < n; started++) {
        children[started] = fork();
        if (children[started] == 0) {
            run(job, &parts[started], parent);
        }
        if (children[started] < 0) {
            fprintf(stderr, "wordcount: a process cannot be started: %s\n", strerror(errno));
            stop(children, started);
            break;
        }
    }
    /* Ctrl-C reaches all processes of the terminal; this one stays until the others have left. */
    interrupt_leaves(NULL);
    int result = wait_all(children, parts, started);
    interrupt_ends(NULL);
    free(children);
    return started == n ? result : -1;
}
