/* SPDX-License-Identifier: MIT
 *
 * What has become of messages elsewhere, where that is more than a number up to which all are released.
 *
 * A message that came from another machine is with its sender all the while, which hears up to which number all are
 * released, and counts one attempt for all that receivers there do: rejecting it, holding it for too long. Should that
 * machine not go on, nothing that was released shall come again, the next attempt must be counted right, and come when
 * it was wanted. So the receiving side tells more (FATE): when its last receiver closes, when messages have come back
 * there, and when one is held for long while others behind it are released. The sending side lets those go, and hands
 * the others back with their count.
 */
#include <stdlib.h>

#include "base/bits.h"
#include "channel/messages.h"
#include "net/out.h"
#include "platform/clock.h"

#define FEW 8192u          /* messages that are handed back one by one, at most */
#define TELL_NS 30000000ll /* between two times; and one that is held for so long is held for long */

/* ---- the receiving side ---- */

typedef struct numbered {
    uint64_t seq;
    uint64_t number;
    uint32_t next; /* attempt that would be the next; 0: released */
    uint64_t delay;
} numbered_t;

typedef struct telling {
    numbered_t *known; /* by seq */
    size_t count;
    bool over; /* nothing more is taken here */
    int64_t now;
} telling_t;

static int by_seq(const void *a, const void *b) {
    uint64_t left = ((const numbered_t *)a)->seq;
    uint64_t right = ((const numbered_t *)b)->seq;

    return left < right ? -1 : left > right;
}

static int by_number(const void *a, const void *b) {
    uint64_t left = ((const numbered_t *)a)->number;
    uint64_t right = ((const numbered_t *)b)->number;

    return left < right ? -1 : left > right;
}

/* While receivers go on here, what lies ready may be taken at any moment, and counts so. */
static bool note(const fi_unreleased_t *u, void *arg) {
    telling_t *t = arg;
    const numbered_t key = {.seq = u->seq};
    numbered_t *found = bsearch(&key, t->known, t->count, sizeof key, by_seq);

    if (found) {
        found->next = (uint32_t)u->attempt + (u->taken || !t->over);
        found->delay = u->due > t->now ? (uint64_t)(u->due - t->now) : 0;
    }
    return false;
}

/* Looks at all that is not released, or stands behind what is not. False: no memory. */
static bool look(const fi_inward_t *in, telling_t *t) {
    t->known = calloc(in->put - in->released, sizeof *t->known);
    for (uint64_t i = in->released + 1; t->known && i <= in->put; i++) {
        t->known[t->count++] = (numbered_t){.seq = in->seqs[i & (in->seqs_cap - 1)], .number = i};
    }
    if (t->known) {
        qsort(t->known, t->count, sizeof *t->known, by_seq);
        fi_backlog_each(in->sender, note, t);
        qsort(t->known, t->count, sizeof *t->known, by_number);
    }
    return t->known != NULL;
}

static void send_runs(fi_bridge_t *b, const fi_inward_t *in, fi_far_frame_t *f) {
    if (f->head.a > 0 || f->head.flags != 0) {
        fi_far_send(b, in->node->id, f);
    }
    *f = fi_far_frame(b, FI_FAR_FATE, in->kind, "");
    f->head.tx = in->tx;
    f->head.token = in->token;
    f->head.b = in->put;
}

/* Neighbours of which the same is to be told travel together. */
static void tell(fi_bridge_t *b, const fi_inward_t *in, const telling_t *t) {
    fi_far_frame_t f = {0};

    send_runs(b, in, &f);
    for (size_t i = 0; i < t->count; i++) {
        const numbered_t *k = &t->known[i];
        fi_far_fate_t *run = f.head.a > 0 ? &f.fates[f.head.a - 1] : NULL;
        if (!t->over && (k->next == 1 || k->next == 2)) {
            continue; /* so it counts without words */
        }
        if (run && run->first + run->count == k->number && run->next == k->next && run->delay == k->delay) {
            run->count++;
            continue;
        }
        if (f.head.a == FI_FAR_FATES) {
            send_runs(b, in, &f);
        }
        f.fates[f.head.a++] = (fi_far_fate_t){k->number, 1, k->next, k->delay};
    }
    f.head.flags = t->over ? FI_FAR_OVER : 0;
    send_runs(b, in, &f);
}

