/* SPDX-License-Identifier: MIT
 *
 * The counterpart of a bounded buffer: a ring under a mutex, with a condition variable for each way to wait.
 */
#include "bench/items.h"

#include <string.h>

void bench_items_make(bench_items_t *items, size_t slots, size_t size) {
    pthread_mutexattr_t mutex;
    pthread_condattr_t cond;

    pthread_mutexattr_init(&mutex);
    pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&items->mutex, &mutex);
    pthread_condattr_init(&cond);
    pthread_condattr_setpshared(&cond, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&items->filled, &cond);
    pthread_cond_init(&items->emptied, &cond);
    items->slots = slots;
    items->size = size;
}

int bench_items_put(void *object, const void *data, size_t size) {
    bench_items_t *items = object;
    int failed = pthread_mutex_lock(&items->mutex);

    while (items->tail - items->head == items->slots && failed == 0)
        failed = pthread_cond_wait(&items->emptied, &items->mutex);
    memcpy(items->slot + items->tail++ % items->slots * items->size, data, size);
    failed |= pthread_mutex_unlock(&items->mutex);
    return failed | pthread_cond_signal(&items->filled);
}

int bench_items_get(void *object, void *to, size_t size) {
    bench_items_t *items = object;
    int failed = pthread_mutex_lock(&items->mutex);

    while (items->tail == items->head && failed == 0)
        failed = pthread_cond_wait(&items->filled, &items->mutex);
    memcpy(to, items->slot + items->head++ % items->slots * items->size, size);
    failed |= pthread_mutex_unlock(&items->mutex);
    return failed | pthread_cond_signal(&items->emptied);
}
