/* SPDX-License-Identifier: MIT
 *
 * What others say about their requests and ask about services: a frame is taken by a thread of the library's,
 * and answered at once.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "net/call_served.h"
#include "platform/clock.h"

/* ---- frames ---- */

static void tell_has(fi_calls_t *calls, const char *reply, unsigned there) {
    char result[48];
    const fi_far_answer_t a = {.result = result};

    snprintf(result, sizeof result, "has %" PRIx64 " %x", calls->net->node->id, there);
    if (reply) {
        (void)fi_far_answer_send(calls, reply, &a);
    }
}

static void set_consumed(fi_served_t *v, uint64_t count) {
    if ((uint32_t)count - fi_load_relaxed32(&v->f.head.consumed) < UINT32_MAX / 2) {
        fi_store_release32(&v->f.head.consumed, (uint32_t)count);
        if (v->fs->service) {
            fi_far_changed(v->fs->service, &v->f);
        }
    }
}

/*
 * A client that has heard nothing for long sends its call again, though the first one may have been on its way all the
 * time:
 * this machine, or the NATS server, stood still.  Then the two are one call, which is known by the later attempt from
 * here on, and answered there.  Not if results of a stream have gone out: they belong to the earlier one.
 */
bool fi_served_is_again(fi_calls_t *calls, const fi_served_t *again) {
    const fi_call_frame_t q = {.node = again->f.node, .client = again->f.client, .id = again->f.head.id};
    fi_served_t *v = again->ours && again->reply[0] && q.id ? fi_served_find(calls, &q, 0) : NULL;

    if (!v || v->fs != again->fs || v->known_as > again->known_as || v->answering ||
        (v->fs->service && fi_far_has_died(v->fs->service, &v->f))) {
        return false;
    }
    v->known_as = again->known_as;
    v->heard_at = fi_now_ns();
    strcpy(v->reply, again->reply);
    if (v->whole) {
        fi_served_ask(v);
    } else {
        tell_has(calls, v->reply, 1);
    }
    return true;
}

/* The answer shall go elsewhere. */
static bool move(fi_served_t *v, const char *reply) {
    size_t n = strlen(reply);

    if (n < 3 || n - 2 >= sizeof v->reply || strcmp(reply + n - 2, ".p") != 0) {
        return false;
    }
    memcpy(v->reply, reply, n - 2);
    v->reply[n - 2] = '\0';
    return true;
}

static void probe(fi_calls_t *calls, const fi_call_frame_t *q, const char *reply, bool alone) {
    pthread_mutex_lock(&calls->lock);
    fi_served_t *v = fi_served_find(calls, q, q->attempt);
    bool there = v && (!v->fs->service || !fi_far_has_died(v->fs->service, &v->f));
    if (there) {
        set_consumed(v, q->a);
        v->heard_at = fi_now_ns();
    }
    struct fi_list *at;
    struct fi_list *after;
    fi_list_each(at, after, &calls->outgoing) {
        const fi_outgoing_t *o = fi_container(at, fi_outgoing_t, link);
        there |= o->node == q->node && o->client == q->client && o->id == q->id && q->c == o->serial;
    }
    bool moves = v && q->moves && reply && !v->answering && move(v, reply);
    if (there || alone) {
        tell_has(calls, reply, moves ? 2 : there);
    }
    if (v && v->coming) {
        fi_served_ask(v);
    }
    pthread_mutex_unlock(&calls->lock);
}

