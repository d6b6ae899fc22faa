/* SPDX-License-Identifier: MIT
 *
 * Durable queues, the receivers' side: messages come out of the stream, and are acknowledged when own receivers release
 * them.
 *
 * As much is asked for as own receivers seem to do soon: twice as much after each round that was released at once, half
 * as much when they take their time, so that a slow machine does not sit on what others could do.
 *
 * What a machine has taken comes again after FI_DURABLE_ACK_NS, unless the engine hears of it: for what takes longer it
 * is told in time that somebody works on it.  What comes again although it is here, or was released here, is not
 * delivered twice.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/error.h"
#include "net/pickup.h"
#include "platform/clock.h"

#define QUICK_NS 50000000ll /* released sooner: more can be asked for */
#define QUOTA (64ull << 20)

/* ---- finding ---- */

static fi_pickup_t *find(fi_bridge_t *b, const char *channel) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &b->pickups) {
        fi_pickup_t *p = fi_container(at, fi_pickup_t, link);
        if (strcmp(p->channel, channel) == 0) {
            return p;
        }
    }
    return NULL;
}

static fi_picked_t *find_picked(fi_pickup_t *p, uint64_t seq) {
    struct fi_list *bucket = &p->buckets[seq % FI_PICKUP_BUCKETS];

    for (struct fi_list *at = bucket->next; at != bucket; at = at->next) {
        fi_picked_t *k = fi_container(at, fi_picked_t, bucket);
        if (k->seq == seq) {
            return k;
        }
    }
    return NULL;
}

/* ---- what the engine is told ---- */

/* In any order: so `bulk` may keep it while a server is away. */
static void say(fi_bridge_t *b, const char *ack, const char *what) {
    (void)fi_nats.natsConnection_Publish(b->net->bulk, ack, what, (int)strlen(what));
}

void fi_pickup_hand_back(fi_bridge_t *b, const char *ack, int64_t delay) {
    char text[48] = "-NAK";

    if (delay > 0) {
        snprintf(text, sizeof text, "-NAK {\"delay\":%" PRId64 "}", delay);
    }
    if (fi_net_is_up(b->net)) { /* kept until then it could take it from who has it by now */
        say(b, ack, text);
    }
}

void fi_pickup_acknowledge_again(fi_bridge_t *b, const char *ack) {
    say(b, ack, "+ACK");
}

/* The same, of what many are told in a turn. */
static void say_released(fi_bridge_t *b, const char *subject) {
    if (!fi_way_say(b->net, subject, NULL, "+ACK")) {
        say(b, subject, "+ACK");
    }
}

static void forget(fi_pickup_t *p, fi_picked_t *k) {
    fi_list_remove(&k->link);
    fi_list_remove(&k->bucket);
    p->count--;
    p->bytes -= k->size;
    fi_bridge_drop(p->bridge, k->msg);
    fi_pieces_free(k->pieces);
    free(k);
}

static uint32_t at_least(uint32_t n, uint32_t least) {
    return n < least ? least : n;
}

static void acknowledge(fi_bridge_t *b, fi_pickup_t *p, fi_picked_t *k, int64_t now) {
    say_released(b, k->ack);
    fi_parcel_remove(b, p->channel, k->pieces);
    k->pieces = NULL;
    if (now - k->since < QUICK_NS) {
        p->ahead += p->ahead < FI_PICKUP_AHEAD;
    } else if (now - k->since > FI_PICKUP_SLOW_NS) {
        p->ahead = at_least(p->ahead / 2, p->receivers);
    }
    forget(p, k);
    b->progress = true;
}

/* Others shall have them. */
static void give_back(fi_bridge_t *b, fi_pickup_t *p, struct fi_list *all) {
    while (!fi_list_empty(all)) {
        fi_picked_t *k = fi_container(all->next, fi_picked_t, link);
        fi_pickup_hand_back(b, k->ack, FI_PICKUP_LATER_NS);
        fi_known_forget(p->known, k->id);
        forget(p, k);
    }
}

/* ---- arriving ---- */

/* The engine says something about a question: it has ended, is refused, or there is no consumer. */
static void word_arrived(fi_pickup_t *p, natsMsg *msg, int64_t now) {
    fi_word_t word = fi_durable_word_on(msg, &p->most);

    if (word == FI_WORD_WAITS) {
        return;
    }
    *(word == FI_WORD_FEWER ? fi_pickup_newest(p) : fi_pickup_oldest(p)) = 0;
    if (word == FI_WORD_AWAY || word == FI_WORD_TROUBLE) {
        p->paused_until = now + FI_PICKUP_SLOW_NS;
        p->heard = false; /* the next question may find nobody */
    }
    if (word == FI_WORD_TROUBLE) {
        fi_durable_mend(&p->mending, now);
    }
}

