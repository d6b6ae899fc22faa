/* SPDX-License-Identifier: MIT */
#include "node/owned.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "node/node.h"

/* By owning thread. */
static pthread_mutex_t own_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_key_t own_key;
static pthread_once_t own_once = PTHREAD_ONCE_INIT;

static void thread_ended(void *arg) {
    struct fi_list *mine = arg;

    pthread_mutex_lock(&own_lock);
    while (!fi_list_empty(mine)) {
        fi_owned_t *o = fi_container(mine->next, fi_owned_t, link);
        fi_list_remove(&o->link);
        __atomic_store_n(&o->owner, 0, __ATOMIC_RELAXED); /* the next thread may have the same mark */
        fi_store_release32(&o->orphan, 1);
        fi_node_orphaned(o->node);
    }
    pthread_mutex_unlock(&own_lock);
    free(mine);
}

void fi_own_lock(void) {
    pthread_mutex_lock(&own_lock);
}

void fi_own_unlock(void) {
    pthread_mutex_unlock(&own_lock);
}

static void own_init(void) {
    (void)pthread_key_create(&own_key, thread_ended);
}

void fi_owned_init(fi_owned_t *o, struct ferry *node) {
    fi_list_init(&o->link);
    o->node = node;
}

/* NULL, without memory: that this thread ends will then not be noticed before the process ends. */
static struct fi_list *list_of_thread(void) {
    pthread_once(&own_once, own_init);
    struct fi_list *mine = pthread_getspecific(own_key);
    if (!mine) {
        mine = malloc(sizeof *mine);
        if (mine) {
            fi_list_init(mine);
            pthread_setspecific(own_key, mine);
        }
    }
    return mine;
}

/* With the owners' lock. */
static void put_into(struct fi_list *mine, fi_owned_t *o) {
    fi_list_remove(&o->link);
    fi_list_add_tail(mine, &o->link);
    __atomic_store_n(&o->tid, gettid(), __ATOMIC_RELAXED);
    __atomic_store_n(&o->owner, fi_thread_mark(), __ATOMIC_RELAXED);
}

bool fi_own(fi_owned_t *o) {
    struct fi_list *mine = list_of_thread();

    pthread_mutex_lock(&own_lock);
    bool orphan = fi_is_orphan(o);
    if (mine && !orphan) {
        put_into(mine, o);
    }
    pthread_mutex_unlock(&own_lock);
    return !orphan;
}

bool fi_own_again(fi_owned_t *o) {
    struct fi_list *mine = list_of_thread();

    pthread_mutex_lock(&own_lock);
    bool buried = fi_is_buried(o);
    if (mine && !buried) {
        put_into(mine, o);
        fi_store_relaxed32(&o->orphan, 0);
    }
    pthread_mutex_unlock(&own_lock);
    return !buried;
}

void fi_disown(fi_owned_t *o) {
    pthread_mutex_lock(&own_lock);
    fi_list_remove(&o->link);
    pthread_mutex_unlock(&own_lock);
}