static void cancel(fi_calls_t *calls, const fi_call_frame_t *q) {
    struct fi_list *at;
    struct fi_list *after;

    pthread_mutex_lock(&calls->lock);
    fi_list_each(at, after, &calls->outgoing) {
        fi_outgoing_t *o = fi_container(at, fi_outgoing_t, link);
        if (o->node == q->node && o->client == q->client && o->id == q->id) {
            fi_outgoing_drop(calls, o);
        }
    }
    fi_served_t *v = fi_served_find(calls, q, 0);
    if (v && v->coming) {
        fi_served_take_out(v);
        fi_served_free(v);
    } else if (v) {
        (void)__atomic_fetch_or(&v->f.head.flags, FI_CALL_CANCELLED, __ATOMIC_RELEASE);
        if (v->fs->service) {
            fi_far_changed(v->fs->service, &v->f);
        }
    }
    pthread_cond_broadcast(&calls->changed);
    pthread_mutex_unlock(&calls->lock);
}

static void consumed(fi_calls_t *calls, const fi_call_frame_t *q) {
    pthread_mutex_lock(&calls->lock);
    fi_served_t *v = fi_served_find(calls, q, q->attempt);
    if (v) {
        set_consumed(v, q->a);
    }
    pthread_mutex_unlock(&calls->lock);
}

static int send_piece(fi_calls_t *calls, const char *reply, uint64_t serial, uint64_t from, const void *data,
                      size_t size) {
    natsMsg *msg = NULL;
    char result[48];

    snprintf(result, sizeof result, "chunk %" PRIx64 " %" PRIx64, serial, from);
    natsStatus s = fi_nats.natsMsg_Create(&msg, reply, NULL, data, (int)size);
    s = s == NATS_OK ? fi_nats.natsMsgHeader_Set(msg, "Ferry-Result", result) : s;
    s = s == NATS_OK ? fi_calls_publish_msg(calls, calls->net->bulk, &msg) : s;
    fi_nats.natsMsg_Destroy(msg);
    return s == NATS_OK ? 0 : -EIO;
}

/* The bytes are copied out piece by piece, so that the lock is not held while they are sent. */
static void pull(fi_calls_t *calls, const fi_call_frame_t *q, const char *reply) {
    size_t piece = fi_calls_piece(calls);
    uint64_t from = q->b;
    unsigned char *copy = reply ? malloc(piece) : NULL;

    for (unsigned i = 0; copy && i < FI_CALLS_WINDOW; i++) {
        pthread_mutex_lock(&calls->lock);
        fi_outgoing_t *o = fi_outgoing_find(calls, q->a);
        bool mine = o && o->node == q->node && o->client == q->client && o->id == q->id;
        uint64_t size = mine && from < o->size ? fi_min(o->size - from, piece) : 0;
        if (size > 0) {
            memcpy(copy, o->bytes + from, size);
            o->used_at = fi_now_ns();
        }
        pthread_mutex_unlock(&calls->lock);
        if (!mine) {
            tell_has(calls, reply, false);
        }
        if (size == 0 || send_piece(calls, reply, q->a, from, copy, size) < 0) {
            break;
        }
        from += size;
    }
    free(copy);
}

static void got(fi_calls_t *calls, const fi_call_frame_t *q) {
    pthread_mutex_lock(&calls->lock);
    fi_outgoing_t *o = fi_outgoing_find(calls, q->a);
    if (o && o->node == q->node && o->client == q->client && o->id == q->id) {
        fi_outgoing_drop(calls, o);
    }
    pthread_mutex_unlock(&calls->lock);
}

static void chunk(fi_calls_t *calls, const fi_call_frame_t *q, const unsigned char *bytes, size_t size) {
    int r = 0;

    pthread_mutex_lock(&calls->lock);
    fi_served_t *v = fi_served_find(calls, q, q->attempt);
    if (v && v->coming && q->b == v->have && size <= v->f.size - v->have) {
        memcpy(v->whole + v->have, bytes, size);
        v->have += size;
        v->heard_at = fi_now_ns();
        if (v->have == v->f.size) {
            fi_served_ask(v); /* of nothing: it is all here */
            v->coming = false;
            calls->coming_bytes -= v->f.size;
            r = v->fs->service ? 0 : -ESHUTDOWN;
            if (r == 0) {
                fi_far_push(v->fs->service, &v->f);
            } else {
                fi_served_take_out(v);
            }
        } else if (v->have >= v->asked) {
            fi_served_ask(v);
        }
    }
    pthread_mutex_unlock(&calls->lock);
    if (r < 0) {
        (void)fi_far_answer_refuse(calls, v->reply, true, r);
        fi_served_free(v);
    }
}

