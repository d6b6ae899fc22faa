/* SPDX-License-Identifier: MIT
 *
 * text.h - one producer's share of the text, and how it is cut into lines; this file knows nothing of Ferry.
 */
#ifndef TEXT_H
#define TEXT_H

#include <stddef.h>

/** The whole text, mapped, and the part of it that is one producer's. */
typedef struct share {
    const char *text;
    size_t size;
    const char *begin, *end;
} share_t;

/** Maps the text and cuts it at line ends: every line belongs to exactly one of `shares`. 0, or -1 with errno. */
int share_open(share_t *s, const char *path, unsigned shares, unsigned number);
void share_close(share_t *s);

/**
 * Bytes of the next piece: a line with its end, or, of one that has more than `limit` bytes, whole words. 0: a word is
 * too long.
 */
size_t share_next(const share_t *s, const char *at, size_t limit);

#endif
