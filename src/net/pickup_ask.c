/* SPDX-License-Identifier: MIT
 *
 * Asking a durable queue's consumer for messages.
 */
#include "net/pickup.h"

#include <stdio.h>
#include <string.h>

#include "base/bits.h"

#define MOST_BYTES (16ull << 20) /* the same in bytes, as far as known */
#define PULL_NS 10000000000ll    /* a question holds for so long, */
#define BEAT_NS 2000000000ll     /* while the engine says that often that it has it, */
#define QUIET_NS 4500000000ll    /* and is lost after so long without a word */
#define FIRST_NS 500000000ll     /* the first one holds for so long, and is lost after twice that */

static uint32_t asked_for(const fi_pickup_t *p) {
    uint32_t sum = 0;

    for (uint32_t i = 0; i < FI_PICKUP_PULLS; i++) {
        sum += p->pulls[i].left;
    }
    return sum;
}

/*
 * Among several servers a question is lost without a word when the consumer has no leader: it was just made, or the
 * leader has died. So the first question is short, and others are not believed to wait there unless the engine says so.
 */
static void ask_for(fi_pickup_t *p, uint32_t place, uint32_t batch, int64_t now, char *text, size_t cap) {
    p->pulls[place].left = batch;
    p->pulls[place].asked = now;
    p->pulls[place].until = now + (p->heard ? QUIET_NS : 2 * FIRST_NS);
    if (!p->heard) {
        snprintf(text, cap, "{\"batch\":%u,\"expires\":%lld}", batch, (long long)FIRST_NS);
        return;
    }
    snprintf(text, cap, "{\"batch\":%u,\"expires\":%lld,\"idle_heartbeat\":%lld}", batch, (long long)PULL_NS,
             (long long)BEAT_NS);
}

void fi_pickup_hear(fi_pickup_t *p, int64_t now) {
    p->heard = true;
    for (uint32_t i = 0; i < FI_PICKUP_PULLS; i++) {
        p->pulls[i].until = now + QUIET_NS;
    }
}

/* What was asked on a way that was lost has to be asked once more. The other connections may come and go. */
static void forget_lost(fi_bridge_t *b, fi_pickup_t *p) {
    if (p->lost != b->net->way.lost && fi_way_has_room(b->net)) {
        p->lost = b->net->way.lost;
        memset(p->pulls, 0, sizeof p->pulls);
        p->heard = false;
        p->paused_until = 0;
        fi_pickup_take_back(b, p); /* this one may have as much as it asks for, and ask nothing that says so */
    }
}

/*
 * A server that has something to deliver again, and nobody who asks but those who do not listen any more, takes it for
 * new, and begins to count anew (2.9.10).  Asked for information it forgets such questions.  So it is asked that on the
 * way, where it knows by then that nobody listens.
 */
void fi_pickup_take_back(fi_bridge_t *b, const fi_pickup_t *p) {
    char base[FI_SUBJECT_MAX], stream[FI_SUBJECT_MAX], api[FI_DURABLE_API_MAX];

    fi_durable_names(b->net, FERRY_QUEUE, p->channel, base, stream);
    fi_durable_api(api, "CONSUMER.INFO", stream, ".ferry");
    if (fi_way_say(b->net, api, NULL, "")) {
        fi_way_flush(b->net); /* before the rest goes by the other connection */
    } else {
        (void)fi_net_send(b->net, b->net->bulk, api, "", 0);
    }
}

int64_t fi_pickup_pull(fi_bridge_t *b, fi_pickup_t *p, int64_t now) {
    uint32_t free_place = FI_PICKUP_PULLS;
    int64_t next = -1;

    forget_lost(b, p);

    for (uint32_t i = 0; i < FI_PICKUP_PULLS; i++) {
        if (p->pulls[i].left > 0 && now >= p->pulls[i].until) {
            p->pulls[i].left = 0;
            p->heard = false;
        }
        if (p->pulls[i].left == 0) {
            free_place = i;
        } else {
            next = next < 0 ? p->pulls[i].until - now : fi_earlier(next, p->pulls[i].until - now);
        }
    }
    uint32_t busy = asked_for(p) + p->count - p->slow; /* without those that were lost */
    if (p->receivers == 0 || !fi_net_is_up(b->net) || busy >= p->ahead || p->count >= 2 * FI_PICKUP_AHEAD ||
        p->bytes >= MOST_BYTES || free_place == FI_PICKUP_PULLS ||
        (asked_for(p) > 0 && p->ahead - busy < p->ahead / 2) || !fi_way_has_room(b->net)) {
        return next;
    }
    if (now < p->paused_until) {
        return p->paused_until - now;
    }
    char text[96];
    uint64_t usual = p->usual_size + 1;
    uint32_t batch = (uint32_t)fi_min((uint64_t)(p->ahead - busy), 1 + (MOST_BYTES - p->bytes) / usual);
    batch = batch < p->most ? batch : p->most;
    ask_for(p, free_place, batch, now, text, sizeof text);
    (void)fi_way_say(b->net, p->next, p->ear.subject, text);
    b->progress = true;
    return fi_sooner(next, p->pulls[free_place].until - now);
}

uint32_t *fi_pickup_oldest(fi_pickup_t *p) {
    uint32_t first = p->pulls[0].left == 0 || (p->pulls[1].left > 0 && p->pulls[1].asked < p->pulls[0].asked);

    return &p->pulls[first].left;
}

uint32_t *fi_pickup_newest(fi_pickup_t *p) {
    uint32_t last = p->pulls[0].left == 0 || (p->pulls[1].left > 0 && p->pulls[1].asked >= p->pulls[0].asked);

    return &p->pulls[last].left;
}
