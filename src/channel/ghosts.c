/* SPDX-License-Identifier: MIT
 *
 * Links that are gone, whose receivers' programs may go on reading. See ghosts.h.
 */
#include "channel/ghosts.h"

#include "base/bits.h"
#include "channel/history.h"
#include "channel/late.h"
#include "channel/latest.h"
#include "channel/parted.h"

static uint64_t left(const fi_txlink_t *g, const fi_log_t *log) {
    unsigned i = log->serial % FI_LOGS;

    return g->ctl_memory[i] ? fi_load_acquire64(&g->ctl[i].head->left) : FI_CTL_READS; /* A10 */
}

/* May it read anything in the ring, now or later? */
static bool needs(const fi_txlink_t *g, const fi_log_t *log) {
    return log->serial >= g->first && log->serial <= g->last && left(g, log) != FI_CTL_HOLDS_NOTHING;
}

static bool holds(const fi_txlink_t *g, const fi_log_t *log, uint64_t pos) {
    if (!needs(g, log) || !fi_link_holds(g, log, pos)) {
        return false;
    }
    /* What it may be overtaken in, and holds, is announced: that is looked at, wherever it stands. */
    return g->lossy || left(g, log) != FI_CTL_ONLY_HOLDS ||
           pos < fi_load_relaxed64(&g->ctl[log->serial % FI_LOGS].head->taken);
}

bool fi_ghosts_hold(const fi_outlet_t *o, const fi_log_t *log, uint64_t pos, bool strictly) {
    for (const fi_txlink_t *g = o->ghosts; g; g = g->next_ghost) {
        if (!(strictly && g->lossy) && holds(g, log, pos)) {
            return true;
        }
    }
    return false;
}

uint64_t fi_ghosts_cursor(const fi_outlet_t *o, const fi_log_t *log, uint64_t cursor) {
    for (fi_txlink_t *g = o->ghosts; g; g = g->next_ghost) {
        if (!g->lossy && needs(g, log)) {
            cursor = fi_min(cursor, fi_link_cursor(g, log));
        }
    }
    return cursor;
}

bool fi_outlet_is_haunted(const fi_outlet_t *o) {
    for (const fi_txlink_t *g = o->ghosts; g; g = g->next_ghost) {
        if (!g->lossy && needs(g, o->logs[o->current % FI_LOGS])) {
            return true;
        }
    }
    return false;
}

/* --- how they come ------------------------------------------------------------------------------------------------ */

/* Does a queue's receiver still hold a block? Its ring is written no more. */
static bool holds_blocks(const fi_outlet_t *o) {
    for (uint32_t s = o->first; s <= o->current; s++) {
        const fi_log_t *log = o->logs[s % FI_LOGS];
        for (uint64_t i = log->lent_head; i < log->lent_tail; i++) {
            const fi_lent_t *lent = &log->lent[i & (log->lent_cap - 1)];
            if (lent->block && fi_ghosts_hold(o, log, lent->pos, false)) {
                return true;
            }
        }
    }
    return false;
}

/* Is there anything that the ghost may still read, and the sender must leave as it is? */
static bool is_needed(const fi_outlet_t *o, const fi_txlink_t *g) {
    bool needed = false;

    if (o != o->tx->topic) {
        return holds_blocks(o);
    }
    for (uint32_t s = o->first; s <= fi_min(g->last, o->current + o->growing); s++) {
        needed |= needs(g, o->logs[s % FI_LOGS]);
    }
    for (const fi_log_t *log = o->kept; log; log = log->next_kept) {
        needed |= needs(g, log);
    }
    return needed;
}

bool fi_ghost_rises(fi_outlet_t *o, fi_txlink_t *l, bool lost) {
    l->last = lost ? l->offered : l->known; /* it may have accepted, and we have not heard of it */
    l->next_ghost = o->ghosts;
    o->ghosts = l;
    if (!is_needed(o, l)) {
        o->ghosts = l->next_ghost;
        return false;
    }
    o->lossy_count += l->lossy;
    o->strict_count += !l->lossy;
    return true;
}

void fi_ghosts_left_behind(fi_outlet_t *o) {
    for (const fi_txlink_t *g = o->ghosts; g; g = g->next_ghost) {
        o->strict_count -= !g->lossy && g->last + 1 == o->current;
    }
}

/* --- rings for them ----------------------------------------------------------------------------------------------- */

/* Has it passed all of the ring, if it is waited for, and let go what it points at? */
static bool is_done(fi_txlink_t *l, const fi_log_t *old) {
    if (!l->lossy && old->serial >= l->first && fi_link_cursor(l, old) < old->w.pos) {
        return false;
    }
    for (uint64_t i = old->lent_head; i < old->lent_tail; i++) {
        const fi_lent_t *lent = &old->lent[i & (old->lent_cap - 1)];
        if (lent->block && fi_link_holds(l, old, lent->pos)) {
            return false;
        }
    }
    return true;
}

