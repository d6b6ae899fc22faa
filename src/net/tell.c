/* SPDX-License-Identifier: MIT
 *
 * Answering who looks at a space that spans machines: see tell.h.
 */
#include "net/tell.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "net/calls.h"
#include "net/lease.h"
#include "platform/clock.h"

#define MEASURE_NS 100000000ll /* for round trips to come back */
#define MOST_INQUIRIES 64u

/* Somebody who waits for an answer. */
typedef struct fi_inquiry {
    struct fi_list link;
    int64_t deadline;
    char reply[FI_SUBJECT_MAX];
} fi_inquiry_t;

/* ---- writing frames down ---- */

/* A peer to which frames are sent as to any other. */
typedef struct fi_scribe {
    fi_peer_t peer;
    fi_frame_t *frames;
    size_t count, room;
} fi_scribe_t;

static int write_down(fi_peer_t *p, const fi_frame_t *f, const fi_cargo_t *cargo) {
    fi_scribe_t *s = fi_container(p, fi_scribe_t, peer);

    (void)cargo;
    if (s->count == FI_TALE_FRAMES) {
        return -ENOSPC;
    }
    if (s->count == s->room) {
        size_t room = s->room ? 2 * s->room : 64;
        fi_frame_t *more = realloc(s->frames, room * sizeof *more);
        if (!more) {
            return -ENOMEM;
        }
        s->frames = more;
        s->room = room;
    }
    s->frames[s->count++] = *f;
    return 0;
}

static const fi_route_t to_paper = {.name = "paper", .send = write_down};

/* ---- telling ---- */

/* Sends what was written, in as many messages as it needs; at least one. */
static void send_tale(fi_bridge_t *b, const char *reply, const fi_scribe_t *s, uint32_t flags) {
    size_t most = (b->piece - sizeof(fi_tale_head_t)) / sizeof(fi_frame_t);
    fi_tale_head_t head = {
        .magic = FI_TALE_MAGIC, .node = b->net->node->id, .version = FI_NET_VERSION, .frame_bytes = sizeof(fi_frame_t)};
    size_t sent = 0;

    do {
        size_t count = fi_min(most, s->count - sent);
        head.count = (uint32_t)count;
        head.flags = flags & ~(sent + count < s->count ? (uint32_t)FI_TALE_LAST : 0u);
        memcpy(b->buffer, &head, sizeof head);
        if (count > 0) {
            memcpy(b->buffer + sizeof head, s->frames + sent, count * sizeof *s->frames);
        }
        if (fi_net_send(b->net, b->net->control, reply, b->buffer, sizeof head + count * sizeof *s->frames) < 0) {
            return;
        }
        sent += count;
    } while (sent < s->count && most > 0);
}

static void tell(fi_bridge_t *b, const char *reply) {
    fi_node_t *n = b->net->node;
    fi_scribe_t s = {.peer = {.route = &to_paper, .node = n}};
    const fi_frame_t question = fi_frame(FI_LOOK, 0, 0); /* for everything */

    pthread_mutex_lock(&n->lock);
    fi_node_tell(n, &s.peer, &question);
    pthread_mutex_unlock(&n->lock);
    send_tale(b, reply, &s, FI_TALE_OWN);
    s.count = 0;
    fi_links_tell(b, &s.peer);
    fi_calls_tell(b->net, &s.peer);
    fi_leases_tell(b->net, &s.peer);
    send_tale(b, reply, &s, FI_TALE_LAST);
    free(s.frames);
}

/* ---- inquiries ---- */

static bool measures(const fi_bridge_t *b) {
    for (const struct fi_list *at = b->nodes.next; at != &b->nodes; at = at->next) {
        const fi_far_node_t *n = fi_container(at, fi_far_node_t, link);
        if (n->timing && !n->silent_since) {
            return true;
        }
    }
    return false;
}

void fi_inquiry_begin(fi_bridge_t *b, natsMsg *msg) {
    fi_inquiry_t *q = calloc(1, sizeof *q);
    uint32_t count = 0;

    for (const struct fi_list *at = b->inquiries.next; at != &b->inquiries; at = at->next) {
        count++;
    }
    if (q && count < MOST_INQUIRIES) {
        snprintf(q->reply, sizeof q->reply, "%s", fi_nats.natsMsg_GetReply(msg));
        q->deadline = fi_now_ns() + MEASURE_NS;
        fi_list_add_tail(&b->inquiries, &q->link);
        q = NULL;
        fi_far_measure(b);
    }
    free(q);
    fi_nats.natsMsg_Destroy(msg);
}

int64_t fi_inquiry_turn(fi_bridge_t *b) {
    struct fi_list *at;
    struct fi_list *after;
    int64_t next = -1;

    if (fi_list_empty(&b->inquiries)) {
        return -1;
    }
    int64_t now = fi_now_ns();
    bool waits = measures(b);
    fi_list_each(at, after, &b->inquiries) {
        fi_inquiry_t *q = fi_container(at, fi_inquiry_t, link);
        if (waits && now < q->deadline) {
            next = next < 0 ? q->deadline - now : fi_earlier(next, q->deadline - now);
            continue;
        }
        tell(b, q->reply);
        fi_list_remove(&q->link);
        free(q);
    }
    return next;
}

void fi_inquiry_end_all(fi_bridge_t *b) {
    while (!fi_list_empty(&b->inquiries)) {
        fi_inquiry_t *q = fi_container(b->inquiries.next, fi_inquiry_t, link);
        fi_list_remove(&q->link);
        free(q);
    }
}
