/* SPDX-License-Identifier: MIT
 *
 * words.c - see words.h.
 */
#include "words.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/** The lower-case letter that `c` counts as, or 0: no letter. */
static inline char fold(char c) {
    unsigned char lower = (unsigned char)c | 0x20; /* in ASCII the cases differ in this one bit */
    return lower >= 'a' && lower <= 'z' ? (char)lower : 0;
}

bool words_is_letter(char c) {
    return fold(c) != 0;
}

static inline size_t record_size(size_t length) {
    return (offsetof(word_record_t, letters) + length + 7) & ~(size_t)7;
}

static inline word_record_t *record_at(const words_t *w, size_t offset) {
    return (word_record_t *)(void *)(w->table + offset);
}

uint32_t words_hash(const char *word, size_t length) {
    uint32_t h = 2166136261u; /* FNV-1a: good enough for words, and short */
    for (size_t i = 0; i < length; i++) {
        h = (h ^ (uint32_t)(unsigned char)fold(word[i])) * 16777619u;
    }
    return h ^ h >> 15;
}

static bool is_word(const word_record_t *record, const char *word, size_t length) {
    if (record->length != length) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (record->letters[i] != fold(word[i])) {
            return false;
        }
    }
    return true;
}

/** The slot where `word` is, or the empty one where it belongs. The index is never more than half full, so it ends. */
static uint32_t *slot_of(const words_t *w, const char *word, size_t length) {
    size_t i = words_hash(word, length) & (w->nslots - 1);
    while (w->slots[i] != 0 && !is_word(record_at(w, w->slots[i] - 1), word, length)) {
        i = (i + 1) & (w->nslots - 1);
    }
    return &w->slots[i];
}

bool words_init(words_t *w, size_t nslots) {
    *w = (words_t){.nslots = nslots, .slots = calloc(nslots, sizeof(*w->slots))};
    return w->slots != NULL;
}

void words_done(words_t *w) {
    free(w->slots);
    *w = (words_t){0};
}

void words_use(words_t *w, void *memory, size_t capacity) {
    w->table = memory;
    w->capacity = capacity;
    w->used = 0;
    w->distinct = 0;
    memset(w->slots, 0, w->nslots * sizeof(*w->slots));
}

bool words_add(words_t *w, const char *word, size_t length, uint64_t count) {
    uint32_t *slot = slot_of(w, word, length);
    if (*slot != 0) {
        record_at(w, *slot - 1)->count += count;
        return true;
    }
    size_t size = record_size(length);
    if (size > w->capacity - w->used || w->distinct >= w->nslots / 2) {
        return false;
    }
    word_record_t *record = record_at(w, w->used);
    record->count = count;
    record->length = (uint32_t)length;
    for (size_t i = 0; i < length; i++) {
        record->letters[i] = fold(word[i]);
    }
    *slot = (uint32_t)w->used + 1;
    w->used += size;
    w->distinct++;
    return true;
}

size_t words_count(words_t *w, const char *text, size_t size) {
    size_t at = 0;
    while (at < size) {
        if (fold(text[at]) == 0) {
            at++;
            continue;
        }
        size_t end = at + 1;
        while (end < size && fold(text[end]) != 0) {
            end++;
        }
        if (!words_add(w, text + at, end - at, 1)) {
            return at;
        }
        at = end;
    }
    return size;
}

int words_count_all(words_t *w, const char *text, size_t size, int (*make_room)(void *arg), void *arg) {
    for (size_t done = 0;;) {
        done += words_count(w, text + done, size - done);
        if (done == size) {
            return 0;
        }
        int r = make_room(arg);
        if (r != 0) {
            return r;
        }
    }
}

bool words_grow(words_t *w) {
    if (w->capacity > UINT32_MAX / 2) {
        return false; /* the index holds 32-bit offsets */
    }
    uint32_t *slots = calloc(w->nslots * 2, sizeof(*slots));
    char *table = slots != NULL ? realloc(w->table, w->capacity * 2) : NULL;
    if (table == NULL) {
        free(slots);
        return false;
    }
    free(w->slots);
    w->slots = slots;
    w->nslots *= 2;
    w->table = table;
    w->capacity *= 2;
    for (size_t at = 0; at < w->used;) {
        const word_record_t *record = record_at(w, at);
        *slot_of(w, record->letters, record->length) = (uint32_t)at + 1;
        at += record_size(record->length);
    }
    return true;
}

bool words_init_growing(words_t *w) {
    const size_t first_size = 1 << 20;
    void *memory = malloc(first_size);
    if (memory == NULL || !words_init(w, first_size / sizeof(word_record_t))) {
        free(memory);
        return false;
    }
    words_use(w, memory, first_size);
    return true;
}

void words_done_growing(words_t *w) {
    free(w->table); /* words_grow may have moved it */
    words_done(w);
}

int words_merge(words_t *w, const void *table, size_t size) {
    size_t at = 0;
    const word_record_t *record;
    while ((record = words_next(table, size, &at)) != NULL) {
        while (!words_add(w, record->letters, record->length, record->count)) {
            if (!words_grow(w)) {
                return -ENOMEM;
            }
        }
    }
    return at == size ? 0 : -EPROTO;
}

const word_record_t *words_next(const void *table, size_t size, size_t *at) {
    if (size - *at < sizeof(word_record_t)) {
        return NULL;
    }
    const word_record_t *record = (const word_record_t *)(const void *)((const char *)table + *at);
    size_t whole = record_size(record->length);
    if (whole > size - *at) {
        return NULL;
    }
    *at += whole;
    return record;
}

static int compare(const char *x, size_t x_length, const char *y, size_t y_length) {
    int order = memcmp(x, y, x_length < y_length ? x_length : y_length);
    return order != 0 ? order : (x_length > y_length) - (x_length < y_length);
}

static int by_letters(const void *a, const void *b) {
    const word_record_t *x = *(const word_record_t *const *)a;
    const word_record_t *y = *(const word_record_t *const *)b;
    return compare(x->letters, x->length, y->letters, y->length);
}

const word_record_t **words_sorted(const words_t *w) {
    const word_record_t **all = malloc((w->distinct + 1) * sizeof(const word_record_t *));
    if (all == NULL) {
        return NULL;
    }
    size_t n = 0;
    for (size_t at = 0; at < w->used; at += record_size(all[n - 1]->length)) {
        all[n++] = record_at(w, at);
    }
    words_sort(all, n);
    return all;
}

void words_sort(const word_record_t **records, size_t n) {
    qsort(records, n, sizeof(const word_record_t *), by_letters);
}

const word_record_t *words_find(const word_record_t *const *sorted, size_t n, const char *word, size_t length) {
    size_t begin = 0, end = n;
    while (begin < end) {
        size_t middle = begin + (end - begin) / 2;
        int order = compare(word, length, sorted[middle]->letters, sorted[middle]->length);
        if (order == 0) {
            return sorted[middle];
        }
        begin = order > 0 ? middle + 1 : begin;
        end = order < 0 ? middle : end;
    }
    return NULL;
}

void words_print(FILE *out, const word_record_t *const *records, size_t n) {
    for (size_t i = 0; i < n; i++) {
        fprintf(out, "%7" PRIu64 " %.*s\n", records[i]->count, (int)records[i]->length, records[i]->letters);
    }
}
