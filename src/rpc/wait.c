/* SPDX-License-Identifier: MIT
 *
 * Waiting for answers.  Replies are taken in for all calls of the client, whichever is waited for.
 *
 * A thread that has waited for its grace time lists who could answer with its node, and looks whether these wait for it
 * (node/judge.c); so a circle of calls, or of calls and locks, is found like one of locks alone.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "ferry/look.h"
#include "platform/clock.h"
#include "rpc/client.h"
#include "rpc/take.h"

#define LOOK_AGAIN_NS 5000000
#define MOST_AT_ONCE 1000u /* replies taken in before the clock is looked at */

/* One wait. */
typedef struct waiting {
    ferry_client_t *k;
    ferry_call_t *c; /* NULL: for any */
    int64_t deadline;
    fi_pace_t pace;
} waiting_t;

/* ---- taking replies in ---- */

/* 0: something has happened; -EAGAIN: nothing there. */
static int take_one(ferry_client_t *k, int64_t timeout) {
    ferry_msg_t *m = NULL;
    int r = fi_take(k->rx, timeout, &m);

    if (fi_likely(r == 0)) {
        fi_client_take_reply(k, m);
    }
    return r;
}

/* ---- deadlines ---- */

/* Ends those whose time has passed; returns when the next one's will have. */
static int64_t expire_all(ferry_client_t *k, int64_t now) {
    int64_t next = FI_NEVER;

    if (now < k->next_deadline) {
        return k->next_deadline;
    }
    for (uint32_t i = 0; i < k->places; i++) {
        ferry_call_t *c = k->table[i];
        if (c->open && c->deadline <= now) {
            fi_call_tell_cancelled(c);
            fi_call_end(c, -ETIME);
        } else if (c->open && c->deadline < next) {
            next = c->deadline;
        }
    }
    k->next_deadline = next;
    return next;
}

/* ---- a server has gone ---- */

/* A server that answers without end must not keep us here; what it answers later is as good. */
#define MOST_REPLIES 65536u
#define MOST_DOUBTS 100u
#define DOUBT_NS 1000000000

static int take_all(ferry_client_t *k) {
    int r = 0;

    for (uint32_t i = 0; (r == 0 || r == -EALREADY || r == -EPROTO) && i < MOST_REPLIES; i++) {
        r = take_one(k, FERRY_NOW);
    }
    return r == -EAGAIN || r == -EALREADY || r == -EPROTO ? 0 : r;
}

struct outlook {
    ferry_client_t *k;
    bool good; /* servers are left, or may be */
};

/* Then a call that is here will be answered. Else, what was not begun is not sent to one that may come later: it ends
 * now. */
static bool look_at(const fi_unreleased_t *u, void *arg) {
    const struct outlook *o = arg;
    const fi_call_head_t *head = fi_unreleased_head(u);
    ferry_call_t *c = head ? fi_call_find(o->k, head->id) : NULL;

    if (c) {
        c->seen = o->good;
        c->begun = u->begun;
    }
    return false;
}

/* A call that has ended, and waits to be sent once more: it was answered, and not released. */
static bool is_stale(const fi_unreleased_t *u, void *arg) {
    const fi_call_head_t *head = fi_unreleased_head(u);

    return head && !(head->flags & FI_CALL_ONE_WAY) && !fi_call_find(arg, head->id);
}

static bool wants_an_answer(const fi_unreleased_t *u, void *arg) {
    const fi_call_head_t *head = fi_unreleased_head(u);

    (void)arg;
    return !head || !(head->flags & FI_CALL_ONE_WAY);
}

/* Which calls has nobody any more? What nobody waits for was accepted, and goes to the next server. */
static void look_for_calls(ferry_client_t *k, bool hopes) {
    fi_sender_t *tx = k->tx;

    for (uint32_t i = 0; i < k->places; i++) {
        k->table[i]->seen = false;
        k->table[i]->begun = true; /* until it is found untouched */
    }
    if (fi_end_enter(&tx->end, FI_END_SENDER) == 0) {
        fi_backlog_forget(tx, is_stale, k);
        struct outlook o = {k, tx->link_count > 0 || hopes};
        fi_backlog_each(tx, look_at, &o);
        if (!o.good) {
            fi_backlog_forget(tx, wants_an_answer, NULL);
        }
        fi_end_leave(&tx->end);
    }
}

/* Is there an answer that cannot be taken yet, since the memory where it stands is still on its way? */
static bool is_unread(ferry_client_t *k) {
    const fi_receiver_t *rx = k->rx;
    bool unread = false;

    if (fi_end_enter(&k->rx->end, FI_END_RECEIVER) == 0) {
        for (uint32_t i = 0; i < rx->link_count; i++) {
            unread |= fi_ringr_ready(&rx->links[i]->log->r);
        }
        fi_end_leave(&k->rx->end);
    }
    return unread;
}

