/* SPDX-License-Identifier: MIT
 *
 * Ends of which some link could not be made, or was given up, for want of descriptors or memory.  Whoever was on the
 * other side keeps what it has to say and waits; nothing more would come of it by itself.  So such an end meets those
 * in the directory once more when there are descriptors again.
 *
 *   whoever holds the end                     steward
 *   the end lacks                             looks once in a second, while some end lacks:
 *   the node lacks, rings                     descriptors left? -> it does not lack any more, and meets anew
 *
 * Who lacks again by that says so again.
 */
#include "base/error.h"
#include "node/node.h"
#include "platform/clock.h"
#include "platform/socket.h"

#define PAUSE_NS INT64_C(1000000000)

void fi_end_lacks(fi_end_t *e) {
    fi_node_t *n = e->node;

    fi_store_release32(&e->lacks, 1);
    if (fi_exchange32(&n->lacking, 1) == 0) {
        fi_bell_ring(n->bell.wr);
    }
}

static void meet_anew(fi_node_t *n) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &n->ends) {
        fi_end_t *e = fi_container(at, fi_end_t, link);
        bool lacked = fi_exchange32(&e->lacks, 0) != 0;
        /* Who is linked already pays no heed to it. */
        if (lacked && e->published && !e->hidden && fi_is_lack(fi_node_meet_named(n, e))) {
            fi_end_lacks(e);
        }
    }
}

int64_t fi_node_look_lacking(fi_node_t *n) {
    if (!fi_load_acquire32(&n->lacking) || fi_node_is_shut(n)) {
        return FI_NEVER;
    }
    int64_t now = fi_now_ns();
    if (n->lacking_until == 0) {
        n->lacking_until = now + PAUSE_NS;
    }
    if (now >= n->lacking_until) {
        n->lacking_until = now + PAUSE_NS;
        if (fi_descriptors_left(FI_PEER_DESCRIPTORS)) {
            (void)fi_exchange32(&n->lacking, 0);
            n->lacking_until = 0;
            meet_anew(n);
        }
    }
    return n->lacking_until == 0 ? FI_NEVER : n->lacking_until;
}
