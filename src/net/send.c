/* SPDX-License-Identifier: MIT
 *
 * Sending a flow: small messages together, as many as wait; large ones in pieces.
 *
 * Nothing waits for more to come: a message that is alone goes alone. What comes while one batch is being written makes
 * the next one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "net/out.h"

void fi_far_topic_subject(const fi_bridge_t *b, char out[FI_SUBJECT_MAX], const char *channel, uint64_t node) {
    fi_net_subject(b->net, out, "t", channel);
    size_t len = strlen(out);
    snprintf(out + len, FI_SUBJECT_MAX - len, ".%016" PRIx64, node);
}

static size_t record_bytes(const fi_kept_t *k) {
    bool described = k->tag != 0 || k->time_ns != 0;

    return sizeof(fi_far_record_t) + (described ? sizeof(fi_far_described_t) : 0) + fi_align_up(k->size, 8);
}

static const void *bytes_of(const fi_kept_t *k) {
    return k->msg ? k->msg->data : k->copy;
}

/* Writes a record's head, and `size` of its bytes from `offset`. Returns how far. */
static unsigned char *put_record(unsigned char *to, const fi_kept_t *k, uint64_t offset, size_t size) {
    fi_far_record_t rec = {.size = (uint32_t)size, .attempt = (uint16_t)k->attempt, .seq = k->seq};
    fi_far_described_t described = {k->tag, k->time_ns};

    bool described_too = k->tag != 0 || k->time_ns != 0;
    rec.described = (uint16_t)((described_too ? FI_FAR_DESCRIBED : 0) | (k->origin ? FI_FAR_ORIGIN : 0));
    memcpy(to, &rec, sizeof rec);
    to += sizeof rec;
    if (described_too) {
        memcpy(to, &described, sizeof described);
        to += sizeof described;
    }
    if (size > 0) {
        memcpy(to, (const unsigned char *)bytes_of(k) + offset, size);
    }
    return to + fi_align_up(size, 8);
}

static bool publish(fi_bridge_t *b, const fi_flow_t *f, const char *subject, uint64_t token, uint64_t number,
                    uint64_t offset, uint64_t total, size_t len) {
    fi_far_frame_t frame = fi_far_frame(b, FI_FAR_DATA, f->outward->kind, "");

    frame.head.tx = f->tx;
    frame.head.token = token;
    frame.head.a = number;
    frame.head.b = offset;
    frame.head.c = total;
    memcpy(b->buffer, &frame.head, FI_FAR_HEAD);
    b->progress = true;
    return fi_net_send(b->net, b->net->bulk, subject, b->buffer, len) == 0;
}

/* For everybody whom it reaches: `only`, or all arms that are live. */
static void count(const fi_flow_t *f, fi_arm_t *only, size_t bytes, uint64_t messages, bool again) {
    for (struct fi_list *at = f->arms.next; at != &f->arms; at = at->next) {
        const fi_arm_t *arm = fi_container(at, fi_arm_t, link);
        if (only ? arm == only : arm->live) {
            fi_far_traffic_t *t = &arm->dest->node->traffic;
            t->bytes_sent += bytes;
            t->messages_sent += messages;
            t->resent += again ? messages : 0;
        }
    }
}

/* Messages from `number` to `last` that fit into one batch. Returns how many were sent; 0: none could be. */
static uint64_t send_batch(fi_bridge_t *b, const fi_flow_t *f, fi_arm_t *only, const char *subject, uint64_t token,
                           uint64_t number, uint64_t last) {
    unsigned char *to = b->buffer + FI_FAR_HEAD;
    size_t most = fi_min((size_t)FI_FAR_BATCH, b->piece);
    uint64_t n = number;

    while (n <= last) {
        const fi_kept_t *k = fi_flow_at(f, n);
        size_t room = (n == number ? b->piece : most) - (size_t)(to - b->buffer);
        if ((size_t)(to - b->buffer) > most || record_bytes(k) > room) {
            break;
        }
        to = put_record(to, k, 0, k->size);
        n++;
    }
    if (!publish(b, f, subject, token, number, 0, 0, (size_t)(to - b->buffer))) {
        return 0;
    }
    count(f, only, (size_t)(to - b->buffer), n - number, only || number <= f->most);
    return n - number;
}

static size_t piece_room(const fi_bridge_t *b, const fi_flow_t *f) {
    return (fi_min(b->piece, (size_t)f->window) - FI_FAR_LEAD) & ~(size_t)7;
}

/* A piece that is not written within FI_NET_WRITE_MS takes the connection with it. So on a slow line pieces get
 * smaller. */
static void choose_piece(fi_bridge_t *b, int64_t took) {
    if (took > FI_NET_WRITE_MS * 1000000ll / 4) {
        b->piece = fi_max(b->piece / 2, fi_min(b->piece, (size_t)FI_FAR_BATCH + FI_FAR_HEAD));
    }
}

