/* SPDX-License-Identifier: MIT
 *
 * Durable queues, the senders' side: what own senders send is put into the stream, and released once it is stored.
 *
 * Messages of one sender are published in order, up to a window ahead of the engine's answers.  After a lost connection, an
 * answer that does not come, or a refusal, the first that is not stored is next again: the engine drops by its id what it has.
 *
 * Bounds: a sender does not publish what would exceed its share, so that the engine never has to refuse one message in the
 * middle of others.  It knows what it has stored; when that reaches the bound it asks how much of it is still there.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/error.h"
#include "channel/messages.h"
#include "net/durable.h"
#include "platform/clock.h"

#define WINDOW 4096u            /* messages published and not answered, at most */
#define WINDOW_BYTES (8u << 20) /* the same in bytes */
#define TURN 4096u              /* messages taken in one turn */
#define DEFAULT_CAPACITY 1000000ull
#define DEFAULT_QUOTA (1ull << 30)
#define ANSWER_NS 2000000000ll /* an answer that takes longer has been lost */
#define PAUSE_NS 50000000ll    /* after a refusal, twice as long after each further one, */
#define LONGEST_PAUSE_NS 1000000000ll
#define ASK_NS 2000000ll /* between questions how much is still there, the same */
#define LONGEST_ASK_NS 100000000ll

typedef struct put {
    ferry_msg_t *msg; /* NULL: stored */
    uint64_t seq;     /* the sender's */
    uint64_t tag;
    uint64_t size;
} put_t;

/* One sender's messages, numbered from 1. */
typedef struct depositor {
    struct fi_list link;
    uint64_t tx;
    uint32_t number; /* in the subjects of answers */
    bool ended;      /* its sender has closed, and all was taken */
    char subject[FI_SUBJECT_MAX];
    put_t *puts; /* circular, from `stored` + 1 on; cap is a power of two */
    uint32_t cap;
    uint64_t gone;   /* number of the last that receivers have released, as far as known */
    uint64_t stored; /* of the last up to which all is stored */
    uint64_t sent;   /* of the last that was published */
    uint64_t most;   /* the largest that `sent` ever was: it goes back when something is to be published again */
    uint64_t taken;  /* of the last there is */
    uint64_t gone_bytes, stored_bytes, sent_bytes;
    uint64_t capacity, quota; /* of what is published and not gone */
    uint32_t window;
    natsConnection *way; /* of what is under way */
    int64_t answered_at; /* ns: when an answer last came, or one was first waited for */
    int64_t paused_until;
    int64_t pause;
    int64_t ask_at; /* when to ask how much is there; 0: nobody needs to know */
    int64_t ask_pause;
} depositor_t;

typedef struct fi_deposit {
    struct fi_list link;
    fi_bridge_t *bridge;
    fi_receiver_t *rx;
    char channel[104];
    struct fi_list depositors;
    uint32_t senders; /* own ones that are open */
    uint32_t changed; /* atomic: links came or went */
    bool readable;    /* its bell has rung, and it was not empty since */
    int64_t mended_at;
} fi_deposit_t;

static put_t *put_at(const depositor_t *d, uint64_t number) {
    return &d->puts[number & (d->cap - 1)];
}

/* ---- finding ---- */

static fi_deposit_t *find(fi_bridge_t *b, const char *channel) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &b->deposits) {
        fi_deposit_t *p = fi_container(at, fi_deposit_t, link);
        if (strcmp(p->channel, channel) == 0) {
            return p;
        }
    }
    return NULL;
}

static depositor_t *find_depositor(fi_bridge_t *b, uint64_t number, fi_deposit_t **whose) {
    struct fi_list *at, *after, *in, *next;

    fi_list_each(at, after, &b->deposits) {
        *whose = fi_container(at, fi_deposit_t, link);
        fi_list_each(in, next, &(*whose)->depositors) {
            depositor_t *d = fi_container(in, depositor_t, link);
            if (d->number == number) {
                return d;
            }
        }
    }
    return NULL;
}

