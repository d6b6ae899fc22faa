/* SPDX-License-Identifier: MIT
 *
 * messages.h - what can be done with a message handle, by the side it belongs to.
 */
#ifndef FI_MESSAGES_H
#define FI_MESSAGES_H

#include "channel/message.h"
#include "channel/receiver.h"
#include "channel/sender.h"

/* sent.c: the sender's end is held. */
int fi_sent_new(fi_sender_t *tx, uint64_t size, int64_t timeout, void **data, ferry_msg_t **out);
/* One that has its memory for itself; it does not wait, and its bytes are zero. */
int fi_sent_new_alone(fi_sender_t *tx, uint64_t size, ferry_msg_t **out);
/* `annex`: FI_ANNEX bytes that go with it, or NULL. */
int fi_sent_send(ferry_msg_t *m, const void *annex, int64_t timeout);
int fi_sent_edit(ferry_msg_t *m, void **data);
int fi_sent_release(ferry_msg_t *m);

/* taken.c: any thread that may use the handle. */
int fi_taken_release(ferry_msg_t *m);
/* Was it taken from this node, which was expelled? -ESHUTDOWN; else 0. */
int fi_taken_is_others(const ferry_msg_t *m);
/* Makes the bytes private to the handle; `*data` is where they are. Returns 1 when a copy was made, 0 when not. */
int fi_taken_copy(ferry_msg_t *m, unsigned char **data);

/*
 * A message that its sender may take away from readers that lag behind can be kept without being held: fi_taken_rest
 * lets the sender write over it (any thread that may use the handle); fi_taken_rouse holds it again, unless the sender
 * has begun to. Returns 1 when it is held, with the bytes it had, 0 when it is lost, -EDQUOT too many are held. The end
 * is held.
 */
void fi_taken_rest(ferry_msg_t *m);
int fi_taken_rouse(ferry_msg_t *m);

/* alone.c: a message that belongs to no end, of FI_MSG_TAKEN (its `link` is NULL) or FI_MSG_SENT (its `sender` is). Its
 * bytes are not cleared, and are its own: `copy`. NULL: no memory; the sentence says so. */
ferry_msg_t *fi_alone_new(uint32_t magic, uint64_t size);
int fi_alone_release(ferry_msg_t *m);

/* Makes the handle independent of the sender's memory, as far as there is memory for it. */
void fi_taken_keep(ferry_msg_t *m);
/* Where sequence, attempt, tag and time stand; NULL: in the handle. */
static inline const struct fi_record *fi_taken_record(const ferry_msg_t *m) {
    return m->plain ? fi_ringr_line(&m->log->r, m->idx) : m->record;
}
static inline uint32_t fi_taken_attempt(const ferry_msg_t *m) {
    const struct fi_record *record = fi_taken_record(m);
    return record ? fi_word_attempt(fi_load_relaxed64(&record->word)) : m->attempt;
}
/* Fills them in. */
void fi_taken_describe(const ferry_msg_t *m, ferry_msg_info_t *info);

#endif
