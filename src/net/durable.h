/* SPDX-License-Identifier: MIT
 *
 * net/durable.h - durable channels: the engine keeps what was sent in a stream.
 *
 * A queue's is kept until somebody has released it:
 *
 *     stream    FERRY=SPACE=q=NAME                  work queue: a message that is acknowledged is gone
 *     subjects  ferry.SPACE.q.NAME.NODE-END         one for each sender, so that each has its own bounds
 *     consumer  ferry                               one for all receivers: each message goes to one of them
 *
 * A topic's for as long as its bounds say, whoever reads it:
 *
 *     stream    FERRY=SPACE=dt=NAME                 limits: the oldest goes
 *     subjects  ferry.SPACE.dt.NAME.NODE-END
 *     consumer  NODE-READER-ROUND                   one for each receiver, for as long as it is open; nothing is acknowledged
 *
 * Of both:
 *
 *     headers   Nats-Msg-Id: NODE-END-SEQUENCE      the engine drops what comes twice; a large one's may have "-AGAIN" behind it
 *               Ferry-Tag: TAG                      in hex, if it is not 0
 *               Ferry-Again: 1                      it may be there already, under another number
 *               Ferry-Origin: NODE-END-SEQUENCE-ATTEMPTS QUEUE    of a dead letter: where it was tried, and how often
 *
 * So any client of the engine's can put messages in and take them out.  On a node, the bridge's thread does both (see
 * bridge.h), again as hidden ends: own senders and receivers of a durable channel meet only those.
 *
 *   deposit   a hidden receiver that takes what own senders send, and puts it into the stream; released when it is stored
 *   pickup    a hidden sender that asks the stream for as much as own receivers can do with; what they release is
 *             acknowledged
 *   reader    a hidden sender for one own receiver of a topic, which reads the stream for it (reader.c)
 */
#ifndef FI_NET_DURABLE_H
#define FI_NET_DURABLE_H

#include <ferry/channel.h>
#include <ferry/steer.h>

#include "net/ask.h"
#include "net/bridge.h"
#include "net/known.h"

#define FI_DURABLE_HEAD 1024u          /* bytes that headers may need of the engine's largest message */
#define FI_DURABLE_ACK_NS 6000000000ll /* what a machine that is lost had taken comes again after so long */

#define FI_DURABLE_MORE sizeof(struct fi_origin) /* bytes that may stand behind a message for its receiver */

#define FI_DURABLE_IDS_NS 120000000000ull /* for so long the engine knows an id */

#define FI_DURABLE_API_MAX (FI_SUBJECT_MAX + 96u) /* "$JS.API....STREAM.CONSUMER", with its end */

/*
 * What the engine knows of a channel that is about to be opened. Makes `c->durable` definite, and the stream if there
 * is to be one; `kept`: what a topic's sender has stated, or zeros.
 * Errors: -ENOTSUP no JetStream; -ETIMEDOUT, -ENOTCONN the engine cannot be asked; -EACCES; -ENOSPC; -EIO.
 */
int fi_durable_settle(fi_net_t *net, const char *channel, ferry_kind_t kind, const fi_kept_bounds_t *kept,
                      ferry_contract_t *c);

/* durable_topic.c: where a receiver of a durable topic begins. Errors likewise. */
int fi_durable_find_start(fi_net_t *net, const char *channel, const ferry_receiver_options_t *o, fi_replay_t *start);

/* durable_all.c: see ferry/steer.h. */
int fi_durable_each(fi_net_t *net, int (*each)(const ferry_durable_info_t *info, void *arg), void *arg);
int fi_durable_purge(fi_net_t *net, const char *name, bool remove, uint64_t *messages);

/*
 * Making a channel's stream again, and a queue's consumer, should they be missing.  Not at once: the server may just be
 * removing those there were, and takes files of the next ones along.  And the consumer some time after the stream, which
 * others may be making, too (see look_for_consumer in durable.c).
 */
typedef struct fi_mending {
    int64_t stream_at, consumer_at; /* ns; 0: it is not to be made */
} fi_mending_t;
/* For the bridge's thread. It begins, unless it goes on. */
void fi_durable_mend(fi_mending_t *m, int64_t now);
/* Does what is due, without waiting for an answer. `kept`: a topic's. Returns ns until more is due, or -1. */
int64_t fi_durable_tend(fi_net_t *net, ferry_kind_t kind, const char *channel, const fi_kept_bounds_t *kept,
                        fi_mending_t *m, int64_t now);

/* The number behind `"key":` in an answer of the engine's. False: there is none. */
bool fi_durable_number(natsMsg *msg, const char *key, uint64_t *number);
/* The engine's error in its answer; 0: none. */
int fi_durable_error(natsMsg *msg);
/* Its description there; `words` stay as they are if there is none. */
void fi_durable_words(natsMsg *msg, char *words, size_t cap);
/* When a stream was made, in an answer about it: another one of its name counts anew. "" if it does not say. */
void fi_durable_created(natsMsg *msg, char created[FI_CREATED_MAX]);

/* What stands for the kind in names; "t" is what topics use that are not durable. */
static inline const char *fi_durable_word(ferry_kind_t kind) {
    return kind == FERRY_TOPIC ? "dt" : "q";
}

/* "ferry.SPACE.q.NAME", with its stream in `stream`. */
void fi_durable_names(const fi_net_t *net, ferry_kind_t kind, const char *channel, char subject[FI_SUBJECT_MAX],
                      char stream[FI_SUBJECT_MAX]);

/* On which a sender of this node puts its messages. */
void fi_durable_sender_subject(const fi_net_t *net, ferry_kind_t kind, const char *channel, uint64_t end,
                               char subject[FI_SUBJECT_MAX]);

