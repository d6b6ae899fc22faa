/* SPDX-License-Identifier: MIT
 *
 * interrupt.c - leaving in good order when somebody presses Ctrl-C.
 *
 * A program may also just die: its peers notice, and whoever looks into the space next sweeps its names.  Leaving first
 * is more polite, and takes one call that is allowed in a signal handler.
 */
#include "wordcount.h"

#include <signal.h>

static ferry_t *volatile my_node;
static volatile sig_atomic_t interrupted;

static void on_signal(int which) {
    interrupted = which;
    if (my_node != NULL) {
        ferry_shutdown(my_node);
    }
}

/* A process without a node is the starter of others: SIGTERM, which only it gets, must still end it. */
static void set_handlers(void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigaction(SIGINT, &action, NULL);
    if (my_node != NULL || handler == SIG_DFL) {
        sigaction(SIGTERM, &action, NULL);
    }
}

void interrupt_leaves(ferry_t *node) {
    my_node = node;
    set_handlers(on_signal);
}

bool interrupt_came(void) {
    return interrupted != 0;
}

void interrupt_ends(ferry_t *node) {
    my_node = NULL; /* first: the handler must not meet a node that is closed */
    ferry_close(node);
    set_handlers(SIG_DFL);
    if (interrupted != 0) {
        raise((int)interrupted);
    }
}
