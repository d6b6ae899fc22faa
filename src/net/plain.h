/* SPDX-License-Identifier: MIT
 *
 * net/plain.h - topics that are open to clients of the engine's which are not Ferry's.
 *
 *     subject   ferry.SPACE.topic.NAME
 *     headers   Ferry-Node: NODE                  a Ferry's: its plain receivers get it the usual way, and drop this one
 *               Nats-Msg-Id: NODE-END-SEQUENCE
 *               Ferry-Type: NAME                  of the message type, if the contract has one
 *               Ferry-Tag: TAG                    in hex, if it is not 0
 *     payload   the message's bytes
 *
 * Nothing is numbered, acknowledged or sent again: each message is delivered at most once, to whoever hears the subject
 * then.
 *
 *   plain    a hidden receiver for each channel that has own plain senders: what these send it publishes at once
 *   ear      a hidden sender for one own plain receiver, with what foreign clients publish
 */
#ifndef FI_NET_PLAIN_H
#define FI_NET_PLAIN_H

#include "net/bridge.h"

#define FI_PLAIN_HEAD 512u /* bytes that headers may need of the engine's largest message */

void fi_plain_subject(const fi_net_t *net, const char *channel, char out[FI_SUBJECT_MAX]);

/* Bridge's thread only, as all that follows. An own end that is plain has been opened. -ENOMEM and others, with a
 * sentence. */
int fi_plain_opened(fi_bridge_t *b, const fi_own_t *own);
void fi_plain_closing(fi_bridge_t *b, const fi_own_t *own);
/* Would what this end sends now be published, and what comes now be given to it? */
bool fi_plain_is_linked(fi_bridge_t *b, const char *channel, uint64_t end, bool is_sender);
/* The server has denied something, in these words: senders whose subject it is are told. */
void fi_plain_denied(fi_bridge_t *b, const char *words);
/* One turn, as fi_out_turn. */
bool fi_plain_turn(fi_bridge_t *b, bool *waits);
void fi_plain_end(fi_bridge_t *b);

/* ---- ear.c, likewise ---- */

int fi_ear_open(fi_bridge_t *b, const fi_own_t *own);
void fi_ear_close(fi_bridge_t *b, uint64_t rx);
bool fi_ear_is_linked(fi_bridge_t *b, uint64_t rx);
/* Something has come for the ear of that number. Takes it over. */
void fi_ear_arrived(fi_bridge_t *b, uint32_t number, natsMsg *msg);
/* True: something waits for room. */
bool fi_ear_turn(fi_bridge_t *b);
void fi_ear_end(fi_bridge_t *b);

#endif
