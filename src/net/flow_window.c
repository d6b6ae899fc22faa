/* SPDX-License-Identifier: MIT
 *
 * A flow's window: how much of it may be on its way.
 *
 * What is on its way waits in the server and in sockets' buffers, and everything else on these connections waits behind
 * it:
 * the server's answers to the pings by which a lost connection is noticed, too.  Many senders with much on its way to a
 * slow machine would lose their connections for that, send all of it again, and lose them again.  So it may be as much
 * as arrives in LONG_NS; the way of one message at a time is measured.  At first, and after a lost connection, the
 * window is small.
 */
#include "base/bits.h"
#include "net/out.h"

#define LONG_NS 200000000ll /* less than half of what a server has to answer a ping */

void fi_flow_narrow(fi_flow_t *f) {
    f->window = FI_FAR_LEAST;
    f->timed = 0;
}

uint64_t fi_flow_got_by_all(const fi_flow_t *f) {
    uint64_t got = f->piece;

    for (const struct fi_list *at = f->arms.next; at != &f->arms; at = at->next) {
        const fi_arm_t *arm = fi_container(at, fi_arm_t, link);
        got = !arm->live ? got : arm->received == f->sent ? fi_min(got, arm->got) : 0;
    }
    return got;
}

bool fi_flow_window_is_open(const fi_flow_t *f) {
    return f->way_bytes - fi_min(f->way_bytes, fi_flow_got_by_all(f)) < f->window;
}

void fi_flow_time(fi_flow_t *f) {
    if (f->timed == 0) {
        f->timed = f->sent + (f->piece > 0);
        f->timed_to = f->piece;
        f->timed_at = fi_now_ns();
    }
}

static bool has_arrived(const fi_flow_t *f) {
    bool in_pieces = f->timed_to > 0 && f->timed == f->sent + 1;

    return f->acked >= f->timed || (in_pieces && fi_flow_got_by_all(f) >= f->timed_to);
}

void fi_flow_adapt(const fi_bridge_t *b, fi_flow_t *f) {
    if (f->timed == 0) {
        return;
    }
    int64_t took = fi_now_ns() - f->timed_at;
    int64_t longest = fi_net_patience(b->net, LONG_NS);

    if (took > longest) { /* wherever it is */
        f->window = fi_max(f->window / 2, (uint64_t)FI_FAR_LEAST);
        f->timed = 0;
    } else if (has_arrived(f)) {
        f->window = took > longest / 2 ? f->window : fi_min(2 * f->window, (uint64_t)FI_FAR_WINDOW);
        f->timed = 0;
    }
}
