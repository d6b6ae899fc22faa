/* SPDX-License-Identifier: MIT
 *
 * word.h - the words that synchronization objects are made of.
 *
 * Every object has one 64-bit word that changes by compare-and-set alone.  Its low half is what sleepers sleep on:
 *
 *    63            32 31   28  27     26   25     24     23          0
 *   +----------------+-------+------+----+------+-------+-------------+
 *   | node           |       |BROKEN|DIED|HUNGRY|WAITERS| handle      |      a mutex
 *   +----------------+-------+------+----+------+-------+-------------+
 *
 * What is shared holds no pointers, so that a peer's nonsense can mislead us but not make us write elsewhere.  An owner
 * is named by node and handle; 0 is nobody.
 *
 *   flag      means                                          set for nothing is   missing is
 *   WAITERS   somebody may sleep: who frees it must wake      slow                 wrong
 *   HUNGRY    somebody has waited long: only those who have   slow                 unfair
 *             slept may take it, the hungry first
 *   DIED      the last owner died in the middle               a needless look      wrong
 *   BROKEN    an owner gave it up unrepaired; for ever        wrong                wrong
 *   PASSING   the owner changes nothing, he only passes       wrong                slow
 *             (a reader in the gate of a reader-writer lock)
 *   ENTERING  the owner has changed nothing yet: he waits       wrong                a needless look
 *             for readers to leave
 *   LOOKING   a hungry one is awake and looks for a deadlock:  unfair for a moment  unfair
 *             he will be back, though nobody sleeps
 *   WATCHED   somebody may sleep who only looks (an event)     slow                 wrong
 *
 * A death can strike between any two instructions.  Then every steward of a process that has the object open repairs
 * it:
 * an owner who is dead is taken out, HUNGRY is cleared, WAITERS is set where somebody owns it, and all sleepers are
 * woken to look again.  So whatever the dead one should have woken, is awake.
 */
#ifndef FI_SYNC_WORD_H
#define FI_SYNC_WORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"

#define FI_OWNER UINT64_C(0xffffffff00ffffff)
#define FI_HANDLES UINT32_C(0x00ffffff)
#define FI_WAITERS (UINT64_C(1) << 24)
#define FI_HUNGRY (UINT64_C(1) << 25)
#define FI_DIED (UINT64_C(1) << 26)
#define FI_BROKEN (UINT64_C(1) << 27)
#define FI_PASSING (UINT64_C(1) << 28)
#define FI_ENTERING (UINT64_C(1) << 29)
#define FI_LOOKING (UINT64_C(1) << 30)
#define FI_WATCHED (UINT64_C(1) << 31)
#define FI_HARMLESS (FI_PASSING | FI_ENTERING) /* a death there leaves nothing half-done */

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "sleepers sleep on the low half of a word, which must come first"
#endif

/* Who owns or waits: the low half of the node's id, and the number of the handle in it. */
static inline uint64_t fi_owner(uint64_t node, uint32_t handle) {
    return node << 32 | (handle & FI_HANDLES);
}
static inline uint32_t fi_owner_node(uint64_t owner) {
    return (uint32_t)(owner >> 32);
}
static inline uint32_t fi_owner_handle(uint64_t owner) {
    return (uint32_t)owner & FI_HANDLES;
}

/* The half that sleepers sleep on. */
static inline uint32_t *fi_low(uint64_t *word) {
    return (uint32_t *)(void *)word;
}

/*
 * Between a compare-and-set and a later load of another word: on x86 the former is a full fence already.  For pairs in
 * which each side stores its own word and then loads the other's; at least one then sees the other.
 */
static inline void fi_fence_after_cas(void) {
#if defined(__x86_64__)
    fi_compiler_barrier();
#else
    fi_fence_seq_cst();
#endif
}

/* Is this owner dead for sure? Asked by stewards, about what stands in shared memory. */
typedef bool fi_is_dead_fn(uint64_t owner, void *arg);

#endif
