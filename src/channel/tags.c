/* SPDX-License-Identifier: MIT
 *
 * A receiver that wants the newest message with each tag.
 *
 * The link's scout goes on to the end of what is there and notes, for each tag, its newest message: where it stands,
 * not its bytes.  A tag has its turn when its first message came that was not taken; newer ones take that message's
 * place, so that every tag comes up, and comes up with the newest.  What the ring has pushed out meanwhile the sender
 * has kept (channel/latest.c), one message for each tag: the scout reads that when it was overtaken, and so does
 * taking.
 *
 *   base             the link's reader: nothing that is noted was first seen before it.  The sender knows it (`taken`, cursor)
 *   turns            tags in the order of their first messages that were not taken
 *   scout            ahead of all that is noted, perhaps in a later ring
 *
 * What is lost follows from counting: all numbers that the scout has seen, less those taken and those noted.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "channel/messages.h"
#include "channel/pick.h"
#include "ring/latest_layout.h"
#include "ring/ring_copy.h"

#define MOST_NOTED (FI_LATEST_MAX_SLOTS / 2)
#define FIRST_BUCKETS 64u
#define TRIES 16 /* a writer that is this often quicker in a row is served again in the next turn */

enum {
    GONE = 2, /* what was noted is not there any more */
    AGAIN = 3 /* the table was made anew meanwhile: look again */
};

typedef struct fi_noted {
    struct fi_list turn;
    struct fi_noted *next; /* in its bucket, or free */
    uint64_t tag;
    uint64_t seq;
    uint64_t pos;    /* in the ring; 0: it was kept by the sender when it was noted */
    uint64_t since;  /* position at which the tag's turn came */
    uint32_t serial; /* of the ring of `pos` */
    uint32_t since_serial;
} fi_noted_t;

struct fi_tags {
    struct fi_list turns;
    fi_noted_t **buckets;
    uint32_t bucket_count; /* a power of two */
    uint32_t count;
    fi_noted_t *free;
    uint64_t before; /* number of the last message before the link's first one */
    uint64_t taken;  /* messages */
    uint64_t lost;   /* of these, that were told */
};

int fi_tags_new(fi_rxlink_t *l) {
    fi_tags_t *t = calloc(1, sizeof *t);

    if (t) {
        t->buckets = calloc(FIRST_BUCKETS, sizeof(fi_noted_t *));
    }
    if (!t || !t->buckets) {
        free(t);
        return -ENOMEM;
    }
    t->bucket_count = FIRST_BUCKETS;
    fi_list_init(&t->turns);
    t->before = l->next_seq - 1;
    l->pick->newest = t->before;
    l->pick->tags = t;
    return 0;
}

void fi_tags_free(fi_tags_t *t) {
    while (!fi_list_empty(&t->turns)) {
        free(fi_container(fi_list_pop(&t->turns), fi_noted_t, turn));
    }
    while (t->free) {
        fi_noted_t *n = t->free;
        t->free = n->next;
        free(n);
    }
    free(t->buckets);
    free(t);
}

/* --- notes ------------------------------------------------------------------------------------------------------- */

static fi_noted_t **place_of(const fi_tags_t *t, uint64_t tag) {
    fi_noted_t **at = &t->buckets[fi_latest_hash(tag, t->bucket_count)];

    while (*at && (*at)->tag != tag) {
        at = &(*at)->next;
    }
    return at;
}

static void forget(fi_tags_t *t, fi_noted_t *n) {
    *place_of(t, n->tag) = n->next;
    fi_list_remove(&n->turn);
    n->next = t->free;
    t->free = n;
    t->count--;
}

/* Without memory for it, buckets stay long. */
static void rehash(fi_tags_t *t) {
    uint32_t count = 4 * t->bucket_count;
    fi_noted_t **more = calloc(count, sizeof(fi_noted_t *));
    struct fi_list *at;
    struct fi_list *after;

    if (!more) {
        return;
    }
    free(t->buckets);
    t->buckets = more;
    t->bucket_count = count;
    fi_list_each(at, after, &t->turns) {
        fi_noted_t *n = fi_container(at, fi_noted_t, turn);
        fi_noted_t **bucket = &more[fi_latest_hash(n->tag, count)];
        n->next = *bucket;
        *bucket = n;
    }
}

