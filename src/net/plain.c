/* SPDX-License-Identifier: MIT
 *
 * Publishing what plain senders send for clients that are not Ferry's.
 *
 * The hidden receiver meets all own senders of its channel; what those send that are not plain it lets go at once.
 * What the library does not take, since there is no connection and its buffer is full, is counted for its sender and
 * not tried again:
 * who waited for it would hold back receivers here.
 */
#include "net/plain.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "channel/messages.h"

#define TURN 1024u /* messages taken in one turn */

/* A plain sender. */
typedef struct source {
    struct fi_list link;
    uint64_t tx;
    uint64_t failed; /* messages that were not published, and not counted for it yet */
    bool ended;      /* it has closed, and all was taken */
} source_t;

typedef struct fi_plain {
    struct fi_list link;
    fi_bridge_t *bridge;
    fi_receiver_t *rx;
    char channel[104];
    char subject[FI_SUBJECT_MAX];
    struct fi_list sources;
    uint32_t senders; /* plain ones that are open */
    uint32_t changed; /* atomic: links came or went */
    fi_intake_t intake;
} fi_plain_t;

void fi_plain_subject(const fi_net_t *net, const char *channel, char out[FI_SUBJECT_MAX]) {
    fi_net_subject(net, out, "topic", channel);
}

static fi_plain_t *find(fi_bridge_t *b, const char *channel) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &b->plains) {
        fi_plain_t *p = fi_container(at, fi_plain_t, link);
        if (strcmp(p->channel, channel) == 0) {
            return p;
        }
    }
    return NULL;
}

/* ---- senders ---- */

/* NULL: it is not plain. */
static source_t *source_of(fi_bridge_t *b, fi_plain_t *p, fi_rxlink_t *l) {
    const fi_own_t *own = l->far ? NULL : fi_own_find(b, l->tx);

    if (own && own->plain) {
        source_t *s = calloc(1, sizeof *s);
        if (s) {
            s->tx = l->tx;
            fi_list_add_tail(&p->sources, &s->link);
            l->far = s;
        }
    }
    return l->far;
}

static void look_at_links(fi_bridge_t *b, fi_plain_t *p) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &p->sources) {
        fi_container(at, source_t, link)->ended = true;
    }
    for (uint32_t i = 0; i < p->rx->link_count; i++) {
        source_t *s = source_of(b, p, p->rx->links[i]);
        if (s) {
            s->ended = false;
        }
    }
    b->progress = true;
}

static void free_source(source_t *s) {
    fi_list_remove(&s->link);
    free(s);
}

/* For its ferry_sender_stats. No end is held. */
static void count_failed(fi_node_t *n, source_t *s) {
    struct fi_list *at;
    struct fi_list *after;

    pthread_mutex_lock(&n->lock);
    fi_list_each(at, after, &n->ends) {
        fi_end_t *e = fi_container(at, fi_end_t, link);
        if (e->id == s->tx && e->magic == FI_END_SENDER) {
            (void)__atomic_fetch_add(&fi_sender_of(e)->unpublished, s->failed, __ATOMIC_RELAXED);
        }
    }
    pthread_mutex_unlock(&n->lock);
    s->failed = 0;
}

/* ---- publishing ---- */

static natsStatus add_headers(const fi_bridge_t *b, const fi_plain_t *p, const ferry_msg_info_t *info, uint64_t tx,
                              natsMsg *msg) {
    const char *type = p->rx->end.contract.type_name;
    char text[64];

    snprintf(text, sizeof text, "%016" PRIx64, b->net->node->id);
    natsStatus s = fi_nats.natsMsgHeader_Set(msg, "Ferry-Node", text);
    snprintf(text, sizeof text, "%016" PRIx64 "-%" PRIx64 "-%" PRIx64, b->net->node->id, tx, info->sequence);
    s = s == NATS_OK ? fi_nats.natsMsgHeader_Set(msg, "Nats-Msg-Id", text) : s;
    if (s == NATS_OK && type[0]) {
        s = fi_nats.natsMsgHeader_Set(msg, "Ferry-Type", type);
    }
    if (s == NATS_OK && info->tag) {
        snprintf(text, sizeof text, "%" PRIx64, info->tag);
        s = fi_nats.natsMsgHeader_Set(msg, "Ferry-Tag", text);
    }
    return s;
}

static bool publish(fi_bridge_t *b, const fi_plain_t *p, const ferry_msg_t *m) {
    ferry_msg_info_t info = {.size = sizeof info};
    natsMsg *msg = NULL;

    fi_taken_describe(m, &info);
    natsStatus s = fi_nats.natsMsg_Create(&msg, p->subject, NULL, (const char *)m->data, (int)m->size);
    s = s == NATS_OK ? add_headers(b, p, &info, m->link->tx, msg) : s;
    s = s == NATS_OK ? fi_nats.natsConnection_PublishMsg(b->net->bulk, msg) : s;
    fi_nats.natsMsg_Destroy(msg);
    return s == NATS_OK;
}