static bool keep(fi_pickup_t *p, natsMsg *msg, const fi_delivery_t *d, fi_identity_t id, int64_t now) {
    const char *ack = fi_nats.natsMsg_GetReply(msg);
    size_t len = strlen(ack) + 1;
    fi_picked_t *k = calloc(1, sizeof *k + len);
    const char *again = NULL;

    if (!k) {
        return false;
    }
    (void)fi_nats.natsMsgHeader_Get(msg, "Ferry-Again", &again);
    memcpy(k->ack, ack, len);
    k->msg = msg;
    k->id = id;
    k->seq = d->seq;
    k->time = d->time;
    k->attempt = (uint32_t)fi_min((uint64_t)d->attempt + (again != NULL), 65535ull);
    k->size = (uint64_t)fi_nats.natsMsg_GetDataLength(msg);
    (void)fi_parcel_is_head(msg, &k->size);
    k->since = k->told = now;
    fi_list_add_tail(&p->waiting, &k->link);
    fi_list_add_tail(&p->buckets[d->seq % FI_PICKUP_BUCKETS], &k->bucket);
    p->count++;
    p->bytes += k->size;
    p->usual_size = fi_max(k->size, p->usual_size - p->usual_size / 16);
    return true;
}

static void message_arrived(fi_bridge_t *b, fi_pickup_t *p, natsMsg *msg, int64_t now) {
    const char *ack = fi_nats.natsMsg_GetReply(msg);
    fi_delivery_t d;

    fi_pickup_hear(p, now);
    if (!fi_durable_read_ack(ack, &d)) {
        word_arrived(p, msg, now);
        fi_bridge_drop(b, msg);
        return;
    }
    uint32_t *left = fi_pickup_oldest(p);
    *left -= *left > 0;
    fi_picked_t *k = find_picked(p, d.seq);
    if (k && k->time != d.time) {
        forget(p, k); /* the server that gave it this number has lost it */
        k = NULL;
    }
    fi_identity_t id = fi_durable_identify(msg, &d);
    bool known = fi_known_add(p->known, id);
    if (known && !k) {
        fi_pickup_acknowledge_again(b, ack); /* the first was lost, or it was sent twice */
    }
    bool kept = !known && !k && keep(p, msg, &d, id, now);
    if (!known && !k && !kept) {
        fi_known_forget(p->known, id); /* no memory: it comes again */
    }
    if (!kept) {
        fi_bridge_drop(b, msg);
    }
}

static void fetched(void *whole, natsMsg *msg) {
    fi_pickup_t *p = whole;

    if (msg) {
        message_arrived(p->bridge, p, msg, fi_now_ns());
    } else {
        word_arrived(p, NULL, fi_now_ns());
    }
}

/* ---- passing on ---- */

/* What is to be done with the first that waits. */
typedef enum verdict { WAITS, GOES, FITS_NOT, IS_GONE } verdict_t;

/* A large one has its bytes once all pieces are here. The end is held. */
static verdict_t complete(fi_bridge_t *b, fi_pickup_t *p, fi_picked_t *k, fi_item_t *item, int64_t now) {
    uint64_t size;

    if (!fi_parcel_is_head(k->msg, &size)) {
        return item->origin && !fi_origin_copy(p->tx, k->msg, item) ? WAITS : GOES;
    }
    switch (fi_parcel_fetch(b, &p->parcel, k->msg, now)) {
    case FI_PARCEL_GOING:
        return WAITS;
    case FI_PARCEL_WHOLE:
        item->data = NULL;
        item->block = p->parcel.block;
        if (item->origin) {
            fi_origin_append(k->msg, item);
        }
        return GOES;
    case FI_PARCEL_UNFIT:
        return FITS_NOT;
    default:
        return IS_GONE;
    }
}

static verdict_t try_first(fi_bridge_t *b, fi_pickup_t *p, fi_picked_t *k, int64_t now) {
    struct fi_origin origin;
    fi_item_t item = {.data = fi_nats.natsMsg_GetData(k->msg),
                      .size = k->size,
                      .seq = k->seq,
                      .tag = fi_durable_tag(k->msg),
                      .attempt = (uint16_t)k->attempt,
                      .origin = fi_durable_origin(k->msg, &origin)};
    verdict_t verdict = complete(b, p, k, &item, now);

    if (verdict != GOES) {
        return verdict;
    }
    int r = fi_sender_forward(p->tx, &item);
    if (item.block && item.block != p->parcel.block) {
        fi_pool_unref(&p->tx->pool, item.block);
    } else if (r == 0 && item.block) {
        k->pieces = fi_parcel_pieces(&p->parcel); /* without memory they stay until they are swept */
    }
    return r == 0 ? GOES : r == -EMSGSIZE ? FITS_NOT : WAITS;
}

/* Puts what waits into own receivers' rings, as far as there is room; before one is linked, nobody has said what fits.
 * The end is held. */
