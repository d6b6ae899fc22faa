/* SPDX-License-Identifier: MIT */
#include "channel/parted.h"

#include <stdlib.h>

#include "channel/ghosts.h"

struct fi_parted {
    fi_parted_t *next;
    fi_shared_t *ring; /* this and the next two: counted */
    fi_shared_t *ctl_memory;
    fi_remote_t *remote;
    fi_ctl_t ctl;
    uint64_t pos;
    fi_block_t *block; /* one reference */
};

static void let_go(fi_outlet_t *o, fi_parted_t *p) {
    fi_pool_unref(&o->tx->pool, p->block);
    fi_shared_unref(p->ring);
    fi_shared_unref(p->ctl_memory);
    fi_remote_unref(p->remote);
    free(p);
}

static bool is_held(const fi_parted_t *p) {
    return fi_load_acquire64(&p->ctl.head->left) != FI_CTL_HOLDS_NOTHING /* A10 */ && fi_ctl_announces(&p->ctl, p->pos);
}

static void settle(fi_outlet_t *o, const fi_peer_t *dead, bool all) {
    for (fi_parted_t **at = &o->parted; *at;) {
        fi_parted_t *p = *at;
        if (!all && is_held(p) && !(dead && fi_remote_is_of(p->remote, dead))) {
            at = &p->next;
        } else {
            *at = p->next;
            let_go(o, p);
        }
    }
}

void fi_parted_settle(fi_outlet_t *o) {
    settle(o, NULL, false);
}

void fi_parted_peer_dead(fi_outlet_t *o, const fi_peer_t *p) {
    settle(o, p, false);
}

void fi_parted_free(fi_outlet_t *o) {
    settle(o, NULL, true);
}

void fi_parted_want(const fi_outlet_t *o, uint64_t want) {
    for (const fi_parted_t *p = o->parted; p; p = p->next) {
        struct fi_ring_head *head = p->ring->map;
        fi_store_release64(&head->shared.want, want);
    }
}

/* One block, for one of its holders. False: no memory. */
static bool part(fi_outlet_t *o, const fi_log_t *old, const fi_lent_t *lent, const fi_txlink_t *l) {
    unsigned i = old->serial % FI_LOGS;
    fi_parted_t *p = malloc(sizeof *p);

    if (p) {
        *p = (fi_parted_t){.next = o->parted,
                           .ring = fi_shared_ref(old->memory),
                           .ctl_memory = fi_shared_ref(l->ctl_memory[i]),
                           .remote = fi_remote_ref(l->remote),
                           .ctl = l->ctl[i],
                           .pos = lent->pos,
                           .block = lent->block};
        lent->block->refs++;
        o->parted = p;
    }
    return p != NULL;
}

bool fi_outlet_part(fi_outlet_t *o, fi_log_t *old) {
    bool parted = old->freed >= old->w.pos && old->oldest >= old->w.pos - 1 && !o->ghosts;

    for (uint64_t i = old->lent_head; parted && i < old->lent_tail; i++) {
        const fi_lent_t *lent = &old->lent[i & (old->lent_cap - 1)];
        for (uint32_t k = 0; parted && lent->block && k < o->link_count; k++) {
            if (fi_link_holds(o->links[k], old, lent->pos)) {
                parted = part(o, old, lent, o->links[k]); /* one too many does no harm: it goes with its message */
            }
        }
    }
    return parted;
}
