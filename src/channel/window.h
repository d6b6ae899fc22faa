/* SPDX-License-Identifier: MIT
 *
 * window.h - how many messages lie ready for a queue's receiver, when its sender has several to choose from.
 *
 * What is dealt out cannot be moved any more without breaking the order, so there lies ready about as much as a
 * receiver does in a millisecond, and two messages at least: it finds the next one without waiting.  What it holds does
 * not count: who needs many messages at once gets them.  What is known of it is how many it takes in which time, as
 * long as some lie ready.  Who is quick needs no window: rings are cheaper than books.
 *
 * A receiver that has nothing left may have waited for us, so what it took is an upper bound only.  If others waited
 * meanwhile, its window was too small.  One that was slow may just not have been running: a window shrinks by half at
 * most, each time, and grows by one for each message that was taken, so that never more lies ready than was taken
 * before, and two.
 */
#ifndef FI_WINDOW_H
#define FI_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#define FI_AHEAD_NS 1000000u   /* work that may lie ready for a receiver */
#define FI_WINDOW_FIRST 2u     /* messages, for one of which nothing is known; and at least */
#define FI_WINDOW_LARGEST 100u /* where so many may, as many as fit may */

typedef struct fi_window {
    bool used;           /* `most` may lie ready for it */
    bool open;           /* it was seen to be quick: as many as fit may */
    bool wanted;         /* as many as may lay ready since it was looked at, and others waited */
    bool busy;           /* it held some, when last looked at */
    uint32_t passed;     /* times that it had nothing to do, and another one got the next message */
    uint32_t most;       /* messages */
    uint32_t had;        /* that lay ready then */
    uint32_t serial;     /* these stand before this place in its rings */
    uint64_t pos;        /* likewise */
    int64_t since;       /* from then on some lay ready; 0: none did, or it is not known */
    uint64_t service_ns; /* that it takes for one; 0: not known */
} fi_window_t;

/* Begins with what is known: `service_ns`, or 0. */
void fi_window_begin(fi_window_t *w, uint64_t service_ns);
/* `has` messages lie ready now; of those that did when last looked at, `left` are among them. */
void fi_window_note(fi_window_t *w, int64_t now, uint32_t has, uint32_t left);
/* Is there something to note, for which the time is needed? */
static inline bool fi_window_needs_time(const fi_window_t *w, uint32_t has, uint32_t left) {
    return left < w->had || (w->had == 0 && has > 0);
}

static inline bool fi_window_is_full(const fi_window_t *w) {
    return w->used && w->had >= w->most;
}

#endif