static void pass_on(fi_bridge_t *b, fi_pickup_t *p, int64_t now) {
    while (!fi_list_empty(&p->waiting) && p->tx->link_count > 0) {
        fi_picked_t *k = fi_container(p->waiting.next, fi_picked_t, link);
        verdict_t verdict = try_first(b, p, k, now);
        if (verdict == WAITS) {
            return;
        }
        fi_parcel_end(&p->parcel);
        if (verdict == FITS_NOT) { /* the contract of own receivers has no room for it: somebody else's may */
            fi_pickup_hand_back(b, k->ack, 5000000000);
            fi_known_forget(p->known, k->id);
            forget(p, k);
        } else if (verdict == IS_GONE) { /* somebody has released it, and removed the pieces */
            acknowledge(b, p, k, now);
        } else {
            fi_bridge_drop(p->bridge, k->msg);
            k->msg = NULL;
            fi_list_remove(&k->link);
            fi_list_add_tail(&p->held, &k->link);
            b->progress = true;
        }
    }
}

static bool note_held(const fi_unreleased_t *u, void *arg) {
    fi_pickup_t *p = arg;
    fi_picked_t *k = find_picked(p, u->seq);

    if (k) {
        k->round = p->round;
        k->begun = u->taken || u->attempt > k->attempt;
    }
    return false;
}

/*
 * What was rejected here, held for too long, or was with a receiver that has gone, is the engine's to deliver again,
 * here or elsewhere:
 * so its attempts are counted over all machines, and it waits for its moment where nothing is lost with us. The end is
 * held.
 */
static void give_back_tried(fi_bridge_t *b, fi_pickup_t *p, int64_t now, int64_t least) {
    uint64_t seq;
    int64_t due;

    while (fi_returned_next(p->tx, &seq, &due)) {
        fi_picked_t *k = find_picked(p, seq);
        if (k) {
            fi_pickup_hand_back(b, k->ack, (int64_t)fi_max((uint64_t)least, due > now ? (uint64_t)(due - now) : 0));
            fi_known_forget(p->known, k->id);
            forget(p, k);
            b->progress = true;
        }
    }
}

/* Acknowledges what no receiver has any more. The end is held. */
static void find_released(fi_bridge_t *b, fi_pickup_t *p, int64_t now) {
    struct fi_list *at;
    struct fi_list *after;

    p->slow = 0;
    if (fi_list_empty(&p->held)) {
        return;
    }
    p->round++;
    fi_backlog_each(p->tx, note_held, p);
    fi_list_each(at, after, &p->held) {
        fi_picked_t *k = fi_container(at, fi_picked_t, link);
        if (k->round != p->round) {
            acknowledge(b, p, k, now);
        } else {
            p->slow += k->begun && now - k->since > FI_PICKUP_SLOW_NS;
        }
    }
}

/* Tells the engine of what takes long. Returns ns until the next is to be told, or -1. */
static int64_t tell_progress(fi_bridge_t *b, const struct fi_list *all, int64_t now) {
    struct fi_list *at;
    struct fi_list *after;
    int64_t next = -1;

    if (!fi_net_is_up(b->net)) {
        return -1;
    }
    fi_list_each(at, after, all) {
        fi_picked_t *k = fi_container(at, fi_picked_t, link);
        if (now - k->told >= FI_DURABLE_ACK_NS / 3) {
            say(b, k->ack, "+WPI");
            k->told = now;
        }
        int64_t left = k->told + FI_DURABLE_ACK_NS / 3 - now;
        next = next < 0 ? left : fi_earlier(next, left);
    }
    return next;
}

bool fi_pickup_turn(fi_bridge_t *b, int64_t *next) {
    struct fi_list *at;
    struct fi_list *after;
    int64_t now = fi_list_empty(&b->pickups) ? 0 : fi_now_ns();
    bool waits = false;

    fi_list_each(at, after, &b->pickups) {
        fi_pickup_t *p = fi_container(at, fi_pickup_t, link);
        if (fi_end_enter(&p->tx->end, FI_END_SENDER) < 0) {
            continue;
        }
        pass_on(b, p, now);
        give_back_tried(b, p, now, 0);
        find_released(b, p, now);
        fi_end_leave(&p->tx->end);
        *next = fi_sooner(*next, tell_progress(b, &p->held, now));
        *next = fi_sooner(*next, tell_progress(b, &p->waiting, now));
        *next = fi_sooner(*next, fi_durable_tend(b->net, FERRY_QUEUE, p->channel, NULL, &p->mending, now));
        *next = fi_sooner(*next, fi_pickup_pull(b, p, now));
        *next = fi_sooner(*next, fi_parcel_due(&p->parcel, now));
        waits |= p->count > 0;
    }
    return waits;
}

/* ---- opening and closing ---- */

