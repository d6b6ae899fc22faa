/* SPDX-License-Identifier: MIT
 *
 * The nodes on other machines: how they are met, watched while there are links, and given up.
 *
 * Nobody sends heartbeats.  A node with which there are links is asked now and then; when its connection is gone, the
 * server answers for it at once.  That may be a node that is being reconnected, so it is asked again, and given up when
 * the server says so of a question that was asked FI_NET_DEAD_NS later.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "net/bridge.h"
#include "platform/clock.h"

#define ASK_AGAIN_NS 100000000ll /* one whose connection seems gone */
#define PAUSE_NS 1000000000ll    /* a node that was not asked for so long may have been there meanwhile */
#define CARDS_NS 10000000ll      /* at least, that a newcomer waits for those who are there */
#define ROUND_TRIPS 4
#define FRESH_NS 1000000000ll /* a round trip that was measured so lately is not measured again for who asks */

fi_far_frame_t fi_far_frame(const fi_bridge_t *b, enum fi_far_type type, uint32_t kind, const char *channel) {
    fi_far_frame_t f;

    memset(&f, 0, sizeof f);
    f.head = (fi_far_head_t){.magic = FI_FAR_MAGIC,
                             .version = FI_NET_VERSION,
                             .type = (uint8_t)type,
                             .kind = (uint16_t)kind,
                             .node = b->net->node->id};
    snprintf(f.channel, sizeof f.channel, "%s", channel);
    return f;
}

/* Without the zeros at its end. */
static size_t length(const fi_far_frame_t *f) {
    const unsigned char *bytes = (const unsigned char *)f;
    size_t len = sizeof *f;

    while (len > FI_FAR_HEAD && bytes[len - 1] == 0) {
        len--;
    }
    return len;
}

/* Without a connection it is kept by the library, in order, until there is one: what is said last must not be lost. */
void fi_far_send(fi_bridge_t *b, uint64_t to, fi_far_frame_t *f) {
    char subject[FI_SUBJECT_MAX];

    if (to) {
        fi_net_node_subject(b->net, subject, to, NULL);
    } else {
        fi_net_subject(b->net, subject, "all", NULL);
    }
    (void)fi_net_send(b->net, b->net->bulk, subject, f, length(f));
}

void fi_far_send_each(fi_bridge_t *b, fi_far_frame_t *f) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &b->nodes) {
        fi_far_send(b, fi_container(at, fi_far_node_t, link)->id, f);
    }
}

fi_far_node_t *fi_far_find(fi_bridge_t *b, uint64_t id) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &b->nodes) {
        fi_far_node_t *n = fi_container(at, fi_far_node_t, link);
        if (n->id == id) {
            return n;
        }
    }
    return NULL;
}

static fi_far_node_t *find_or_make(fi_bridge_t *b, uint64_t id) {
    fi_far_node_t *n = fi_far_find(b, id);

    if (!n && id != 0 && (n = calloc(1, sizeof *n)) != NULL) {
        n->id = id;
        fi_list_add_tail(&b->nodes, &n->link);
        fi_add32(&b->node_count, 1);
    }
    return n;
}

/* ---- greetings ---- */

static void send_card(fi_bridge_t *b, uint64_t to, enum fi_far_type type, uint64_t echo) {
    fi_far_frame_t f = fi_far_frame(b, type, 0, b->net->node->name);

    f.head.b = echo;
    f.head.c = (uint64_t)getpid();
    (void)gethostname(f.text, sizeof f.text - 1);
    fi_far_send(b, to, &f);
}

void fi_far_hello(fi_bridge_t *b) {
    send_card(b, 0, FI_FAR_HELLO, ++b->hellos);
}

void fi_far_introduce(fi_bridge_t *b, uint64_t to) {
    send_card(b, to, FI_FAR_CARD, 0);
}

static void compare_version(const fi_net_card_t *card, void *net) {
    if (card->version != FI_NET_VERSION) {
        fi_net_meet_stranger(net, card);
    }
}

int fi_far_wait_for_cards(fi_bridge_t *b) {
    (void)fi_net_each_node(b->net, fi_later(CARDS_NS, ROUND_TRIPS * b->net->round_trip), compare_version, b->net);
    return 0;
}

void fi_far_forget(fi_bridge_t *b, fi_far_node_t *n, ferry_change_t how) {
    fi_far_gone(b, n, how);
    fi_meet_node_gone(b, n);
    fi_out_node_gone(b, n);
    fi_in_node_gone(b, n);
    fi_list_remove(&n->link);
    fi_sub32(&b->node_count, 1);
    free(n);
}

/* Only the last question counts: its number is the time at which it was asked. */
static void measured(fi_far_node_t *n, int64_t echo) {
    if (n->timing && echo == n->timing) {
        n->timed_at = fi_now_ns();
        n->round_trip = fi_later(n->timed_at - n->timing, 1);
        n->timing = 0;
    }
}

