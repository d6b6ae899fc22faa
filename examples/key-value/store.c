/* SPDX-License-Identifier: MIT
 *
 * store.c - a hash table under one lock, which is held for a few steps and never while somebody waits.
 */
#include "store.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define CHAINS 4096u

typedef struct entry {
    struct entry *next;
    value_t *value;
    size_t size;
    char key[];
} entry_t;

struct store {
    pthread_mutex_t lock;
    uint64_t versions; /**< given so far */
    size_t keys, key_bytes;
    entry_t *first[CHAINS];
};

/* ---- values ---- */

value_t *value_new(size_t size) {
    value_t *v = malloc(sizeof(*v) + size);
    if (v != NULL) {
        atomic_init(&v->holders, 1);
        v->version = 0;
        v->size = size;
    }
    return v;
}

void value_release(value_t *v) {
    if (v != NULL && atomic_fetch_sub(&v->holders, 1) == 1) {
        free(v);
    }
}

/* ---- the table ---- */

store_t *store_new(void) {
    store_t *s = calloc(1, sizeof(*s));
    if (s != NULL) {
        pthread_mutex_init(&s->lock, NULL);
    }
    return s;
}

void store_free(store_t *s) {
    for (unsigned i = 0; s != NULL && i < CHAINS; i++) {
        for (entry_t *e = s->first[i], *next; e != NULL; e = next) {
            next = e->next;
            value_release(e->value);
            free(e);
        }
    }
    free(s);
}

/** Where the entry hangs, or would. With the lock. */
static entry_t **place_of(store_t *s, const char *key, size_t size) {
    uint32_t h = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < size; i++) {
        h = (h ^ (unsigned char)key[i]) * 16777619u;
    }
    entry_t **at = &s->first[h % CHAINS];
    while (*at != NULL && ((*at)->size != size || memcmp((*at)->key, key, size) != 0)) {
        at = &(*at)->next;
    }
    return at;
}

value_t *store_get(store_t *s, const char *key, size_t size) {
    pthread_mutex_lock(&s->lock);
    const entry_t *e = *place_of(s, key, size);
    value_t *v = e != NULL ? e->value : NULL;
    if (v != NULL) {
        atomic_fetch_add(&v->holders, 1);
    }
    pthread_mutex_unlock(&s->lock);
    return v;
}

/** A new key without a value. With the lock. NULL: no memory. */
static entry_t *add_key(store_t *s, entry_t **place, const char *key, size_t size) {
    entry_t *e = malloc(sizeof(*e) + size);
    if (e != NULL) {
        *e = (entry_t){.size = size};
        memcpy(e->key, key, size);
        *place = e;
        s->keys++;
        s->key_bytes += size;
    }
    return e;
}

static int put(store_t *s, const char *key, size_t size, value_t **v, uint64_t expected, uint64_t *version) {
    entry_t **place = place_of(s, key, size), *e = *place;
    uint64_t is = e != NULL ? e->value->version : 0;
    if (expected != ANY_VERSION && expected != is) {
        *version = is;
        return -EAGAIN;
    }
    e = e != NULL ? e : add_key(s, place, key, size);
    if (e == NULL) {
        return -ENOMEM;
    }
    value_t *old = e->value;
    (*v)->version = *version = ++s->versions;
    e->value = *v;
    *v = old;
    return 0;
}

int store_put(store_t *s, const char *key, size_t size, value_t *v, uint64_t expected, uint64_t *version) {
    pthread_mutex_lock(&s->lock);
    int r = put(s, key, size, &v, expected, version);
    pthread_mutex_unlock(&s->lock);
    if (r == 0) {
        value_release(v); /* the one that was there before */
    }
    return r;
}

int store_remove(store_t *s, const char *key, size_t size) {
    pthread_mutex_lock(&s->lock);
    entry_t **place = place_of(s, key, size), *e = *place;
    if (e != NULL) {
        *place = e->next;
        s->keys--;
        s->key_bytes -= size;
    }
    pthread_mutex_unlock(&s->lock);
    if (e == NULL) {
        return -ENOENT;
    }
    value_release(e->value);
    free(e);
    return 0;
}

/* ---- all keys ---- */

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/** Copies what matches, behind each other. With the lock. Returns how many keys. */
static size_t copy_keys(const store_t *s, const char *prefix, size_t size, char *to) {
    size_t n = 0;
    for (unsigned i = 0; i < CHAINS; i++) {
        for (const entry_t *e = s->first[i]; e != NULL; e = e->next) {
            if (e->size >= size && memcmp(e->key, prefix, size) == 0) {
                memcpy(to, e->key, e->size);
                to[e->size] = '\0';
                to += e->size + 1;
                n++;
            }
        }
    }
    *to = '\0';
    return n;
}

/** The same keys in order, in memory of their own. NULL: no memory. */
static char *sorted(const char *keys, size_t n, size_t room) {
    const char **all = malloc((n + 1) * sizeof(*all));
    char *copy = malloc(room);
    if (all == NULL || copy == NULL) {
        free(all);
        free(copy);
        return NULL;
    }
    for (size_t i = 0; i < n; i++, keys += strlen(keys) + 1) {
        all[i] = keys;
    }
    qsort(all, n, sizeof(*all), by_bytes);
    char *to = copy;
    for (size_t i = 0; i < n; i++) {
        to = stpcpy(to, all[i]) + 1;
    }
    *to = '\0';
    free(all);
    return copy;
}

char *store_keys(store_t *s, const char *prefix, size_t size) {
    pthread_mutex_lock(&s->lock);
    size_t room = s->key_bytes + s->keys + 1;
    char *keys = malloc(room);
    size_t n = keys != NULL ? copy_keys(s, prefix, size, keys) : 0;
    pthread_mutex_unlock(&s->lock);
    char *result = keys != NULL ? sorted(keys, n, room) : NULL;
    free(keys);
    return result;
}