/* ---- depositors ---- */

static void set_limits(depositor_t *d, const fi_own_t *own) {
    d->quota = own ? own->quota : DEFAULT_QUOTA; /* we are not told yet, or it is closed again */
    d->capacity = own && own->capacity != UINT64_MAX ? own->capacity : DEFAULT_CAPACITY;
}

static void add_depositor(fi_bridge_t *b, fi_deposit_t *p, fi_rxlink_t *l) {
    depositor_t *d = calloc(1, sizeof *d);
    const fi_own_t *own = fi_own_find(b, l->tx);
    char stream[FI_SUBJECT_MAX];

    if (!d) {
        fi_store_release32(&p->changed, 1); /* the next turn tries again */
        return;
    }
    d->tx = l->tx;
    d->number = ++b->depositors_ever;
    d->window = WINDOW;
    set_limits(d, own);
    fi_durable_names(b->net, p->channel, d->subject, stream);
    size_t len = strlen(d->subject);
    snprintf(d->subject + len, sizeof d->subject - len, ".%016" PRIx64 "-%" PRIx64, b->net->node->id, l->tx);
    fi_list_add_tail(&p->depositors, &d->link);
    l->far = d;
}

static void free_depositor(depositor_t *d) {
    fi_list_remove(&d->link);
    free(d->puts);
    free(d);
}

static void look_at_links(fi_bridge_t *b, fi_deposit_t *p) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &p->depositors) {
        fi_container(at, depositor_t, link)->ended = true;
    }
    for (uint32_t i = 0; i < p->rx->link_count; i++) {
        fi_rxlink_t *l = p->rx->links[i];
        if (!l->far) {
            add_depositor(b, p, l);
        }
        if (l->far) {
            ((depositor_t *)l->far)->ended = false;
        }
    }
    b->progress = true;
}

/* ---- taking ---- */

static int make_room(depositor_t *d) {
    if (d->taken - d->stored < d->cap) {
        return 0;
    }
    uint32_t cap = d->cap ? 2 * d->cap : 64;
    put_t *more = malloc(cap * sizeof *more);
    if (!more) {
        return -ENOMEM;
    }
    for (uint64_t i = d->stored + 1; i <= d->taken; i++) {
        more[i & (cap - 1)] = *put_at(d, i);
    }
    free(d->puts);
    d->puts = more;
    d->cap = cap;
    return 0;
}

static void keep(depositor_t *d, ferry_msg_t *m) {
    ferry_msg_info_t info = {.size = sizeof info};

    fi_taken_describe(m, &info);
    *put_at(d, ++d->taken) = (put_t){.msg = m, .seq = info.sequence, .tag = info.tag, .size = m->size};
}

/* Takes what is there: it stays where it is, in its sender's memory. The end is held. */
static void take(fi_bridge_t *b, fi_deposit_t *p) {
    ferry_msg_t *m;

    for (uint32_t n = 0; p->readable && n < TURN; n++) {
        int r = fi_receiver_recv(p->rx, FERRY_NOW, &m);
        if (r < 0) {
            p->readable = r == -EPROTO;
            continue;
        }
        if (!m->link->far) {
            look_at_links(b, p);
        }
        depositor_t *d = m->link->far;
        if (!d || make_room(d) < 0) {
            fi_taken_release_held(m); /* no memory at all: it is lost, as it would be with this process */
            continue;
        }
        keep(d, m);
    }
}

/* ---- publishing ---- */

static bool may_publish(const depositor_t *d) {
    if (d->sent == d->taken || d->sent - d->stored >= d->window || d->sent_bytes - d->stored_bytes >= WINDOW_BYTES) {
        return false;
    }
    uint64_t bytes = d->sent_bytes - d->gone_bytes;
    return d->sent == d->gone || (d->sent - d->gone < d->capacity && bytes + put_at(d, d->sent + 1)->size <= d->quota);
}

