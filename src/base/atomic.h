/* SPDX-License-Identifier: MIT
 *
 * base/atomic.h - atomic access to plain integers, with the order in the name.
 *
 * The words live in memory that other processes map, so they are plain fixed-width integers, not _Atomic types.
 * Every label (R1, A1, ...) in the code names a call from here and its partner.
 *
 * Fences and ThreadSanitizer: it does not model fences and the compiler refuses them under -Werror=tsan.  There a fence
 * is a real processor fence that the tool does not see, so an edge that it should see needs an acquire/release pair
 * on a word; no code here relies on a fence for more than ordering a store before a load, or a check after a copy.
 */
#ifndef FI_BASE_ATOMIC_H
#define FI_BASE_ATOMIC_H

#include <stdbool.h>
#include <stdint.h>

#if defined(__SANITIZE_THREAD__)
#define FI_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FI_TSAN 1
#endif
#endif
#ifndef FI_TSAN
#define FI_TSAN 0
#endif

static inline uint8_t fi_load_relaxed8(const uint8_t *p) {
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}
static inline uint8_t fi_load_acquire8(const uint8_t *p) {
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}
static inline void fi_store_relaxed8(uint8_t *p, uint8_t v) {
    __atomic_store_n(p, v, __ATOMIC_RELAXED);
}
static inline void fi_store_release8(uint8_t *p, uint8_t v) {
    __atomic_store_n(p, v, __ATOMIC_RELEASE);
}

static inline uint32_t fi_load_relaxed32(const uint32_t *p) {
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}
static inline uint32_t fi_load_acquire32(const uint32_t *p) {
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}
static inline void fi_store_relaxed32(uint32_t *p, uint32_t v) {
    __atomic_store_n(p, v, __ATOMIC_RELAXED);
}
static inline void fi_store_release32(uint32_t *p, uint32_t v) {
    __atomic_store_n(p, v, __ATOMIC_RELEASE);
}

static inline uint64_t fi_load_relaxed64(const uint64_t *p) {
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}
static inline uint64_t fi_load_acquire64(const uint64_t *p) {
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}
static inline void fi_store_relaxed64(uint64_t *p, uint64_t v) {
    __atomic_store_n(p, v, __ATOMIC_RELAXED);
}
static inline void fi_store_release64(uint64_t *p, uint64_t v) {
    __atomic_store_n(p, v, __ATOMIC_RELEASE);
}

/** Swaps with acquire and release order; returns the value before. */
static inline uint32_t fi_exchange32(uint32_t *p, uint32_t v) {
    return __atomic_exchange_n(p, v, __ATOMIC_ACQ_REL);
}
static inline uint64_t fi_exchange64(uint64_t *p, uint64_t v) {
    return __atomic_exchange_n(p, v, __ATOMIC_ACQ_REL);
}

/**
 * Stores `desired` if `*p` equals `*expected`, with acquire and release order; true when it did.  Otherwise
 * `*expected` is what was found, read with acquire order.
 */
static inline bool fi_cas32(uint32_t *p, uint32_t *expected, uint32_t desired) {
    return __atomic_compare_exchange_n(p, expected, desired, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}
static inline bool fi_cas64(uint64_t *p, uint64_t *expected, uint64_t desired) {
    return __atomic_compare_exchange_n(p, expected, desired, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/** Adds with acquire and release order; returns the value before. */
static inline uint32_t fi_add32(uint32_t *p, uint32_t n) {
    return __atomic_fetch_add(p, n, __ATOMIC_ACQ_REL);
}
static inline uint32_t fi_sub32(uint32_t *p, uint32_t n) {
    return __atomic_fetch_sub(p, n, __ATOMIC_ACQ_REL);
}
static inline uint64_t fi_add64(uint64_t *p, uint64_t n) {
    return __atomic_fetch_add(p, n, __ATOMIC_ACQ_REL);
}
/** Adds without order: for counters that nobody draws conclusions from. Returns the value before. */
static inline uint64_t fi_add_relaxed64(uint64_t *p, uint64_t n) {
    return __atomic_fetch_add(p, n, __ATOMIC_RELAXED);
}

/**
 * Adds to a counter that no other thread changes, while others may read it: without order, and without a locked
 * instruction.  A compiler makes three instructions of an atomic load, a sum and an atomic store, where one will do.
 */
static inline void fi_count64(uint64_t *p, uint64_t n) {
#if defined(__x86_64__) && !FI_TSAN
    __asm__("addq %1, %0" : "+m"(*p) : "er"(n) : "cc");
#else
    fi_store_relaxed64(p, fi_load_relaxed64(p) + n);
#endif
}

/** A pointer that may be read through any pointer type: what lets one helper serve all of them. */
typedef void *fi_any_pointer_t __attribute__((may_alias));

/** `where` is the address of a pointer of any type. */
static inline void *fi_load_relaxed_ptr(const void *where) {
    return __atomic_load_n((fi_any_pointer_t const *)where, __ATOMIC_RELAXED);
}
static inline void *fi_load_acquire_ptr(const void *where) {
    return __atomic_load_n((fi_any_pointer_t const *)where, __ATOMIC_ACQUIRE);
}
static inline void fi_store_release_ptr(void *where, const void *value) {
    union {
        const void *from;
        void *to;
    } drop_const = {.from = value};
    __atomic_store_n((fi_any_pointer_t *)where, drop_const.to, __ATOMIC_RELEASE);
}

/** Keeps the compiler, not the processor, from moving memory accesses across. */
static inline void fi_compiler_barrier(void) {
    __asm__ __volatile__("" ::: "memory");
}

#if FI_TSAN

static inline void fi_fence_seq_cst(void) {
#if defined(__x86_64__)
    __asm__ __volatile__("mfence" ::: "memory");
#elif defined(__aarch64__)
    __asm__ __volatile__("dmb ish" ::: "memory");
#else
#error "ThreadSanitizer builds need x86-64 or arm64"
#endif
}
static inline void fi_fence_acquire(void) {
    fi_fence_seq_cst();
}
static inline void fi_fence_release(void) {
    fi_fence_seq_cst();
}

#else

static inline void fi_fence_seq_cst(void) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
static inline void fi_fence_acquire(void) {
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
}
static inline void fi_fence_release(void) {
    __atomic_thread_fence(__ATOMIC_RELEASE);
}

#endif

#endif
