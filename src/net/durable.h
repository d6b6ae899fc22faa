/* SPDX-License-Identifier: MIT
 *
 * net/durable.h - durable queues: the engine keeps what was sent in a stream until somebody has released it.
 *
 *     stream    FERRY=SPACE=q=NAME                  work queue: a message that is acknowledged is gone
 *     subjects  ferry.SPACE.q.NAME.NODE-END         one for each sender, so that each has its own bounds
 *     consumer  ferry                               one for all receivers: each message goes to one of them
 *     headers   Nats-Msg-Id: NODE-END-SEQUENCE      the engine drops what comes twice
 *               Ferry-Tag: TAG                      in hex, if it is not 0
 *               Ferry-Again: 1                      it may be there already, under another number
 *
 * So any client of the engine's can put messages in and take them out.  On a node, the bridge's thread does both (see bridge.h),
 * again as hidden ends: own senders and receivers of a durable queue meet only those.
 *
 *   deposit   a hidden receiver that takes what own senders send, and puts it into the stream; released when it is stored
 *   pickup    a hidden sender that asks the stream for as much as own receivers can do with; what they release is
 *             acknowledged
 */
#ifndef FI_NET_DURABLE_H
#define FI_NET_DURABLE_H

#include <ferry/channel.h>
#include <ferry/steer.h>

#include "net/bridge.h"

#define FI_DURABLE_HEAD 1024u          /* bytes that headers may need of the engine's largest message */
#define FI_DURABLE_ACK_NS 6000000000ll /* what a machine that is lost had taken comes again after so long */

#define FI_DURABLE_API_MAX (FI_SUBJECT_MAX + 64u) /* "$JS.API....STREAM.ferry", with its end */

/*
 * What the engine knows of a queue that is about to be opened. Makes `c->durable` definite, and the stream if there is to be one.
 * Errors: -ENOTSUP no JetStream; -ETIMEDOUT, -ENOTCONN the engine cannot be asked; -EACCES; -ENOSPC; -EIO.
 */
int fi_durable_settle(fi_net_t *net, const char *channel, ferry_contract_t *c);

/* durable_all.c: see ferry/steer.h. */
int fi_durable_each(fi_net_t *net, int (*each)(const ferry_durable_info_t *info, void *arg), void *arg);
int fi_durable_purge(fi_net_t *net, const char *queue, bool remove, uint64_t *messages);

/* For the bridge's thread: makes stream and consumer again, should they be missing. Does not wait for an answer. */
void fi_durable_mend(fi_net_t *net, const char *channel);

/* The number behind `"key":` in an answer of the engine's. False: there is none. */
bool fi_durable_number(natsMsg *msg, const char *key, uint64_t *number);
/* The engine's error in its answer; 0: none. */
int fi_durable_error(natsMsg *msg);
/* Its description there; `words` stay as they are if there is none. */
void fi_durable_words(natsMsg *msg, char *words, size_t cap);

/* The connection for what goes to streams now: where messages come densely, one that gathers them. */
static inline natsConnection *fi_durable_way(const fi_bridge_t *b) {
    return b->dense ? fi_net_stream_connection(b->net) : b->net->bulk;
}

/* "ferry.SPACE.q.NAME", with its stream in `stream`. */
void fi_durable_names(const fi_net_t *net, const char *channel, char subject[FI_SUBJECT_MAX],
                      char stream[FI_SUBJECT_MAX]);

/* deposit.c: own senders. */

/* For a sender's fi_part_t, by its thread: did the engine refuse its messages just now? */
bool fi_durable_explain(fi_sender_t *tx, char *text, size_t cap);

/* Bridge's thread only, as all that follows. */
/* An end has been opened. -ENOMEM and others, with a sentence: it cannot be. */
int fi_deposit_opened(fi_bridge_t *b, const fi_own_t *own);
void fi_deposit_closing(fi_bridge_t *b, const fi_own_t *own);
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
/* A message or a word of the engine's has come for the pickup of that number. Takes it over. */
void fi_pickup_arrived(fi_bridge_t *b, uint32_t number, natsMsg *msg);
void fi_pickup_again(fi_bridge_t *b);
/* True: something is not released, or waits for room. */
bool fi_pickup_turn(fi_bridge_t *b, int64_t *next);
void fi_pickup_end(fi_bridge_t *b);

#endif
