/* SPDX-License-Identifier: MIT
 *
 * No server is left, as far as the client knows: are there others?
 *
 * A client that is opened is linked with all servers that are there, but not with one that was too slow just then, nor
 * always with all where others came and went in that moment.  So before it says that nobody serves, it looks at the
 * directory once more, and gives those whom it finds the time that an opening gives.  Once for each time that something
 * has changed: a server that stands still is not waited for again and again.
 */
#include <errno.h>

#include "node/node.h"
#include "platform/clock.h"
#include "rpc/client.h"

#define SLICE_NS 5000000

/* Of who is linked: do any serve, or come just now? */
static bool sees(ferry_client_t *k, bool *coming) {
    const fi_sender_t *tx = k->tx;
    bool serves = false;

    *coming = false;
    if (fi_end_enter(&k->tx->end, FI_END_SENDER) < 0) {
        return false;
    }
    for (uint32_t i = 0; i < tx->outlet_count; i++) {
        for (uint32_t j = 0; j < tx->outlets[i]->link_count; j++) {
            *coming |= !tx->outlets[i]->links[j]->live;
        }
    }
    serves = fi_client_leaving(k) < tx->link_count;
    fi_end_leave(&k->tx->end);
    return serves;
}

static void look_once(ferry_client_t *k, int64_t now) {
    fi_end_t *e = &k->tx->end;
    uint64_t changes = fi_load_acquire64(&e->linked) + fi_load_acquire32(&k->losses);

    if (k->looked != changes) {
        k->looked = changes;
        k->hope_until = now + FI_SETTLE_NS;
        fi_node_meet_anew(e->node, e);
    }
}

bool fi_client_hopes(ferry_client_t *k) {
    int64_t now = fi_now_ns();
    bool coming;

    if (sees(k, &coming)) {
        return false;
    }
    look_once(k, now);
    if (now >= k->hope_until) {
        return false;
    }
    bool met = fi_node_has_met(k->tx->end.node, &k->tx->end); /* first: who has answered, has been introduced */
    return sees(k, &coming) || coming || !met;
}

int fi_client_await_hope(ferry_client_t *k, int64_t deadline) {
    for (;;) {
        bool hopes = fi_client_hopes(k);
        int64_t left = fi_time_left(deadline);
        int r = fi_client_wait_here(k, 1, hopes ? fi_earlier(left, SLICE_NS) : FERRY_NOW);
        if (r != -ETIMEDOUT && r != -EAGAIN) {
            return r < 0 ? r : 0;
        }
        if (!hopes || left == 0) {
            return hopes ? -ETIMEDOUT : -ENOENT;
        }
    }
}
