/* SPDX-License-Identifier: MIT
 *
 * Sending calls, and talking to whoever has one in its head (rpc/wire.h).
 */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "platform/clock.h"
#include "rpc/client.h"
#include "rpc/put.h"

#define UNKNOWN_NS 1000   /* what a call takes on a server that has not served any yet */
#define AHEAD_NS 1000000  /* how long a server can go on with what it was sent, where there are several */
#define MOST_AHEAD 64     /* calls */
#define FADE_NS 100000000 /* what is known of an idle server counts half after so long */
#define LONGEST_NS (INT64_MAX / 4)
#define FAR_NS 1000000 /* less than this is not worth a look at other machines */

/* ---- which server ---- */

static bool serves(const fi_txlink_t *l) {
    return fi_load_relaxed32(&l->remote->page->leaves) == 0;
}

unsigned fi_client_leaving(const ferry_client_t *k) {
    unsigned count = 0;

    for (uint32_t i = 0; i < k->tx->link_count; i++) {
        count += !serves(k->tx->links[i]);
    }
    return count;
}

/* What its page says of its work. What it says is believed as far as it goes: a liar gets too many calls, or too
 * few. */
typedef struct work {
    int64_t usual; /* ns that a call takes; 0: it has not said */
    int64_t spent; /* on the one that it works on; negative: on none, for so long */
} work_t;

static work_t work_of(const fi_txlink_t *l, int64_t now) {
    const struct fi_receiver_page *page = l->remote->page;
    uint64_t usual = fi_load_relaxed64(&page->usual_ns);
    int64_t since = (int64_t)fi_load_relaxed64(&page->busy_since);
    work_t w = {.usual = usual > LONGEST_NS ? LONGEST_NS : (int64_t)usual};

    if (since > 0) {
        w.spent = now > since ? now - since : 0;
    } else {
        w.spent = since > INT64_MIN && now > -since ? -(now + since) : -1;
    }
    return w;
}

/* When it will probably be done with what it works on. One that has taken longer than usual will, for all that is
 * known, take as long again. */
static int64_t rest_of(const work_t *w, int64_t usual) {
    if (w->spent < 0) {
        return 0;
    }
    return w->spent < usual ? usual - w->spent : w->spent;
}

/* What a call will take. The longer ago it is that anything was known, the less it counts: a bad moment must not keep
 * calls away for ever. */
static int64_t expected_of(const work_t *w) {
    int64_t idle = w->spent < 0 ? -w->spent : 0;
    int64_t halvings = idle / FADE_NS;
    int64_t faded = halvings < 62 ? w->usual >> halvings : 0;

    return w->usual == 0 || faded < UNKNOWN_NS ? (w->usual && w->usual < UNKNOWN_NS ? w->usual : UNKNOWN_NS) : faded;
}

/* Calls sent to a server that has others before them cannot be sent elsewhere any more, should it be stuck; so it gets
 * ahead what keeps it busy for a moment, and the rest waits here. */
static uint64_t most_ahead(int64_t usual) {
    int64_t most = usual == 0 ? 1 : AHEAD_NS / usual;

    return most < 1 ? 1 : most > MOST_AHEAD ? MOST_AHEAD : (uint64_t)most;
}

/* A server, as far as it is known. */
typedef struct prospect {
    fi_txlink_t *link; /* NULL: none */
    double until_done; /* of a call sent now */
    double each;       /* of one more */
    bool is_full;
} prospect_t;

static prospect_t look_at(fi_txlink_t *l, int64_t now) {
    work_t w = work_of(l, now);
    int64_t expected = expected_of(&w);

    fi_outlet_refresh_exactly(l->outlet);
    uint64_t mine = fi_outlet_unreleased(l->outlet, true);
    return (prospect_t){.link = l,
                        .until_done = (double)rest_of(&w, expected) + ((double)mine + 1) * (double)expected,
                        .each = (double)expected,
                        .is_full = mine >= most_ahead(w.usual)};
}

static void keep_better(prospect_t *best, const prospect_t *p) {
    if (!best->link || p->until_done < best->until_done) {
        *best = *p;
    }
}

