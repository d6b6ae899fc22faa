/* SPDX-License-Identifier: MIT
 *
 * tally.c - see tally.h.
 */
#include "tally.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/** A word as it stands in the region; its record follows. */
typedef struct entry {
    ferry_ref_t next;
} entry_t;

static word_record_t *record_of(entry_t *e) {
    return (word_record_t *)(void *)(e + 1);
}

static size_t entry_size(const word_record_t *word) {
    return sizeof(entry_t) + offsetof(word_record_t, letters) + word->length;
}

int tally_open(tally_t *t, ferry_region_t *region, tally_root_t *root) {
    *t = (tally_t){.region = region, .root = root};
    for (unsigned i = 0; i < TALLY_LOCKS; i++) {
        int r = ferry_mutex_open_in(region, ferry_region_ref(region, root->lock[i]), NULL, &t->lock[i]);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

void tally_close(tally_t *t) {
    for (unsigned i = 0; i < TALLY_LOCKS; i++) {
        ferry_mutex_close(t->lock[i]);
    }
}

/** The word in its chain, or NULL. With the lock. */
static word_record_t *find(const tally_t *t, ferry_ref_t first, const word_record_t *word) {
    entry_t *e;
    for (ferry_ref_t at = first; (e = ferry_region_at(t->region, at)) != NULL; at = e->next) {
        word_record_t *record = record_of(e);
        if (record->length == word->length && memcmp(record->letters, word->letters, word->length) == 0) {
            return record;
        }
    }
    return NULL;
}

/** Puts a new word before the others of its chain. With the lock. */
static int insert(tally_t *t, ferry_ref_t *first, const word_record_t *word) {
    ferry_ref_t block = 0;
    int r = ferry_region_alloc(t->region, entry_size(word), &block);
    if (r < 0) {
        return r;
    }
    entry_t *e = ferry_region_at(t->region, block);
    e->next = *first;
    memcpy(record_of(e), word, entry_size(word) - sizeof(*e));
    *first = block; /* only now, when it is whole, others can come to it */
    return 0;
}

int tally_add(tally_t *t, const word_record_t *word, int64_t timeout) {
    uint32_t chain = words_hash(word->letters, word->length) % TALLY_CHAINS;
    ferry_mutex_t *lock = t->lock[chain % TALLY_LOCKS];
    int r = ferry_mutex_lock(lock, timeout);
    if (r == FERRY_OWNER_DIED) {
        /* The chains are whole, for one store adds a word. But what the dead one had counted and not added yet is gone,
         * so there is nothing to be repaired: unlocked without a word, the lock is broken, and all will hear of it. */
        ferry_mutex_unlock(lock);
        return -EOWNERDEAD;
    }
    if (r < 0) {
        return r;
    }
    word_record_t *known = find(t, t->root->first[chain], word);
    if (known != NULL) {
        known->count += word->count;
    } else {
        r = insert(t, &t->root->first[chain], word);
    }
    ferry_mutex_unlock(lock);
    return r;
}

static size_t count_words(const tally_t *t) {
    size_t n = 0;
    const entry_t *e;
    for (unsigned i = 0; i < TALLY_CHAINS; i++) {
        for (ferry_ref_t at = t->root->first[i]; (e = ferry_region_at(t->region, at)) != NULL; at = e->next) {
            n++;
        }
    }
    return n;
}

const word_record_t **tally_sorted(const tally_t *t, size_t *n) {
    size_t most = count_words(t);
    const word_record_t **all = malloc((most + 1) * sizeof(*all));
    if (all == NULL) {
        return NULL;
    }
    *n = 0;
    entry_t *e;
    for (unsigned i = 0; i < TALLY_CHAINS; i++) {
        for (ferry_ref_t at = t->root->first[i]; (e = ferry_region_at(t->region, at)) != NULL && *n < most;
             at = e->next) {
            all[(*n)++] = record_of(e);
        }
    }
    words_sort(all, *n);
    return all;
}