/* Is the share used up by what is stored? */
static bool is_at_bound(const depositor_t *d) {
    return d->sent < d->taken && d->sent == d->stored && !may_publish(d);
}

static bool publish(fi_bridge_t *b, depositor_t *d, uint64_t number) {
    const put_t *put = put_at(d, number);
    char reply[FI_SUBJECT_MAX];
    char text[64];
    natsMsg *msg = NULL;

    snprintf(text, sizeof text, "d.%" PRIx32 ".%" PRIx64, d->number, number);
    fi_net_node_subject(b->net, reply, b->net->node->id, text);
    natsStatus s = fi_nats.natsMsg_Create(&msg, d->subject, reply, (const char *)put->msg->data, (int)put->size);
    snprintf(text, sizeof text, "%016" PRIx64 "-%" PRIx64 "-%" PRIx64, b->net->node->id, d->tx, put->seq);
    s = s == NATS_OK ? fi_nats.natsMsgHeader_Set(msg, "Nats-Msg-Id", text) : s;
    if (s == NATS_OK && put->tag) {
        snprintf(text, sizeof text, "%" PRIx64, put->tag);
        s = fi_nats.natsMsgHeader_Set(msg, "Ferry-Tag", text);
    }
    if (s == NATS_OK && number <= d->most) {
        s = fi_nats.natsMsgHeader_Set(msg, "Ferry-Again", "1");
    }
    d->most = fi_max(d->most, number); /* whatever is said of it now, it may have left */
    s = s == NATS_OK ? fi_nats.natsConnection_PublishMsg(d->way, msg) : s;
    fi_nats.natsMsg_Destroy(msg);
    return s == NATS_OK;
}

static void publish_all(fi_bridge_t *b, depositor_t *d, int64_t now) {
    if (!fi_net_is_up(b->net) || now < d->paused_until) {
        return;
    }
    if (d->sent == d->stored) {
        d->way = fi_durable_way(b);
    } else if (d->way != fi_durable_way(b) && b->dense) {
        return; /* what is under way arrives first: on another connection it could be overtaken */
    }
    while (may_publish(d)) {
        put_t *put = put_at(d, d->sent + 1);
        if (put->msg && !publish(b, d, d->sent + 1)) {
            d->paused_until = now + PAUSE_NS;
            return;
        }
        if (d->sent == d->stored) {
            d->answered_at = now;
        }
        d->sent++;
        d->sent_bytes += put->size;
        b->progress = true;
    }
}

/* The first that is not stored is next again. */
static void begin_again(depositor_t *d) {
    d->sent = d->stored;
    d->sent_bytes = d->stored_bytes;
}

static void hold_off(depositor_t *d, int64_t now) {
    d->pause = d->pause ? fi_earlier(2 * d->pause, LONGEST_PAUSE_NS) : PAUSE_NS;
    d->paused_until = now + d->pause;
    d->window = 1; /* so that nothing overtakes what is refused */
    begin_again(d);
}

/* ---- how much is still there ---- */

static void ask(fi_bridge_t *b, fi_deposit_t *p, depositor_t *d, int64_t now) {
    char base[FI_SUBJECT_MAX], stream[FI_SUBJECT_MAX], subject[FI_DURABLE_API_MAX], reply[FI_SUBJECT_MAX];
    char text[FI_SUBJECT_MAX + 32];

    fi_durable_names(b->net, p->channel, base, stream);
    snprintf(subject, sizeof subject, "$JS.API.STREAM.INFO.%s", stream);
    snprintf(text, sizeof text, "d.%" PRIx32 ".i%" PRIx64, d->number, d->stored);
    fi_net_node_subject(b->net, reply, b->net->node->id, text);
    int len = snprintf(text, sizeof text, "{\"subjects_filter\":\"%s\"}", d->subject);
    d->ask_pause = d->ask_pause ? fi_earlier(2 * d->ask_pause, LONGEST_ASK_NS) : ASK_NS;
    d->ask_at = now + d->ask_pause;
    (void)fi_nats.natsConnection_PublishRequest(b->net->bulk, subject, reply, text, len);
}

