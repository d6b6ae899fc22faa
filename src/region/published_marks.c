/* SPDX-License-Identifier: MIT
 *
 * published_marks.c - see published_marks.h.
 */
#include "region/published_marks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "platform/cpu.h"
#include "platform/stream.h"

#define AHEAD 32u /* stretches whose first lines are on their way while earlier ones are copied */
#define STREAM_FROM ((uint64_t)16 << 20) /* regions that do not stay in caches anyway */

static uint64_t words_for(uint64_t bits) {
    return (bits + 63) / 64;
}

int fi_marks_init(fi_marks_t *m, uint64_t bytes) {
    m->count = (bytes + FI_GRANULE - 1) / FI_GRANULE;
    m->words = calloc(words_for(m->count), sizeof *m->words);
    m->groups = calloc(words_for(words_for(m->count)), sizeof *m->groups);
    if (!m->words || !m->groups) {
        fi_marks_done(m);
        return fi_fail(-ENOMEM, "no memory to note changes in %llu bytes", (unsigned long long)bytes);
    }
    return 0;
}

void fi_marks_done(fi_marks_t *m) {
    free(m->words);
    free(m->groups);
    *m = (fi_marks_t){0};
}

static void set_bits(uint64_t *words, uint64_t first, uint64_t last) {
    uint64_t from = first / 64;
    uint64_t to = last / 64;
    uint64_t head = ~0ull << first % 64;
    uint64_t tail = ~0ull >> (63 - last % 64);

    if (from == to) {
        words[from] |= head & tail;
        return;
    }
    words[from] |= head;
    memset(&words[from + 1], 0xff, (to - from - 1) * sizeof *words);
    words[to] |= tail;
}

void fi_marks_add_many(fi_marks_t *m, uint64_t first, uint64_t last) {
    fi_assert(first <= last && last < m->count);
    set_bits(m->words, first, last);
    set_bits(m->groups, first / 64, last / 64);
}

void fi_marks_join(fi_marks_t *into, const fi_marks_t *from) {
    for (uint64_t g = 0; g < words_for(words_for(from->count)); g++) {
        uint64_t some = from->groups[g];
        into->groups[g] |= some;
        for (; some; some &= some - 1) {
            uint64_t w = g * 64 + (uint64_t)__builtin_ctzll(some);
            into->words[w] |= from->words[w];
        }
    }
}

void fi_marks_clear(fi_marks_t *m) {
    for (uint64_t g = 0; g < words_for(words_for(m->count)); g++) {
        for (uint64_t some = m->groups[g]; some; some &= some - 1) {
            m->words[g * 64 + (uint64_t)__builtin_ctzll(some)] = 0;
        }
        m->groups[g] = 0;
    }
}

/* The first word from `w` on with a mark; past the end: there is none. */
static uint64_t next_word(const fi_marks_t *m, uint64_t w) {
    uint64_t words = words_for(m->count);
    uint64_t groups = words_for(words);
    uint64_t g = w / 64;

    if (w >= words) {
        return words;
    }
    uint64_t some = m->groups[g] & ~0ull << w % 64;
    while (some == 0 && ++g < groups) {
        some = m->groups[g];
    }
    return some ? g * 64 + (uint64_t)__builtin_ctzll(some) : words;
}

bool fi_marks_next(const fi_marks_t *m, uint64_t from, uint64_t *first, uint64_t *count) {
    uint64_t words = words_for(m->count);
    uint64_t w = from / 64;
    uint64_t marks = w < words ? m->words[w] & ~0ull << from % 64 : 0;

    while (marks == 0) {
        w = next_word(m, w + 1);
        if (w >= words) {
            return false;
        }
        marks = m->words[w];
    }
    *first = w * 64 + (uint64_t)__builtin_ctzll(marks);
    uint64_t at = *first;
    uint64_t rest = ~(marks >> at % 64);
    uint64_t n = rest ? (uint64_t)__builtin_ctzll(rest) : 64;
    at += n < 64 - at % 64 ? n : 64 - at % 64;
    while (at % 64 == 0 && at / 64 < words) { /* all of a word: it may go on in the next one */
        rest = ~m->words[at / 64];
        n = rest ? (uint64_t)__builtin_ctzll(rest) : 64;
        at += n;
        if (n < 64) {
            break;
        }
    }
    *count = (at < m->count ? at : m->count) - *first;
    return true;
}

/* ---- copying ---- */

typedef struct stretch {
    uint64_t at;
    uint64_t bytes;
} stretch_t;

typedef struct copying {
    char *to;
    const char *from;
    uint64_t bytes;
    uint64_t copied;
    bool streams;
    stretch_t growing;        /* the next marks may belong to it; empty at first */
    stretch_t waiting[AHEAD]; /* circular */
    uint32_t came;
    uint32_t went;
} copying_t;

static void copy_next(copying_t *c) {
    const stretch_t *s = &c->waiting[c->went++ % AHEAD];
    uint64_t streamed = c->streams ? s->bytes / FI_GRANULE * FI_GRANULE : 0;
    char *to = c->to + s->at;
    const char *from = c->from + s->at;

    fi_stream_lines(to, from, streamed);
    if (streamed < s->bytes) {
        memcpy(to + streamed, from + streamed, s->bytes - streamed);
    }
    c->copied += s->bytes;
}

static void finish_stretch(copying_t *c) {
    if (c->came - c->went == AHEAD) {
        copy_next(c);
    }
    c->growing.bytes = fi_min(c->growing.bytes, c->bytes - c->growing.at); /* the last granule may be a part of one */
    c->waiting[c->came++ % AHEAD] = c->growing;
}

static void add_stretch(copying_t *c, uint64_t at, uint64_t bytes) {
    if (c->growing.at + c->growing.bytes == at && c->growing.bytes > 0) {
        c->growing.bytes += bytes;
        return;
    }
    if (c->growing.bytes > 0) {
        finish_stretch(c);
    }
    c->growing = (stretch_t){at, bytes};
    fi_prefetch(c->from + at);
    if (!c->streams) {
        fi_prefetch_to_write(c->to + at);
    }
}

/* The runs of ones in a word of marks. */
static void add_word(copying_t *c, uint64_t w, uint64_t marks) {
    while (marks) {
        unsigned first = (unsigned)__builtin_ctzll(marks);
        uint64_t rest = ~(marks >> first);
        unsigned count = rest ? (unsigned)__builtin_ctzll(rest) : 64;
        add_stretch(c, (w * 64 + first) * FI_GRANULE, (uint64_t)count * FI_GRANULE);
        if (first + count == 64) {
            return;
        }
        marks &= ~0ull << (first + count);
    }
}

static uint64_t take_word(uint64_t *words, uint64_t w) {
    uint64_t marks = words[w];

    if (marks) {
        words[w] = 0;
    }
    return marks;
}

uint64_t fi_marks_copy(fi_marks_t *a, fi_marks_t *b, void *to, const void *from, uint64_t bytes) {
    copying_t c = {.to = to, .from = from, .bytes = bytes, .streams = bytes >= STREAM_FROM};

    for (uint64_t g = 0; g < words_for(words_for(a->count)); g++) {
        uint64_t some = take_word(a->groups, g) | take_word(b->groups, g);
        for (; some; some &= some - 1) {
            uint64_t w = g * 64 + (uint64_t)__builtin_ctzll(some);
            add_word(&c, w, take_word(a->words, w) | take_word(b->words, w));
        }
    }
    if (c.growing.bytes > 0) {
        finish_stretch(&c);
    }
    while (c.went != c.came) {
        copy_next(&c);
    }
    fi_stream_end();
    return c.copied;
}
