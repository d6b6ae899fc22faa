/* SPDX-License-Identifier: MIT
 *
 * net/value_stream.h - the streams that hold values (value.h), one request at a time.
 */
#ifndef FI_NET_VALUE_STREAM_H
#define FI_NET_VALUE_STREAM_H

#include "net/value.h"

#define FI_VALUE_KIND "sync" /* in the names of subjects and streams */

/* What becomes of a request; or a negative errno, with a sentence. UNKNOWN: no answer, or none yet. */
enum { FI_DONE = 0, FI_RACE_LOST = 1, FI_STREAM_GONE = 2, FI_EMPTY = 3, FI_UNKNOWN = 4 };

/* Streams of one subject: one, or for a moment more, see fi_value_attach. */
#define FI_FOUND_MOST 4u
typedef struct fi_found {
    unsigned count;
    char names[FI_FOUND_MOST][FI_SUBJECT_MAX];
} fi_found_t;

/* FI_DONE, FI_STREAM_GONE, FI_EMPTY, FI_UNKNOWN. */
int fi_stream_read(const fi_value_t *r, const char *stream, const fi_term_t *p, fi_lease_state_t *s, uint64_t *seq);
/* Puts the value in the place of number `*seq` (0: of none), which becomes its own number. FI_DONE, FI_RACE_LOST,
 * FI_STREAM_GONE, FI_UNKNOWN. */
int fi_stream_put(const fi_value_t *r, const char *stream, const fi_lease_state_t *s, const fi_term_t *p,
                  uint64_t *seq);
/* Which streams hold the subject? FI_DONE, FI_UNKNOWN. */
int fi_stream_find(const fi_value_t *r, const fi_term_t *p, fi_found_t *found);
void fi_stream_delete(const fi_value_t *r, const char *stream, const fi_term_t *p);
/* FI_DONE also when somebody else was faster. */
int fi_stream_make(const fi_value_t *r, const char *stream, const fi_term_t *p);
/* Has it a message? FI_DONE: yes; FI_EMPTY; FI_STREAM_GONE, FI_UNKNOWN. `base`: what its tokens begin with. */
int fi_stream_look(const fi_value_t *r, const char *stream, const fi_term_t *p, uint64_t *base);

#endif