bool fi_in_has_fates(fi_inward_t *in, bool over) {
    fi_told_t *told = &in->told_fates;
    int64_t now = fi_now_ns();

    if (!in->node || in->kind != FERRY_QUEUE || over) {
        return in->node && in->kind == FERRY_QUEUE;
    }
    if (in->put == in->released || now - told->at < TELL_NS) {
        return false;
    }
    uint64_t returned = in->sender->stats.redelivered;
    uint64_t waiting = in->released == told->released ? fi_sender_unreleased(in->sender, true) : 0;
    bool news = told->again || returned != told->returned ||
                (in->released == told->released && waiting < in->put - in->released && waiting != told->waiting);
    *told = (fi_told_t){.at = now, .returned = returned, .released = in->released, .waiting = waiting};
    return news;
}

void fi_in_tell_fates(fi_bridge_t *b, fi_inward_t *in, bool over) {
    telling_t t = {.over = over, .now = fi_now_ns()};

    if (in->put == in->released || look(in, &t)) {
        tell(b, in, &t);
    }
    free(t.known);
}

/* ---- the sending side ---- */

static void note_fate(fi_flow_t *f, fi_kept_t *k, const fi_far_fate_t *run, int64_t now) {
    if (run->next == 0 && k->msg) {
        fi_flow_let_go(f, k);
    }
    k->attempts = run->next;
    k->due = run->delay > 0 ? now + (int64_t)fi_min(run->delay, (uint64_t)INT64_MAX / 2) : 0;
}

void fi_flow_fate(fi_flow_t *f, const fi_arm_t *arm, const fi_far_frame_t *frame) {
    uint64_t last = fi_min(arm->received, f->sent); /* nothing of what may have to be sent again is let go */
    int64_t now = fi_now_ns();

    for (uint64_t i = 0; i < frame->head.a && i < FI_FAR_FATES; i++) {
        const fi_far_fate_t *run = &frame->fates[i];
        for (uint64_t n = fi_max(run->first, f->held); n <= last && n - run->first < run->count; n++) {
            note_fate(f, fi_flow_at(f, n), run, now);
        }
    }
    for (uint64_t n = frame->head.b + 1; frame->head.flags & FI_FAR_OVER && n > f->held && n < f->next; n++) {
        fi_flow_at(f, n)->attempts = fi_flow_at(f, n)->attempt; /* it has not come so far */
    }
}

/* Tells the sender from which one on none was tried. */
static void tell_untried(const fi_flow_t *f, const ferry_msg_t *m) {
    fi_frame_t told = fi_frame(FI_UNTRIED, f->tx, f->outward->rx->end.id);

    told.a = m->pos;
    told.figures[0] = m->log->place;
    (void)fi_peer_send(m->link->peer, &told, NULL);
}

/* What is not told of here counts one attempt more than before, as the hidden receiver closes. */
void fi_flow_hand_back(fi_flow_t *f) {
    int64_t now = fi_now_ns();
    uint64_t untried = f->next;
    unsigned few = 0;

    while (untried > f->held) {
        const fi_kept_t *k = fi_flow_at(f, untried - 1);
        if (untried - 1 <= f->most && k->msg && k->attempts != k->attempt) {
            break;
        }
        untried--;
    }
    for (uint64_t i = f->held; i < untried && few < FEW; i++) {
        fi_kept_t *k = fi_flow_at(f, i);
        int64_t delay = k->due > now ? k->due - now : 0;
        if (k->msg && k->attempts >= k->attempt && (k->attempts != k->attempt + 1 || delay > 0) &&
            fi_taken_hand_back(k->msg, delay, k->attempts - k->attempt) == 0) {
            k->msg = NULL;
            few++;
        }
    }
    while (untried < f->next && !fi_flow_at(f, untried)->msg) {
        untried++;
    }
    if (untried < f->next) {
        tell_untried(f, fi_flow_at(f, untried)->msg);
    }
}