/* Then nothing is said yet, nor while a server may come. One whose memory does not come at all must not keep the others
 * waiting for ever. */
static bool is_in_doubt(ferry_client_t *k, bool hopes) {
    int64_t now = fi_now_ns();

    if (k->doubts == 0) {
        k->doubt_since = now;
    }
    bool long_enough = k->doubts >= MOST_DOUBTS && now - k->doubt_since >= DOUBT_NS;
    k->doubts = hopes || (is_unread(k) && !long_enough) ? k->doubts + 1 : 0;
    if (k->doubts > 0 && k->rx->fd_mode) {
        fi_receiver_nudge(k->rx); /* the program shall ask again */
    }
    return k->doubts > 0;
}

/*
 * 0; -EAGAIN: it is to be looked again.
 *
 * Ends what will not be answered: calls that nobody has, and of which no answer is there.  First it is looked who has
 * them, then the answers are taken in: a server answers before it lets go of a call.
 */
static int after_loss(ferry_client_t *k) {
    k->losses_seen = fi_load_acquire32(&k->losses);
    bool hopes = k->under_way > 0 && fi_client_hopes(k);
    look_for_calls(k, hopes);
    int r = take_all(k);

    if (r == 0 && is_in_doubt(k, hopes)) {
        return -EAGAIN;
    }
    (void)expire_all(k, fi_now_ns()); /* servers let go of what comes too late without an answer: that is no loss */
    for (uint32_t i = 0; r == 0 && i < k->places; i++) {
        ferry_call_t *c = k->table[i];
        if (c->open && c->magic == FI_CALL_MAGIC && !c->seen && !c->far) {
            fi_call_end(c, c->begun ? -ECONNRESET : -ENOENT);
        }
    }
    return r;
}

/* From this machine and from afar, of which a nudge tells, too. */
static int take_in_both(ferry_client_t *k, int64_t timeout) {
    if (fi_far_calls->take_in(k) || (timeout != FERRY_NOW && fi_far_calls->take_direct(k, timeout))) {
        return 0;
    }
    int r = take_one(k, timeout);
    if (r == -EALREADY && k->losses_seen == fi_load_acquire32(&k->losses)) {
        (void)fi_far_calls->take_in(k);
        return 0;
    }
    if (r == -EALREADY || r == -EPROTO) {
        return after_loss(k);
    }
    return r == -ETIMEDOUT ? -EAGAIN : r;
}

/* One server that broke the rules of the ring has lost its link for that; the others are still heard. */
static int take_in_here(ferry_client_t *k, int64_t timeout) {
    int r = take_one(k, timeout);

    if (fi_unlikely(r == -EALREADY || r == -EPROTO)) {
        return after_loss(k);
    }
    return r == -ETIMEDOUT ? -EAGAIN : r;
}

/* 0: something has happened; -EAGAIN: nothing is there. */
static int take_in(ferry_client_t *k, int64_t timeout) {
    int r = fi_unlikely(k->far != NULL) ? take_in_both(k, timeout) : take_in_here(k, timeout);

    return fi_unlikely(r == -EAGAIN) && k->doubts > 0 ? after_loss(k) : r;
}

/* A server that has gone keeps its memory here as long as answers stand in it that nobody waits for any more. Who
 * cannot call takes no other answers in, either, so these are then read for themselves. */
void fi_client_take_late(ferry_client_t *k) {
    for (unsigned i = 0; i < MOST_AT_ONCE && take_in(k, FERRY_NOW) == 0; i++) {
    }
}

/* ---- why it takes so long ---- */

#define MOST_FAR 64u /* servers elsewhere that are named */

/* What is waited for: something of the call, or, where that is NULL, of any. */
static bool is_there(const ferry_client_t *k, const ferry_call_t *c) {
    return c ? c->first || !c->open : !fi_list_empty(&k->ready);
}

struct finding {
    uint64_t id;
    fi_unreleased_t found;
};

static bool find(const fi_unreleased_t *u, void *arg) {
    struct finding *f = arg;
    const fi_call_head_t *head = fi_unreleased_head(u);

    if (!head || head->id != f->id) {
        return false;
    }
    f->found = *u;
    return true;
}

/* Of calls that go far whoever has them, as far as that is known. */
static void name_far(const waiting_t *w, fi_blocked_t *b, uint32_t most) {
    const ferry_client_t *k = w->k;

    for (uint32_t i = 0; i < k->places && most > 0; i++) {
        const ferry_call_t *c = k->table[i];
        uint64_t holder = c->open && c->far && (!w->c || c == w->c) ? fi_far_calls->holder(c) : 0;
        if (holder) {
            b->keys[b->key_count++] = holder;
            most--;
        }
    }
}

