/* SPDX-License-Identifier: MIT
 *
 * Hearing what clients that are not Ferry's publish on a topic's subject, for own receivers that are plain.
 *
 * An ear for each such receiver: it counts what comes, and puts it into the receiver's ring.  What finds no room waits
 * here, up to a bound; what comes then, and what the contract has no room for, leaves a gap in its numbers, which the
 * receiver counts as lost.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "net/durable.h"
#include "net/plain.h"

#define MOST_WAITING 8192u       /* messages without room in the receiver's ring */
#define MOST_BYTES (16ull << 20) /* the same in bytes */
#define QUOTA (16ull << 20)      /* of memory for what the receiver has not released */

typedef struct heard {
    struct fi_list link;
    natsMsg *msg;
    uint64_t seq;
} heard_t;

typedef struct fi_ear {
    struct fi_list link;
    fi_bridge_t *bridge;
    uint64_t rx; /* the own receiver */
    uint32_t number;
    fi_sender_t *tx;
    bool linked; /* with the receiver */
    natsSubscription *sub;
    struct fi_list waiting; /* heard_t */
    uint32_t count;         /* of these, */
    uint64_t bytes;         /* and what they take */
    uint64_t ever;          /* messages that have come */
} fi_ear_t;

static fi_ear_t *find(fi_bridge_t *b, uint64_t rx, uint32_t number) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &b->ears) {
        fi_ear_t *e = fi_container(at, fi_ear_t, link);
        if (rx ? e->rx == rx : e->number == number) {
            return e;
        }
    }
    return NULL;
}

/* ---- arriving ---- */

static bool has_header(natsMsg *msg, const char *name, const char **value) {
    return fi_nats.natsMsgHeader_Get(msg, name, value) == NATS_OK && *value;
}

/* True: it is taken over. */
static bool keep(fi_ear_t *e, natsMsg *msg) {
    uint64_t size = (uint64_t)fi_nats.natsMsg_GetDataLength(msg);
    heard_t *h = e->count < MOST_WAITING && e->bytes + size <= MOST_BYTES ? malloc(sizeof *h) : NULL;

    e->ever++;
    if (!h) {
        return false;
    }
    *h = (heard_t){.msg = msg, .seq = e->ever};
    fi_list_add_tail(&e->waiting, &h->link);
    e->count++;
    e->bytes += size;
    return true;
}

void fi_ear_arrived(fi_bridge_t *b, uint32_t number, natsMsg *msg) {
    fi_ear_t *e = find(b, 0, number);
    const char *node = NULL;

    if (!e || has_header(msg, "Ferry-Node", &node) || !keep(e, msg)) {
        fi_nats.natsMsg_Destroy(msg);
    }
}

/* ---- passing on ---- */

static void drop(fi_ear_t *e, heard_t *h) {
    fi_list_remove(&h->link);
    e->count--;
    e->bytes -= (uint64_t)fi_nats.natsMsg_GetDataLength(h->msg);
    fi_nats.natsMsg_Destroy(h->msg);
    free(h);
}

/* The end is held. */
static bool is_linked(fi_ear_t *e) {
    const fi_outlet_t *o = e->tx->topic;

    e->linked |= o->link_count > 0 && o->links[0]->live;
    return e->linked;
}

/* Who says nothing of its type is taken at its word: the size is looked at in any case. The end is held. */
static bool fits_type(const fi_ear_t *e, natsMsg *msg) {
    const char *expected = e->tx->end.contract.type_name;
    const char *type = NULL;

    return !expected[0] || !has_header(msg, "Ferry-Type", &type) || strcmp(type, expected) == 0;
}

