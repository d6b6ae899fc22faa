/* SPDX-License-Identifier: MIT
 *
 * Durable topics, the receivers' side: each own receiver has a reader, which takes the stream's messages from where
 * that receiver begins, in order, and puts them into its ring.
 *
 *     where -> asked ----------> made ----------> reading ---+
 *       ^      STREAM.INFO       CONSUMER.CREATE  fetches    |
 *       +------ an answer is lost, or a message, or the consumer, or the connection
 *
 * Its consumer is the engine's note of how far it has read; nothing is acknowledged.  Messages carry the consumer's
 * count:
 * where one is missing, the reader begins anew, with a consumer of its own next round, at the first number that it
 * lacks. So nothing has to survive but the stream.  What the stream has dropped by then shows as a gap in its numbers,
 * which the receiver counts as lost.
 *
 * One reader for each receiver, though a node may have several: each goes at its own pace, holds nobody back, and what
 * was sent before joins what is sent now without a seam.  The fast way of other topics would need one, between the
 * history from the stream and what comes from the senders, and could deliver what the engine then refuses to store.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bits.h"
#include "base/error.h"
#include "net/parcel.h"
#include "platform/clock.h"

#define MOST_AHEAD 512u         /* messages fetched and not with the receiver */
#define MOST_BYTES (8ull << 20) /* the same in bytes, as far as known */
#define QUOTA (16ull << 20)     /* of memory for what the receiver has not released */
#define ANSWER_NS 2000000000ll  /* an answer that takes longer has been lost */
#define PAUSE_NS 100000000ll    /* before it begins anew, twice as long after each time in vain, */
#define LONGEST_PAUSE_NS 1000000000ll
#define PULL_NS 10000000000ll /* a question for messages holds for so long, */
#define BEAT_NS 2000000000ll  /* while the engine says that often that it has it, */
#define QUIET_NS 4500000000ll /* and is lost after so long without a word */
#define FIRST_NS 500000000ll  /* the first ones hold for so long, as pickup.c says why, are lost after twice that, */
#define LOST_NS 12000000000ll /* and after this so is the consumer */
#define FORGOTTEN_NS 60000000000ll /* the engine drops a consumer that nobody asks */
#define CONSUMER_MAX 40u

enum state { WHERE, ASKED, MADE, READING };

typedef struct fetched {
    struct fi_list link;
    natsMsg *msg;
    uint64_t seq;
} fetched_t;

typedef struct fi_reader {
    struct fi_list link;
    fi_bridge_t *bridge;
    uint64_t rx; /* the own receiver */
    uint32_t number;
    uint32_t round; /* of consumers */
    enum state state;
    char channel[104];
    char stream[FI_SUBJECT_MAX];
    fi_sender_t *tx; /* NULL: it is not known yet where it begins */
    bool linked;     /* with the receiver */
    natsSubscription *sub;
    fi_replay_t start;
    uint64_t next;          /* number in the stream of the first that has not come; 0: not known yet */
    uint64_t expected;      /* number that the consumer gives it */
    struct fi_list waiting; /* fetched_t without room in the receiver's ring */
    uint32_t count;         /* of these, */
    uint64_t bytes;         /* and what they take */
    uint64_t usual_size;    /* of a message: the largest of late */
    uint32_t left;          /* messages asked for that have not come */
    uint32_t most;          /* may be asked for at once, as the engine says */
    uint32_t asks;          /* questions for messages; the number of the last */
    bool large;             /* the next message has more bytes than was allowed */
    int64_t until;          /* ns: then the answer that is waited for is lost, or the pause over */
    int64_t pause;
    int64_t made_at; /* ns: the consumer */
    bool heard;      /* it has said something */
    fi_mending_t mending;
    fi_parcel_t parcel; /* the first that waits, if it is large */
    fi_known_t known;
} fi_reader_t;

/* ---- finding ---- */