/* The thread that has the call; any thread of the service, while it is nobody's. */
static void name_near(const waiting_t *w, fi_blocked_t *b) {
    fi_sender_t *tx = w->k->tx;
    struct finding f = {.id = w->c ? w->c->id : UINT64_MAX};

    if (w->c) {
        fi_backlog_each(tx, find, &f);
    }
    if (f.found.link) {
        fi_blocked_by(b, f.found.link);
    }
    for (uint32_t i = 0; !f.found.link && i < tx->link_count; i++) {
        fi_blocked_by(b, tx->links[i]);
    }
}

static void name_servers(const waiting_t *w, fi_blocked_t *b) {
    uint32_t far = w->k->far ? MOST_FAR : 0;
    uint32_t most = w->k->tx->link_count + far;

    b->keys = most ? calloc(most, sizeof *b->keys) : NULL;
    if (b->keys && !(w->c && w->c->far)) {
        name_near(w, b);
    }
    if (b->keys && far) {
        name_far(w, b, far);
    }
}

static bool has_some(void *rx) {
    return fi_receiver_ready(rx);
}

/*
 * Lists the wait.  It is listed as the sender's, which does not wait for room meanwhile: the thread may be cancelled in
 * its sleep, and its stack is gone then.  Who ends the sender strikes it off.
 */
static int look_why(const waiting_t *w) {
    ferry_client_t *k = w->k;
    fi_blocked_t *b = &k->tx->stall.blocked;
    bool near = w->c && !w->c->far;

    if (fi_end_enter(&k->tx->end, FI_END_SENDER) < 0) {
        return 0;
    }
    if (b->number == 0) {
        snprintf(k->awaited, sizeof k->awaited, "%s.%s", k->service, w->c ? w->c->method : "*");
    }
    fi_blocked_t now = {
        .what = FERRY_FOR_REPLY, .detects = near, .name = k->awaited, .since = w->pace.since, .sleeper = &k->rx->end};
    name_servers(w, &now);
    fi_waits_go_on(k->tx->end.node, b, &now);
    fi_end_leave(&k->tx->end);
    if (!near || fi_end_enter(&k->rx->end, FI_END_RECEIVER) < 0) {
        return 0;
    }
    int r = fi_receiver_judge(k->rx, has_some, k->rx, b, w->deadline);
    fi_end_leave(&k->rx->end);
    return r;
}

/* ---- waiting ---- */

static int gave_up(const waiting_t *w, int64_t timeout) {
    if (timeout == FERRY_NOW) {
        return fi_fail_static(-EAGAIN, "no answer waits now");
    }
    return fi_fail(-ETIMEDOUT, "no answer of the service \"%s\" came before the timeout; the call goes on",
                   w->k->service);
}

/* Calls that wait for a server: another one may be the best by now. */
static bool try_backlog(ferry_client_t *k) {
    fi_sender_t *tx = k->tx;
    bool waits = false;

    if (fi_end_enter(&tx->end, FI_END_SENDER) == 0) {
        if (tx->backlog_count > 0 && tx->link_count > 0) {
            fi_backlog_watch(tx);
            waits = tx->backlog_count > 0;
        }
        fi_end_leave(&tx->end);
    }
    return waits;
}

/* Sleeps until something has happened, or it is time to look at something. */
static int wait_more(waiting_t *w, int64_t timeout) {
    int64_t now = fi_now_ns();
    int64_t next = expire_all(w->k, now);
    if (fi_unlikely(w->k->far != NULL)) {
        next = fi_earlier(next, fi_far_calls->tend(w->k, now));
    }

    if (is_there(w->k, w->c)) {
        return 0;
    }
    if (now >= w->deadline) {
        return gave_up(w, timeout);
    }
    if (fi_pace_is_due(&w->pace, now)) {
        int r = look_why(w);
        if (r < 0) {
            return r;
        }
        now = fi_now_ns();
    }
    int64_t until = fi_earlier(fi_earlier(w->deadline, next), w->pace.check);
    if (try_backlog(w->k) || w->k->doubts > 0) {
        until = fi_earlier(until, now + LOOK_AGAIN_NS);
    }
    int r = take_in(w->k, until > now ? until - now : 1);
    return r == -EAGAIN ? 0 : r;
}

/* Takes the usual reply in, if it is there or comes within a few hundred nanoseconds. */
static bool take_soon(ferry_client_t *k) {
    fi_receiver_t *rx = k->rx;
    ferry_msg_t *m = NULL;

    if (fi_end_enter(&rx->end, FI_END_RECEIVER) < 0) {
        return false;
    }
    bool came = fi_take_soon(rx, &m);
    fi_end_leave(&rx->end);
    if (came) {
        fi_client_take_reply(k, m);
    }
    return came;
}

