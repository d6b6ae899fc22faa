/* SPDX-License-Identifier: MIT
 *
 * sample.h - what live links cost, seen on a few of their messages.
 *
 * A sender samples now and then: often enough to see a link change within some hundredths of a second, so seldom that
 * it costs nothing (one message in 65,536 where millions flow in a second).  It looks at its readers' cursors, which
 * they publish anyway, and lets that one message carry the time (FI_REC_PROBE), from which its receivers see how long
 * it was on its way.  The quick paths know nothing of this: `free_to`, the sequence number up to which a sender's books
 * allow messages to pass unseen, ends at the next sample.
 *
 * From what is seen follow: how long a receiver spins (what a wake-up really takes on its links), and what is told by
 * `ferry route`.
 */
#ifndef FI_SAMPLE_H
#define FI_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#define FI_SAMPLE_MOST 65536u      /* messages from one sample to the next, at most */
#define FI_SAMPLE_FIRST 16u        /* and at first */
#define FI_SAMPLE_QUICK_NS 2000000 /* sooner than that was too soon */
#define FI_SAMPLE_SLOW_NS 20000000 /* later than that was too late */
#define FI_PACE_WINDOW_NS 20000000 /* seen for so long, a pace counts */
#define FI_WAKES_ENOUGH 8u         /* wake-ups seen before they are believed */

/* When a sender samples, and what it has seen of its messages. */
typedef struct fi_sampling {
    uint64_t at;     /* sequence number from which the next sample is due */
    uint64_t every;  /* messages in between */
    int64_t last_ns; /* of the last sample; 0: there was none */
    uint64_t last_seq;
    uint64_t last_bytes;
    uint64_t size; /* bytes of a message, on average since */
    uint32_t turn; /* of the links that are looked at */
} fi_sampling_t;

/* What a sender sees of one link, in windows of FI_PACE_WINDOW_NS or more. */
typedef struct fi_pace_seen {
    int64_t at_ns;     /* when the window began */
    uint64_t released; /* the reader's cursor then */
    uint32_t serial;   /* of the oldest ring in use */
    bool behind;       /* something was unreleased whenever it was looked at since */
    uint64_t lines_per_s;
    uint64_t service_ns; /* that the receiver takes for 16 lines while it is behind; 0: never seen */
} fi_pace_seen_t;

/* What a receiver sees of one link. Told by the same thread that notes. */
typedef struct fi_latency {
    uint64_t mean_ns;  /* from send to take, of a receiver that did not sleep */
    uint64_t least_ns; /* of all */
    uint64_t count;
    uint64_t wake_ns; /* of one that did: what a quarter of them took less than, lately */
    uint64_t wakes;
} fi_latency_t;

/* The number of messages until the next sample, when the last `every` took so long. */
uint64_t fi_sample_every(uint64_t every, int64_t took_ns);

/* Notes where a link stands. */
void fi_pace_note(fi_pace_seen_t *p, int64_t now, uint32_t serial, uint64_t sent, uint64_t released);

/* How long the receiver takes for a message of `lines` lines while it is behind; 0: not known. */
uint64_t fi_pace_service(const fi_pace_seen_t *p, uint64_t lines);

/* Notes how long one message was on its way; what cannot be true (another clock, a liar) is left out. */
void fi_latency_note(fi_latency_t *l, int64_t ns, bool slept);

#endif