/* Every link; or, `strictly`, every one that is waited for. */
static bool is_done_with(const fi_outlet_t *o, const fi_log_t *old, bool strictly) {
    for (uint32_t k = 0; k < o->link_count; k++) {
        if (!(strictly && o->links[k]->lossy) && !is_done(o->links[k], old)) {
            return false;
        }
    }
    return true;
}

/* Where there would be no place for one more ring, what is only retained gives way, as ever. */
static bool charge(fi_outlet_t *o, uint64_t bytes) {
    fi_pool_t *pool = &o->tx->pool;
    bool helps = bytes <= pool->quota && fi_outlet_is_full(o);
    bool charged = fi_pool_charge(pool, bytes);

    while (!charged && helps && fi_sender_retain_less(o->tx)) {
        charged = fi_pool_charge(pool, bytes);
    }
    return charged;
}

bool fi_ghosts_keep(fi_outlet_t *o, fi_log_t *old) {
    if (!o->ghosts || !is_done_with(o, old, true) || !(fi_outlet_is_full(o) || is_done_with(o, old, false)) ||
        !charge(o, old->memory->bytes)) {
        return false;
    }
    if (old->lent_head < old->lent_tail) {
        fi_log_lose_all(o, old);
    }
    if (!is_done_with(o, old, false)) { /* it holds something: only its place in the ring's row tells of that */
        fi_pool_discharge(&o->tx->pool, old->memory->bytes);
        return false;
    }
    o->logs[old->serial % FI_LOGS] = NULL;
    old->next_kept = o->kept;
    o->kept = old;
    return true;
}

/* Who may be overtaken needs its blocks only: its own mapping of the ring does not change any more. */
static bool is_read(const fi_outlet_t *o, const fi_log_t *log) {
    for (const fi_txlink_t *g = o->ghosts; g; g = g->next_ghost) {
        if (needs(g, log) && (!g->lossy || log->lent_head < log->lent_tail)) {
            return true;
        }
    }
    return false;
}

static void free_kept(fi_outlet_t *o) {
    for (fi_log_t **at = &o->kept; *at;) {
        fi_log_t *log = *at;
        fi_log_reclaim(o, log, true);
        if (is_read(o, log)) {
            at = &log->next_kept;
        } else {
            *at = log->next_kept;
            fi_pool_discharge(&o->tx->pool, log->memory->bytes);
            fi_log_free(o, log);
        }
    }
}

/* --- how they go -------------------------------------------------------------------------------------------------- */

static void lay(fi_outlet_t *o, fi_txlink_t **at) {
    fi_txlink_t *g = *at;

    *at = g->next_ghost;
    o->lossy_count -= g->lossy;
    o->strict_count -= !g->lossy && g->last >= o->current;
    fi_txlink_free(g);
}

bool fi_remote_is_of(const fi_remote_t *r, const fi_peer_t *p) {
    const fi_peer_t *its = r->peer;

    return its == p || (its->id == p->id && its->pid == p->pid && its->uid == p->uid);
}

static void lay_some(fi_outlet_t *o, const fi_peer_t *dead) {
    for (fi_txlink_t **at = &o->ghosts; *at;) {
        if ((dead && fi_remote_is_of((*at)->remote, dead)) || !is_needed(o, *at)) {
            lay(o, at);
        } else {
            at = &(*at)->next_ghost;
        }
    }
    free_kept(o);
}

void fi_ghosts_settle(fi_outlet_t *o) {
    lay_some(o, NULL);
}

void fi_ghosts_free(fi_outlet_t *o) {
    while (o->ghosts) {
        lay(o, &o->ghosts);
    }
    free_kept(o);
}

/* --- a queue's ---------------------------------------------------------------------------------------------------- */

static void settle(fi_sender_t *tx, const fi_peer_t *dead) {
    for (fi_outlet_t **at = &tx->haunted; *at;) {
        fi_outlet_t *o = *at;
        fi_outlet_refresh(o);
        fi_outlet_reclaim(o, true);
        lay_some(o, dead);
        if (o->ghosts) {
            at = &o->next;
        } else {
            *at = o->next;
            fi_outlet_free(o);
        }
    }
}

void fi_haunted_add(fi_sender_t *tx, fi_outlet_t *o) {
    o->next = tx->haunted;
    tx->haunted = o;
}

void fi_haunted_settle(fi_sender_t *tx) {
    settle(tx, NULL);
}

void fi_ghosts_peer_dead(fi_sender_t *tx, const fi_peer_t *p) {
    for (uint32_t i = 0; i < tx->outlet_count; i++) {
        lay_some(tx->outlets[i], p);
        fi_parted_peer_dead(tx->outlets[i], p);
    }
    settle(tx, p);
}

void fi_haunted_free(fi_sender_t *tx) {
    while (tx->haunted) {
        fi_outlet_t *o = tx->haunted;
        tx->haunted = o->next;
        fi_outlet_free(o);
    }
}
