/* SPDX-License-Identifier: MIT
 *
 * window.c - see window.h. Pure functions of what was seen.
 */
#include "channel/window.h"

#include "base/bits.h"

/* How many may lie ready for one that takes so long for each. */
static uint32_t worth(uint64_t service_ns) {
    uint64_t most = FI_AHEAD_NS / fi_max(service_ns, 1);

    return (uint32_t)fi_min(fi_max(most, FI_WINDOW_FIRST), FI_WINDOW_LARGEST);
}

static void set_most(fi_window_t *w, uint32_t most) {
    w->most = most;
    w->open = most >= FI_WINDOW_LARGEST;
    w->used = !w->open;
}

void fi_window_begin(fi_window_t *w, uint64_t service_ns) {
    *w = (fi_window_t){.service_ns = service_ns};
    set_most(w, service_ns == 0 ? FI_WINDOW_FIRST : worth(service_ns));
}

/* Some lay ready all the time; it has taken `done`. */
static void learn(fi_window_t *w, uint64_t took_ns, uint32_t done) {
    w->service_ns = w->service_ns == 0 ? took_ns : w->service_ns / 2 + took_ns / 2;
    set_most(w, (uint32_t)fi_min(fi_max(worth(w->service_ns), w->most / 2), w->most + done));
}

/* It has taken all that there was, some time ago perhaps. */
static void learn_at_most(fi_window_t *w, uint64_t took_ns, uint32_t done) {
    bool quick = worth(took_ns) == FI_WINDOW_LARGEST; /* for sure */

    if (w->service_ns == 0 ? quick : took_ns < w->service_ns) {
        w->service_ns = took_ns;
    }
    if (w->wanted || quick) {
        set_most(w, (uint32_t)fi_min(w->most + done, FI_WINDOW_LARGEST));
    }
}

void fi_window_note(fi_window_t *w, int64_t now, uint32_t has, uint32_t left) {
    uint32_t done = w->had > left ? w->had - left : 0;

    if (done > 0 && w->since != 0) {
        uint64_t took_ns = (now > w->since ? (uint64_t)(now - w->since) : 0) / done;
        if (has > 0) {
            learn(w, fi_max(took_ns, 1), done);
        } else {
            learn_at_most(w, fi_max(took_ns, 1), done);
        }
    }
    if (done > 0 || w->had == 0) {
        w->since = has > 0 ? now : 0;
        w->wanted = false;
    }
    w->had = has;
}