static fi_reader_t *find(fi_bridge_t *b, uint64_t rx, uint32_t number) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &b->readers) {
        fi_reader_t *p = fi_container(at, fi_reader_t, link);
        if (rx ? p->rx == rx : p->number == number) {
            return p;
        }
    }
    return NULL;
}

/* ---- asking the engine ---- */

/* Where an answer to `what` of this round is to come; behind that stands the number of the question for messages. */
static void reply_subject(const fi_reader_t *p, char what, char out[FI_SUBJECT_MAX]) {
    char word[64];

    snprintf(word, sizeof word, "s.%" PRIx32 ".%c%" PRIx32 "-%" PRIx32, p->number, what, p->round, p->asks);
    fi_net_node_subject(p->bridge->net, out, p->bridge->net->node->id, word);
}

static void ask(fi_reader_t *p, const char *subject, char what, const char *json, int len) {
    char reply[FI_SUBJECT_MAX];

    reply_subject(p, what, reply);
    (void)fi_nats.natsConnection_PublishRequest(p->bridge->net->bulk, subject, reply, json, len);
    p->bridge->progress = true;
}

static void consumer_name(const fi_reader_t *p, char name[CONSUMER_MAX]) {
    snprintf(name, CONSUMER_MAX, "%016" PRIx64 "-%" PRIx32 "-%" PRIx32, p->bridge->net->node->id, p->number, p->round);
}

static void consumer_subject(const fi_reader_t *p, const char *verb, char out[FI_DURABLE_API_MAX]) {
    char name[CONSUMER_MAX];

    consumer_name(p, name);
    snprintf(out, FI_DURABLE_API_MAX, "$JS.API.CONSUMER.%s.%s.%s", verb, p->stream, name);
}

static void ask_where(fi_reader_t *p, int64_t now) {
    char subject[FI_DURABLE_API_MAX];

    p->round++;
    p->state = ASKED;
    p->until = now + ANSWER_NS;
    fi_durable_api(subject, "STREAM.INFO", p->stream, "");
    ask(p, subject, 'i', "", 0);
}

/* Where the consumer begins, as JSON. */
static void put_start(const fi_reader_t *p, char out[96]) {
    char text[32];
    struct tm tm;
    time_t seconds = (time_t)(p->start.since / 1000000000u);

    if (p->next) {
        snprintf(out, 96, "\"by_start_sequence\",\"opt_start_seq\":%" PRIu64, p->next);
        return;
    }
    (void)gmtime_r(&seconds, &tm);
    (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out, 96, "\"by_start_time\",\"opt_start_time\":\"%s.%09" PRIu64 "Z\"", text, p->start.since % 1000000000u);
}

static void make_consumer(fi_reader_t *p, int64_t now) {
    char subject[FI_DURABLE_API_MAX], json[FI_DURABLE_JSON_MAX], name[CONSUMER_MAX], start[96];

    consumer_name(p, name);
    put_start(p, start);
    int len =
        snprintf(json, sizeof json,
                 "{\"stream_name\":\"%s\",\"config\":{\"name\":\"%s\",\"deliver_policy\":%s,\"ack_policy\":\"none\","
                 "\"max_deliver\":-1,\"max_waiting\":16,\"replay_policy\":\"instant\",\"inactive_threshold\":%lld,"
                 "\"mem_storage\":true,\"num_replicas\":1}}",
                 p->stream, name, start, FORGOTTEN_NS);
    p->state = MADE;
    p->until = now + ANSWER_NS;
    consumer_subject(p, "CREATE", subject);
    ask(p, subject, 'c', json, len);
}

static void forget_consumer(fi_reader_t *p) {
    char subject[FI_DURABLE_API_MAX];

    if (p->state >= MADE) {
        consumer_subject(p, "DELETE", subject);
        (void)fi_net_send(p->bridge->net, p->bridge->net->bulk, subject, "", 0);
    }
}