static fi_noted_t *noted_new(fi_tags_t *t) {
    fi_noted_t *n = t->free;

    if (n) {
        t->free = n->next;
        return n;
    }
    return malloc(sizeof *n);
}

/* The newest message with this tag, as far as is known. One for which there is no memory is lost. */
static void note(const fi_pick_t *p, uint64_t tag, uint64_t seq, uint64_t pos) {
    fi_tags_t *t = p->tags;
    fi_noted_t *n = *place_of(t, tag);

    if (!n) {
        if (t->count >= MOST_NOTED) {
            forget(t, fi_container(t->turns.next, fi_noted_t, turn));
        }
        if (t->count >= t->bucket_count) {
            rehash(t);
        }
        n = noted_new(t);
        if (!n) {
            return;
        }
        n->tag = tag;
        n->since = pos ? pos : p->scout.pos;
        n->since_serial = p->serial;
        n->next = NULL;
        *place_of(t, tag) = n;
        fi_list_add_tail(&t->turns, &n->turn);
        t->count++;
    }
    n->seq = seq;
    n->pos = pos;
    n->serial = p->serial;
}

/* --- what the sender has kept ------------------------------------------------------------------------------------ */

typedef struct fi_kept_table {
    const struct fi_latest *slots;
    uint32_t count;       /* 0: nothing was kept */
    const uint64_t *word; /* says which it is */
    uint64_t id;
} fi_kept_table_t;

/* 1: it is here; 0: it is on its way; -EPROTO. */
static int find_table(const fi_rxlink_t *l, fi_kept_table_t *t) {
    *t = (fi_kept_table_t){NULL, 0, NULL, 0};
    for (uint32_t i = FI_RX_LOGS; i-- > 0 && t->id == 0;) {
        const fi_rxlog_t *log = l->logs[(l->serial + i) % FI_RX_LOGS]; /* the newest ring that says something */
        if (log && !log->done) {
            t->word = &log->r.head->shared.latest;
            t->id = fi_load_acquire64(t->word);
        }
    }
    if (t->id == 0) {
        return 1;
    }
    const fi_rxsegment_t *s = fi_rxlink_segment(l, (uint32_t)(t->id - 1));
    if (!s) {
        return l->ended; /* what was on its way then will not come */
    }
    const struct fi_latest_head *head = s->memory->map;
    if (s->memory->bytes < sizeof *head || fi_load_acquire64(&head->magic) != FI_LATEST_MAGIC) {
        return -EPROTO;
    }
    uint32_t slots = fi_load_relaxed32(&head->slots); /* read once */
    if (slots == 0 || (slots & (slots - 1)) != 0 || slots > FI_LATEST_MAX_SLOTS ||
        fi_latest_bytes(slots) > s->memory->bytes) {
        return -EPROTO;
    }
    t->slots = (const struct fi_latest *)(const void *)(head + 1);
    t->count = slots;
    return 1;
}

/* Is what was read there, and the bytes that were copied since, what the sender had written? */
static bool is_still(const fi_kept_table_t *t, const struct fi_latest *slot, uint64_t seq) {
    fi_fence_acquire();
    return fi_load_relaxed64(&slot->seq) == seq && fi_load_relaxed64(t->word) == t->id;
}

/* One slot, read as a whole. False: there is no message in it, or it was being changed. */
static bool read_slot(const fi_kept_table_t *t, uint32_t i, struct fi_latest *out) {
    const struct fi_latest *slot = &t->slots[i];

    out->seq = fi_load_acquire64(&slot->seq); /* A8 */
    out->tag = fi_load_relaxed64(&slot->tag);
    out->time_ns = fi_load_relaxed64(&slot->time_ns);
    out->offset = fi_load_relaxed64(&slot->offset);
    out->size = fi_load_relaxed64(&slot->size);
    out->segment = fi_load_relaxed32(&slot->segment);
    out->serial = fi_load_relaxed32(&slot->serial);
    return out->seq != 0 && is_still(t, slot, out->seq);
}

/* Is this still where the sender keeps them? */
static bool is_the_table(const fi_kept_table_t *t) {
    fi_fence_acquire();
    return t->id == 0 || fi_load_relaxed64(t->word) == t->id;
}