/* Which of those that are stored are gone is not known: their bytes are taken to be the mean. */
static void forget_to(depositor_t *d, uint64_t number) {
    if (number > d->gone) {
        double share = (double)(number - d->gone) / (double)(d->stored - d->gone);
        d->gone_bytes += (uint64_t)(share * (double)(d->stored_bytes - d->gone_bytes));
        d->gone = number;
        d->ask_pause = 0;
    }
}

/* So many of the first `asked` are there, at most. */
static void told(depositor_t *d, natsMsg *msg, uint64_t asked) {
    char key[FI_SUBJECT_MAX + 4];
    uint64_t there = 0;
    uint64_t all;

    if (asked > d->stored || fi_durable_error(msg) || !fi_durable_number(msg, "\"messages\":", &all)) {
        return;
    }
    snprintf(key, sizeof key, "\"%s\":", d->subject);
    (void)fi_durable_number(msg, key, &there); /* none: it says nothing of the subject */
    if (there < asked) {
        forget_to(d, asked - there);
    }
}

/* ---- answers ---- */

/* The end is held. */
static void release_stored(depositor_t *d, uint64_t number) {
    put_t *put = put_at(d, number);

    if (put->msg) {
        fi_taken_release_held(put->msg);
        put->msg = NULL;
    }
    while (d->stored < d->taken && !put_at(d, d->stored + 1)->msg) {
        d->stored++;
        d->stored_bytes += put_at(d, d->stored)->size;
    }
    if (d->sent < d->stored) { /* it was to be published again, and was stored already */
        begin_again(d);
    }
}

static bool is_refusal(natsMsg *msg) {
    return fi_nats.natsMsg_IsNoResponders(msg) || fi_durable_error(msg) != 0;
}

/* A server may have lost its streams, or not found them yet. */
static void mend(fi_bridge_t *b, fi_deposit_t *p, int64_t now) {
    if (now - p->mended_at > LONGEST_PAUSE_NS) {
        p->mended_at = now;
        fi_durable_mend(b->net, p->channel);
    }
}

/* In the engine's words, for those who wait. */
static void note_refusal(fi_bridge_t *b, const fi_deposit_t *p, natsMsg *msg, int64_t now) {
    char words[sizeof b->refusal.words] = "nobody answers for its stream";

    if (!fi_nats.natsMsg_IsNoResponders(msg)) {
        fi_durable_words(msg, words, sizeof words);
    }
    pthread_mutex_lock(&b->lock);
    memcpy(b->refusal.channel, p->channel, sizeof b->refusal.channel);
    memcpy(b->refusal.words, words, sizeof words);
    b->refusal.at = now;
    pthread_mutex_unlock(&b->lock);
}

bool fi_durable_explain(fi_sender_t *tx, char *text, size_t cap) {
    fi_net_t *net = tx->end.node->net;
    fi_bridge_t *b = net->bridge;
    bool known = true;

    if (!fi_net_is_up(net)) {
        snprintf(text, cap, "'%s' is durable, and there is no connection to its server now; it is being tried again",
                 tx->end.channel);
        return true;
    }
    pthread_mutex_lock(&b->lock);
    known = strcmp(b->refusal.channel, tx->end.channel) == 0 && fi_now_ns() - b->refusal.at < 2 * LONGEST_PAUSE_NS;
    if (known) {
        snprintf(text, cap, "'%s' is durable, and its server does not take messages now: %s", tx->end.channel,
                 b->refusal.words);
    }
    pthread_mutex_unlock(&b->lock);
    return known;
}