/* With the lock. */
static void fill_card(const fi_far_service_t *fs, fi_call_card_t *card) {
    ferry_service_stats_t stats = {0};

    (void)fi_service_stats(fs->service, &stats);
    *card = (fi_call_card_t){.version = FI_CALLS_VERSION,
                             .threads = stats.threads,
                             .node = fs->calls->net->node->id,
                             .calls = stats.calls,
                             .errors = stats.errors,
                             .refused = stats.refused + stats.expired,
                             .busy_ns = stats.busy_ns,
                             .p50_ns = stats.p50_ns,
                             .p99_ns = stats.p99_ns,
                             .age_ns = (uint64_t)(fi_now_ns() - fs->since),
                             .number = fs->number,
                             .running = stats.running};
    snprintf(card->name, sizeof card->name, "%s", fs->service->name);
}

static void tell_cards(fi_calls_t *calls, const char *reply, const unsigned char *name, size_t size) {
    struct fi_list *at;
    struct fi_list *after;
    fi_call_card_t card;

    pthread_mutex_lock(&calls->lock);
    fi_list_each(at, after, &calls->services) {
        const fi_far_service_t *fs = fi_container(at, fi_far_service_t, link);
        bool asked = fs->service &&
                     (size == 0 || (strlen(fs->service->name) == size && memcmp(fs->service->name, name, size) == 0));
        if (asked && reply) {
            fill_card(fs, &card);
            (void)fi_calls_publish(calls, calls->net->control, reply, NULL, &card, sizeof card);
        }
    }
    pthread_mutex_unlock(&calls->lock);
}

static void take_frame(fi_calls_t *calls, natsMsg *msg) {
    const unsigned char *bytes = (const unsigned char *)fi_nats.natsMsg_GetData(msg);
    size_t size = (size_t)fi_nats.natsMsg_GetDataLength(msg);
    const char *reply = fi_nats.natsMsg_GetReply(msg);
    const char *subject = fi_nats.natsMsg_GetSubject(msg);
    size_t len = strlen("ferry.") + strlen(calls->net->space);
    bool alone = strlen(subject) > len && strncmp(subject + len, ".n.", 3) == 0;
    fi_call_frame_t q;

    if (size < sizeof q || (reply && strlen(reply) >= FI_SUBJECT_MAX)) {
        return;
    }
    memcpy(&q, bytes, sizeof q);
    if (q.version != FI_CALLS_VERSION) {
        return; /* its sender was told by the answer to its call */
    }
    bytes += sizeof q;
    size -= sizeof q;
    switch (q.type) {
    case FI_FRAME_PROBE:
        probe(calls, &q, reply, alone);
        return;
    case FI_FRAME_CANCEL:
        cancel(calls, &q);
        return;
    case FI_FRAME_CONSUMED:
        consumed(calls, &q);
        return;
    case FI_FRAME_PULL:
        pull(calls, &q, reply);
        return;
    case FI_FRAME_GOT:
        got(calls, &q);
        return;
    case FI_FRAME_CHUNK:
        chunk(calls, &q, bytes, size);
        return;
    case FI_FRAME_CARD:
        tell_cards(calls, reply, bytes, size);
        return;
    default:
        return;
    }
}

void fi_far_service_hear(natsConnection *c, natsSubscription *sub, natsMsg *msg, void *arg) {
    fi_calls_t *calls = arg;

    (void)c;
    (void)sub;
    if (fi_calls_enter(calls)) {
        take_frame(calls, msg);
        fi_calls_leave(calls);
    }
    fi_nats.natsMsg_Destroy(msg);
}