/* Something has come back, or was released. Also by the steward, while the sender is being opened. */
static void released(void *whole) {
    const fi_pickup_t *p = whole;
    const fi_sender_t *tx = fi_load_acquire_ptr(&p->tx);
    uint64_t one = 1;

    if (tx && tx->aside_count > 0) {
        (void)!write(p->bridge->bell, &one, sizeof one);
    }
}

static int open_sender(fi_bridge_t *b, fi_pickup_t *p) {
    const ferry_contract_t c = {.quota = QUOTA};
    const fi_part_t part = {.whole = p,
                            .released = released,
                            .in_haste = true,
                            .hidden = true,
                            .from_node = UINT64_MAX,
                            .gives_back = true};

    fi_sender_t *tx = NULL;
    int r = fi_sender_new_part(b->net->node, p->channel, FERRY_QUEUE, &c, &part, &tx);
    fi_store_release_ptr(&p->tx, tx);
    return r;
}

static void close_pickup(fi_bridge_t *b, fi_pickup_t *p) {
    b->net->way.ready = true;
    fi_way_hear(b->net); /* what has come is handed back with the rest */
    bool taken = fi_pickup_listen_late(b, &p->ear, p->known);
    fi_pickup_take_back(b, p); /* first; and what is given back then is to come a moment later */
    if (p->tx && fi_end_enter(&p->tx->end, FI_END_SENDER) == 0) {
        give_back_tried(b, p, fi_now_ns(), FI_PICKUP_LATER_NS);
        find_released(b, p, fi_now_ns());
        fi_parcel_end(&p->parcel);
        give_back(b, p, &p->held);
        give_back(b, p, &p->waiting);
        (void)fi_sender_close(p->tx, FERRY_NOW, NULL);
    }
    fi_list_remove(&p->link);
    if (!taken) {
        free(p->known);
    }
    free(p);
}

/*
 * Questions that were asked on a way that has ended still hold: the engine would answer them to whoever listens there.
 * So on each way it is another place.
 */
static void name_ear(void *whole) {
    fi_pickup_t *p = whole;
    char word[32];

    snprintf(word, sizeof word, "p.%" PRIx32, ++p->bridge->pickups_ever);
    fi_net_node_subject(p->bridge->net, p->ear.subject, p->bridge->net->node->id, word);
}

static int open_pickup(fi_bridge_t *b, const char *channel, fi_pickup_t **out) {
    char subject[FI_SUBJECT_MAX], stream[FI_SUBJECT_MAX];
    fi_pickup_t *p = calloc(1, sizeof *p);
    fi_known_t *known = calloc(1, sizeof *known);

    if (!p || !known) {
        free(known);
        free(p);
        return fi_fail(-ENOMEM, "no memory for the durable queue '%s'", channel);
    }
    p->bridge = b;
    p->known = known;
    p->lost = b->net->way.lost;
    p->most = FI_PICKUP_AHEAD;
    snprintf(p->channel, sizeof p->channel, "%s", channel);
    fi_list_init(&p->held);
    fi_list_init(&p->waiting);
    for (uint32_t i = 0; i < FI_PICKUP_BUCKETS; i++) {
        fi_list_init(&p->buckets[i]);
    }
    fi_durable_names(b->net, FERRY_QUEUE, channel, subject, stream);
    snprintf(p->next, sizeof p->next, "$JS.API.CONSUMER.MSG.NEXT.%s.ferry", stream);
    p->ear.take = fetched;
    p->ear.anew = name_ear;
    p->ear.arg = p;
    name_ear(p);
    fi_list_add_tail(&b->pickups, &p->link);
    int r = fi_parcel_listen(b);
    r = r == 0 ? open_sender(b, p) : r;
    p->parcel.kind = FERRY_QUEUE;
    p->parcel.tx = p->tx;
    memcpy(p->parcel.channel, p->channel, sizeof p->parcel.channel);
    fi_way_listen(b->net, &p->ear);
    if (r < 0) {
        close_pickup(b, p);
        return r;
    }
    *out = p;
    return 0;
}

int fi_pickup_opened(fi_bridge_t *b, const fi_own_t *own) {
    fi_pickup_t *p = find(b, own->channel);

    int r = p ? 0 : open_pickup(b, own->channel, &p);
    if (r == 0) {
        p->receivers++;
        p->ahead = at_least(p->ahead, 2 * p->receivers);
    }
    return r;
}

void fi_pickup_closing(fi_bridge_t *b, const fi_own_t *own) {
    fi_pickup_t *p = find(b, own->channel);

    if (p && --p->receivers == 0) {
        close_pickup(b, p);
    }
}

void fi_pickup_end(fi_bridge_t *b) {
    while (!fi_list_empty(&b->pickups)) {
        close_pickup(b, fi_container(b->pickups.next, fi_pickup_t, link));
    }
}
