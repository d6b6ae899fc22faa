/* SPDX-License-Identifier: MIT */
#include "base/error.h"
#include "store/heap_block.h"

int fi_heap_hand_take(const fi_heap_t *h, uint64_t owner, uint32_t *hand) {
    for (uint32_t i = 0; i < FI_HEAP_HANDS; i++) {
        uint64_t nobody = 0;
        if (fi_heap_hand_owner(h, i) == 0 && fi_cas64(&h->shared->hands[i].owner, &nobody, owner)) {
            fi_heap_hand_done(h, i);
            *hand = i;
            return 0;
        }
    }
    return fi_fail(-EUSERS, "the region \"%s\" has %u handles, and cannot have more", h->name, FI_HEAP_HANDS);
}

uint64_t fi_heap_hand_hold(const fi_heap_t *h, uint32_t hand, uint64_t ref) {
    uint64_t word = fi_heap_load_block(h, ref - FI_UNIT, FI_BLOCK_USED);

    if (fi_likely(word != 0)) {
        fi_store_relaxed64(&h->shared->hands[hand].block, ref);
        fi_compiler_barrier();
    }
    return word;
}

/*
 * The owner's word is not part of the step that frees the block: who takes a hand does not hold the lock, and an owner
 * that is undone would take it from him.
 */
int fi_heap_reclaim(const fi_heap_t *h, uint32_t hand, uint64_t owner) {
    if (fi_heap_hand_owner(h, hand) != owner) {
        return 0;
    }
    int r = fi_heap_drop(h, hand);
    if (r == -ESTALE) {
        return r;
    }
    fi_heap_hand_done(h, hand);
    fi_compiler_barrier();
    fi_store_release64(&h->shared->hands[hand].owner, 0);
    return r;
}
