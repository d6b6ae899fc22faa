/* SPDX-License-Identifier: MIT
 *
 * links.h - what nodes tell of their links when `ferry route` asks: one frame from each of its two ends.
 *
 *   LOOK_NODE   figures[1..8]: the profile that its process uses
 *   LOOK_LINK   tx, rx: numbers of the two ends; a: the other end's node (0: on several other machines); kind, text:
 *               the channel; flags: below
 *               figures: enum fi_sent_figure from a sender, enum fi_taken_figure from a receiver
 *
 * Each is one process's word about itself.  Whoever asks bounds what he computes with.
 */
#ifndef FI_NODE_LINKS_H
#define FI_NODE_LINKS_H

#include "ferry/route.h"
#include "node/wire.h"

enum fi_link_flags {
    FI_LINK_RECEIVER = 1,  /* the receiver speaks */
    FI_LINK_THREAD = 2,    /* the two are in one node */
    FI_LINK_FAR = 4,       /* the other end is on another machine */
    FI_LINK_LOSSY = 8,     /* the receiver may be overtaken */
    FI_LINK_FENCE = 16,    /* the other side must fence, since this one always sleeps, or membarrier is refused */
    FI_LINK_TAP = 64,      /* the receiver only looks */
    FI_LINK_DURABLE = 128, /* the engine keeps the channel */
    FI_LINK_OWN_SPIN = 32  /* a wake-up was measured on the receiver's own links */
};

#define FI_CROWDED (UINT64_C(1) << 32) /* beside spins in vain: somebody else ran when it last gave way */

enum fi_sent_figure {
    FI_SENT_PER_S,   /* messages in a second, lately */
    FI_SENT_SIZE,    /* bytes of one, on average */
    FI_SENT_SERVICE, /* ns that the receiver takes for one while it is behind; 0: it never was */
    FI_SENT_WAITING, /* not released */
    FI_SENT_INLINE,  /* bytes up to which one goes into the ring */
    FI_SENT_SPIN,    /* ns of a full spin, for room */
    FI_SENT_VAIN,    /* spins in vain, and FI_CROWDED */
    FI_SENT_POLICY,  /* ferry_wait_t */
    FI_SENT_LINKS,   /* links of this sender that are live */
    FI_SENT_MOST,    /* messages that may lie ready for the receiver; 0: as many as fit */
    FI_SENT_LEFT     /* messages that are in no ring: they wait for whoever is free */
};

enum fi_taken_figure {
    FI_TAKEN_MEAN, /* ns from send to take */
    FI_TAKEN_LEAST,
    FI_TAKEN_COUNT, /* messages that this was seen on */
    FI_TAKEN_WAKE,  /* ns from send to take, of a receiver that slept */
    FI_TAKEN_WAKES,
    FI_TAKEN_SPIN, /* as above, for messages */
    FI_TAKEN_VAIN,
    FI_TAKEN_POLICY
};

static inline void fi_host_to_frame(const ferry_host_t *h, fi_frame_t *f) {
    f->figures[1] = h->wake_ns;
    f->figures[2] = h->line_ns;
    f->figures[3] = h->page_ns;
    for (unsigned i = 0; i < FERRY_HOST_COPIES; i++) {
        f->figures[4 + i] = h->copy_mbps[i];
    }
    f->figures[4 + FERRY_HOST_COPIES] = h->source;
}

static inline void fi_host_from_frame(ferry_host_t *h, const fi_frame_t *f) {
    *h = (ferry_host_t){.wake_ns = f->figures[1], .line_ns = f->figures[2], .page_ns = f->figures[3]};
    for (unsigned i = 0; i < FERRY_HOST_COPIES; i++) {
        h->copy_mbps[i] = f->figures[4 + i];
    }
    h->source = f->figures[4 + FERRY_HOST_COPIES] <= FERRY_HOST_GIVEN
                    ? (ferry_host_source_t)f->figures[4 + FERRY_HOST_COPIES]
                    : FERRY_HOST_ASSUMED;
}

#endif
