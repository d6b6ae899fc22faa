/* SPDX-License-Identifier: MIT
 *
 * The handler shuts the node down, so no wait inside the library can miss a signal. A plain read or write can: the
 * signal may fall between the look at the note and the system call. So the handler sets an alarm, and the alarm
 * interrupts again every second until the process is over.
 */
#include "stop.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "units.h"

static const int watched[] = {SIGINT, SIGTERM, SIGHUP};
/* Two signals this close are one: timeout(1) and some terminals send theirs to the process and to its group. */
static const int64_t one_press_ns = 100 * 1000 * 1000;

static volatile sig_atomic_t noted;
static volatile sig_atomic_t again;
static volatile sig_atomic_t hurried;
static volatile sig_atomic_t two_steps;
static int64_t noted_at; /* used by the handler only, during which the watched signals are blocked */
static ferry_t *volatile node_to_stop;
static volatile pid_t passed_to; /* 0: nobody */

static void on_alarm(int signal) {
    (void)signal;
    alarm(1);
}

static void end_by(int signal) {
    struct sigaction plain = {.sa_handler = SIG_DFL};

    sigaction(signal, &plain, NULL);
    raise(signal);
}

static void on_signal(int signal) {
    int saved = errno;
    pid_t child = passed_to;

    if (child > 0) {
        if (signal == SIGTERM || signal == SIGHUP)
            kill(child, signal);
    } else if (noted == 0) {
        noted = signal;
        noted_at = now_ns();
        if (node_to_stop != NULL)
            ferry_shutdown(node_to_stop);
        alarm(1);
    } else if (now_ns() - noted_at <= one_press_ns) {
        /* the same press */
    } else if (two_steps != 0 && hurried == 0) {
        hurried = 1;
        noted_at = now_ns();
    } else {
        end_by(signal); /* blocked here, so it comes when the handler returns */
    }
    errno = saved;
}

/* What was ignored when we started (nohup, a shell's background job) stays ignored. */
static void handle(int signal, void (*handler)(int)) {
    struct sigaction act = {.sa_handler = handler};
    struct sigaction before;

    for (size_t i = 0; i < sizeof watched / sizeof watched[0]; i++)
        sigaddset(&act.sa_mask, watched[i]);
    if (sigaction(signal, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
        sigaction(signal, &act, NULL);
}

void stop_watch(ferry_t *node) {
    struct sigaction act = {.sa_handler = on_alarm};

    node_to_stop = node;
    sigaction(SIGALRM, &act, NULL);
    for (size_t i = 0; i < sizeof watched / sizeof watched[0]; i++)
        handle(watched[i], on_signal);
}

void stop_pass_on(pid_t child) {
    passed_to = child;
    handle(SIGQUIT, child > 0 ? on_signal : SIG_DFL);
}

void stop_by(int signal) {
    (void)prctl(PR_SET_DUMPABLE, 0L, 0L, 0L, 0L); /* the command has dumped its own memory, if at all */
    end_by(signal);
}

void stop_forget_node(void) {
    node_to_stop = NULL;
}

static void on_again(int signal) {
    (void)signal;
    again = 1;
}

void stop_note_again(void) {
    struct sigaction act = {.sa_handler = on_again};

    sigaction(SIGUSR1, &act, NULL);
}

/* The signals are blocked but while we sleep, so none can fall between the look and the sleep. */
bool stop_wait_or_again(void) {
    sigset_t held;
    sigset_t before;

    sigemptyset(&held);
    sigaddset(&held, SIGUSR1);
    for (size_t i = 0; i < sizeof watched / sizeof watched[0]; i++)
        sigaddset(&held, watched[i]);
    sigprocmask(SIG_BLOCK, &held, &before);
    while (noted == 0 && again == 0)
        sigsuspend(&before);
    again = 0;
    sigprocmask(SIG_SETMASK, &before, NULL);
    return noted == 0;
}

void stop_wait(void) {
    while (stop_wait_or_again())
        continue;
}

void stop_in_two_steps(void) {
    two_steps = 1;
}

bool stop_hurried(void) {
    return hurried != 0;
}

int stop_signal(void) {
    return noted;
}

int stop_or(int status) {
    if (noted == 0)
        return status;
    end_by(noted);
    return 128 + noted;
}