/* Notes what was kept of messages that the scout has not seen, up to number `limit`. False: the table was made anew
 * meanwhile, so that not all was found. It is to be done again then, and nothing counts as seen yet. */
static bool note_kept(fi_rxlink_t *l, const fi_kept_table_t *t, uint64_t limit) {
    fi_pick_t *p = l->pick;
    uint32_t theirs = l->logs[p->serial % FI_RX_LOGS]->theirs;
    uint64_t newest = p->newest;
    struct fi_latest s;

    for (uint32_t i = 0; i < t->count; i++) {
        /* Of a later ring, it will be met there. Of an older one, it was not told of that. */
        if (read_slot(t, i, &s) && s.serial <= theirs && s.seq > p->newest && s.seq < limit) {
            note(p, s.tag, s.seq, 0);
            newest = s.seq > newest ? s.seq : newest;
        }
    }
    if (!is_the_table(t)) {
        return false;
    }
    p->newest = limit != UINT64_MAX ? limit - 1 : newest;
    return true;
}

/* --- the scout --------------------------------------------------------------------------------------------------- */

/* It was overtaken, or skipped a ring. 0: it is at a whole record again; 1: what it needs for that is on its way; 2: and again, look once
 * more later; -EPROTO. */
static int catch_up(fi_rxlink_t *l) {
    fi_pick_t *p = l->pick;
    fi_kept_table_t table;
    fi_seen_t s = {0};

    for (int i = 0; i < TRIES; i++) {
        fi_ringr_t to = p->scout;
        if (fi_ringr_overtaken(&to, to.pos) && fi_ringr_catch_up(&to) < 0) {
            return -EPROTO;
        }
        fi_ringr_t at = to;
        int there = fi_ringr_peek(&at, &s);
        uint64_t limit = there == 1 && s.kind != FI_REC_SWITCH ? s.seq : UINT64_MAX;
        if (fi_ringr_overtaken(&to, to.pos)) {
            continue;
        }
        int r = there < 0 ? there : find_table(l, &table);
        if (r < 1) {
            return r < 0 ? r : 1;
        }
        if (note_kept(l, &table, limit)) { /* after `oldest` was read: what was lost before that is kept already */
            p->scout = to;
            p->skipped = false;
            return 0;
        }
    }
    return 2;
}

/* Notes one record. False: it was overwritten meanwhile. */
static bool note_record(fi_pick_t *p, const fi_seen_t *s) {
    uint64_t tag = s->flags & FI_REC_EXT ? fi_seen_ext(&p->scout, s->idx).tag : 0;

    if (fi_ringr_overtaken(&p->scout, s->pos)) {
        return false;
    }
    if (s->seq > p->newest) {
        note(p, tag, s->seq, s->pos);
        p->newest = s->seq;
    }
    fi_ringr_advance(&p->scout, s->lines);
    return true;
}

static void go_to(fi_ringr_t *r, uint64_t pos) {
    r->pos = pos;
    r->idx = (uint32_t)(pos % r->lines);
    r->lap = (uint32_t)(pos / r->lines);
}

/* Goes along with the first of what is noted; where nothing is, with the scout. */
static void move_base(fi_rxlink_t *l) {
    const fi_pick_t *p = l->pick;
    const fi_seen_t change = {.lines = 1};
    const fi_noted_t *first =
        fi_list_empty(&p->tags->turns) ? NULL : fi_container(p->tags->turns.next, fi_noted_t, turn);
    uint32_t serial = first ? first->since_serial : p->serial;

    while (l->serial != serial) {
        l->log->r = p->left[l->serial % FI_RX_LOGS];
        if (!fi_link_next_log(l, &change)) {
            return;
        }
    }
    if (first) {
        go_to(&l->log->r, first->since);
    } else {
        l->log->r = p->scout;
    }
    fi_store_relaxed64(&l->log->ctl.head->taken, l->log->r.pos);
}

/* To the end of what is there, one lap at most. 0; 1, 2: as catch_up; 3: the ring in which it goes on is on its way;
 * -EPROTO. */
