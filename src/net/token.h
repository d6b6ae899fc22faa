/* SPDX-License-Identifier: MIT
 *
 * net/token.h - fencing tokens: who had a lock, and comes back late, cannot write any more.
 *
 * Of a durable channel:
 *
 *     stream    FERRY=SPACE=qf=NAME (a topic's: dtf)     one message, a fi_fence_t: the largest token that was used
 *     subject   ferry.SPACE.qf.NAME
 *
 * A sender raises it to its own (token.c), by the number of the message that it replaces, before it sends with it.
 * Then it puts its messages into the channel's stream on the condition that the stream ends where it did before the
 * fence was read (token_chain.c):
 *
 *     last number of the stream -> the fence -> put, if the stream still ends there, and each further one behind the
 *     one before
 *
 * Why an older token cannot follow a newer one.  Let W be the first message stored with the newer token N, and M one
 * with the older O, stored on the condition that the stream ends at L.  N's sender raised the fence before it put W.
 * If O's sender has read a fence below N, that was before it was raised, so L, which it read before the fence, is from
 * before W; and if W is stored, the stream does not end at L any more.  So M is stored before W, or the server refuses
 * it.  Of what follows M in a chain the same holds: each names its predecessor's number and its id
 * (Nats-Expected-Last-Msg-Id), since the number alone could be W's.  The server looks at both when it stores, also with
 * replicas.
 *
 * A fence that is not there would stand below all: so "there is no such stream" is believed only after a while
 * (fi_ask_is_gone).
 *
 * Unlike the number, the id is not known to a server that was restarted and has lost it from memory; it refuses then,
 * too, and the sender reads both anew.
 */
#ifndef FI_NET_TOKEN_H
#define FI_NET_TOKEN_H

#include "net/deposit.h"

typedef struct fi_fence {
    uint8_t version; /* 1 */
    uint8_t pad[7];
    uint64_t token;
} fi_fence_t;

_Static_assert(sizeof(fi_fence_t) == 16, "as it is on the wire");

/* Names of the fence's subject and stream. */
void fi_token_names(const fi_net_t *net, ferry_kind_t kind, const char *channel, char subject[FI_SUBJECT_MAX],
                    char stream[FI_SUBJECT_MAX]);

/* token.c: raises the channel's fence. By a user's thread. -ESTALE: it is higher; -ETIMEDOUT, -ENOTCONN, -EACCES,
 * -ENOSPC. */
int fi_token_raise(fi_net_t *net, ferry_kind_t kind, const char *channel, uint64_t token);

/* ---- token_chain.c. Bridge's thread; the deposit's end is held. ---- */

/* May the next message of the depositor, which has a token, be published? Else it asks what must be known before. */
bool fi_chain_is_ready(fi_bridge_t *b, const fi_deposit_t *p, fi_depositor_t *d, int64_t now);
/* The conditions for its message. */
natsStatus fi_chain_head(const fi_depositor_t *d, natsMsg *msg);
/* It was published. */
void fi_chain_goes_on(fi_depositor_t *d, const fi_put_t *put);
/* What was known is not so any more. */
void fi_chain_break(fi_depositor_t *d);
/* An answer, by the last word of its subject: "l...", "t...". */
void fi_chain_answer(fi_bridge_t *b, fi_deposit_t *p, fi_depositor_t *d, natsMsg *msg, const char *word, int64_t now);
/* ns until an answer is lost that is waited for, or -1. */
int64_t fi_chain_due(const fi_depositor_t *d, int64_t now);

#endif