/* The piece of a message that begins at `offset`. Returns its bytes; 0: it could not be sent. */
static size_t send_piece(fi_bridge_t *b, const fi_flow_t *f, fi_arm_t *only, const char *subject, uint64_t token,
                         uint64_t number, uint64_t offset) {
    const fi_kept_t *k = fi_flow_at(f, number);
    size_t size = (size_t)fi_min((uint64_t)piece_room(b, f), k->size - offset);
    const unsigned char *end = put_record(b->buffer + FI_FAR_HEAD, k, offset, size);
    int64_t begin = fi_now_ns();

    bool sent = publish(b, f, subject, token, number, offset, k->size, (size_t)(end - b->buffer));
    choose_piece(b, fi_now_ns() - begin);
    if (!sent) {
        return 0;
    }
    count(f, only, (size_t)(end - b->buffer), offset + size == k->size, only || number <= f->most);
    return size;
}

static bool is_small(const fi_bridge_t *b, const fi_flow_t *f, const fi_kept_t *k) {
    return k->size <= piece_room(b, f);
}

static void send_new(fi_bridge_t *b, fi_flow_t *f, const char *subject, uint64_t token) {
    while (f->sent + 1 < f->next && fi_flow_window_is_open(f)) {
        const fi_kept_t *k = fi_flow_at(f, f->sent + 1);
        if (f->piece > 0 || !is_small(b, f, k)) { /* what has begun in pieces goes on so, though the window grows */
            size_t size = send_piece(b, f, NULL, subject, token, f->sent + 1, f->piece);
            if (size == 0) {
                return;
            }
            f->way_bytes += size;
            f->piece += size;
            if (f->piece == k->size) {
                f->piece = 0;
                f->sent++;
            }
            fi_flow_time(f);
            continue;
        }
        uint64_t sent = send_batch(b, f, NULL, subject, token, f->sent + 1, f->next - 1);
        if (sent == 0) {
            return;
        }
        for (; sent > 0; sent--) {
            f->way_bytes += fi_flow_at(f, ++f->sent)->size;
        }
        fi_flow_time(f);
    }
}

/* To one node of a topic: what it lacks of what was sent to all. */
static void send_missing(fi_bridge_t *b, fi_flow_t *f, fi_arm_t *arm, const char *subject) {
    uint64_t last = f->sent;

    while (arm->again && arm->again <= last) {
        const fi_kept_t *k = fi_flow_at(f, arm->again);
        uint64_t sent = 1;
        if (arm->again < f->first) {
            arm->again = f->first; /* there was no memory to retain it */
            continue;
        }
        if (is_small(b, f, k)) {
            sent = send_batch(b, f, arm, subject, arm->token, arm->again, last);
        }
        for (uint64_t offset = 0; !is_small(b, f, k) && offset < k->size && sent > 0;) {
            size_t size = send_piece(b, f, arm, subject, arm->token, arm->again, offset);
            offset += size;
            sent = size > 0;
        }
        if (sent == 0) {
            return;
        }
        arm->again += sent;
    }
    if (arm->again && f->piece > 0) {
        f->piece = f->way_bytes = 0; /* it begins anew, for all */
    }
    arm->again = 0;
}

static void tell_end(fi_bridge_t *b, fi_flow_t *f) {
    fi_far_frame_t shut = fi_far_frame(b, FI_FAR_SHUT, f->outward->kind, f->outward->channel);

    shut.head.tx = f->tx;
    shut.head.a = f->next - 1;
    f->shut = true;
    for (struct fi_list *at = f->arms.next; at != &f->arms; at = at->next) {
        const fi_arm_t *arm = fi_container(at, fi_arm_t, link);
        if (arm->live) {
            shut.head.token = arm->token;
            fi_far_send(b, arm->dest->node->id, &shut);
        } else {
            f->shut = false; /* it will be told when it is ready */
        }
    }
}

void fi_flow_send(fi_bridge_t *b, fi_flow_t *f) {
    char subject[FI_SUBJECT_MAX];
    uint64_t token = 0;
    bool live = false;

    if (!fi_net_is_up(b->net)) {
        return;
    }
    for (struct fi_list *at = f->arms.next; at != &f->arms; at = at->next) {
        fi_arm_t *arm = fi_container(at, fi_arm_t, link);
        if (arm->live) {
            live = true;
            fi_net_node_subject(b->net, subject, arm->dest->node->id, NULL);
            token = arm->token;
            if (f->outward->kind == FERRY_TOPIC) {
                send_missing(b, f, arm, subject);
            }
        }
    }
    if (live && f->outward->kind == FERRY_TOPIC) {
        fi_far_topic_subject(b, subject, f->outward->channel, b->net->node->id);
        token = 0;
    }
    if (live) {
        send_new(b, f, subject, token);
    }
    f->most = fi_max(f->most, f->sent);
    if (f->ended && !f->shut && f->sent + 1 == f->next) {
        tell_end(b, f);
    }
}
