/* SPDX-License-Identifier: MIT
 *
 * words.h - counting words, and nothing else: this file knows nothing of Ferry.
 *
 * A table of words is a flat run of records, one after another, without pointers.  That is what lets a worker build
 * its table inside a message: the bytes that it counts into are the bytes that the collector reads.  The index that
 * finds a word in the table is private to whoever builds it and never travels.
 *
 * A word is a longest run of the letters A-Z and a-z, and upper case counts as lower case.
 */
#ifndef WORDS_H
#define WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/** One record of a table; the next one follows at the next multiple of 8 bytes. */
typedef struct word_record {
    uint64_t count;
    uint32_t length;
    char letters[]; /**< `length` lower-case letters, not terminated */
} word_record_t;

/** A table under construction. */
typedef struct words {
    char *table;     /**< the records; memory of whoever called words_use */
    size_t capacity; /**< bytes of it, at most 4 GiB */
    size_t used;     /**< bytes of it that are records */
    uint32_t *slots; /**< index: a record's offset + 1, or 0; open addressing */
    size_t nslots;   /**< a power of two */
    size_t distinct; /**< records in the table */
} words_t;

/** Is `c` a letter, whatever the locale says? */
bool words_is_letter(char c);

/** Allocates the index, for at most `nslots` / 2 words; `nslots` is a power of two. False: no memory. */
bool words_init(words_t *w, size_t nslots);
/** Frees the index; the table's memory belongs to its giver. */
void words_done(words_t *w);

/** Starts an empty table in `memory`, which is 8-byte aligned. */
void words_use(words_t *w, void *memory, size_t capacity);

/** Adds `count` to a word. False: it is a new one and the table is full; nothing was changed. */
bool words_add(words_t *w, const char *word, size_t length, uint64_t count);

/**
 * Counts the words of `text`. Returns how many bytes were counted: fewer than `size` only when the table is full, and
 * then the first byte that was not counted begins a word.
 */
size_t words_count(words_t *w, const char *text, size_t size);

/**
 * Counts all words of `text`. When the table is full, `make_room` is called, and must begin another one with words_use.
 * Returns 0, or what `make_room` returned if that is not 0.
 */
int words_count_all(words_t *w, const char *text, size_t size, int (*make_room)(void *arg), void *arg);

/** An empty table that grows as need be: index and memory are its own. False: no memory. */
bool words_init_growing(words_t *w);
void words_done_growing(words_t *w);

/** Doubles index and table, which must have come from malloc. False: no memory; nothing was changed. */
bool words_grow(words_t *w);

/** Adds a table of `size` bytes to `w`, which grows. 0, -ENOMEM, or -EPROTO: it is cut off, or no table of words. */
int words_merge(words_t *w, const void *table, size_t size);

/**
 * Walks a table of `size` bytes: returns the record at `*at` and moves `*at` past it. NULL at the end, where `*at` is
 * `size`; NULL elsewhere means that the table is broken. (It came from another process: its lengths are not believed.)
 */
const word_record_t *words_next(const void *table, size_t size, size_t *at);

/** All records in the order of `LC_ALL=C sort`; to be freed by the caller. NULL: no memory. */
const word_record_t **words_sorted(const words_t *w);
/** Brings `n` records into that order. */
void words_sort(const word_record_t **records, size_t n);
/** The record of a word (in lower case) among `n` that are in that order; NULL: it is not there. */
const word_record_t *words_find(const word_record_t *const *sorted, size_t n, const char *word, size_t length);
/** Prints them in the form of `uniq -c`. */
void words_print(FILE *out, const word_record_t *const *records, size_t n);

/** Where a word belongs in an index of another sort. */
uint32_t words_hash(const char *word, size_t length);

#endif
