/* SPDX-License-Identifier: MIT
 *
 * Putting messages into the stream of a durable channel.
 *
 * Messages of one sender are published in order, up to a window ahead of the engine's answers.  After a lost
 * connection, an answer that does not come, or a refusal, the first that is not stored is next again: the engine drops
 * by its id what it has.
 *
 * Bounds: a sender does not publish what would exceed its share, so that the engine never has to refuse one message in
 * the middle of others.  It knows what it has stored; when that reaches the bound it asks how much of it is still
 * there.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "channel/messages.h"
#include "net/deposit.h"
#include "net/parcel.h"
#include "net/token.h"
#include "platform/clock.h"

#define WINDOW_BYTES (8u << 20) /* published and not answered, at most; see FI_DEPOSIT_WINDOW */
#define ANSWER_NS 2000000000ll  /* an answer that takes longer has been lost */
#define PAUSE_NS 50000000ll     /* after a refusal, twice as long after each further one, */
#define LONGEST_PAUSE_NS 1000000000ll
#define REFUSAL_NS (2 * ANSWER_NS) /* it is spoken of for so long */
#define ASK_NS 2000000ll           /* between questions how much is still there, the same */
#define LONGEST_ASK_NS 100000000ll

/* ---- publishing ---- */

static bool may_publish(const fi_depositor_t *d) {
    if (d->sent == d->taken || d->sent - d->stored >= d->window || d->sent_bytes - d->stored_bytes >= WINDOW_BYTES) {
        return false;
    }
    uint64_t bytes = d->sent_bytes - d->gone_bytes;
    return d->sent == d->gone ||
           (d->sent - d->gone < d->capacity && bytes + fi_put_at(d, d->sent + 1)->size <= d->quota);
}

/* Is the share used up by what is stored? */
static bool is_at_bound(const fi_depositor_t *d) {
    return d->sent < d->taken && d->sent == d->stored && !may_publish(d);
}

/* What is written for each message is not left to snprintf: it would take a tenth of all that is done for it here. */
static char *put_hex(char *at, uint64_t n) {
    int digits = n ? (int)fi_log2(n) / 4 + 1 : 1;

    for (int i = digits - 1; i >= 0; i--) {
        *at++ = "0123456789abcdef"[n >> 4 * i & 15];
    }
    *at = '\0';
    return at;
}

static char *put_next(char *at, uint64_t n) {
    *at = '-';
    return put_hex(at + 1, n);
}

/* Its subject's last word says whose it is: "NODE-END". */
void fi_deposit_id(const fi_depositor_t *d, uint64_t seq, uint32_t again, char id[FI_MESSAGE_ID]) {
    char *at = put_next(stpcpy(id, strrchr(d->subject, '.') + 1), seq);

    if (again) {
        put_next(at, again);
    }
}

/* Where the answer to message `number` is to come: its last word is "N-AGAIN", or, in a chain, "qROUND-N-AGAIN". */
static void answer_subject(const fi_depositor_t *d, uint64_t number, const fi_put_t *put,
                           char subject[FI_SUBJECT_MAX + 64]) {
    char *at = stpcpy(subject, d->ear.subject) - 1; /* in place of "*" */

    if (put->token) {
        *at++ = 'q';
        at = put_next(put_hex(at, d->chain.round), number);
    } else {
        at = put_hex(at, number);
    }
    put_next(at, put->again);
}