static int look_ahead(fi_rxlink_t *l) {
    fi_pick_t *p = l->pick;
    fi_seen_t s = {0};

    for (uint32_t steps = p->scout.lines; steps > 0; steps--) {
        int caught = p->skipped ? catch_up(l) : 0;
        if (caught != 0) {
            return caught;
        }
        fi_ringr_t before = p->scout;
        int r = fi_ringr_peek(&p->scout, &s);
        if (fi_ringr_overtaken(&p->scout, before.pos)) {
            p->scout = before;
            r = catch_up(l);
            if (r != 0) {
                return r;
            }
            continue;
        }
        if (r <= 0) {
            return r;
        }
        if (s.kind == FI_REC_SWITCH) {
            if (!fi_pick_go_on(l)) {
                return l->ended || l->later ? 0 : 3;
            }
            steps = p->scout.lines;
            continue;
        }
        (void)note_record(p, &s);
    }
    return 0;
}

/* --- taking ------------------------------------------------------------------------------------------------------ */

/* 1: taken into m; 0: its memory is on its way; GONE; negative: error. */
static int take_from_ring(fi_rxlink_t *l, const fi_noted_t *n, ferry_msg_t *m) {
    fi_rxlog_t *log = l->logs[n->serial % FI_RX_LOGS];
    fi_ringr_t r = log->r;
    fi_seen_t s = {0};

    go_to(&r, n->pos);
    int there = fi_ringr_peek(&r, &s);
    if (fi_ringr_overtaken(&r, n->pos)) {
        return GONE;
    }
    if (there != 1 || s.pos != n->pos || s.seq != n->seq) {
        return -EPROTO;
    }
    m->pos = s.pos;
    m->idx = s.idx;
    m->lap = s.lap;
    m->log = log;
    int got = fi_link_take_whole(l, log, &s, m);
    return got == FI_OVERTAKEN ? GONE : got;
}

/* What was read says so, if the table is still the one. */
static int gone(const fi_kept_table_t *t) {
    fi_fence_acquire();
    return fi_load_relaxed64(t->word) == t->id ? GONE : AGAIN;
}

static int copy_kept(fi_rxlink_t *l, const fi_kept_table_t *t, const struct fi_latest *slot, const struct fi_latest *s,
                     ferry_msg_t *m) {
    const fi_rxsegment_t *seg = fi_rxlink_segment(l, s->segment);

    if (!seg) {
        return 0;
    }
    if (s->offset > seg->memory->bytes || s->size > seg->memory->bytes - s->offset) {
        return -EPROTO;
    }
    int r = fi_taken_reserve_copy(m, s->size);
    if (r < 0) {
        return r;
    }
    fi_copy_racing(m->copy, (const unsigned char *)seg->memory->map + s->offset, s->size);
    if (!is_still(t, slot, s->seq)) {
        return gone(t);
    }
    m->data = m->copy;
    m->size = s->size;
    m->record = NULL;
    m->seq = s->seq;
    m->attempt = 1;
    m->tag = s->tag;
    m->time_ns = s->time_ns;
    m->log = l->log;
    m->idx = m->lap = 0; /* of no record: its release says nothing */
    return 1;
}

/* The same, or AGAIN. What is newer there will be noted. */
static int take_kept(fi_rxlink_t *l, fi_noted_t *n, ferry_msg_t *m) {
    fi_kept_table_t t;
    struct fi_latest s;
    int r = find_table(l, &t);

    if (r < 1) {
        return r;
    }
    uint32_t i = t.count > 0 ? fi_latest_hash(n->tag, t.count) : 0;
    for (uint32_t looked = 0; looked < t.count; looked++, i = (i + 1) & (t.count - 1)) {
        if (fi_load_relaxed32(&t.slots[i].serial) == 0) {
            break;
        }
        if (fi_load_relaxed64(&t.slots[i].tag) != n->tag) {
            continue;
        }
        bool whole = read_slot(&t, i, &s);
        if (whole && s.seq == n->seq) {
            return copy_kept(l, &t, &t.slots[i], &s, m);
        }
        break;
    }
    return gone(&t);
}

/* In the order of their places in the ring; a copy has none. */
static void add_to_held(fi_rxlog_t *log, ferry_msg_t *m) {
    struct fi_list *before = log->held.prev;

    if (m->slot < 0) {
        m->pos = UINT64_MAX;
    }
    while (before != &log->held && fi_container(before, ferry_msg_t, held)->pos > m->pos) {
        before = before->prev;
    }
    fi_list_add_between(before, &m->held, before->next);
}

