/* SPDX-License-Identifier: MIT
 *
 * Durable channels, the senders' side: what own senders send is put into the stream (deposit_send.c), and released once
 * it is stored. Here: who sends, and what is taken from them.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "channel/messages.h"
#include "net/deposit.h"
#include "platform/clock.h"

#define TURN 4096u       /* messages taken in one turn */
#define WAKE_NS 10000000 /* a sender that waits for room is told of it at the latest so long after */
#define ENOUGH 8u        /* or when it is so large a part of what is still under way */
#define DEFAULT_CAPACITY 1000000ull
#define DEFAULT_QUOTA (1ull << 30)

/* ---- finding ---- */

static fi_deposit_t *find(fi_bridge_t *b, ferry_kind_t kind, const char *channel) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &b->deposits) {
        fi_deposit_t *p = fi_container(at, fi_deposit_t, link);
        if (p->kind == kind && strcmp(p->channel, channel) == 0) {
            return p;
        }
    }
    return NULL;
}

/* ---- depositors ---- */

/* A topic's stream makes room by itself. */
static void set_limits(const fi_deposit_t *p, fi_depositor_t *d, const fi_own_t *own) {
    if (p->kind == FERRY_TOPIC) {
        d->quota = d->capacity = UINT64_MAX;
        return;
    }
    d->quota = own ? own->quota : DEFAULT_QUOTA; /* we are not told yet, or it is closed again */
    d->capacity = own && own->capacity != UINT64_MAX ? own->capacity : DEFAULT_CAPACITY;
}

static void add_depositor(fi_bridge_t *b, fi_deposit_t *p, fi_rxlink_t *l) {
    fi_depositor_t *d = calloc(1, sizeof *d);
    const fi_own_t *own = fi_own_find(b, l->tx);
    char word[32];

    if (!d) {
        fi_store_release32(&p->changed, 1); /* the next turn tries again */
        return;
    }
    d->tx = l->tx;
    d->number = ++b->depositors_ever;
    d->window = FI_DEPOSIT_WINDOW;
    set_limits(p, d, own);
    fi_durable_sender_subject(b->net, p->kind, p->channel, l->tx, d->subject);
    d->deposit = p;
    d->ear = (fi_way_ear_t){.take = fi_depositor_hear, .arg = d};
    snprintf(word, sizeof word, "w.%" PRIx32 ".*", d->number);
    fi_net_node_subject(b->net, d->ear.subject, b->net->node->id, word);
    fi_way_listen(b->net, &d->ear);
    fi_list_add_tail(&p->depositors, &d->link);
    l->far = d;
}

static void free_marks(fi_deposit_t *p, uint64_t tx, uint64_t before) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &p->marks) {
        fi_mark_t *m = fi_container(at, fi_mark_t, link);
        if (m->tx == tx && m->from < before) {
            fi_list_remove(&m->link);
            free(m);
        }
    }
}

static void free_depositor(fi_deposit_t *p, fi_depositor_t *d) {
    free_marks(p, d->tx, UINT64_MAX);
    fi_way_unlisten(&d->ear);
    fi_list_remove(&d->link);
    free(d->puts);
    free(d);
}

static void look_at_links(fi_bridge_t *b, fi_deposit_t *p) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &p->depositors) {
        fi_container(at, fi_depositor_t, link)->ended = true;
    }
    for (uint32_t i = 0; i < p->rx->link_count; i++) {
        fi_rxlink_t *l = p->rx->links[i];
        if (!l->far) {
            add_depositor(b, p, l);
        }
        if (l->far) {
            ((fi_depositor_t *)l->far)->ended = false;
        }
    }
    b->progress = true;
}

/* ---- taking ---- */

static int make_room(fi_depositor_t *d) {
    if (d->taken - d->stored < d->cap) {
        return 0;
    }
    uint32_t cap = d->cap ? 2 * d->cap : 64;
    fi_put_t *more = malloc(cap * sizeof *more);
    if (!more) {
        return -ENOMEM;
    }
    for (uint64_t i = d->stored + 1; i <= d->taken; i++) {
        more[i & (cap - 1)] = *fi_put_at(d, i);
    }
    free(d->puts);
    d->puts = more;
    d->cap = cap;
    return 0;
}

/* The token of a sender's message, of which the next ones have larger numbers. */
static uint64_t token_of(fi_deposit_t *p, uint64_t tx, uint64_t seq) {
    const fi_mark_t *found = NULL;
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &p->marks) {
        const fi_mark_t *m = fi_container(at, fi_mark_t, link);
        found = m->tx == tx && m->from <= seq ? m : found;
    }
    if (!found) {
        return 0;
    }
    uint64_t token = found->token;
    free_marks(p, tx, found->from);
    return token;
}