/* NULL: the best one has enough for now, and still is better than the others with all that waits: so it waits, too. */
fi_outlet_t *fi_client_choose(fi_sender_t *tx) {
    int64_t now = fi_now_about();
    prospect_t best = {0};
    prospect_t open = {0}; /* the best of those that have not enough yet */

    for (uint32_t i = 0; i < tx->link_count; i++) {
        fi_txlink_t *l = tx->links[(tx->turn + i) % tx->link_count];
        if (serves(l)) {
            const prospect_t p = look_at(l, now);
            keep_better(&best, &p);
            if (!p.is_full) {
                keep_better(&open, &p);
            }
        }
    }
    tx->turn = (tx->turn + 1) % tx->link_count;
    double with_others = best.until_done + (double)tx->backlog_count * best.each;
    return open.link && open.until_done <= with_others ? open.link->outlet : NULL;
}

int64_t fi_client_expected(const fi_sender_t *tx) {
    int64_t now = fi_now_about();
    prospect_t best = {0};

    for (uint32_t i = 0; i < tx->link_count; i++) {
        if (serves(tx->links[i])) {
            const prospect_t p = look_at(tx->links[i], now);
            keep_better(&best, &p);
        }
    }
    double all = best.until_done + (double)tx->backlog_count * best.each;
    return !best.link ? -1 : all < (double)LONGEST_NS ? (int64_t)all : LONGEST_NS;
}

/* ---- may it be sent ---- */

static int nobody(const ferry_client_t *k) {
    char words[FI_UNMET_WORDS];

    return fi_fail(-ENOENT,
                   "nobody serves \"%s\" in the space \"%s\": start a server, or wait for one with ferry_client_wait%s",
                   k->service, k->tx->end.node->space.name, fi_end_unmet_words(&k->tx->end, words));
}

static int too_many(const ferry_client_t *k, uint32_t count, uint32_t limit) {
    return fi_fail(-EBUSY,
                   "%u calls of this client of \"%s\" are under way, as many as %s allows: wait for some to end, or "
                   "raise `%s`",
                   count, k->service, limit < k->limit ? "the service" : "its option `calls`",
                   limit < k->limit ? "queue" : "calls");
}

/* Calls that nobody answers are under way until they are released. */
static uint32_t count_calls(const ferry_client_t *k, bool one_way, uint32_t limit) {
    if (!one_way) {
        return k->under_way;
    }
    uint64_t unreleased = fi_sender_unreleased(k->tx, false);
    unreleased = unreleased < limit ? unreleased : fi_sender_unreleased(k->tx, true);
    return unreleased < UINT32_MAX ? (uint32_t)unreleased : UINT32_MAX;
}

static int check_servers(const ferry_client_t *k, bool one_way) {
    const fi_sender_t *tx = k->tx;
    uint32_t i = 0;

    while (i < tx->link_count && !serves(tx->links[i])) {
        i++;
    }
    if (fi_unlikely(i == tx->link_count)) {
        return nobody(k);
    }
    uint32_t queue = fi_load_relaxed32(&tx->links[i]->remote->page->queue);
    uint32_t limit = queue != 0 && queue < k->limit ? queue : k->limit;
    uint32_t count = count_calls(k, one_way, limit);
    return fi_likely(count < limit) ? 0 : too_many(k, count, limit);
}

static int too_late(const ferry_client_t *k, const char *method) {
    return fi_fail(-ETIME, "the time for \"%s\" of the service \"%s\" has passed before it was sent", method,
                   k->service);
}

/* The call's own deadline, or that of the request which this thread serves. */
static int64_t deadline_of(int64_t timeout) {
    int64_t deadline = FI_NEVER;

    if (timeout >= 0 && __builtin_add_overflow(fi_now_about(), timeout, &deadline)) {
        deadline = FI_NEVER;
    }
    return deadline < fi_serving_until ? deadline : fi_serving_until;
}

/* ---- sending ---- */

#define FI_GO_FAR 1 /* nobody here serves it, or somebody elsewhere will be done sooner */

/* The head is written field by field where it will be read: put together before, it would have to be read at once. */
static inline int put_bytes(fi_sender_t *tx, const fi_wish_t *wish, fi_call_head_t head) {
    void *at;
    int r = fi_put_begin(tx, wish->data, wish->size, head.deadline, &at);

    if (fi_unlikely(r < 0)) {
        return r;
    }
    head.flags |= fi_head_pad(wish->size);
    *(fi_call_head_t *)at = head;
    return fi_put_end(tx);
}

