/* SPDX-License-Identifier: MIT
 *
 * Closed handles are kept for a while before their memory is used again, so that a call on one of them meets a handle
 * that says "closed" rather than somebody else's bytes.
 */
#include <pthread.h>
#include <stdlib.h>

#include "node/node.h"

#define GRAVES 1024u

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *graves[GRAVES];
static unsigned next;

void fi_graveyard_add(void *closed) {
    pthread_mutex_lock(&lock);
    void *old = graves[next % GRAVES];
    graves[next % GRAVES] = closed;
    next++;
    pthread_mutex_unlock(&lock);
    free(old);
}

void fi_graveyard_lock(void) {
    pthread_mutex_lock(&lock);
}

void fi_graveyard_unlock(void) {
    pthread_mutex_unlock(&lock);
}
