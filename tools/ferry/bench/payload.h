/* SPDX-License-Identifier: MIT
 *
 * payload.h - the bytes of measured messages: no two messages are alike, and every byte is checked.
 *
 * A message is known by a number, its id. Word i of its payload is id * ODD + i; a last part of a word holds that
 * word's first bytes. Multiplying by an odd number can be undone, so the first word tells the id, and the check
 * compares all others with what that id demands. Both run at 16 bytes and more per cycle, so that they cost little
 * beside the transfer they prove; the limits do the same work with the same code.
 *
 * Of long payloads that must be meant literally: the loops stand once in the program (payload.c). Where each caller had
 * its own, a MiB took one 31 us and another one 43, depending on where its loop began within a line of code.
 */
#ifndef FERRY_BENCH_PAYLOAD_H
#define FERRY_BENCH_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BENCH_ODD UINT64_C(0x9e3779b97f4a7c15)
#define BENCH_ODD_INVERSE UINT64_C(0xf1de83e19937733d) /* the product is 1 modulo 2^64 */
_Static_assert(BENCH_ODD *BENCH_ODD_INVERSE == 1, "the id can be read back");

enum { BENCH_MIN_PAYLOAD = 8, BENCH_LONG_LINES = 64 /* from so many on a payload is long */ };

/* Parts of an id. The count begins at 1. */
enum { BENCH_ID_SENDER_SHIFT = 40, BENCH_ID_FLAG_SHIFT = 56 };
#define BENCH_ID_COUNT ((UINT64_C(1) << BENCH_ID_SENDER_SHIFT) - 1)
#define BENCH_ID_LAST (UINT64_C(1) << BENCH_ID_FLAG_SHIFT)        /* the slice ends with this message */
#define BENCH_ID_REPLY (UINT64_C(1) << (BENCH_ID_FLAG_SHIFT + 1)) /* of the answering side */

static inline uint64_t bench_id(unsigned sender, uint64_t count) {
    return (uint64_t)sender << BENCH_ID_SENDER_SHIFT | count;
}

static inline unsigned bench_id_sender(uint64_t id) {
    return (unsigned)(id >> BENCH_ID_SENDER_SHIFT & 0xffff);
}

/* Two words side by side, which every processor handles at once; a compiler may join them further. */
typedef uint64_t bench_words_t __attribute__((vector_size(16)));

static inline bench_words_t bench_words_at(const unsigned char *p) {
    bench_words_t pair;

    memcpy(&pair, p, sizeof pair);
    return pair;
}

/* --- lines of 64 bytes, of which the first begins with `word` ---------------------------------------------------- */

static inline void bench_lines_fill(unsigned char *p, size_t lines, uint64_t word) {
    bench_words_t pair = {word, word + 1};

    for (; lines > 0; lines--, p += 64) {
        for (int i = 0; i < 4; i++, pair += 2)
            memcpy(p + 16 * i, &pair, sizeof pair);
    }
}

/* 0 when they are right. */
static inline uint64_t bench_lines_check(const unsigned char *p, size_t lines, uint64_t word) {
    bench_words_t pair = {word, word + 1};
    bench_words_t wrong[2] = {{0, 0}, {0, 0}};

    for (; lines > 0; lines--, p += 64, pair += 8) {
        wrong[0] |= (bench_words_at(p) ^ pair) | (bench_words_at(p + 16) ^ (pair + 2));
        wrong[1] |= (bench_words_at(p + 32) ^ (pair + 4)) | (bench_words_at(p + 48) ^ (pair + 6));
    }
    wrong[0] |= wrong[1];
    return wrong[0][0] | wrong[0][1];
}

/* The same, at one place for all callers. */
void bench_long_fill(unsigned char *p, size_t lines, uint64_t word);
uint64_t bench_long_check(const unsigned char *p, size_t lines, uint64_t word);

/* --- what does not fill a line: fewer than 64 bytes -------------------------------------------------------------- */

static inline void bench_rest_fill(unsigned char *p, size_t len, uint64_t word) {
    for (; len >= 8; len -= 8, p += 8, word++)
        memcpy(p, &word, 8);
    memcpy(p, &word, len);
}

/* 0 when it is right. */
static inline uint64_t bench_rest_check(const unsigned char *p, size_t len, uint64_t word) {
    uint64_t wrong = 0;

    for (; len >= 8; len -= 8, p += 8, word++) {
        uint64_t is;
        memcpy(&is, p, 8);
        wrong |= is ^ word;
    }
    return wrong | (memcmp(p, &word, len) != 0);
}

/* --- payloads ---------------------------------------------------------------------------------------------------- */

static inline void bench_payload_fill(void *data, size_t len, uint64_t id) {
    unsigned char *p = data;
    uint64_t word = id * BENCH_ODD;
    size_t lines = len / 64;

    if (lines < BENCH_LONG_LINES)
        bench_lines_fill(p, lines, word);
    else
        bench_long_fill(p, lines, word);
    if (len % 64 > 0)
        bench_rest_fill(p + 64 * lines, len % 64, word + 8 * lines);
}

/* Reads every byte. True: they are those of message `*id`, which is told. */
static inline bool bench_payload_check(const void *data, size_t len, uint64_t *id) {
    const unsigned char *p = data;
    size_t lines = len / 64;
    uint64_t word;

    if (len < BENCH_MIN_PAYLOAD)
        return false;
    memcpy(&word, p, sizeof word);
    *id = word * BENCH_ODD_INVERSE;
    uint64_t wrong = lines < BENCH_LONG_LINES ? bench_lines_check(p, lines, word) : bench_long_check(p, lines, word);
    if (len % 64 > 0)
        wrong |= bench_rest_check(p + 64 * lines, len % 64, word + 8 * lines);
    return wrong == 0;
}

#endif
