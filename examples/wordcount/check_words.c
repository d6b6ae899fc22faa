/* SPDX-License-Identifier: MIT
 *
 * check_words.c - the counting alone, without any message: `check_words TABLE_BYTES FILE` counts FILE into tables of
 * TABLE_BYTES, merges them into one, and prints the result as wordcount does.
 */
#include "words.h"

#include <stdio.h>
#include <stdlib.h>

/** Prints the words of `all`. */
static int print_words(const words_t *all) {
    const word_record_t **sorted = words_sorted(all);
    if (sorted == NULL) {
        return -1;
    }
    words_print(stdout, sorted, all->distinct);
    free(sorted);
    return 0;
}

static int count(words_t *all, words_t *part, void *memory, size_t capacity, const char *text, size_t size) {
    for (size_t done = 0; done < size;) {
        words_use(part, memory, capacity);
        size_t counted = words_count(part, text + done, size - done);
        if (counted == 0) {
            fprintf(stderr, "check_words: a table of %zu bytes is too small for the next word\n", capacity);
            return -1;
        }
        done += counted;
        if (words_merge(all, part->table, part->used) < 0) {
            return -1;
        }
    }
    return 0;
}

/** Reads a whole file; NULL on failure. */
static char *read_file(const char *path, size_t *size) {
    FILE *f = fopen(path, "r");
    if (f == NULL) {
        return NULL;
    }
    size_t capacity = 1 << 20, used = 0;
    char *text = malloc(capacity);
    while (text != NULL && !feof(f) && !ferror(f)) {
        if (used == capacity) {
            char *larger = realloc(text, capacity *= 2);
            if (larger == NULL) {
                free(text);
            }
            text = larger;
        } else {
            used += fread(text + used, 1, capacity - used, f);
        }
    }
    fclose(f);
    *size = used;
    return text;
}

int main(int argc, char **argv) {
    words_t all, part;
    size_t size, capacity = argc == 3 ? strtoul(argv[1], NULL, 10) : 0;
    char *text = capacity > 0 ? read_file(argv[2], &size) : NULL;
    void *memory = malloc(capacity + 1), *first = malloc(64);
    if (text == NULL || memory == NULL || first == NULL || !words_init(&all, 2) || !words_init(&part, 1 << 12)) {
        fprintf(stderr, "Usage: check_words TABLE_BYTES FILE (which must be readable)\n");
        return 2;
    }
    words_use(&all, first, 64); /* so small that growing is tried many times */
    int r = count(&all, &part, memory, capacity, text, size);
    if (r == 0) {
        r = print_words(&all);
    }
    free(all.table);
    free(memory);
    free(text);
    words_done(&all);
    words_done(&part);
    return r == 0 ? 0 : 1;
}
