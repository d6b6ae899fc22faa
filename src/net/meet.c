/* SPDX-License-Identifier: MIT
 *
 * Who sends and who receives, elsewhere and here; and opens that wait to be told.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "net/durable.h"
#include "net/plain.h"
#include "platform/clock.h"

fi_own_t *fi_own_find(fi_bridge_t *b, uint64_t id) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &b->owns) {
        fi_own_t *o = fi_container(at, fi_own_t, link);
        if (o->id == id) {
            return o;
        }
    }
    return NULL;
}

/* ---- askings ---- */

void fi_asking_end(fi_bridge_t *b, fi_asking_t *a) {
    fi_list_remove(&a->link);
    pthread_mutex_lock(&b->lock);
    bool abandoned = a->abandoned;
    a->done = true;
    pthread_cond_broadcast(&b->answered);
    pthread_mutex_unlock(&b->lock);
    if (abandoned) {
        free(a);
    }
}

static void refuse_asking(fi_asking_t *a, int error, const char *text) {
    a->error = error;
    snprintf(a->text, sizeof a->text, "%s", text);
    a->patience.left = 0;
}

static fi_asking_t *find_asking(fi_bridge_t *b, uint32_t number) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &b->askings) {
        fi_asking_t *a = fi_container(at, fi_asking_t, link);
        if (a->number == number) {
            return a;
        }
    }
    return NULL;
}

/* A receiver's asking counts, in `expected`, what its senders' nodes have announced; a sender's looks at its arms. */
static bool is_settled(fi_bridge_t *b, const fi_asking_t *a) {
    if (a->unanswered > 0) {
        return false;
    }
    return a->is_sender ? fi_out_settled(b, a->end, a->kind, a->channel)
                        : fi_in_count(b, a->kind, a->channel) >= a->expected;
}

/* What a durable topic's sender, or a plain one, sends before somebody here takes it would go nowhere; and what others
 * publish for a plain receiver. */
bool fi_meet_needs_link(const fi_own_t *own) {
    return own->plain ||
           (own->is_sender && own->contract.durable == FERRY_DURABLE && (ferry_kind_t)own->kind == FERRY_TOPIC);
}

/* That is waited for, longer. */
static bool lacks_link(fi_bridge_t *b, const fi_asking_t *a) {
    if (a->error < 0 || a->kind != FERRY_TOPIC) {
        return false;
    }
    return a->plain ? !fi_plain_is_linked(b, a->channel, a->end, a->is_sender)
                    : a->is_sender && a->durable && !fi_deposit_is_linked(b, FERRY_TOPIC, a->channel, a->end);
}

#define LINK_AGAIN_NS 2000000 /* nobody tells the bridge when a sender of its own is linked */

/* ns until this one is to be looked at again; 0: it is over. */
static int64_t look_at(fi_bridge_t *b, fi_asking_t *a, int64_t now) {
    bool goes_on = fi_patience_goes_on(&a->patience);
    int64_t until = fi_patience_slice(&a->patience);

    if (fi_node_is_shut(b->net->node)) {
        return 0;
    }
    if (!lacks_link(b, a)) {
        return goes_on && !is_settled(b, a) ? fi_later(until - now, 1) : 0;
    }
    if (now >= a->link_by) {
        refuse_asking(a, -ETIMEDOUT, "the node's own threads did not get to link it with the way to the server");
        return 0;
    }
    return LINK_AGAIN_NS;
}

int64_t fi_meet_settle(fi_bridge_t *b) {
    struct fi_list *at;
    struct fi_list *after;
    int64_t now = fi_now_ns();
    int64_t next = -1;

    fi_list_each(at, after, &b->askings) {
        fi_asking_t *a = fi_container(at, fi_asking_t, link);
        int64_t left = look_at(b, a, now);
        if (left == 0) {
            fi_asking_end(b, a);
        } else {
            next = fi_sooner(next, left);
        }
    }
    return next;
}

void fi_meet_denied(fi_bridge_t *b, const char *words) {
    char all[FI_SUBJECT_MAX];
    struct fi_list *at;
    struct fi_list *after;

    fi_net_subject(b->net, all, "all", NULL);
    fi_list_each(at, after, &b->askings) {
        fi_asking_t *a = fi_container(at, fi_asking_t, link);
        if (fi_net_denies(words, all)) {
            refuse_asking(a, fi_permit_refuse(a->channel, words), fi_error_text());
        }
    }
}

/* Messages of one sender that this node's receivers may have at once, all together; 0: no limit. */
static uint64_t prefetch_of_all(const fi_bridge_t *b, const char *channel) {
    uint64_t sum = 0;

    for (const struct fi_list *at = b->owns.next; at != &b->owns; at = at->next) {
        const fi_own_t *o = fi_container(at, fi_own_t, link);
        if (!o->is_sender && o->kind == FERRY_QUEUE && strcmp(o->channel, channel) == 0) {
            if (o->prefetch == 0) {
                return 0;
            }
            sum += o->prefetch;
        }
    }
    return sum;
}