/* What the subject for acknowledgements says of a message that a consumer delivers. */
typedef struct fi_delivery {
    uint32_t attempt;
    uint64_t seq;    /* the message's number in the stream */
    uint64_t number; /* among what the consumer has delivered */
    uint64_t time;   /* when the stream got it: numbers may be used again by a server that was killed */
} fi_delivery_t;
bool fi_durable_read_ack(const char *ack, fi_delivery_t *d);

/* What a consumer says about a question for messages, in place of messages (status.c). */
typedef enum fi_word {
    FI_WORD_WAITS,  /* it waits there */
    FI_WORD_OVER,   /* it has ended, as it had to */
    FI_WORD_LARGE,  /* likewise, since the next message has more bytes than it allows */
    FI_WORD_FEWER,  /* the newest is refused: it asks for more messages than may be asked for at once */
    FI_WORD_AWAY,   /* it has ended, or is refused: not all is there for the moment, but nothing is missing */
    FI_WORD_TROUBLE /* nobody answers, the consumer was removed, or something unknown */
} fi_word_t;
/* NULL: the library says that nobody answers. `*most`: of FI_WORD_FEWER, so many may be asked for; else untouched. */
fi_word_t fi_durable_word_on(natsMsg *msg, uint32_t *most);

fi_identity_t fi_durable_identify(natsMsg *msg, const fi_delivery_t *d);
uint64_t fi_durable_tag(natsMsg *msg);
/* Where a dead letter comes from. False: it is none. */
bool fi_durable_origin(natsMsg *msg, struct fi_origin *o);
/* Says so in a message's header. */
natsStatus fi_durable_set_origin(natsMsg *msg, const unsigned char *origin);
/* Puts it behind the item's bytes; its block has FI_DURABLE_MORE bytes more. */
void fi_origin_append(natsMsg *msg, fi_item_t *item);
/* Gives the item a block of its own, with that; the caller gives it back. False: there is no room for it now. */
bool fi_origin_copy(fi_sender_t *tx, natsMsg *msg, fi_item_t *item);

/* ---- between durable*.c ---- */

#define FI_DURABLE_JSON_MAX 1024
/* Asks the engine. 0: it has answered; `*code` is its error's number, or 0; `*answer` (may be NULL) is to be
 * destroyed. */
int fi_durable_ask(fi_ask_t *a, const char *subject, const char *json, int *code, natsMsg **answer);
/* A refusal, as an errno with a sentence. */
int fi_durable_refused(const fi_ask_t *a, int code);
void fi_durable_api(char out[FI_DURABLE_API_MAX], const char *what, const char *stream, const char *after);
/* A topic's stream as JSON. */
int fi_durable_topic_json(const fi_net_t *net, const char *channel, const fi_kept_bounds_t *kept, int replicas,
                          char json[FI_DURABLE_JSON_MAX]);
/* Makes a topic's stream have what is stated. */
int fi_durable_topic_bound(fi_ask_t *a, const char *channel, const fi_kept_bounds_t *kept);

/* deposit.c: own senders. */

/* For a sender's fi_part_t, by its thread: did the engine refuse its messages just now? */
bool fi_durable_explain(fi_sender_t *tx, char *text, size_t cap);

/* Bridge's thread only, as all that follows. */
/* An end has been opened. -ENOMEM and others, with a sentence: it cannot be. */
int fi_deposit_opened(fi_bridge_t *b, const fi_own_t *own);
void fi_deposit_closing(fi_bridge_t *b, const fi_own_t *own);
/* What this sender sends from this number of its own on has this token. */
void fi_deposit_token(fi_bridge_t *b, const fi_own_t *own, uint64_t from, uint64_t token);
/* Does it take what this sender sends? */
bool fi_deposit_is_linked(fi_bridge_t *b, ferry_kind_t kind, const char *channel, uint64_t tx);
/* An answer of the engine's has come. */
void fi_deposit_answer(fi_bridge_t *b, natsMsg *msg);
/* The server has denied something, in these words: senders whose subject it is are told. */
void fi_deposit_denied(fi_bridge_t *b, const char *words);
/* The connection is back: what was on its way may be lost. */
void fi_deposit_again(fi_bridge_t *b);
/* One turn, as fi_out_turn. `*next`: ns until it is to be called again, if that is sooner. */
bool fi_deposit_turn(fi_bridge_t *b, int64_t *next, bool *waits);
void fi_deposit_end(fi_bridge_t *b);
/* For who looks: full queues that the engine keeps (tell.h). */
void fi_deposits_tell(fi_bridge_t *b, fi_peer_t *p);

/* pickup.c: own receivers. */
int fi_pickup_opened(fi_bridge_t *b, const fi_own_t *own);
void fi_pickup_closing(fi_bridge_t *b, const fi_own_t *own);
/* True: something is not released, or waits for room. */
bool fi_pickup_turn(fi_bridge_t *b, int64_t *next);
void fi_pickup_end(fi_bridge_t *b);
/* pickup_late.c: what was on its way to those that have left. Returns ns until the next turn, or -1. */
int64_t fi_pickup_late_turn(fi_bridge_t *b);
void fi_pickup_late_end(fi_bridge_t *b);

/* reader.c: own receivers of topics. */
int fi_reader_opened(fi_bridge_t *b, const fi_own_t *own);
void fi_reader_closing(fi_bridge_t *b, const fi_own_t *own);
void fi_reader_arrived(fi_bridge_t *b, uint32_t number, natsMsg *msg);
void fi_reader_again(fi_bridge_t *b);
bool fi_reader_turn(fi_bridge_t *b, int64_t *next);
void fi_reader_end(fi_bridge_t *b);

#endif