__attribute__((noinline)) static int put_message(fi_sender_t *tx, const fi_wish_t *wish, fi_call_head_t head) {
    return fi_put_message(tx, wish->m, &head, head.deadline);
}

static inline int put(ferry_client_t *k, const fi_wish_t *wish, fi_call_head_t head) {
    int r = fi_likely(!wish->m) ? put_bytes(k->tx, wish, head) : put_message(k->tx, wish, head);

    if (fi_likely(r == 0)) {
        k->calls++;
        return 0;
    }
    if (r == -ECANCELED) { /* the last server has gone while it waited for room */
        return k->far ? FI_GO_FAR : nobody(k);
    }
    return r == -ETIMEDOUT ? too_late(k, wish->method) : r;
}

/* What the client remembers of a call. */
static void describe(ferry_call_t *c, const fi_wish_t *wish, const fi_call_head_t *head) {
    ferry_client_t *k = c->client;

    c->method = wish->method;
    c->number = head->method;
    c->deadline = head->deadline;
    c->streams = (head->flags & FI_CALL_STREAMS) != 0;
    if (c->deadline < k->next_deadline) {
        k->next_deadline = c->deadline;
    }
}

static bool is_sooner_far(const ferry_client_t *k) {
    int64_t here = fi_client_expected(k->tx);

    if (here < FAR_NS) {
        return false;
    }
    int64_t there = fi_far_calls->expected((ferry_client_t *)(uintptr_t)k);
    return there >= 0 && there + there / 4 < here;
}

__attribute__((noinline)) static int start_far(ferry_client_t *k, const fi_wish_t *wish, fi_call_head_t head,
                                               int64_t timeout, ferry_call_t **out) {
    ferry_call_t *c = NULL;

    if (fi_unlikely(timeout == FERRY_NOW || fi_patience(head.deadline) == 0)) {
        return too_late(k, wish->method);
    }
    if (k->under_way >= k->limit) {
        return too_many(k, k->under_way, k->limit);
    }
    if (!out) {
        int r = fi_far_calls->start(k, NULL, wish, &head);
        k->calls += r == 0;
        return r;
    }
    c = fi_call_new(k);
    if (fi_unlikely(!c)) {
        return fi_fail(-ENOMEM, "no memory for a call of the service \"%s\"", k->service);
    }
    describe(c, wish, &head);
    int r = fi_far_calls->start(k, c, wish, &head);
    if (fi_unlikely(r < 0)) {
        fi_call_end(c, r);
        fi_call_free(c);
        return r == -ETIMEDOUT ? too_late(k, wish->method) : r;
    }
    k->calls++;
    *out = c;
    return 0;
}

static inline int start(ferry_client_t *k, const fi_wish_t *wish, fi_call_head_t head, int64_t timeout,
                        ferry_call_t **out) {
    ferry_call_t *c = NULL;

    int r = fi_node_is_shut(k->tx->end.node) ? 0 : check_servers(k, !out); /* shut: sending tells */
    if (fi_unlikely(k->far != NULL) && (r == -ENOENT || (r == 0 && is_sooner_far(k)))) {
        return FI_GO_FAR;
    }
    if (fi_unlikely(r < 0)) {
        return r;
    }
    if (fi_unlikely(timeout == FERRY_NOW || (head.deadline == fi_serving_until && fi_patience(head.deadline) == 0))) {
        return too_late(k, wish->method);
    }
    if (!out) {
        return put(k, wish, head);
    }
    c = fi_call_new(k);
    if (fi_unlikely(!c)) {
        return fi_fail(-ENOMEM, "no memory for a call of the service \"%s\"", k->service);
    }
    describe(c, wish, &head);
    head.id = c->id;
    r = put(k, wish, head);
    if (fi_unlikely(r != 0)) {
        fi_call_end(c, r);
        fi_call_free(c);
        return r;
    }
    *out = c;
    return 0;
}

static inline int start_here(ferry_client_t *k, const fi_wish_t *wish, fi_call_head_t head, int64_t timeout,
                             ferry_call_t **out) {
    int r = fi_end_enter(&k->tx->end, FI_END_SENDER);

    if (fi_unlikely(r < 0)) {
        return r;
    }
    r = start(k, wish, head, timeout, out);
    fi_end_leave(&k->tx->end);
    return r;
}