/* Of what is not there yet. */
static int wait_long(ferry_client_t *k, ferry_call_t *c, int64_t timeout) {
    waiting_t w = {.k = k, .c = c};
    int r;

    w.deadline = timeout == FERRY_NOW ? INT64_MIN : fi_deadline(timeout);
    w.pace = fi_pace_begin(FI_GRACE_NS);
    do {
        r = wait_more(&w, timeout);
    } while (r == 0 && !is_there(k, c));
    fi_waits_strike(&k->tx->stall.blocked);
    return r;
}

/* 0, or why this wait ended. */
static int wait_until_there(ferry_client_t *k, ferry_call_t *c, int64_t timeout) {
    int r = 0;

    for (unsigned i = 0; i < MOST_AT_ONCE && timeout != FERRY_NOW && take_soon(k); i++) {
        if (fi_likely(is_there(k, c))) {
            return 0;
        }
    }
    for (unsigned i = 0; r == 0 && i < MOST_AT_ONCE && !is_there(k, c); i++) {
        r = take_in(k, FERRY_NOW);
    }
    if (is_there(k, c)) {
        return 0;
    }
    return r == 0 || r == -EAGAIN ? wait_long(k, c, timeout) : r;
}

/* The server learns of it in steps, and before the program waits for more. */
static void consumed(ferry_call_t *c, uint64_t size) {
    c->owed++;
    c->owed_bytes += size;
    if (c->owed >= FI_STREAM_TELL || c->owed_bytes >= FI_STREAM_TELL_BYTES || !c->first) {
        fi_call_tell_consumed(c);
    }
}

/* The call's next result, or its end. */
static int give(ferry_call_t *c, ferry_msg_t **reply) {
    ferry_msg_t *m = c->first;
    bool more = m && m->reply == FI_REPLY_MORE;
    uint64_t size = m ? m->size : 0;

    if (m) {
        c->first = m->next;
        if (reply) {
            *reply = m;
        } else {
            (void)fi_taken_release(m);
        }
    } else if (reply && c->result == 0) {
        *reply = NULL;
    }
    if (!c->first && (!more || c->open)) {
        fi_list_remove(&c->ready);
    }
    if (more && c->open) {
        consumed(c, size);
    }
    return more ? FERRY_CALL_MORE : fi_call_tell_result(c);
}

int fi_call_wait(ferry_call_t *c, int64_t timeout, ferry_msg_t **reply) {
    if (!c->first && c->open) {
        int r = wait_until_there(c->client, c, timeout);
        if (r == -EDEADLK) {
            fi_call_tell_cancelled(c);
            fi_call_end(c, r);
        }
        if (r < 0) {
            return r;
        }
    }
    return give(c, reply);
}

int fi_client_next(ferry_client_t *k, int64_t timeout, ferry_call_t **call) {
    int some = 0;

    for (unsigned i = 0; some == 0 && k->under_way > 0 && i < MOST_AT_ONCE; i++) {
        some = take_in(k, FERRY_NOW);
    }
    if (fi_list_empty(&k->ready)) {
        if (k->under_way == 0) {
            fi_client_take_late(k);
            return fi_fail(-ENOENT, "no call of this client of \"%s\" is under way: start one first", k->service);
        }
        int r = wait_until_there(k, NULL, timeout);
        if (r < 0) {
            return r;
        }
    }
    ferry_call_t *c = fi_container(k->ready.next, ferry_call_t, ready);
    fi_list_remove(&c->ready);
    fi_list_add_tail(&k->ready, &c->ready); /* the others have their turn first */
    *call = c;
    return 0;
}

/* The sentence stays: nothing is said in between. */
static int finish(ferry_call_t *c, int r) {
    if (c->open) {
        fi_call_tell_cancelled(c);
        fi_call_end(c, r);
    }
    fi_call_free(c);
    return r;
}

int fi_call_run(ferry_client_t *k, const fi_wish_t *wish, int64_t timeout, ferry_msg_t **reply) {
    ferry_call_t *c = NULL;
    fi_turn_t *turn = NULL;

    int r = fi_client_enter(k, &turn);
    if (fi_unlikely(r < 0)) {
        return r;
    }
    r = fi_call_start(k, wish, fi_unlikely(k->far != NULL) ? FI_CALL_AWAITED : 0, timeout, &c);
    if (fi_likely(r == 0)) {
        c->awaited = true;
        r = finish(c, fi_call_wait(c, FERRY_FOREVER, reply));
    }
    fi_turn_leave(turn);
    return fi_unlikely(r == -ETIME) ? -ETIMEDOUT : r;
}