static uint64_t lost_of(const fi_rxlink_t *l) {
    const fi_tags_t *t = l->pick->tags;

    return l->pick->newest - t->before - t->taken - t->count;
}

static void hand_over(fi_rxlink_t *l, fi_noted_t *n, ferry_msg_t *m) {
    fi_receiver_t *rx = l->rx;
    fi_tags_t *t = l->pick->tags;

    forget(t, n);
    t->taken++;
    uint64_t lost = lost_of(l);
    m->lost = lost - t->lost;
    t->lost = lost;
    m->link = l;
    add_to_held(m->log, m);
    fi_link_account(l, m);
    rx->quantum_left -= (int64_t)m->size + FI_MESSAGE_OVERHEAD;
    fi_store_relaxed64(&rx->stats.lost, rx->stats.lost + m->lost);
    fi_store_relaxed64(&rx->stats.messages, rx->stats.messages + 1);
    fi_store_relaxed64(&rx->stats.bytes, rx->stats.bytes + m->size);
    move_base(l);
}

/* The tag whose turn it is. 1: taken; 0: not now; GONE, AGAIN; negative: error. */
static int take_first(fi_rxlink_t *l, ferry_msg_t **out) {
    fi_tags_t *t = l->pick->tags;
    fi_noted_t *n = fi_container(t->turns.next, fi_noted_t, turn);
    ferry_msg_t *m = fi_taken_new(l->rx);

    if (!m) {
        return fi_fail(-ENOMEM, "no memory for a message handle");
    }
    m->plain = false;
    int r = n->pos > 0 ? take_from_ring(l, n, m) : GONE;
    if (r == GONE) {
        r = take_kept(l, n, m);
    }
    if (r == 1) {
        hand_over(l, n, m);
        *out = m;
        return 1;
    }
    fi_taken_recycle(l->rx, m);
    l->pick->awaits = r == 0;
    return r;
}

int fi_tags_take(fi_rxlink_t *l, ferry_msg_t **out) {
    fi_pick_t *p = l->pick;
    uint64_t missing = 0; /* number of the message that was not there */
    uint32_t tries = TRIES;

    for (uint32_t i = 0; i < tries; i++) {
        int r = look_ahead(l);
        if (r < 0 || r == 2) {
            return r < 0 ? r : 0; /* 2: what is noted is not all that it counts */
        }
        if (r == 3) {
            p->awaits = true; /* what is noted is perhaps not the newest */
            return 0;
        }
        if (fi_list_empty(&p->tags->turns)) {
            move_base(l);
            p->awaits = r == 1;
            return 0;
        }
        tries += i == 0 ? 2 * p->tags->count : 0; /* all that is noted may be gone: what is not must be found */
        fi_noted_t *n = fi_container(p->tags->turns.next, fi_noted_t, turn);
        if (n->seq == missing) { /* the sender has not kept it, and knows none that is newer */
            forget(p->tags, n);
            move_base(l);
            continue;
        }
        uint64_t seq = n->seq;
        r = take_first(l, out);
        if (r == 0 && l->ended) { /* its sender has gone before it could say where its memory is */
            r = GONE;
        }
        if (r != GONE && r != AGAIN) {
            return r;
        }
        missing = r == GONE ? seq : 0;
    }
    return 0;
}

uint64_t fi_tags_lost_at_end(const fi_rxlink_t *l) {
    const fi_pick_t *p = l->pick;
    uint64_t unseen = l->last_seq > p->newest ? l->last_seq - p->newest : 0;

    return unseen + lost_of(l) - p->tags->lost;
}

bool fi_tags_ready(const fi_rxlink_t *l) {
    const fi_pick_t *p = l->pick;
    fi_ringr_t r = p->scout;
    fi_seen_t s = {0};

    if (p->awaits && !l->ended) {
        return false; /* the mail that it waits for will wake its receiver */
    }
    if (!fi_list_empty(&p->tags->turns) || fi_ringr_overtaken(&r, r.pos)) {
        return true;
    }
    if (!fi_ringr_ready(&r)) {
        return false;
    }
    int found = fi_ringr_peek(&r, &s);
    if (found == 1 && s.kind == FI_REC_SWITCH) {
        const fi_rxlog_t *next = fi_pick_next_log(l);
        return next && fi_ringr_ready(&next->r);
    }
    return found != 0;
}