void fi_deposit_answer(fi_bridge_t *b, natsMsg *msg) {
    const char *words = strstr(fi_nats.natsMsg_GetSubject(msg) + strlen("ferry.") + strlen(b->net->space), ".d.");
    char *end = NULL;
    uint64_t at;
    fi_deposit_t *p = NULL;
    int64_t now = fi_now_ns();

    uint64_t number = words ? strtoull(words + 3, &end, 16) : 0;
    depositor_t *d = words && *end == '.' ? find_depositor(b, number, &p) : NULL;
    if (!d || fi_end_enter(&p->rx->end, FI_END_RECEIVER) < 0) {
        return;
    }
    number = strtoull(end + 1, NULL, 16);
    if (end[1] == 'i') {
        told(d, msg, strtoull(end + 2, NULL, 16));
    } else if (number <= d->stored || number > d->most) {
        /* answered before, or nonsense */
    } else if (is_refusal(msg)) {
        if (fi_nats.natsMsg_IsNoResponders(msg)) {
            mend(b, p, now);
        }
        note_refusal(b, p, msg, now);
        if (now >= d->paused_until) {
            hold_off(d, now);
        } else {
            begin_again(d); /* of the same trouble */
        }
    } else if (fi_durable_number(msg, "\"seq\":", &at)) {
        d->answered_at = now;
        d->pause = 0;
        d->window = d->window < WINDOW ? 2 * d->window : WINDOW;
        release_stored(d, number);
    }
    fi_end_leave(&p->rx->end);
}

void fi_deposit_denied(fi_bridge_t *b, const char *words) {
    struct fi_list *at, *after, *in, *next;

    fi_list_each(at, after, &b->deposits) {
        const fi_deposit_t *p = fi_container(at, fi_deposit_t, link);
        fi_list_each(in, next, &p->depositors) {
            const depositor_t *d = fi_container(in, depositor_t, link);
            fi_far_tell_denied(b, d->tx, words, d->subject);
        }
    }
}

void fi_deposit_again(fi_bridge_t *b) {
    struct fi_list *at, *after, *in, *next;

    fi_list_each(at, after, &b->deposits) {
        const fi_deposit_t *p = fi_container(at, fi_deposit_t, link);
        fi_list_each(in, next, &p->depositors) {
            depositor_t *d = fi_container(in, depositor_t, link);
            d->paused_until = 0;
            begin_again(d);
        }
    }
}

/* ---- the hidden receiver ---- */

static void links_changed(void *whole) {
    fi_deposit_t *p = whole;
    uint64_t one = 1;

    fi_store_release32(&p->changed, 1);
    (void)!write(p->bridge->bell, &one, sizeof one);
}

static void close_deposit(fi_bridge_t *b, fi_deposit_t *p) {
    while (!fi_list_empty(&p->depositors)) {
        free_depositor(fi_container(p->depositors.next, depositor_t, link));
    }
    fi_list_remove(&p->link);
    fi_hidden_receiver_close(b, p->rx);
    free(p);
    b->progress = true;
}

/* ---- a turn ---- */

/* ns until this one is to be looked at again, or -1. */
static int64_t tend(fi_bridge_t *b, fi_deposit_t *p, depositor_t *d, int64_t now) {
    if (d->sent > d->stored && now - d->answered_at > ANSWER_NS && fi_net_is_up(b->net)) {
        begin_again(d);
        mend(b, p, now);
    }
    publish_all(b, d, now);
    if (is_at_bound(d)) {
        if (!fi_net_is_up(b->net)) {
            return -1;
        }
        if (now >= d->ask_at) {
            ask(b, p, d, now);
        }
        return d->ask_at - now;
    }
    d->ask_pause = d->ask_at = 0;
    if (d->sent > d->stored) {
        return d->answered_at + ANSWER_NS - now;
    }
    return d->sent < d->taken && d->paused_until > now ? d->paused_until - now : -1;
}