/* Something was lost, or is refused: it begins anew, after a while. */
static void begin_again(fi_reader_t *p, int64_t now) {
    forget_consumer(p);
    p->state = WHERE;
    p->left = 0;
    p->pause = p->pause ? fi_earlier(2 * p->pause, LONGEST_PAUSE_NS) : PAUSE_NS;
    p->until = now + p->pause;
}

/* How large the next ones are is not known: so only one alone comes whatever its size. */
static int put_bound(const fi_reader_t *p, char *text, size_t cap) {
    int len = snprintf(text, cap, "{\"batch\":%u", p->left);

    return p->left == 1 ? len
                        : len + snprintf(text + len, cap - (size_t)len, ",\"max_bytes\":%llu",
                                         MOST_BYTES - fi_min(p->bytes, MOST_BYTES / 2));
}

static void pull(fi_reader_t *p, int64_t now) {
    char subject[FI_DURABLE_API_MAX], text[128];
    uint64_t usual = p->usual_size + 1;

    p->asks++;
    p->left = p->large ? 1 : (uint32_t)fi_min((uint64_t)p->most, 1 + MOST_BYTES / usual);
    p->until = now + (p->heard ? QUIET_NS : 2 * FIRST_NS);
    int len = put_bound(p, text, sizeof text);
    len += p->heard ? snprintf(text + len, sizeof text - (size_t)len, ",\"expires\":%lld,\"idle_heartbeat\":%lld}",
                               PULL_NS, BEAT_NS)
                    : snprintf(text + len, sizeof text - (size_t)len, ",\"expires\":%lld}", FIRST_NS);
    consumer_subject(p, "MSG.NEXT", subject);
    ask(p, subject, 'm', text, len);
}

/* ---- answers ---- */

static int open_sender(fi_reader_t *p) {
    const ferry_contract_t c = {.quota = QUOTA};
    const fi_part_t part = {.whole = p,
                            .in_haste = true,
                            .hidden = true,
                            .from_node = UINT64_MAX,
                            .only = p->rx,
                            .counted = true,
                            .first_seq = p->next};

    int r = fi_sender_new_part(p->bridge->net->node, p->channel, FERRY_TOPIC, &c, &part, &p->tx);
    p->parcel.kind = FERRY_TOPIC;
    p->parcel.tx = p->tx;
    memcpy(p->parcel.channel, p->channel, sizeof p->parcel.channel);
    return r;
}

/* The stream is there: it may be another one than the last time, the receiver's opening included, or have lost its end
 * with its server's disk. */
static void take_where(fi_reader_t *p, natsMsg *msg, int64_t now) {
    char created[FI_CREATED_MAX];
    uint64_t first = 0, last = 0;

    if (fi_durable_error(msg) || !fi_durable_number(msg, "\"first_seq\":", &first) ||
        !fi_durable_number(msg, "\"last_seq\":", &last)) {
        fi_durable_mend(&p->mending, now);
        begin_again(p, now);
        return;
    }
    fi_durable_created(msg, created);
    if (strcmp(p->start.created, created) != 0) {
        memcpy(p->start.created, created, sizeof created);
        p->next = fi_max(first, 1ull);
    }
    p->next = fi_min(p->next, last + 1);
    p->start.latest = fi_min(p->start.latest, last + 1);
    make_consumer(p, now);
}

static void take_made(fi_reader_t *p, natsMsg *msg, int64_t now) {
    uint64_t before = 0;

    if (fi_durable_error(msg) || !fi_durable_number(msg, "\"stream_seq\":", &before)) {
        begin_again(p, now);
        return;
    }
    if (before + 1 < p->next) { /* the stream has become another one, or lost its end, since it was looked at */
        begin_again(p, now);
        return;
    }
    if (!p->next && before >= p->start.latest) { /* the time is yet to come, and the stream has grown meanwhile */
        forget_consumer(p);
        p->next = p->start.latest;
        ask_where(p, now);
        return;
    }
    p->next = p->next ? p->next : before + 1;
    p->expected = 1;
    p->state = READING;
    p->made_at = now;
    p->heard = false;
    p->pause = 0;
    if (!p->tx && open_sender(p) < 0) {
        p->tx = NULL;
        begin_again(p, now);
    }
}