static natsStatus publish(fi_bridge_t *b, fi_depositor_t *d, uint64_t number) {
    fi_put_t *put = fi_put_at(d, number);
    char reply[FI_SUBJECT_MAX + 64];
    char text[FI_MESSAGE_ID];
    natsMsg *msg = NULL;
    bool parcel = fi_is_parcel(b->net, put->size);

    answer_subject(d, number, put, reply);
    natsStatus s = fi_nats.natsMsg_Create(&msg, d->subject, reply, parcel ? "" : (const char *)put->msg->data,
                                          parcel ? 0 : (int)put->size);
    s = s == NATS_OK && parcel ? fi_parcel_head(b, msg, put->size) : s;
    s = s == NATS_OK && put->token ? fi_chain_head(d, msg) : s;
    fi_deposit_id(d, put->seq, put->again, text);
    s = s == NATS_OK ? fi_nats.natsMsgHeader_Set(msg, "Nats-Msg-Id", text) : s;
    if (s == NATS_OK && put->tag) {
        snprintf(text, sizeof text, "%" PRIx64, put->tag);
        s = fi_nats.natsMsgHeader_Set(msg, "Ferry-Tag", text);
    }
    if (s == NATS_OK && put->msg->origin) {
        s = fi_durable_set_origin(msg, put->msg->origin);
    }
    if (s == NATS_OK && number <= d->most) {
        s = fi_nats.natsMsgHeader_Set(msg, "Ferry-Again", "1");
    }
    put->losses = number > d->most ? d->losses : put->losses;
    d->most = fi_max(d->most, number); /* whatever is said of it now, it may have left */
    s = s == NATS_OK ? fi_way_publish(b->net, msg) : s;
    fi_bridge_drop(b, msg);
    return s;
}

void fi_deposit_note(fi_bridge_t *b, const fi_deposit_t *p, const char *words, int64_t now) {
    pthread_mutex_lock(&b->lock);
    memcpy(b->refusal.channel, p->channel, sizeof b->refusal.channel);
    snprintf(b->refusal.words, sizeof b->refusal.words, "%s", words);
    b->refusal.at = now;
    pthread_mutex_unlock(&b->lock);
}

/* The library does not take it. */
static void cannot_publish(fi_bridge_t *b, const fi_deposit_t *p, fi_depositor_t *d, natsStatus s, int64_t now) {
    char words[sizeof b->refusal.words];

    if (s == NATS_MAX_PAYLOAD) {
        snprintf(words, sizeof words, "with its headers, one is larger than its max_payload, which is %u: raise that",
                 fi_load_relaxed32(&b->net->way.most));
    } else {
        snprintf(words, sizeof words, "%s", fi_net_words(s));
    }
    fi_deposit_note(b, p, words, now);
    fi_chain_break(d);
    d->paused_until = now + PAUSE_NS;
}

/* The first that is not stored is next again. */
static void begin_again(fi_depositor_t *d) {
    d->sent = d->stored;
    d->sent_bytes = d->stored_bytes;
    fi_chain_break(d);
}

static void publish_all(fi_bridge_t *b, fi_deposit_t *p, fi_depositor_t *d, int64_t now) {
    uint32_t losses = fi_net_losses(b->net);

    if (losses != d->losses) {
        d->losses = losses;
        begin_again(d);
    }
    if (!fi_net_is_up(b->net) || now < d->paused_until) {
        return;
    }
    while (may_publish(d) && fi_way_has_room(b->net)) {
        const fi_put_t *put = fi_put_at(d, d->sent + 1);
        if (put->msg && put->token && !fi_chain_is_ready(b, p, d, now)) {
            return;
        }
        if (put->msg && fi_is_parcel(b->net, put->size) && !fi_parcel_put(b, p, d, d->sent + 1, now)) {
            return;
        }
        natsStatus s = put->msg ? publish(b, d, d->sent + 1) : NATS_OK;
        if (s != NATS_OK) {
            cannot_publish(b, p, d, s, now);
            return;
        }
        if (put->msg && put->token) {
            fi_chain_goes_on(d, put);
        }
        if (d->sent == d->stored) {
            d->answered_at = now;
        }
        d->sent++;
        d->sent_bytes += put->size;
        b->progress = true;
    }
}

static void hold_off(fi_depositor_t *d, int64_t now) {
    d->pause = d->pause ? fi_earlier(2 * d->pause, LONGEST_PAUSE_NS) : PAUSE_NS;
    d->paused_until = now + d->pause;
    d->window = 1; /* so that nothing overtakes what is refused */
    begin_again(d);
}

/* ---- how much is still there ---- */