/* The end is held. */
static void take(fi_bridge_t *b, fi_plain_t *p) {
    ferry_msg_t *m;

    for (uint32_t n = 0; n < TURN && (m = fi_hidden_receiver_take(p->rx, &p->intake)) != NULL; n++) {
        source_t *s = source_of(b, p, m->link);
        if (s && !publish(b, p, m)) {
            s->failed++;
        }
        fi_taken_release_held(m);
        b->progress = true;
    }
}

/* ---- a turn ---- */

static bool turn(fi_bridge_t *b, fi_plain_t *p, bool *waits) {
    struct fi_list *at;
    struct fi_list *after;

    if (fi_end_enter(&p->rx->end, FI_END_RECEIVER) < 0) {
        return false;
    }
    take(b, p);
    if (fi_load_acquire32(&p->changed)) {
        fi_store_release32(&p->changed, 0);
        look_at_links(b, p);
    }
    fi_end_leave(&p->rx->end);
    fi_list_each(at, after, &p->sources) {
        source_t *s = fi_container(at, source_t, link);
        if (s->failed > 0) {
            count_failed(b->net->node, s);
        }
        if (s->ended) {
            free_source(s);
        }
    }
    *waits |= p->intake.held_up;
    return p->intake.readable && !p->intake.held_up;
}

static void close_plain(fi_bridge_t *b, fi_plain_t *p) {
    while (!fi_list_empty(&p->sources)) {
        free_source(fi_container(p->sources.next, source_t, link));
    }
    fi_list_remove(&p->link);
    fi_hidden_receiver_close(b, p->rx);
    free(p);
    b->progress = true;
}

bool fi_plain_turn(fi_bridge_t *b, bool *waits) {
    struct fi_list *at;
    struct fi_list *after;
    bool more = false;

    fi_list_each(at, after, &b->plains) {
        fi_plain_t *p = fi_container(at, fi_plain_t, link);
        more |= turn(b, p, waits);
        if (p->senders == 0 && fi_list_empty(&p->sources)) {
            close_plain(b, p);
        }
    }
    *waits |= fi_ear_turn(b);
    return more;
}

/* ---- opening and closing ---- */

static void links_changed(void *whole) {
    fi_plain_t *p = whole;
    uint64_t one = 1;

    fi_store_release32(&p->changed, 1);
    (void)!write(p->bridge->bell, &one, sizeof one);
}

static int open_plain(fi_bridge_t *b, const char *channel, fi_plain_t **out) {
    fi_plain_t *p = calloc(1, sizeof *p);

    if (!p) {
        return fi_fail(-ENOMEM, "no memory to publish '%s' for others", channel);
    }
    p->bridge = b;
    snprintf(p->channel, sizeof p->channel, "%s", channel);
    fi_plain_subject(b->net, channel, p->subject);
    fi_list_init(&p->sources);
    fi_list_add_tail(&b->plains, &p->link);
    const fi_hidden_t hidden = {
        .channel = p->channel, .kind = FERRY_TOPIC, .whole = p, .changed = links_changed, .intake = &p->intake};
    int r = fi_hidden_receiver_open(b, &hidden, &p->rx);
    if (r < 0) {
        close_plain(b, p);
        return r;
    }
    *out = p;
    return 0;
}

int fi_plain_opened(fi_bridge_t *b, const fi_own_t *own) {
    fi_plain_t *p = find(b, own->channel);

    if (!own->is_sender) {
        return fi_ear_open(b, own);
    }
    int r = p ? 0 : open_plain(b, own->channel, &p);
    if (r == 0) {
        p->senders++;
        fi_store_release32(&p->changed, 1); /* it may have been linked before we were told of it */
    }
    return r;
}

void fi_plain_closing(fi_bridge_t *b, const fi_own_t *own) {
    fi_plain_t *p = find(b, own->channel);

    if (!own->is_sender) {
        fi_ear_close(b, own->id);
    } else if (p && p->senders > 0) {
        p->senders--;
    }
}

bool fi_plain_is_linked(fi_bridge_t *b, const char *channel, uint64_t end, bool is_sender) {
    fi_plain_t *p = find(b, channel);
    bool linked = false;

    if (!is_sender) {
        return fi_ear_is_linked(b, end);
    }
    if (p && fi_end_enter(&p->rx->end, FI_END_RECEIVER) == 0) {
        for (uint32_t i = 0; i < p->rx->link_count; i++) {
            linked |= p->rx->links[i]->tx == end && p->rx->links[i]->live;
        }
        fi_end_leave(&p->rx->end);
    }
    return linked;
}

void fi_plain_denied(fi_bridge_t *b, const char *words) {
    struct fi_list *at, *after, *in, *next;

    fi_list_each(at, after, &b->plains) {
        const fi_plain_t *p = fi_container(at, fi_plain_t, link);
        fi_list_each(in, next, &p->sources) {
            fi_far_tell_denied(b, fi_container(in, source_t, link)->tx, words, p->subject);
        }
    }
}

void fi_plain_end(fi_bridge_t *b) {
    while (!fi_list_empty(&b->plains)) {
        close_plain(b, fi_container(b->plains.next, fi_plain_t, link));
    }
    fi_ear_end(b);
}
