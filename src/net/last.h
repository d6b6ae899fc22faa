/* SPDX-License-Identifier: MIT
 *
 * net/last.h - the last message of a subject in a stream, from the stream's leader, so never an old one.
 *
 * libnats can ask for it, too, but takes the answer apart letter by letter: 1 MiB takes it some 50 ms, and this less
 * than two.  (The engine answers in JSON, with the bytes in base64.)
 */
#ifndef FI_NET_LAST_H
#define FI_NET_LAST_H

#include "net/ask.h"

typedef struct fi_last {
    natsMsg *answer;
    uint64_t number;
    size_t len;       /* bytes of data */
    const char *text; /* in base64; belongs to `answer` */
} fi_last_t;

/* One try. NATS_OK; NATS_NOT_FOUND, and ask->code is JSNoMessageFoundErr or JSStreamNotFoundErr; or another status. */
natsStatus fi_last_ask(fi_ask_t *ask, const char *stream, const char *subject, fi_last_t *last);
/* An answer to such a question, of which the caller has the message: it must stay for as long as `last` is used.
 * NATS_OK, NATS_NOT_FOUND and the engine's error in `*code`, or NATS_PROTOCOL_ERROR. */
natsStatus fi_last_read(natsMsg *answer, int *code, fi_last_t *last);
/* Stores its bytes, of which there are `len`. */
void fi_last_copy(const fi_last_t *last, void *buf);
void fi_last_done(fi_last_t *last);

#endif
