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
#include <unistd.h>

static const int watched[] = {SIGINT, SIGTERM, SIGHUP};
static volatile sig_atomic_t noted;
static ferry_t *volatile node_to_stop;

static void on_alarm(int signal) {
    (void)signal;
    alarm(1);
}

static void on_signal(int signal) {
    int saved = errno;
    struct sigaction plain = {.sa_handler = SIG_DFL};

    noted = signal;
    for (size_t i = 0; i < sizeof watched / sizeof watched[0]; i++)
        sigaction(watched[i], &plain, NULL);
    if (node_to_stop != NULL)
        ferry_shutdown(node_to_stop);
    alarm(1);
    errno = saved;
}

void stop_watch(ferry_t *node) {
    struct sigaction act = {.sa_handler = on_alarm};

    node_to_stop = node;
    sigaction(SIGALRM, &act, NULL);
    act.sa_handler = on_signal;
    for (size_t i = 0; i < sizeof watched / sizeof watched[0]; i++) {
        struct sigaction before;
        /* What was ignored when we started (nohup, a shell's background job) stays ignored. */
        if (sigaction(watched[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(watched[i], &act, NULL);
    }
}

void stop_forget_node(void) {
    node_to_stop = NULL;
}

int stop_signal(void) {
    return noted;
}

int stop_or(int status) {
    if (noted == 0)
        return status;
    raise(noted); /* its action is the default again since the first one */
    return 128 + noted;
}