static void keep(fi_deposit_t *p, fi_depositor_t *d, ferry_msg_t *m) {
    ferry_msg_info_t info = {.size = sizeof info};

    fi_taken_describe(m, &info);
    *fi_put_at(d, ++d->taken) = (fi_put_t){.msg = m,
                                           .seq = info.sequence,
                                           .tag = info.tag,
                                           .token = fi_list_empty(&p->marks) ? 0 : token_of(p, d->tx, info.sequence),
                                           .size = m->size};
}

void fi_deposit_token(fi_bridge_t *b, const fi_own_t *own, uint64_t from, uint64_t token) {
    fi_deposit_t *p = find(b, (ferry_kind_t)own->kind, own->channel);
    fi_mark_t *m = p ? calloc(1, sizeof *m) : NULL;

    if (m) {
        *m = (fi_mark_t){.tx = own->id, .from = from, .token = token};
        fi_list_add_tail(&p->marks, &m->link);
    }
}

/* Takes what is there: it stays where it is, in its sender's memory. The end is held. */
static void take(fi_bridge_t *b, fi_deposit_t *p) {
    ferry_msg_t *m;

    for (uint32_t n = 0; n < TURN && (m = fi_hidden_receiver_take(p->rx, &p->intake)) != NULL; n++) {
        if (!m->link->far) {
            look_at_links(b, p);
        }
        fi_depositor_t *d = m->link->far;
        if (!d || make_room(d) < 0) {
            fi_taken_release_held(m); /* no memory at all: it is lost, as it would be with this process */
            fi_receiver_ring_senders(p->rx);
            continue;
        }
        keep(p, d, m);
    }
}

/* ---- the hidden receiver ---- */

static void links_changed(void *whole) {
    fi_deposit_t *p = whole;
    uint64_t one = 1;

    fi_store_release32(&p->changed, 1);
    (void)!write(p->bridge->bell, &one, sizeof one);
}

static void close_deposit(fi_bridge_t *b, fi_deposit_t *p) {
    while (!fi_list_empty(&p->depositors)) {
        free_depositor(p, fi_container(p->depositors.next, fi_depositor_t, link));
    }
    while (!fi_list_empty(&p->marks)) {
        fi_mark_t *m = fi_container(p->marks.next, fi_mark_t, link);
        fi_list_remove(&m->link);
        free(m);
    }
    if (p->mending.stream_at == 0) { /* what was put into a stream that is there now has to be found */
        (void)fi_durable_tend(b->net, p->kind, p->channel, &p->kept, &p->mending, INT64_MAX);
    }
    fi_list_remove(&p->link);
    fi_hidden_receiver_close(b, p->rx);
    free(p);
    b->progress = true;
}

/* ---- a turn ---- */

/*
 * Is a sender that waits for room to be woken? What is stored is released at once, but to wake somebody costs as much as
 * to send several messages, and answers come by the hundred: so not for each turn's, while more of them are to come.
 */
static bool shall_wake(fi_depositor_t *d, int64_t now, int64_t *next) {
    uint64_t room = d->released - d->woken;

    if (room == 0) {
        return false;
    }
    if (d->wake_at == 0) {
        d->wake_at = now + WAKE_NS;
    }
    if (d->sent > d->stored && room < (d->taken - d->stored) / ENOUGH && now < d->wake_at) {
        *next = fi_sooner(*next, d->wake_at - now);
        return false;
    }
    d->woken = d->released;
    d->wake_at = 0;
    return true;
}

static bool turn(fi_bridge_t *b, fi_deposit_t *p, int64_t now, int64_t *next, bool *waits) {
    struct fi_list *at;
    struct fi_list *after;

    bool rings = false;

    if (fi_end_enter(&p->rx->end, FI_END_RECEIVER) < 0) {
        return false;
    }
    take(b, p);
    if (fi_load_acquire32(&p->changed)) {
        fi_store_release32(&p->changed, 0);
        look_at_links(b, p);
    }
    fi_list_each(at, after, &p->depositors) {
        fi_depositor_t *d = fi_container(at, fi_depositor_t, link);
        int64_t ns = fi_depositor_tend(b, p, d, now);
        *next = fi_sooner(*next, ns);
        rings |= shall_wake(d, now, next);
        if (d->ended && d->stored == d->taken) {
            free_depositor(p, d);
        }
    }
    if (rings) {
        fi_receiver_ring_senders(p->rx);
    }
    fi_end_leave(&p->rx->end);
    *waits |= p->intake.held_up;
    return p->intake.readable && !p->intake.held_up;
}