static void ask(fi_bridge_t *b, fi_deposit_t *p, fi_depositor_t *d, int64_t now) {
    char base[FI_SUBJECT_MAX], stream[FI_SUBJECT_MAX], subject[FI_DURABLE_API_MAX], reply[FI_SUBJECT_MAX];
    char text[FI_SUBJECT_MAX + 32];

    fi_durable_names(b->net, p->kind, p->channel, base, stream);
    snprintf(subject, sizeof subject, "$JS.API.STREAM.INFO.%s", stream);
    snprintf(text, sizeof text, "d.%" PRIx32 ".i%" PRIx64, d->number, d->stored);
    fi_net_node_subject(b->net, reply, b->net->node->id, text);
    int len = snprintf(text, sizeof text, "{\"subjects_filter\":\"%s\"}", d->subject);
    d->ask_pause = d->ask_pause ? fi_earlier(2 * d->ask_pause, LONGEST_ASK_NS) : ASK_NS;
    d->ask_at = now + d->ask_pause;
    (void)fi_nats.natsConnection_PublishRequest(b->net->bulk, subject, reply, text, len);
}

/* Which of those that are stored are gone is not known: their bytes are taken to be the mean. */
static void forget_to(fi_depositor_t *d, uint64_t number) {
    if (number > d->gone) {
        double share = (double)(number - d->gone) / (double)(d->stored - d->gone);
        d->gone_bytes += (uint64_t)(share * (double)(d->stored_bytes - d->gone_bytes));
        d->gone = number;
        d->ask_pause = 0;
    }
}

