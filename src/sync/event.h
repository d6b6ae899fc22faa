/* SPDX-License-Identifier: MIT
 *
 * sync/event.h - set or not, and how often it has been set.
 *
 *    63          32   31    30  26  25     24    23   22          0
 *   +--------------+-------+-----+------+-------+----+-------------+
 *   | times set    |WATCHED|     |HUNGRY|WAITERS|SET | times set,  |      the lower half changes with each set
 *   |              |       |     |      |       |    | modulo      |
 *   +--------------+-------+-----+------+-------+----+-------------+
 *
 * Those who only look (all, at a manual event) and those who take it are told apart, so that a set calls no one in
 * vain.
 */
#ifndef FI_SYNC_EVENT_H
#define FI_SYNC_EVENT_H

#include "sync/acquire.h"

#define FI_SET (UINT64_C(1) << 23)

typedef struct fi_event {
    uint64_t *word; /* shared */
    bool auto_reset;
} fi_event_t;

void fi_event_set(const fi_event_t *e);
bool fi_event_reset(const fi_event_t *e); /* true: it was set */

static inline bool fi_event_is_set(const fi_event_t *e) {
    return (fi_load_acquire64(e->word) & FI_SET) != 0;
}
static inline uint32_t fi_event_count(const fi_event_t *e) {
    return (uint32_t)(fi_load_acquire64(e->word) >> 32);
}

/* FI_TAKEN, or how the wait ended. */
int fi_event_wait(const fi_event_t *e, fi_wait_t *w);
/* Until the count, as far as `mask` shows it, is no longer `count`. */
int fi_event_wait_after(const fi_event_t *e, uint32_t count, uint32_t mask, fi_wait_t *w);

void fi_event_bury(const fi_event_t *e);

#endif