/* Nobody serves, as far as is known: 0 once somebody does. */
__attribute__((noinline)) static int await_hope(ferry_client_t *k, const fi_wish_t *wish, int64_t deadline) {
    fi_client_take_late(k);
    int r = fi_client_await_hope(k, deadline);
    return r == -ENOENT ? nobody(k) : r == -ETIMEDOUT ? too_late(k, wish->method) : r;
}

/* A call that waited for room here, and then goes far, has no more time for that. */
int fi_call_start(ferry_client_t *k, const fi_wish_t *wish, uint32_t flags, int64_t timeout, ferry_call_t **out) {
    const fi_call_head_t head = {
        .deadline = deadline_of(timeout), .method = fi_method_hash(wish->method, wish->length), .flags = flags};
    int r;

    do {
        r = start_here(k, wish, head, timeout, out);
    } while (fi_unlikely(r == -ENOENT) && timeout != FERRY_NOW && (r = await_hope(k, wish, head.deadline)) == 0);
    return fi_unlikely(r == FI_GO_FAR) ? start_far(k, wish, head, timeout, out) : r;
}

/* With no server here, nothing that fills the quota goes away by itself. */
static int no_room(const ferry_client_t *k) {
    return fi_fail(-EDQUOT,
                   "the quota of this client of \"%s\" is used up by messages that it holds, and no server on this "
                   "machine has any of them: release some, or raise `quota`",
                   k->service);
}

int fi_client_new_msg(ferry_client_t *k, size_t size, int64_t timeout, void **data, ferry_msg_t **m) {
    int r = fi_end_enter(&k->tx->end, FI_END_SENDER);
    if (r < 0) {
        return r;
    }
    r = fi_sent_new(k->tx, size, timeout, data, m);
    fi_end_leave(&k->tx->end);
    if (r == -ECANCELED) {
        return k->far ? no_room(k) : nobody(k);
    }
    return r;
}

/* ---- talking to whoever has it ---- */

/* Whoever has it may sleep for this. */
static void wake(const fi_unreleased_t *u) {
    if (u->link) {
        fi_barrier_light(); /* before its sleep is looked at */
        fi_remote_wake(u->link->remote);
    }
}

struct telling {
    uint64_t id;
    uint32_t flags;
    uint32_t consumed;
};

static bool tell(const fi_unreleased_t *u, void *arg) {
    const struct telling *t = arg;
    fi_call_head_t *head = fi_unreleased_head(u);

    if (!head || head->id != t->id) {
        return false;
    }
    (void)__atomic_fetch_or(&head->flags, t->flags, __ATOMIC_RELEASE);
    (void)__atomic_fetch_add(&head->consumed, t->consumed, __ATOMIC_RELEASE);
    wake(u);
    return true;
}

static void tell_server(const ferry_call_t *c, uint32_t flags, uint32_t consumed) {
    fi_sender_t *tx = c->client->tx;
    struct telling t = {c->id, flags, consumed};

    if (fi_end_enter(&tx->end, FI_END_SENDER) == 0) {
        fi_backlog_each(tx, tell, &t);
        fi_end_leave(&tx->end);
    }
}

void fi_call_tell_cancelled(ferry_call_t *c) {
    if (fi_unlikely(c->far != NULL)) {
        fi_far_calls->cancel(c);
        return;
    }
    tell_server(c, FI_CALL_CANCELLED, 0);
}

void fi_call_tell_consumed(ferry_call_t *c) {
    if (fi_unlikely(c->far != NULL)) {
        fi_far_calls->consumed(c, c->owed);
    } else {
        tell_server(c, 0, c->owed);
    }
    c->owed = 0;
    c->owed_bytes = 0;
}

static bool tell_cancelled(const fi_unreleased_t *u, void *arg) {
    const ferry_client_t *k = arg;
    fi_call_head_t *head = fi_unreleased_head(u);

    if (head && fi_call_find(k, head->id)) {
        (void)__atomic_fetch_or(&head->flags, FI_CALL_CANCELLED, __ATOMIC_RELEASE);
        wake(u);
    }
    return false;
}

void fi_client_tell_all_cancelled(ferry_client_t *k) {
    if (fi_end_enter(&k->tx->end, FI_END_SENDER) == 0) {
        fi_backlog_each(k->tx, tell_cancelled, k);
        fi_end_leave(&k->tx->end);
    }
}
