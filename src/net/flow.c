/* SPDX-License-Identifier: MIT
 *
 * A flow: one own sender's messages on their way, numbered, and kept until all who shall have them have said so; and
 * its arms, one for each node.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "channel/messages.h"
#include "net/out.h"
#include "platform/process.h"

/* ---- keeping ---- */

int fi_flow_make_room(fi_flow_t *f) {
    if (f->next - f->first < f->kept_cap) {
        return 0;
    }
    uint32_t cap = f->kept_cap ? 2 * f->kept_cap : 64;
    fi_kept_t *more = malloc(cap * sizeof *more);
    if (!more) {
        return -ENOMEM;
    }
    for (uint64_t i = f->first; i < f->next; i++) {
        more[i & (cap - 1)] = *fi_flow_at(f, i);
    }
    free(f->kept);
    f->kept = more;
    f->kept_cap = cap;
    return 0;
}

void fi_flow_keep(fi_flow_t *f, ferry_msg_t *m) {
    ferry_msg_info_t info = {.size = sizeof info};

    fi_taken_describe(m, &info);
    *fi_flow_at(f, f->next++) = (fi_kept_t){.msg = m,
                                            .size = m->size + (m->origin ? sizeof(struct fi_origin) : 0),
                                            .seq = info.sequence,
                                            .tag = info.tag,
                                            .time_ns = info.time_ns,
                                            .attempt = info.attempt,
                                            .origin = m->origin != NULL};
    f->held_bytes += fi_flow_at(f, f->next - 1)->size;
}

/* Numbers up to which every arm has what `of` says. */
static uint64_t least(const fi_flow_t *f, bool released) {
    uint64_t number = f->next - 1;

    for (const struct fi_list *at = f->arms.next; at != &f->arms; at = at->next) {
        const fi_arm_t *arm = fi_container(at, fi_arm_t, link);
        number = fi_min(number, released ? arm->released : arm->received);
    }
    return number;
}

void fi_flow_let_go(fi_flow_t *f, fi_kept_t *k) {
    fi_taken_release_held(k->msg);
    k->msg = NULL;
    f->held_bytes -= k->size;
}

/* A copy for those who come late, if there is memory for it. */
static void keep_copy(const fi_flow_t *f, fi_kept_t *k, uint64_t number) {
    if (f->retain > 0 && number + f->retain >= f->next) {
        k->copy = malloc(k->size ? k->size : 1);
        if (k->copy) {
            memcpy(k->copy, k->msg->data, k->size);
        }
    }
}

static void forget_first(fi_flow_t *f) {
    fi_kept_t *k = fi_flow_at(f, f->first++);

    f->before = k->seq;
    free(k->copy);
}

void fi_flow_forget_history(fi_flow_t *f) {
    while (f->first < f->held) {
        forget_first(f);
    }
}

/* Releases what all have. The outward's end is held. */
void fi_flow_release(fi_bridge_t *b, fi_flow_t *f) {
    uint64_t acked = fi_min(least(f, false), f->sent);
    uint64_t to = fi_min(least(f, true), f->sent);

    for (; f->acked < acked; f->acked++) {
        f->way_bytes -= fi_min(f->way_bytes, fi_flow_at(f, f->acked + 1)->size);
    }
    fi_flow_adapt(b, f);
    for (; f->held <= to; f->held++) {
        fi_kept_t *k = fi_flow_at(f, f->held);
        if (k->msg) {
            keep_copy(f, k, f->held);
            fi_flow_let_go(f, k);
        }
        b->progress = true;
    }
    while (f->first < f->held && f->first + f->retain < f->next) {
        forget_first(f);
    }
}

void fi_flow_send_again(fi_flow_t *f, fi_arm_t *arm) {
    fi_flow_narrow(f); /* it was lost with a connection, ours or that of the node */
    if (f->outward->kind == FERRY_TOPIC) {
        arm->again = arm->received + 1;
        return;
    }
    f->sent = arm->received;
    f->piece = f->sent + 1 < f->next && arm->got < fi_flow_at(f, f->sent + 1)->size ? arm->got : 0;
    f->way_bytes = f->piece;
}

/* ---- flows and arms ---- */

/* The sequence number of what it shall not have, or has. */
static uint64_t seq_before(const fi_flow_t *f, const fi_arm_t *arm) {
    return arm->received < f->first ? f->before : fi_flow_at(f, arm->received)->seq;
}

void fi_arm_open(fi_bridge_t *b, fi_flow_t *f, const fi_arm_t *arm) {
    fi_far_frame_t frame = fi_far_frame(b, FI_FAR_OPEN, f->outward->kind, f->outward->channel);
    const fi_own_t *own = fi_own_find(b, f->tx);

    frame.head.tx = f->tx;
    frame.head.token = arm->token;
    frame.head.a = seq_before(f, arm);
    frame.head.b = f->retain;
    frame.head.c = own ? own->quota : 0;
    if (own) {
        frame.contract = own->contract;
    }
    fi_far_send(b, arm->dest->node->id, &frame);
}

bool fi_arm_add(fi_bridge_t *b, fi_flow_t *f, fi_dest_t *d) {
    fi_arm_t *arm = calloc(1, sizeof *arm);

    if (!arm) {
        return false;
    }
    uint64_t history = d->no_history ? 0 : fi_min((uint64_t)f->retain, f->sent + 1 - f->first);
    arm->dest = d;
    arm->token = fi_random64();
    arm->received = arm->released = f->outward->kind == FERRY_TOPIC ? f->sent - history : 0;
    fi_list_add_tail(&f->arms, &arm->link);
    fi_arm_open(b, f, arm);
    return true;
}

void fi_arm_remove(fi_arm_t *arm) {
    fi_list_remove(&arm->link);
    free(arm);
}

void fi_flow_free(fi_flow_t *f) {
    while (!fi_list_empty(&f->arms)) {
        fi_arm_remove(fi_container(f->arms.next, fi_arm_t, link));
    }
    while (f->first < f->next) {
        forget_first(f);
    }
    fi_list_remove(&f->link);
    free(f->kept);
    free(f);
}