/* "There is such an end here." */
static fi_far_frame_t tell_of(fi_bridge_t *b, const fi_own_t *o) {
    fi_far_frame_t f = fi_far_frame(b, o->is_sender ? FI_FAR_SEEK : FI_FAR_HAVE, o->kind, o->channel);

    f.head.tx = o->id;
    f.head.flags = o->flags;
    f.contract = o->contract;
    if (!o->is_sender) {
        f.head.b = o->kind == FERRY_QUEUE ? prefetch_of_all(b, o->channel) : 0;
        f.head.c = ++b->haves_ever;
    }
    return f;
}

static void ask(fi_bridge_t *b, const fi_own_t *o, uint64_t to, uint32_t asker) {
    fi_far_frame_t f = tell_of(b, o);

    f.head.asker = asker;
    fi_far_send(b, to, &f);
}

static uint32_t count_nodes(const fi_bridge_t *b) {
    uint32_t count = 0;

    for (const struct fi_list *at = b->nodes.next; at != &b->nodes; at = at->next) {
        count += !fi_container(at, fi_far_node_t, link)->silent_since;
    }
    return count;
}

static bool is_durable(const fi_own_t *o) {
    return o->contract.durable == FERRY_DURABLE;
}

static int open_durable(fi_bridge_t *b, const fi_own_t *o) {
    return o->is_sender             ? fi_deposit_opened(b, o)
           : o->kind == FERRY_TOPIC ? fi_reader_opened(b, o)
                                    : fi_pickup_opened(b, o);
}

static void close_durable(fi_bridge_t *b, const fi_own_t *o) {
    if (o->is_sender) {
        fi_deposit_closing(b, o);
    } else if (o->kind == FERRY_TOPIC) {
        fi_reader_closing(b, o);
    } else {
        fi_pickup_closing(b, o);
    }
}

void fi_meet_own(fi_bridge_t *b, fi_box_item_t *item) {
    fi_own_t *o = malloc(sizeof *o);
    fi_asking_t *a = item->asking;

    a->number = ++b->askings_ever;
    a->end = item->own.id;
    a->is_sender = item->own.is_sender;
    a->kind = item->own.kind;
    memcpy(a->channel, item->own.channel, sizeof a->channel);
    a->durable = is_durable(&item->own);
    a->plain = item->own.plain;
    a->patience.left = FI_FAR_SETTLE_NS;
    a->link_by = fi_patience_slice(&a->patience) + FI_FAR_SETTLE_NS + FI_OWN_LINK_NS;
    bool up = fi_net_is_up(b->net);
    a->unanswered = up ? count_nodes(b) : 0;
    fi_list_add_tail(&b->askings, &a->link);
    if (!o) {
        refuse_asking(a, -ENOMEM, "no memory to tell other machines of an end");
        return;
    }
    *o = item->own;
    fi_list_add_tail(&b->owns, &o->link);
    int r = is_durable(o) ? open_durable(b, o) : o->plain ? fi_plain_opened(b, o) : 0;
    if (r < 0) {
        refuse_asking(a, r, fi_error_text());
        fi_list_remove(&o->link); /* nothing of it is to be closed */
        free(o);
        return;
    }
    fi_out_opened(b, o);
    ask(b, o, 0, up ? a->number : 0); /* what comes later does not come from who is just being opened */
}

static const fi_own_t *find_receiver(fi_bridge_t *b, uint32_t kind, const char *channel) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &b->owns) {
        const fi_own_t *o = fi_container(at, fi_own_t, link);
        if (!o->is_sender && o->kind == kind && strcmp(o->channel, channel) == 0) {
            return o;
        }
    }
    return NULL;
}

bool fi_meet_has_receivers(fi_bridge_t *b, uint32_t kind, const char *channel) {
    return find_receiver(b, kind, channel) != NULL;
}

static void receiver_closes(fi_bridge_t *b, const fi_own_t *o) {
    const fi_own_t *other = find_receiver(b, o->kind, o->channel);
    fi_far_frame_t f = fi_far_frame(b, FI_FAR_GONE, o->kind, o->channel);

    if (!other) {
        fi_in_close_channel(b, o->kind, o->channel);
        fi_far_send_each(b, &f);
    } else if (o->kind == FERRY_QUEUE && prefetch_of_all(b, o->channel) > 0) {
        ask(b, other, 0, 0); /* fewer messages at once are enough */
    }
}

void fi_meet_closing(fi_bridge_t *b, uint64_t end) {
    fi_own_t *o = fi_own_find(b, end);

    if (!o) {
        return;
    }
    fi_list_remove(&o->link);
    if (o->plain) {
        fi_plain_closing(b, o);
    }
    if (is_durable(o)) {
        close_durable(b, o);
    } else if (!o->is_sender) {
        receiver_closes(b, o);
    }
    free(o);
}