static void hear(fi_reader_t *p, int64_t now) {
    if (p->state == READING) {
        p->heard = true;
        p->until = now + QUIET_NS;
    }
}

/* Which of them it says something about is told by the subject. */
static bool is_of_last(const fi_reader_t *p, const char *word) {
    const char *at = strchr(word, '-');

    return at && strtoul(at + 1, NULL, 16) == p->asks;
}

/* The question for messages has ended, or is refused; or the consumer is gone, or nobody answers. `last`: the newest.
 * One that has got all that it asked for may be said to have ended when the next is on its way. */
static void take_status(fi_reader_t *p, natsMsg *msg, bool last, int64_t now) {
    fi_word_t word = fi_durable_word_on(msg, &p->most);

    hear(p, now);
    if (word == FI_WORD_TROUBLE || word == FI_WORD_AWAY) { /* it is in one server's memory only */
        begin_again(p, now);
    } else if (word != FI_WORD_WAITS && last) {
        p->left = 0;
        p->large = word == FI_WORD_LARGE;
    }
}

static bool keep(fi_reader_t *p, natsMsg *msg, uint64_t seq) {
    fetched_t *f = malloc(sizeof *f);

    if (!f) {
        return false;
    }
    f->msg = msg;
    f->seq = seq;
    uint64_t size = (uint64_t)fi_nats.natsMsg_GetDataLength(msg);
    fi_list_add_tail(&p->waiting, &f->link);
    p->count++;
    p->bytes += size;
    p->usual_size = fi_max(size, p->usual_size - p->usual_size / 16);
    return true;
}

/* Is that the answer to a question of this round? */
static bool is_of_round(const fi_reader_t *p, const char *consumer) {
    char name[CONSUMER_MAX];

    consumer_name(p, name);
    size_t len = strlen(name);
    return strncmp(consumer, name, len) == 0 && consumer[len] == '.';
}

/* A message; true: it is taken over. */
static bool take_message(fi_reader_t *p, natsMsg *msg, const fi_delivery_t *d, int64_t now) {
    const char *again = NULL;

    hear(p, now);
    p->left -= p->left > 0;
    if (d->number != p->expected || d->seq < p->next) { /* one is missing */
        begin_again(p, now);
        return false;
    }
    p->expected++;
    p->large = false;
    (void)fi_nats.natsMsgHeader_Get(msg, "Ferry-Again", &again);
    fi_identity_t id = fi_durable_identify(msg, d);
    bool known = fi_known_add(&p->known, id);
    bool kept = !(known && again) && keep(p, msg, d->seq);
    if (!kept && !(known && again)) { /* no memory: it is fetched again */
        fi_known_forget(&p->known, id);
        begin_again(p, now);
        return false;
    }
    p->next = d->seq + 1;
    return kept;
}

/* The consumer's name in the subject for acknowledgements; NULL: it is none. */
static const char *consumer_of(const fi_reader_t *p, const char *ack) {
    char before[FI_SUBJECT_MAX + 4];

    snprintf(before, sizeof before, ".%s.", p->stream);
    const char *at = ack ? strstr(ack, before) : NULL;
    return at ? at + strlen(before) : NULL;
}

