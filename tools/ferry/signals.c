/* SPDX-License-Identifier: MIT */
#include "signals.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

/* All that the tool handles or ignores anywhere. */
static const int changed[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGALRM, SIGPIPE, SIGCHLD, SIGXFSZ};
enum { CHANGED = sizeof changed / sizeof changed[0] };

static bool ignored[CHANGED];

void signals_note(void) {
    struct sigaction found;

    for (size_t i = 0; i < CHANGED; i++)
        ignored[i] = sigaction(changed[i], NULL, &found) == 0 && found.sa_handler == SIG_IGN;
}

/* A new program can find a signal ignored or not, nothing else. */
void signals_give_back(void) {
    struct sigaction act = {0};

    for (size_t i = 0; i < CHANGED; i++) {
        act.sa_handler = ignored[i] ? SIG_IGN : SIG_DFL;
        sigaction(changed[i], &act, NULL);
    }
}