void fi_meet_again(fi_bridge_t *b, uint64_t to) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &b->owns) {
        ask(b, fi_container(at, fi_own_t, link), to, 0);
    }
}

void fi_meet_node_gone(fi_bridge_t *b, const fi_far_node_t *n) {
    struct fi_list *at;
    struct fi_list *after;

    (void)n;
    fi_list_each(at, after, &b->askings) {
        fi_asking_t *a = fi_container(at, fi_asking_t, link);
        a->unanswered -= a->unanswered > 0;
    }
}

/* ---- others' ends ---- */

/* May an own end and one elsewhere be linked? -EPROTOTYPE, with a sentence. */
static int match(const fi_own_t *o, const fi_far_frame_t *f) {
    fi_contract_t both = o->contract;

    if (o->kind != f->head.kind) {
        return fi_fail(-EPROTOTYPE, "'%s' is a %s here and a %s on another machine; use another name or the same kind",
                       o->channel, o->kind == FERRY_QUEUE ? "queue" : "topic",
                       f->head.kind == FERRY_QUEUE ? "queue" : "topic");
    }
    return fi_contract_merge(&both, &f->contract, o->channel, o->is_sender ? "a sender" : "a receiver",
                             o->is_sender ? "a receiver on another machine" : "a sender on another machine");
}

static void answer(fi_bridge_t *b, const fi_far_node_t *n, const fi_far_frame_t *to, int error, uint64_t count) {
    fi_far_frame_t f = fi_far_frame(b, error < 0 ? FI_FAR_REFUSED : FI_FAR_SETTLED, to->head.kind, to->channel);

    f.head.asker = to->head.asker;
    f.head.a = count;
    if (error < 0) {
        snprintf(f.text, sizeof f.text, "%s", fi_error_text());
    }
    fi_far_send(b, n->id, &f);
}

/* A sender elsewhere, or a receiver: what do we have for it? */
static void met(fi_bridge_t *b, fi_far_node_t *n, const fi_far_frame_t *f) {
    bool sender = f->head.type == FI_FAR_SEEK;
    struct fi_list *at;
    struct fi_list *after;
    uint64_t count = 0;
    int r = 0;

    fi_list_each(at, after, &b->owns) {
        const fi_own_t *o = fi_container(at, fi_own_t, link);
        if (strcmp(o->channel, f->channel) != 0 || (o->is_sender == sender && o->kind == f->head.kind)) {
            continue;
        }
        r = match(o, f);
        if (r < 0) {
            break;
        }
        if (is_durable(o)) {
            continue; /* they meet in the stream */
        }
        count++;
        if (sender && count == 1) {
            ask(b, o, n->id, 0);
        }
    }
    if (r == 0 && count > 0 && !sender) {
        fi_out_serve(b, f, n);
    } else if (r == 0 && count > 0 && f->head.kind == FERRY_TOPIC && f->head.asker) {
        fi_heard_promise(b, f);
    }
    if (f->head.asker) {
        answer(b, n, f, r, count);
    }
}

static void settled(fi_bridge_t *b, const fi_far_frame_t *f) {
    fi_asking_t *a = find_asking(b, f->head.asker);

    if (!a) {
        return;
    }
    if (f->head.type == FI_FAR_REFUSED) {
        refuse_asking(a, -EPROTOTYPE, f->text);
        return;
    }
    a->unanswered -= a->unanswered > 0;
    a->expected += (uint32_t)fi_min(f->head.a, 100000ull);
}

void fi_meet_frame(fi_bridge_t *b, fi_far_node_t *n, const fi_far_frame_t *f) {
    switch (f->head.type) {
    case FI_FAR_SEEK:
    case FI_FAR_HAVE:
        met(b, n, f);
        break;
    case FI_FAR_SETTLED:
        settled(b, f);
        break;
    case FI_FAR_REFUSED:
        if (f->head.asker) {
            settled(b, f);
        } else {
            fi_out_frame(b, n, f);
        }
        break;
    case FI_FAR_GONE:
        fi_out_unserve(b, f->head.kind, f->channel, n);
        break;
    case FI_FAR_OPEN:
    case FI_FAR_LIVE:
    case FI_FAR_SHUT:
    case FI_FAR_PROBE:
        fi_in_frame(b, n, f);
        break;
    case FI_FAR_READY:
    case FI_FAR_ACK:
    case FI_FAR_FATE:
        fi_out_frame(b, n, f);
        break;
    case FI_FAR_LOST:
        if (f->head.flags & FI_FAR_TO_RECEIVER) {
            fi_in_frame(b, n, f);
        } else {
            fi_out_frame(b, n, f);
        }
        break;
    default: /* of a later version: it will do without */
        break;
    }
}