/* The end is held. */
static void pass_on(fi_ear_t *e) {
    while (!fi_list_empty(&e->waiting) && is_linked(e)) {
        heard_t *h = fi_container(e->waiting.next, heard_t, link);
        fi_item_t item = {.data = fi_nats.natsMsg_GetData(h->msg),
                          .size = (uint64_t)fi_nats.natsMsg_GetDataLength(h->msg),
                          .seq = h->seq,
                          .tag = fi_durable_tag(h->msg),
                          .attempt = 1};
        int r = fits_type(e, h->msg) ? fi_sender_forward(e->tx, &item) : 0;
        if (r < 0 && r != -EMSGSIZE) {
            return;
        }
        drop(e, h);
        e->bridge->progress = true;
    }
}

bool fi_ear_turn(fi_bridge_t *b) {
    struct fi_list *at;
    struct fi_list *after;
    bool waits = false;

    fi_list_each(at, after, &b->ears) {
        fi_ear_t *e = fi_container(at, fi_ear_t, link);
        if (e->count > 0 && fi_end_enter(&e->tx->end, FI_END_SENDER) == 0) {
            pass_on(e);
            fi_end_leave(&e->tx->end);
        }
        waits |= e->count > 0;
    }
    return waits;
}

/* ---- opening and closing ---- */

bool fi_ear_is_linked(fi_bridge_t *b, uint64_t rx) {
    fi_ear_t *e = find(b, rx, 0);
    bool linked = false;

    if (e && fi_end_enter(&e->tx->end, FI_END_SENDER) == 0) {
        linked = is_linked(e);
        fi_end_leave(&e->tx->end);
    }
    return linked;
}

static void came(natsConnection *c, natsSubscription *sub, natsMsg *msg, void *arg) {
    fi_ear_t *e = arg;

    (void)c;
    (void)sub;
    fi_bridge_post_message(e->bridge, FI_BOX_HEARD, e->number, msg);
}

static void close_ear(fi_ear_t *e) {
    fi_net_unsubscribe(e->bridge->net, e->bridge->net->bulk, e->sub);
    while (!fi_list_empty(&e->waiting)) {
        drop(e, fi_container(e->waiting.next, heard_t, link));
    }
    if (e->tx && fi_end_enter(&e->tx->end, FI_END_SENDER) == 0) {
        (void)fi_sender_close(e->tx, FERRY_NOW, NULL);
    }
    fi_list_remove(&e->link);
    free(e);
}

static int open_sender(fi_ear_t *e, const char *channel) {
    const ferry_contract_t c = {.quota = fi_max(QUOTA, 2ull * e->bridge->net->max_payload)};
    const fi_part_t part = {.whole = e,
                            .in_haste = true,
                            .hidden = true,
                            .from_node = UINT64_MAX,
                            .only = e->rx,
                            .counted = true,
                            .first_seq = 1};

    return fi_sender_new_part(e->bridge->net->node, channel, FERRY_TOPIC, &c, &part, &e->tx);
}

int fi_ear_open(fi_bridge_t *b, const fi_own_t *own) {
    char subject[FI_SUBJECT_MAX];
    fi_ear_t *e = calloc(1, sizeof *e);

    if (!e) {
        return fi_fail(-ENOMEM, "no memory to hear what others publish on '%s'", own->channel);
    }
    e->bridge = b;
    e->rx = own->id;
    e->number = ++b->ears_ever;
    fi_list_init(&e->waiting);
    fi_list_add_tail(&b->ears, &e->link);
    fi_plain_subject(b->net, own->channel, subject);
    int r = open_sender(e, own->channel);
    r = r == 0 ? fi_net_subscribe(b->net, b->net->bulk, subject, NULL, came, e, &e->sub) : r;
    if (r < 0) {
        close_ear(e);
    }
    return r;
}

void fi_ear_close(fi_bridge_t *b, uint64_t rx) {
    fi_ear_t *e = find(b, rx, 0);

    if (e) {
        close_ear(e);
    }
}

void fi_ear_end(fi_bridge_t *b) {
    while (!fi_list_empty(&b->ears)) {
        close_ear(fi_container(b->ears.next, fi_ear_t, link));
    }
}