/* So many of the first `asked` are there, at most. */
static void told(fi_depositor_t *d, natsMsg *msg, uint64_t asked) {
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
void fi_depositor_settle(fi_depositor_t *d, uint64_t number) {
    fi_put_t *put = fi_put_at(d, number);

    if (put->msg) {
        fi_taken_release_held(put->msg);
        put->msg = NULL;
        d->released++;
    }
    while (d->stored < d->taken && !fi_put_at(d, d->stored + 1)->msg) {
        d->stored++;
        d->stored_bytes += fi_put_at(d, d->stored)->size;
    }
    if (d->sent < d->stored) { /* it was to be published again, and was stored already */
        begin_again(d);
    }
}

/* NULL: the library has said so itself. */
static bool is_silence(natsMsg *msg) {
    return !msg || fi_nats.natsMsg_IsNoResponders(msg);
}

static bool is_refusal(natsMsg *msg) {
    return is_silence(msg) || fi_durable_error(msg) != 0;
}

/* In the engine's words. */
static void note_refusal(fi_bridge_t *b, const fi_deposit_t *p, natsMsg *msg, int64_t now) {
    char words[sizeof b->refusal.words] = "nobody answers for its stream";

    if (!is_silence(msg)) {
        fi_durable_words(msg, words, sizeof words);
    }
    fi_deposit_note(b, p, words, now);
}

bool fi_durable_explain(fi_sender_t *tx, char *text, size_t cap) {
    fi_net_t *net = tx->end.node->net;
    fi_bridge_t *b = net->bridge;
    bool known = true;

    if (!fi_net_is_up(net) || fi_load_acquire32(&net->way.torn)) {
        snprintf(text, cap, "'%s' is durable, and there is no connection to its server now; it is being tried again",
                 tx->end.channel);
        return true;
    }
    pthread_mutex_lock(&b->lock);
    known = strcmp(b->refusal.channel, tx->end.channel) == 0 && fi_now_ns() - b->refusal.at < REFUSAL_NS;
    if (known) {
        snprintf(text, cap, "'%s' is durable, and its server does not take messages now: %s", tx->end.channel,
                 b->refusal.words);
    }
    pthread_mutex_unlock(&b->lock);
    return known;
}

static fi_depositor_t *find_depositor(fi_bridge_t *b, uint64_t number, fi_deposit_t **whose) {
    struct fi_list *at, *after, *in, *next;

    fi_list_each(at, after, &b->deposits) {
        *whose = fi_container(at, fi_deposit_t, link);
        fi_list_each(in, next, &(*whose)->depositors) {
            fi_depositor_t *d = fi_container(in, fi_depositor_t, link);
            if (d->number == number) {
                return d;
            }
        }
    }
    return NULL;
}

static void parcel_answered(fi_bridge_t *b, const fi_deposit_t *p, fi_depositor_t *d, natsMsg *msg, const char *word,
                            int64_t now) {
    bool refused = is_refusal(msg);

    if (refused && word[0] == 'p') {
        note_refusal(b, p, msg, now);
    }
    fi_parcel_answer(b, d, word, refused, now);
}

static bool is_duplicate(natsMsg *msg) {
    static const char key[] = "\"duplicate\":";
    const char *at = strstr(fi_nats.natsMsg_GetData(msg), key); /* libnats ends each message with a zero */

    return at && strncmp(at + sizeof key - 1 + strspn(at + sizeof key - 1, " "), "true", 4) == 0;
}

/*
 * A large message's head is not all: its sender may be told only when there is the mark, too.
 *
 * That the engine had the head before a connection was lost does not say that it has it still: while we were away its
 * pieces may have been swept, and a receiver that did not find them has dropped it. They are there again now; so the
 * head goes once more, by another id, by which it can only be there twice. (Nobody removes a topic's.)
 */
static void stored(fi_bridge_t *b, const fi_deposit_t *p, fi_depositor_t *d, natsMsg *msg, uint64_t number) {
    fi_put_t *put = fi_put_at(d, number);

    if (put->msg && fi_is_parcel(b->net, put->size)) {
        if (p->kind == FERRY_QUEUE && put->losses != d->losses && is_duplicate(msg)) {
            put->losses = d->losses;
            put->again++;
            begin_again(d);
            b->progress = true;
            return;
        }
        fi_parcel_mark(b, p, d, number);
    } else {
        fi_depositor_settle(d, number);
    }
}

static void marked(fi_depositor_t *d, natsMsg *msg, uint64_t number, int64_t now) {
    if (number > d->stored && number <= d->most && !is_refusal(msg)) {
        d->answered_at = now;
        fi_depositor_settle(d, number);
    }
}

/* The engine does not store it now. */
static void refused(fi_bridge_t *b, fi_deposit_t *p, fi_depositor_t *d, natsMsg *msg, int64_t now) {
    if (is_silence(msg)) { /* a server may have lost its streams, or not found them yet */
        fi_durable_mend(&p->mending, now);
    }
    note_refusal(b, p, msg, now);
    if (now >= d->paused_until) {
        hold_off(d, now);
    } else {
        begin_again(d); /* of the same trouble */
    }
}

/* Somebody else has put something between what is sent with a token, or a server was restarted. */
static bool is_chain_broken(natsMsg *msg) {
    int code = fi_durable_error(msg);

    return code == JSStreamWrongLastSequenceErr || code == JSStreamWrongLastMsgIDErr;
}

/* `word`: "N-AGAIN"; `round`: of the chain in which it was published; the depositor's if it was in none. */
static void answered(fi_bridge_t *b, fi_deposit_t *p, fi_depositor_t *d, natsMsg *msg, const char *word, uint32_t round,
                     int64_t now) {
    char *end = NULL;
    uint64_t number = strtoull(word, &end, 16);
    uint64_t at;

    if (number <= d->stored || number > d->most ||
        fi_put_at(d, number)->again != (*end == '-' ? strtoul(end + 1, NULL, 16) : 0)) {
        return; /* answered before, by an earlier id, or nonsense */
    }
    if (is_refusal(msg)) {
        if (round != d->chain.round) {
            return; /* it was published anew since */
        }
        if (is_chain_broken(msg)) {
            begin_again(d);
            b->progress = true;
        } else {
            refused(b, p, d, msg, now);
        }
    } else if (fi_durable_number(msg, "\"seq\":", &at)) {
        d->answered_at = now;
        d->pause = 0;
        d->window = d->window < FI_DEPOSIT_WINDOW ? 2 * d->window : FI_DEPOSIT_WINDOW;
        stored(b, p, d, msg, number);
    }
}

/* By the last word of its subject. The end is held. */
static void take_answer(fi_bridge_t *b, fi_deposit_t *p, fi_depositor_t *d, natsMsg *msg, const char *word) {
    int64_t now = fi_now_ns();
    char *end = NULL;
    uint32_t round;

    switch (word[0]) {
    case 'i':
        told(d, msg, strtoull(word + 1, NULL, 16));
        break;
    case 's':
    case 'p':
        parcel_answered(b, p, d, msg, word, now);
        break;
    case 'm':
        marked(d, msg, strtoull(word + 1, NULL, 16), now);
        break;
    case 'l':
    case 't':
        fi_chain_answer(b, p, d, msg, word, now);
        break;
    case 'q':
        round = (uint32_t)strtoul(word + 1, &end, 16);
        answered(b, p, d, msg, *end == '-' ? end + 1 : end, round, now);
        break;
    default:
        answered(b, p, d, msg, word, d->chain.round, now);
    }
}

void fi_deposit_answer(fi_bridge_t *b, natsMsg *msg) {
    const char *words = strstr(fi_nats.natsMsg_GetSubject(msg) + strlen("ferry.") + strlen(b->net->space), ".d.");
    char *end = NULL;
    fi_deposit_t *p = NULL;

    uint64_t number = words ? strtoull(words + 3, &end, 16) : 0;
    fi_depositor_t *d = words && *end == '.' ? find_depositor(b, number, &p) : NULL;
    if (d && fi_end_enter(&p->rx->end, FI_END_RECEIVER) == 0) {
        take_answer(b, p, d, msg, end + 1);
        fi_end_leave(&p->rx->end);
    }
}

void fi_depositor_hear(void *depositor, natsMsg *msg) {
    fi_depositor_t *d = depositor;
    fi_deposit_t *p = d->deposit;

    if (fi_end_enter(&p->rx->end, FI_END_RECEIVER) == 0) {
        if (msg) {
            take_answer(p->bridge, p, d, msg, strrchr(fi_nats.natsMsg_GetSubject(msg), '.') + 1);
        } else if (d->sent > d->stored) {
            refused(p->bridge, p, d, NULL, fi_now_ns());
        }
        fi_end_leave(&p->rx->end);
    }
    fi_bridge_drop(p->bridge, msg);
}

void fi_deposit_denied(fi_bridge_t *b, const char *words) {
    struct fi_list *at, *after, *in, *next;

    fi_list_each(at, after, &b->deposits) {
        const fi_deposit_t *p = fi_container(at, fi_deposit_t, link);
        fi_list_each(in, next, &p->depositors) {
            const fi_depositor_t *d = fi_container(in, fi_depositor_t, link);
            fi_far_tell_denied(b, d->tx, words, d->subject);
        }
    }
}

void fi_deposit_again(fi_bridge_t *b) {
    struct fi_list *at, *after, *in, *next;

    fi_list_each(at, after, &b->deposits) {
        const fi_deposit_t *p = fi_container(at, fi_deposit_t, link);
        fi_list_each(in, next, &p->depositors) {
            fi_depositor_t *d = fi_container(in, fi_depositor_t, link);
            d->paused_until = 0;
            begin_again(d);
        }
    }
}

/* ---- a turn ---- */

/* ns until this one is to be looked at again, or -1. */
int64_t fi_depositor_tend(fi_bridge_t *b, fi_deposit_t *p, fi_depositor_t *d, int64_t now) {
    if (d->sent > d->stored && now - d->answered_at > ANSWER_NS && fi_net_is_up(b->net)) {
        fi_deposit_note(b, p, "it does not answer", now);
        begin_again(d);
        fi_durable_mend(&p->mending, now);
    }
    publish_all(b, p, d, now);
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
    if (d->sent < d->taken && d->parcel.number == d->sent + 1 && fi_net_is_up(b->net)) {
        int64_t left = d->parcel.answered_at + ANSWER_NS - now;
        return left > PAUSE_NS ? left : PAUSE_NS;
    }
    if (d->sent > d->stored) {
        return d->answered_at + ANSWER_NS - now;
    }
    if (d->sent < d->taken && fi_chain_due(d, now) >= 0 && fi_net_is_up(b->net)) {
        return fi_chain_due(d, now);
    }
    return d->sent < d->taken && d->paused_until > now ? d->paused_until - now : -1;
}