/* True: the message is taken over. */
static bool arrived(fi_reader_t *p, natsMsg *msg, int64_t now) {
    const char *ack = fi_nats.natsMsg_GetReply(msg);
    const char *word = strrchr(fi_nats.natsMsg_GetSubject(msg), '.');
    fi_delivery_t d;

    if (fi_durable_read_ack(ack, &d)) {
        const char *consumer = consumer_of(p, ack);
        return p->state == READING && consumer && is_of_round(p, consumer) && take_message(p, msg, &d, now);
    }
    if (!word || !word[1] || strtoul(word + 2, NULL, 16) != p->round) {
        return false;
    }
    if (p->state == READING && word[1] == 'm') {
        take_status(p, msg, is_of_last(p, word), now);
    } else if (fi_nats.natsMsg_IsNoResponders(msg)) {
        begin_again(p, now);
    } else if (p->state == ASKED && word[1] == 'i') {
        take_where(p, msg, now);
    } else if (p->state == MADE && word[1] == 'c') {
        take_made(p, msg, now);
    }
    return false;
}

void fi_reader_arrived(fi_bridge_t *b, uint32_t number, natsMsg *msg) {
    fi_reader_t *p = find(b, 0, number);

    if (!p || !arrived(p, msg, fi_now_ns())) {
        fi_bridge_drop(b, msg);
    }
}

/* ---- passing on ---- */

static void drop(fi_reader_t *p, fetched_t *f) {
    fi_list_remove(&f->link);
    p->count--;
    p->bytes -= (uint64_t)fi_nats.natsMsg_GetDataLength(f->msg);
    fi_bridge_drop(p->bridge, f->msg);
    free(f);
}

/* Without its link, what is put into the ring would be for nobody. The end is held. */
static bool is_linked(fi_reader_t *p) {
    const fi_outlet_t *o = p->tx->topic;

    p->linked |= o->link_count > 0 && o->links[0]->live;
    return p->linked;
}

/* True: it is with the receiver, or lost to it: its contract has no room for it, or its pieces are dropped. The end is
 * held. */
static bool try_first(fi_reader_t *p, const fetched_t *f, int64_t now) {
    fi_item_t item = {.data = fi_nats.natsMsg_GetData(f->msg),
                      .size = (uint64_t)fi_nats.natsMsg_GetDataLength(f->msg),
                      .seq = f->seq,
                      .tag = fi_durable_tag(f->msg),
                      .attempt = 1};
    uint64_t size;

    if (fi_parcel_is_head(f->msg, &size)) {
        fi_parcel_state_t state = fi_parcel_fetch(p->bridge, &p->parcel, f->msg, now);
        if (state != FI_PARCEL_WHOLE) {
            return state != FI_PARCEL_GOING;
        }
        item.data = NULL;
        item.size = size;
        item.block = p->parcel.block;
    }
    int r = fi_sender_forward(p->tx, &item);
    return r == 0 || r == -EMSGSIZE;
}

/* Puts what waits into the receiver's ring, as far as there is room. The end is held. */
static void pass_on(fi_reader_t *p, int64_t now) {
    while (!fi_list_empty(&p->waiting) && is_linked(p)) {
        fetched_t *f = fi_container(p->waiting.next, fetched_t, link);
        if (!try_first(p, f, now)) {
            return;
        }
        fi_parcel_end(&p->parcel);
        drop(p, f);
        p->bridge->progress = true;
    }
}

/* No answer came. A consumer that was just made may have no leader yet: it is asked again. */
static void lost(fi_reader_t *p, int64_t now) {
    if (p->state == READING && !p->heard && now - p->made_at < LOST_NS) {
        pull(p, now);
    } else {
        begin_again(p, now);
    }
}

/* One turn. Returns ns until the next is due. */
static int64_t turn(fi_reader_t *p, int64_t now) {
    if (p->tx && p->count > 0 && fi_end_enter(&p->tx->end, FI_END_SENDER) == 0) {
        pass_on(p, now);
        fi_end_leave(&p->tx->end);
    }
    if (!fi_net_is_up(p->bridge->net)) {
        return -1;
    }
    if (p->state == WHERE && now >= p->until) {
        ask_where(p, now);
    } else if (p->state != WHERE && now >= p->until && (p->state != READING || p->left > 0)) {
        lost(p, now);
    } else if (p->state == READING && p->left == 0 && p->count < MOST_AHEAD / 2 && p->bytes < MOST_BYTES / 2) {
        pull(p, now);
    }
    return p->state == READING && p->left == 0 ? -1 : p->until - now;
}

