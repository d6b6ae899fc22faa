/* SPDX-License-Identifier: MIT
 *
 * Ends that want to be called at a certain time: a message waits until it may be tried again, or is held for too long.
 *
 *   whoever holds the end                     steward
 *   end's due = t                             node's due = FI_NEVER
 *   full fence                                full fence
 *   t before the node's due? -> rings         looks at every end: delivers FI_DUE where it is time
 *                                             node's due = the earliest of the others; sleeps until then
 *
 * Each side stores one word, then loads the other's: either the steward sees `t`, or the end sees that the steward is
 * about to look, or sleeps until later than `t`.  While no end waits, the steward looks at none and sleeps without a
 * limit.
 */
#include "node/node.h"
#include "platform/clock.h"

void fi_end_set_due(fi_end_t *e, int64_t due) {
    fi_node_t *n = e->node;
    int64_t before = (int64_t)fi_exchange64(&e->due, (uint64_t)due);

    if (before == FI_NEVER && due != FI_NEVER) {
        fi_add32(&n->timed, 1);
    } else if (before != FI_NEVER && due == FI_NEVER) {
        fi_sub32(&n->timed, 1);
    }
    fi_fence_seq_cst();
    if (due < before && due < (int64_t)fi_load_relaxed64(&n->due)) {
        fi_bell_ring(n->bell.wr);
    }
}

/* The end is called once for each time that it names. */
static void call_end(fi_end_t *e, uint64_t due) {
    fi_frame_t f = fi_frame(FI_DUE, 0, 0);
    fi_mail_t *m = fi_mail_new(NULL, &f);

    if (m && fi_cas64(&e->due, &due, (uint64_t)FI_NEVER)) {
        fi_sub32(&e->node->timed, 1);
        fi_end_deliver(e, m);
    } else if (m) {
        fi_mail_free(m); /* it has just named another time */
    }
}

int64_t fi_node_look_due(fi_node_t *n) {
    struct fi_list *at;
    struct fi_list *after;
    int64_t next = FI_NEVER;
    int64_t now = 0;

    fi_store_relaxed64(&n->due, (uint64_t)FI_NEVER);
    fi_fence_seq_cst();
    if (fi_load_relaxed32(&n->timed) == 0) {
        return FI_NEVER;
    }
    fi_list_each(at, after, &n->ends) {
        fi_end_t *e = fi_container(at, fi_end_t, link);
        int64_t due = (int64_t)fi_load_acquire64(&e->due);
        now = now || due == FI_NEVER ? now : fi_now_ns();
        if (due <= now) {
            call_end(e, (uint64_t)due);
            due = (int64_t)fi_load_acquire64(&e->due);
        }
        next = fi_earlier(next, due);
    }
    fi_store_relaxed64(&n->due, (uint64_t)next);
    return next;
}
