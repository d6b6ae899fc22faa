/* SPDX-License-Identifier: MIT */
#include "patience.h"

#include <errno.h>
#include <stdio.h>

#include "say.h"
#include "stop.h"
#include "tool.h"
#include "units.h"

void patience_begin(patience_t *p) {
    p->started = now_ns();
}

int64_t patience_left(const patience_t *p) {
    if (p->timeout <= 0)
        return p->timeout < 0 ? FERRY_FOREVER : FERRY_NOW;
    int64_t left = p->timeout - (now_ns() - p->started);
    return left > 0 ? left : FERRY_NOW;
}

bool patience_again(int result) {
    return result == -EINTR && stop_signal() == 0;
}

bool patience_opens_again(patience_t *p, int result) {
    if (patience_again(result))
        return true;
    if (result != -ETIMEDOUT || stop_signal() != 0 || patience_left(p) == FERRY_NOW)
        return false;
    if (!p->told && !p->quiet)
        say("%s; still waiting", ferry_last_error());
    p->told = true;
    return true;
}

int patience_over(const patience_t *p, int result, const char *name) {
    char took[UNITS_TEXT];
    char why[1024];

    if (stop_signal() != 0)
        return STATUS_FAILED; /* stop_or makes the signal of it */
    if (result == -EDEADLK) {
        say("%s", ferry_last_error());
        return STATUS_NOT_OBTAINED;
    }
    if (result != -EAGAIN && result != -ETIMEDOUT)
        return library_failed(result);
    if (name != NULL)
        snprintf(why, sizeof why, "\"%s\" %s", name, p->lack);
    else
        snprintf(why, sizeof why, "%s", ferry_last_error());
    if (p->timeout == 0) {
        say("%s", why);
        return p->refused;
    }
    say("timed out after %s: %s", show_duration((double)p->timeout, took), why);
    return STATUS_TIMED_OUT;
}