bool fi_reader_turn(fi_bridge_t *b, int64_t *next) {
    struct fi_list *at;
    struct fi_list *after;
    int64_t now = fi_list_empty(&b->readers) ? 0 : fi_now_ns();
    bool waits = false;

    fi_list_each(at, after, &b->readers) {
        fi_reader_t *p = fi_container(at, fi_reader_t, link);
        *next = fi_sooner(*next, turn(p, now));
        *next = fi_sooner(
            *next, fi_durable_tend(b->net, FERRY_TOPIC, p->channel, &(const fi_kept_bounds_t){0}, &p->mending, now));
        *next = fi_sooner(*next, fi_parcel_due(&p->parcel, now));
        waits |= p->count > 0;
    }
    return waits;
}

void fi_reader_again(fi_bridge_t *b) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &b->readers) {
        fi_reader_t *p = fi_container(at, fi_reader_t, link);
        begin_again(p, fi_now_ns());
        p->pause = p->until = 0;
    }
}

/* ---- opening and closing ---- */

static void came(natsConnection *c, natsSubscription *sub, natsMsg *msg, void *arg) {
    fi_reader_t *p = arg;

    (void)c;
    (void)sub;
    fi_bridge_post_message(p->bridge, FI_BOX_READ, p->number, msg);
}

static void close_reader(fi_reader_t *p) {
    forget_consumer(p);
    fi_net_unsubscribe(p->bridge->net, p->bridge->net->bulk, p->sub);
    while (!fi_list_empty(&p->waiting)) {
        drop(p, fi_container(p->waiting.next, fetched_t, link));
    }
    if (p->tx && fi_end_enter(&p->tx->end, FI_END_SENDER) == 0) {
        fi_parcel_end(&p->parcel);
        (void)fi_sender_close(p->tx, FERRY_NOW, NULL);
    }
    fi_list_remove(&p->link);
    free(p);
}

int fi_reader_opened(fi_bridge_t *b, const fi_own_t *own) {
    char base[FI_SUBJECT_MAX], all[FI_SUBJECT_MAX], word[32];
    fi_reader_t *p = calloc(1, sizeof *p);

    if (!p) {
        return fi_fail(-ENOMEM, "no memory for the durable topic '%s'", own->channel);
    }
    p->bridge = b;
    p->rx = own->id;
    p->number = ++b->readers_ever;
    p->start = own->replay;
    p->next = own->replay.first;
    memcpy(p->channel, own->channel, sizeof p->channel);
    p->most = MOST_AHEAD;
    fi_list_init(&p->waiting);
    fi_list_add_tail(&b->readers, &p->link);
    fi_durable_names(b->net, FERRY_TOPIC, p->channel, base, p->stream);
    snprintf(word, sizeof word, "s.%" PRIx32 ".*", p->number);
    fi_net_node_subject(b->net, all, b->net->node->id, word);
    int r = fi_parcel_listen(b);
    r = r == 0 ? fi_net_subscribe(b->net, b->net->bulk, all, NULL, came, p, &p->sub) : r;
    if (r < 0) {
        close_reader(p);
    }
    return r;
}

void fi_reader_closing(fi_bridge_t *b, const fi_own_t *own) {
    fi_reader_t *p = find(b, own->id, 0);

    if (p) {
        close_reader(p);
    }
}

void fi_reader_end(fi_bridge_t *b) {
    while (!fi_list_empty(&b->readers)) {
        close_reader(fi_container(b->readers.next, fi_reader_t, link));
    }
}