static bool turn(fi_bridge_t *b, fi_deposit_t *p, int64_t now, int64_t *next) {
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
    fi_list_each(at, after, &p->depositors) {
        depositor_t *d = fi_container(at, depositor_t, link);
        int64_t ns = tend(b, p, d, now);
        *next = ns < 0 ? *next : *next < 0 ? ns : fi_earlier(*next, ns);
        if (d->ended && d->stored == d->taken) {
            free_depositor(d);
        }
    }
    fi_end_leave(&p->rx->end);
    return p->readable;
}

bool fi_deposit_turn(fi_bridge_t *b, int64_t *next) {
    struct fi_list *at;
    struct fi_list *after;
    int64_t now = fi_list_empty(&b->deposits) ? 0 : fi_now_ns();
    bool more = false;

    fi_list_each(at, after, &b->deposits) {
        fi_deposit_t *p = fi_container(at, fi_deposit_t, link);
        more |= turn(b, p, now, next);
        if (p->senders == 0 && fi_list_empty(&p->depositors)) {
            close_deposit(b, p);
        }
    }
    return more;
}

/* ---- opening and closing ---- */

static void answered(natsConnection *c, natsSubscription *sub, natsMsg *msg, void *arg) {
    (void)c;
    (void)sub;
    fi_bridge_post_message(arg, FI_BOX_STORED, 0, msg);
}

static int listen_for_answers(fi_bridge_t *b) {
    char subject[FI_SUBJECT_MAX];

    if (b->answers) {
        return 0;
    }
    fi_net_node_subject(b->net, subject, b->net->node->id, "d.*.*");
    return fi_net_subscribe(b->net, b->net->bulk, subject, NULL, answered, b, &b->answers);
}

static int open_deposit(fi_bridge_t *b, const char *channel, fi_deposit_t **out) {
    fi_deposit_t *p = calloc(1, sizeof *p);

    if (!p) {
        return fi_fail(-ENOMEM, "no memory for the durable queue '%s'", channel);
    }
    p->bridge = b;
    p->readable = true;
    snprintf(p->channel, sizeof p->channel, "%s", channel);
    fi_list_init(&p->depositors);
    fi_list_add_tail(&b->deposits, &p->link);
    int r = listen_for_answers(b);
    r = r == 0 ? fi_hidden_receiver_open(b, channel, FERRY_QUEUE, 0, p, links_changed, &p->readable, &p->rx) : r;
    if (r < 0) {
        close_deposit(b, p);
        return r;
    }
    *out = p;
    return 0;
}

int fi_deposit_opened(fi_bridge_t *b, const fi_own_t *own) {
    fi_deposit_t *p = find(b, own->channel);

    struct fi_list *at;
    struct fi_list *after;

    int r = p ? 0 : open_deposit(b, own->channel, &p);
    if (r < 0) {
        return r;
    }
    p->senders++;
    fi_list_each(at, after, &p->depositors) { /* it may have been linked before we were told of it */
        depositor_t *d = fi_container(at, depositor_t, link);
        if (d->tx == own->id) {
            set_limits(d, own);
        }
    }
    return 0;
}

void fi_deposit_closing(fi_bridge_t *b, const fi_own_t *own) {
    fi_deposit_t *p = find(b, own->channel);

    if (p && p->senders > 0) {
        p->senders--;
    }
}

void fi_deposit_end(fi_bridge_t *b) {
    while (!fi_list_empty(&b->deposits)) {
        close_deposit(b, fi_container(b->deposits.next, fi_deposit_t, link));
    }
}

/* ---- for who looks ---- */

void fi_deposits_tell(fi_bridge_t *b, fi_peer_t *p) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &b->deposits) {
        const fi_deposit_t *d = fi_container(at, fi_deposit_t, link);
        fi_frame_t f = fi_frame(FI_LOOK_VIA, 0, d->rx->end.id);
        f.kind = FERRY_QUEUE;
        memcpy(f.text, d->channel, sizeof f.text);
        (void)fi_peer_send(p, &f, NULL);
    }
}
