/* SPDX-License-Identifier: MIT
 *
 * Topics of other machines: where they are heard, by whom, and how far.
 *
 * A topic is heard on a subject for each node that publishes.  When such a node was given up, or has given up this one,
 * and comes again, its senders are the same ends as before, and their numbers go on.  What they have sent meanwhile is
 * lost to the receivers here; these are told so with the next message that comes (lost_before).  So are receivers that
 * were promised to a sender when it was opened, and whose node was given up before they had been linked.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/bridge.h"

#define MOST_NOTED 1024u /* senders; then the oldest are forgotten */

/* ---- where ---- */

fi_hearing_t *fi_hear(fi_bridge_t *b, const char *channel, uint64_t node) {
    struct fi_list *at;
    struct fi_list *after;
    char subject[FI_SUBJECT_MAX];

    fi_list_each(at, after, &b->hearings) {
        fi_hearing_t *h = fi_container(at, fi_hearing_t, link);
        if (h->node == node && strcmp(h->channel, channel) == 0) {
            h->users++;
            return h;
        }
    }
    fi_hearing_t *h = calloc(1, sizeof *h);
    if (!h) {
        return NULL;
    }
    fi_far_topic_subject(b, subject, channel, node);
    if (fi_bridge_listen(b, subject, &h->sub) < 0) {
        free(h);
        return NULL;
    }
    h->node = node;
    h->users = 1;
    snprintf(h->channel, sizeof h->channel, "%s", channel);
    fi_list_add_tail(&b->hearings, &h->link);
    return h;
}

void fi_heard_end(fi_bridge_t *b, fi_hearing_t *h) {
    if (h && --h->users == 0) {
        fi_list_remove(&h->link);
        fi_net_unsubscribe(b->net, b->net->bulk, h->sub);
        free(h);
    }
}

/* ---- by whom ---- */

bool fi_heard_by_all(const fi_sender_t *passes_on) {
    const fi_outlet_t *o = passes_on->topic;

    for (uint32_t i = 0; i < o->link_count; i++) {
        if (!o->links[i]->live) {
            return false;
        }
    }
    return fi_node_is_settled(passes_on->end.node, &passes_on->end);
}

/* ---- how far ---- */

typedef struct fi_noted {
    struct fi_list link;
    uint64_t node, end; /* the sender */
    char channel[104];
    uint64_t seq; /* of the last of its messages that was passed on here, or was not for here */
} fi_noted_t;

static void forget(fi_bridge_t *b, fi_noted_t *n) {
    fi_list_remove(&n->link);
    b->noted_count--;
    free(n);
}

static fi_noted_t *find_noted(fi_bridge_t *b, uint64_t node, uint64_t end) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &b->noted) {
        fi_noted_t *n = fi_container(at, fi_noted_t, link);
        if (n->node == node && n->end == end) {
            return n;
        }
    }
    return NULL;
}

static void note(fi_bridge_t *b, uint64_t node, uint64_t end, const char *channel, uint64_t seq) {
    fi_noted_t *n = calloc(1, sizeof *n);

    if (!n) {
        return;
    }
    if (b->noted_count == MOST_NOTED) {
        forget(b, fi_container(b->noted.next, fi_noted_t, link));
    }
    n->node = node;
    n->end = end;
    n->seq = seq;
    snprintf(n->channel, sizeof n->channel, "%s", channel);
    fi_list_add_tail(&b->noted, &n->link);
    b->noted_count++;
}

void fi_heard_note(fi_bridge_t *b, const fi_sender_t *passes_on) {
    note(b, passes_on->part.from_node, passes_on->part.from_end, passes_on->end.channel, passes_on->seq);
}

/* What goes to all may come after what goes to this node: then it is linked already, or was. */
void fi_heard_promise(fi_bridge_t *b, const fi_far_frame_t *seek) {
    bool known = find_noted(b, seek->head.node, seek->head.tx) != NULL;

    for (const struct fi_list *at = b->inwards.next; at != &b->inwards; at = at->next) {
        const fi_inward_t *in = fi_container(at, fi_inward_t, link);
        known |= in->tx == seek->head.tx && in->node && in->node->id == seek->head.node;
    }
    if (!known) {
        note(b, seek->head.node, seek->head.tx, seek->channel, 0);
    }
}

bool fi_heard_goes_on(fi_bridge_t *b, uint64_t node, uint64_t end, uint64_t *seq) {
    fi_noted_t *n = find_noted(b, node, end);

    if (n) {
        *seq = n->seq;
        forget(b, n);
    }
    return n != NULL;
}

void fi_heard_forget(fi_bridge_t *b, const char *channel) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &b->noted) {
        fi_noted_t *n = fi_container(at, fi_noted_t, link);
        if (!channel || strcmp(n->channel, channel) == 0) {
            forget(b, n);
        }
    }
}