bool fi_far_node_frame(fi_bridge_t *b, const fi_far_frame_t *f) {
    fi_far_node_t *n = fi_far_find(b, f->head.node);
    bool forgotten = !n && f->head.type >= FI_FAR_SETTLED;

    n = n || f->head.type == FI_FAR_BYE ? n : find_or_make(b, f->head.node);

    if (!n) {
        return true;
    }
    if (forgotten) {
        fi_meet_again(b, n->id); /* it was given up, or never heard of, and goes on with what it had with us */
    }
    n->heard_at = fi_now_ns();
    n->silent_since = 0;
    switch (f->head.type) {
    case FI_FAR_HELLO:
        send_card(b, n->id, FI_FAR_CARD, f->head.b);
        break;
    case FI_FAR_CARD:
        break;
    case FI_FAR_BYE:
        fi_far_forget(b, n, FERRY_NODE_LEFT);
        return true;
    case FI_FAR_PROBE:
        send_card(b, n->id, FI_FAR_ALIVE, f->head.b);
        return false; /* and its links are told of */
    case FI_FAR_ALIVE:
        measured(n, (int64_t)f->head.b);
        return true;
    default:
        return false;
    }
    memcpy(n->name, f->channel, sizeof n->name);
    memcpy(n->host, f->text, sizeof n->host - 1);
    n->pid = (uint32_t)f->head.c;
    fi_far_named(b, n, f->head.type == FI_FAR_CARD ? f->head.b : UINT64_MAX);
    return true;
}

/* ---- looking after ---- */

/* The time alone does not tell that it is dead: while this thread had no processor, nobody heard what came. */
void fi_far_silent(fi_bridge_t *b, uint64_t id) {
    fi_far_node_t *n = fi_far_find(b, id);

    if (n && n->silent_since == 0) {
        n->silent_since = fi_now_ns();
    } else if (n && n->asked_at - n->silent_since >= FI_NET_DEAD_NS) {
        fi_far_forget(b, n, FERRY_NODE_DIED);
    }
}

/* Since when it is silent, as far as we would have heard it. */
static int64_t silent_since(const fi_far_node_t *n, int64_t now, bool up) {
    bool heard = up && now - n->asked_at <= PAUSE_NS;

    return n->silent_since && !heard ? now : n->silent_since;
}

/* A question whose answer comes either from the node or, when its connection is gone, from the server. */
static void probe(fi_bridge_t *b, fi_far_node_t *n) {
    char subject[FI_SUBJECT_MAX];
    char reply[FI_SUBJECT_MAX];
    char word[24];
    fi_far_frame_t f = fi_far_frame(b, FI_FAR_PROBE, 0, "");

    snprintf(word, sizeof word, "r.%016" PRIx64, n->id);
    fi_net_node_subject(b->net, subject, n->id, NULL);
    fi_net_node_subject(b->net, reply, b->net->node->id, word);
    n->timing = fi_now_ns();
    f.head.b = (uint64_t)n->timing;
    fi_out_probed(b, n);
    fi_in_probed(b, n);
    (void)fi_nats.natsConnection_PublishRequest(b->net->bulk, subject, reply, &f, (int)length(&f));
}

void fi_far_measure(fi_bridge_t *b) {
    struct fi_list *at;
    struct fi_list *after;
    int64_t now = fi_now_ns();

    if (!fi_net_is_up(b->net)) {
        return;
    }
    fi_list_each(at, after, &b->nodes) {
        fi_far_node_t *n = fi_container(at, fi_far_node_t, link);
        if (!n->silent_since && (n->round_trip == 0 || now - n->timed_at > FRESH_NS) &&
            (n->timing == 0 || now - n->timing > FRESH_NS)) {
            n->asked_at = now;
            probe(b, n);
        }
    }
}

static int64_t interval(fi_bridge_t *b, fi_far_node_t *n) {
    if (n->silent_since) {
        return ASK_AGAIN_NS;
    }
    return fi_out_awaits(b, n) ? FI_FAR_IMPATIENT_NS : FI_FAR_PROBE_NS;
}

int64_t fi_far_look_after(fi_bridge_t *b) {
    struct fi_list *at;
    struct fi_list *after;
    int64_t now = fi_now_ns();
    int64_t next = -1;
    bool up = fi_net_is_up(b->net);

    fi_list_each(at, after, &b->nodes) {
        fi_far_node_t *n = fi_container(at, fi_far_node_t, link);
        n->silent_since = silent_since(n, now, up);
        if (!n->silent_since && !fi_out_serves(b, n) && !fi_in_serves(b, n) && fi_list_empty(&b->watches)) {
            continue;
        }
        int64_t due = fi_later(n->asked_at, n->heard_at) + interval(b, n);
        if (n->silent_since) {
            due = n->asked_at + ASK_AGAIN_NS;
        }
        if (now >= due && up) {
            n->asked_at = now;
            probe(b, n);
            due = now + interval(b, n);
        }
        due = fi_later(due - now, ASK_AGAIN_NS / 10);
        next = next < 0 ? due : fi_earlier(next, due);
    }
    return next;
}
