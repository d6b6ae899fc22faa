/* SPDX-License-Identifier: MIT
 *
 * items.h - a bounded buffer of items between sides: Ferry's, and what it is compared with.
 */
#ifndef FERRY_BENCH_ITEMS_H
#define FERRY_BENCH_ITEMS_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

/* Puts a copy of an item in, waiting for room; takes the oldest one out, waiting for one. 0, or an error. */
typedef int bench_item_put_fn(void *items, const void *data, size_t size);
typedef int bench_item_get_fn(void *items, void *to, size_t size);

/* --- limit_items.c: a ring with the C library's mutex and condition variables, process-shared -------------------- */

typedef struct bench_items {
    _Alignas(128) pthread_mutex_t mutex;
    pthread_cond_t filled, emptied;
    uint64_t head, tail; /* items taken, and put */
    size_t slots, size;
    _Alignas(128) unsigned char slot[];
} bench_items_t;

/* In memory that is zero, of sizeof(bench_items_t) + slots * size bytes. */
void bench_items_make(bench_items_t *items, size_t slots, size_t size);
bench_item_put_fn bench_items_put;
bench_item_get_fn bench_items_get;

#endif
