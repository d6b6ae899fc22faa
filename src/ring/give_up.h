/* SPDX-License-Identifier: MIT
 *
 * give_up.h - does it pay a reader to put lines that it has read out of all caches? Found out while messages flow.
 *
 * It differs from processor to processor, and between near and distant cores of one: on Zen 4, lines that were given up
 * made a stream two to ten times as fast; on Zen 3 the same helped messages of 1 KiB by half between distant cores, and
 * made them half as fast between near ones.  A virtual machine's cores change their distance while it runs.  So in
 * every CYCLE laps of the ring the other way is tried for a few, and the quicker one is kept.  What is done in one lap
 * is felt in the next, when the writer comes round to these lines; the first lap of each way is therefore not counted.
 * Laps in which the writer was waited for are: that it is slow is what this may mend.
 */
#ifndef FI_RING_GIVE_UP_H
#define FI_RING_GIVE_UP_H

#include <stdbool.h>
#include <stdint.h>

#define FI_GIVE_UP_TRIAL 4u /* laps of the other way */
#define FI_GIVE_UP_CYCLE 128u

typedef struct fi_give_up {
    uint64_t since;   /* ticks: when this lap began; 0: the stream was broken, or has not begun */
    uint64_t start;   /* position then */
    uint64_t cost[2]; /* ticks for 1024 lines, without and with: a moving average; 0: none yet */
    uint32_t lap;     /* of the cycle, which begins with the trial */
    bool chosen;
} fi_give_up_t;

/* In a stream that has come to `pos`, at `now` (ticks): shall what was read be given up? */
bool fi_give_up_pays(fi_give_up_t *g, uint64_t pos, uint32_t lines, uint64_t now);

/* The stream is broken: this lap does not count. */
static inline void fi_give_up_pause(fi_give_up_t *g) {
    g->since = 0;
}

#endif
