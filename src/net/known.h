/* SPDX-License-Identifier: MIT
 *
 * net/known.h - which messages of a durable channel were here lately: the last FI_KNOWN, whoever sent them.
 *
 * They stand in a circle, in which the oldest makes room, and in buckets by which they are found. All zero is empty.
 */
#ifndef FI_NET_KNOWN_H
#define FI_NET_KNOWN_H

#include <stdbool.h>
#include <stdint.h>

#define FI_KNOWN 16384u

/* Which message it is, whatever number it has in the stream: a sender may have had to send it again. */
typedef struct fi_identity {
    uint64_t origin; /* the sender; of a client that is not Ferry's, when the stream got it */
    uint64_t number; /* the sender's; of another client's, the stream's */
} fi_identity_t;

typedef struct fi_known {
    fi_identity_t ids[FI_KNOWN];
    uint16_t next[FI_KNOWN];  /* of the same bucket: its place, from 1 on; 0: none */
    uint16_t first[FI_KNOWN]; /* of each bucket, likewise */
    uint64_t count;           /* that were ever added */
} fi_known_t;

/* Was it here? From now on it was. */
bool fi_known_add(fi_known_t *k, fi_identity_t id);
/* It was not, after all. */
void fi_known_forget(fi_known_t *k, fi_identity_t id);

#endif
