/* SPDX-License-Identifier: MIT
 *
 * host/choose.c - see choose.h.
 */
#include "host/choose.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/bits.h"
#include "host/profile.h"

#define LINE 64u
#define BOOKS_NS 30u  /* a block taken from the pool, noted as lent, given back */
#define RING_WAYS 15u /* lines that are under way at once */
#define BLOCK_WAYS 25u
#define WARM 1  /* of copy_mbps: 4 KiB, which stay in the nearest caches */
#define ROUND 2 /* 64 KiB, as a ring goes round */

uint64_t fi_choose_spin(uint64_t wake_ns, uint64_t now_ns) {
    uint64_t best = fi_min(fi_max(wake_ns, FI_SPIN_LEAST_NS), FI_SPIN_MOST_NS);
    uint64_t apart = best > now_ns ? best - now_ns : now_ns - best;

    return now_ns != 0 && apart <= now_ns / 4 ? now_ns : best;
}

uint64_t fi_choose_host_spin(const ferry_host_t *h, uint64_t now_ns) {
    return h->line_ns == 0 ? FI_SPIN_SHORT_NS : fi_choose_spin(h->wake_ns, now_ns);
}

/* Copied once, and from core to core. */
static uint64_t carry(const ferry_host_t *h, uint64_t size, int copy, uint32_t ways) {
    return size * 1000 / fi_max(h->copy_mbps[copy], 1) + size * h->line_ns / (LINE * ways);
}

uint64_t fi_cost_in_ring(const ferry_host_t *h, uint64_t size) {
    return carry(h, size, ROUND, RING_WAYS);
}

uint64_t fi_cost_by_pointer(const ferry_host_t *h, uint64_t size) {
    return carry(h, size, WARM, BLOCK_WAYS) + h->line_ns + BOOKS_NS;
}

/* Is the ring better up to `to` than up to `from`, a smaller size, by so many percent? Decided in the middle. */
static bool ring_wins(const ferry_host_t *h, uint32_t from, uint32_t to, uint32_t percent) {
    uint64_t size = ((uint64_t)from + to) / 2;

    return fi_cost_in_ring(h, size) * (100 + percent) <= fi_cost_by_pointer(h, size) * 100;
}

static bool pointer_wins(const ferry_host_t *h, uint32_t from, uint32_t to, uint32_t percent) {
    uint64_t size = ((uint64_t)from + to) / 2;

    return fi_cost_by_pointer(h, size) * (100 + percent) <= fi_cost_in_ring(h, size) * 100;
}

uint32_t fi_choose_inline(const ferry_host_t *h, uint32_t now) {
    uint32_t margin = now == 0 ? 0 : 10;
    uint32_t size = (uint32_t)fi_min(fi_max(now, FI_INLINE_LEAST), FI_INLINE_MOST);

    while (size < FI_INLINE_MOST && ring_wins(h, size, 2 * size, margin)) {
        size *= 2;
    }
    while (size > FI_INLINE_LEAST && pointer_wins(h, size / 2, size, margin)) {
        size /= 2;
    }
    return size;
}

const char *fi_span_text(uint64_t ns, char text[FI_SPAN_TEXT]) {
    if (ns < 1000) {
        snprintf(text, FI_SPAN_TEXT, "%" PRIu64 " ns", ns);
    } else if (ns < 10000) {
        snprintf(text, FI_SPAN_TEXT, "%.1f us", (double)ns / 1e3);
    } else if (ns < 1000000) {
        snprintf(text, FI_SPAN_TEXT, "%" PRIu64 " us", ns / 1000);
    } else {
        snprintf(text, FI_SPAN_TEXT, "%.1f ms", (double)ns / 1e6);
    }
    return text;
}

static void tell_full_spin(const ferry_host_t *h, const fi_spinning_t *s, ferry_choice_t *choice) {
    char wake[FI_SPAN_TEXT];
    const char *source = s->on_link ? "measured on this link" : fi_host_source_word(h);

    choice->value = s->full_ns;
    fi_span_text(s->wake_ns, wake);
    if (s->wake_ns < FI_SPIN_LEAST_NS || s->wake_ns > FI_SPIN_MOST_NS) {
        snprintf(choice->why, sizeof choice->why, "a wake-up takes %s (%s); spinning is kept between %u and %u us",
                 wake, source, FI_SPIN_LEAST_NS / 1000, FI_SPIN_MOST_NS / 1000);
    } else {
        snprintf(choice->why, sizeof choice->why,
                 "a wake-up takes %s (%s): to spin about as long costs at most twice the best choice", wake, source);
    }
}

void fi_tell_spin(const ferry_host_t *h, const fi_spinning_t *s, ferry_choice_t *choice) {
    char full[FI_SPAN_TEXT];

    if (s->policy == FERRY_WAIT_BLOCK) {
        choice->value = 0;
        snprintf(choice->why, sizeof choice->why, "it was opened with FERRY_WAIT_BLOCK: it sleeps at once");
    } else if (s->policy == FERRY_WAIT_SPIN) {
        choice->value = UINT64_MAX;
        snprintf(choice->why, sizeof choice->why, "it was opened with FERRY_WAIT_SPIN: it never sleeps");
    } else if (h->line_ns == 0) {
        choice->value = FI_SPIN_SHORT_NS;
        snprintf(choice->why, sizeof choice->why,
                 "there is one core: who is waited for cannot run while somebody spins");
    } else if (s->in_vain >= FI_VAIN_LIMIT) {
        choice->value = FI_SPIN_SHORT_NS;
        snprintf(choice->why, sizeof choice->why,
                 "its last %" PRIu32 " waits outlasted a spin of %s: what it waits for comes too seldom", s->in_vain,
                 fi_span_text(s->full_ns, full));
    } else if (s->crowded) {
        choice->value = FI_SPIN_SHORT_NS;
        snprintf(choice->why, sizeof choice->why,
                 "somebody else ran when it last gave way: its core is wanted, perhaps by who is waited for");
    } else {
        tell_full_spin(h, s, choice);
    }
}

void fi_tell_inline(const ferry_host_t *h, uint64_t inline_max, ferry_choice_t *choice) {
    const char *source = fi_host_source_word(h);
    uint64_t above = inline_max + inline_max / 2;
    uint64_t below = inline_max - inline_max / 4;

    choice->value = inline_max;
    if (inline_max < FI_INLINE_LEAST) {
        snprintf(choice->why, sizeof choice->why,
                 "the topic retains messages: what it keeps in the ring must be small, so that its size is bounded");
    } else {
        snprintf(choice->why, sizeof choice->why,
                 "%" PRIu64 " bytes cost about %" PRIu64 " ns in the ring and %" PRIu64 " ns by pointer, %" PRIu64
                 " bytes %" PRIu64 " and %" PRIu64 " ns (from %s figures)",
                 below, fi_cost_in_ring(h, below), fi_cost_by_pointer(h, below), above, fi_cost_in_ring(h, above),
                 fi_cost_by_pointer(h, above), source);
    }
}