bool fi_deposit_turn(fi_bridge_t *b, int64_t *next, bool *waits) {
    struct fi_list *at;
    struct fi_list *after;
    int64_t now = fi_list_empty(&b->deposits) ? 0 : fi_now_ns();
    bool more = false;

    fi_list_each(at, after, &b->deposits) {
        fi_deposit_t *p = fi_container(at, fi_deposit_t, link);
        more |= turn(b, p, now, next, waits);
        *next = fi_sooner(*next, fi_durable_tend(b->net, p->kind, p->channel, &p->kept, &p->mending, now));
        if (p->senders == 0 && fi_list_empty(&p->depositors)) {
            close_deposit(b, p);
        }
    }
    return more;
}

/* ---- opening and closing ---- */

static void answered(natsConnection *c, natsSubscription *sub, natsMsg *msg, void *arg) {
    (void)c;
    (void)sub;
    fi_bridge_post_message(arg, FI_BOX_STORED, 0, msg);
}

static int listen_for_answers(fi_bridge_t *b) {
    char subject[FI_SUBJECT_MAX];

    if (b->answers) {
        return 0;
    }
    fi_net_node_subject(b->net, subject, b->net->node->id, "d.*.*");
    return fi_net_subscribe(b->net, b->net->bulk, subject, NULL, answered, b, &b->answers);
}

static int open_deposit(fi_bridge_t *b, ferry_kind_t kind, const char *channel, fi_deposit_t **out) {
    fi_deposit_t *p = calloc(1, sizeof *p);

    if (!p) {
        return fi_fail(-ENOMEM, "no memory for the durable channel '%s'", channel);
    }
    p->bridge = b;
    p->kind = kind;
    snprintf(p->channel, sizeof p->channel, "%s", channel);
    fi_list_init(&p->depositors);
    fi_list_init(&p->marks);
    fi_list_add_tail(&b->deposits, &p->link);
    const fi_hidden_t hidden = {.channel = p->channel,
                                .kind = kind,
                                .whole = p,
                                .changed = links_changed,
                                .intake = &p->intake,
                                .rings_late = true};
    int r = listen_for_answers(b);
    r = r == 0 ? fi_hidden_receiver_open(b, &hidden, &p->rx) : r;
    if (r < 0) {
        close_deposit(b, p);
        return r;
    }
    *out = p;
    return 0;
}

int fi_deposit_opened(fi_bridge_t *b, const fi_own_t *own) {
    ferry_kind_t kind = (ferry_kind_t)own->kind;
    fi_deposit_t *p = find(b, kind, own->channel);
    struct fi_list *at;
    struct fi_list *after;

    int r = p ? 0 : open_deposit(b, kind, own->channel, &p);
    if (r < 0) {
        return r;
    }
    p->senders++;
    p->kept = own->kept;
    fi_list_each(at, after, &p->depositors) { /* it may have been linked before we were told of it */
        fi_depositor_t *d = fi_container(at, fi_depositor_t, link);
        if (d->tx == own->id) {
            set_limits(p, d, own);
        }
    }
    return 0;
}

void fi_deposit_closing(fi_bridge_t *b, const fi_own_t *own) {
    fi_deposit_t *p = find(b, (ferry_kind_t)own->kind, own->channel);

    if (p && p->senders > 0) {
        p->senders--;
    }
}

bool fi_deposit_is_linked(fi_bridge_t *b, ferry_kind_t kind, const char *channel, uint64_t tx) {
    fi_deposit_t *p = find(b, kind, channel);
    bool linked = false;

    if (p && fi_end_enter(&p->rx->end, FI_END_RECEIVER) == 0) {
        for (uint32_t i = 0; i < p->rx->link_count; i++) {
            linked |= p->rx->links[i]->tx == tx && p->rx->links[i]->live;
        }
        fi_end_leave(&p->rx->end);
    }
    return linked;
}

void fi_deposit_end(fi_bridge_t *b) {
    while (!fi_list_empty(&b->deposits)) {
        close_deposit(b, fi_container(b->deposits.next, fi_deposit_t, link));
    }
}

/* ---- for who looks ---- */

void fi_deposits_tell(fi_bridge_t *b, fi_peer_t *p) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &b->deposits) {
        const fi_deposit_t *d = fi_container(at, fi_deposit_t, link);
        fi_frame_t f = fi_frame(FI_LOOK_VIA, 0, d->rx->end.id);
        f.kind = (uint16_t)d->kind;
        memcpy(f.text, d->channel, sizeof f.text);
        (void)fi_peer_send(p, &f, NULL);
    }
}
