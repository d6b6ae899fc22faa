/* SPDX-License-Identifier: MIT
 *
 * host/choose.h - what follows from measured figures, as functions of nothing else, and the reasons in words.
 *
 * How long to spin: for as long as a wake-up costs.  Whatever the other side does then, waiting costs at most twice
 * what it would cost someone who knew when the other side comes (Karlin et al., "Competitive randomized algorithms",
 * 1990).
 *
 * Into the ring or by pointer: every byte is copied once and every line goes from core to core, either way.  By pointer
 * the block is one that was just used, while a ring goes round and is seldom warm, and more of its lines are under way
 * at once.  But the reader fetches the record's line first and then, when that has come, the block's, and the books
 * about the block are kept.  So pointers cost something fixed, and the ring something for each byte:
 *
 *     ring(n)    = n / copy(64 KiB) + n/64 * line / 15
 *     pointer(n) = n / copy(4 KiB)  + n/64 * line / 25 + line + 30 ns
 *
 * 15, 25 and 30 were fitted to measured streams of 768 to 4096 bytes.  Where lines dominate, the two meet at 2.4 KiB,
 * whatever a line costs; slow caches bring that down, quick cores up.
 *
 * Hysteresis: what is in use stays, unless something else is better by a quarter (spinning) or a tenth (the ring); what
 * hardly differs must not flutter.
 */
#ifndef FI_HOST_CHOOSE_H
#define FI_HOST_CHOOSE_H

#include <stdbool.h>
#include <stdint.h>

#include "ferry/base.h"
#include "ferry/route.h"

#define FI_SPIN_LEAST_NS 2000u
#define FI_SPIN_MOST_NS 100000u
#define FI_SPIN_SHORT_NS 1000u /* where spinning is in vain */
#define FI_VAIN_LIMIT 4u       /* full spins in vain before they become short */

#define FI_INLINE_LEAST 512u
#define FI_INLINE_MOST 4096u

/** How long to spin where a wake-up takes `wake_ns`; `now_ns` is in use (0: nothing yet). */
uint64_t fi_choose_spin(uint64_t wake_ns, uint64_t now_ns);

/** The same for a whole host. */
uint64_t fi_choose_host_spin(const ferry_host_t *h, uint64_t now_ns);

/** What a message of `size` bytes costs in the ring, and by pointer, in ns. */
uint64_t fi_cost_in_ring(const ferry_host_t *h, uint64_t size);
uint64_t fi_cost_by_pointer(const ferry_host_t *h, uint64_t size);

/** Up to which size a message goes into the ring; `now` is in use (0: nothing yet). */
uint32_t fi_choose_inline(const ferry_host_t *h, uint32_t now);

/** Where a thread waits, and how it fared. */
typedef struct fi_spinning {
    uint64_t full_ns; /* as chosen */
    uint64_t wake_ns; /* what it was chosen from */
    bool on_link;     /* that was measured on this link; else it is the host's */
    uint32_t policy;  /* ferry_wait_t */
    uint32_t in_vain; /* full spins in a row that ended in sleep */
    bool crowded;     /* somebody else ran when it last gave way */
} fi_spinning_t;

/** How long it spins, and why. UINT64_MAX: it never sleeps. */
void fi_tell_spin(const ferry_host_t *h, const fi_spinning_t *s, ferry_choice_t *choice);

/** Why `inline_max` is in use. */
void fi_tell_inline(const ferry_host_t *h, uint64_t inline_max, ferry_choice_t *choice);

/** Nanoseconds as people write them: "24 us". */
#define FI_SPAN_TEXT 24
const char *fi_span_text(uint64_t ns, char text[FI_SPAN_TEXT]);

#endif
