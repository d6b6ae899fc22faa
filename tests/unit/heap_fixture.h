/* SPDX-License-Identifier: MIT
 *
 * heap_fixture.h - what the tests of the heap share: one memory that is mapped twice, with nothing around it.
 *
 *   0        places             head                            first                            bytes
 *   +-- ... +----------- ... --+--------------------------- ... +----------------------- ... ----+
 *
 * Two mappings stand for two processes; an access outside faults.
 */
#ifndef FERRY_TESTS_HEAP_FIXTURE_H
#define FERRY_TESTS_HEAP_FIXTURE_H

#include "unit.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/error.h"
#include "store/heap_quick.h"

enum { PLACES_AT = 64, PLACES = 504, HEAD_AT = 4096, PAGE = 4096, HAND = 7, OTHER_HAND = 8 };

#define OWNER UINT64_C(0x700000001)

typedef struct fixture {
    fi_heap_t heap[2]; /* as two processes see it */
    uint64_t mapped;
} fixture_t;

static inline uint64_t first_of_heap(void) {
    return fi_align_up(HEAD_AT + fi_heap_head_bytes(), 64);
}

/* `bytes`, a multiple of a page, between two pages that nobody may touch. */
static inline char *map_between_guards(int fd, uint64_t bytes) {
    char *all = mmap(NULL, bytes + (uint64_t)2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(all, MAP_FAILED);
    char *map = mmap(all + PAGE, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
    assert_ptr_equal(map, all + PAGE);
    return map;
}

/* A heap with `space` bytes for blocks, in memory for up to `most`. */
static inline void open_heap(fixture_t *f, uint64_t space, uint64_t most) {
    int fd = memfd_create("heap", MFD_CLOEXEC);

    f->mapped = fi_align_up(first_of_heap() + most, PAGE);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)f->mapped), 0);
    for (unsigned i = 0; i < 2; i++) {
        char *map = map_between_guards(fd, f->mapped);
        f->heap[i] = (fi_heap_t){.base = map,
                                 .shared = (fi_heap_memory_t *)(void *)(map + HEAD_AT),
                                 .first = first_of_heap(),
                                 .bytes = first_of_heap() + space,
                                 .name = "r"};
    }
    close(fd);
    assert_int_equal(fi_heap_init(&f->heap[0]), 0);
}

static inline void close_heap(fixture_t *f) {
    for (unsigned i = 0; i < 2; i++) {
        munmap(f->heap[i].base - PAGE, f->mapped + (uint64_t)2 * PAGE);
    }
}

static inline uint64_t place_number(unsigned i) {
    return PLACES_AT + 8 * (uint64_t)i;
}

static inline uint64_t at_place(const fi_heap_t *h, uint64_t place) {
    return fi_load_relaxed64(fi_heap_word(h, place));
}

/* The calls as a region makes them, with a reference in a variable of the program's. */
static inline int alloc_private(const fi_heap_t *h, uint64_t bytes, uint64_t *mine) {
    uint64_t ref;
    int r = fi_heap_alloc(h, HAND, 0, 0, bytes, &ref);

    if (r == 0) {
        *mine = ref;
        fi_heap_hand_done(h, HAND);
    }
    return r;
}

static inline int free_private(const fi_heap_t *h, uint64_t *mine) {
    fi_heap_hand_hold(h, HAND, *mine);
    int r = fi_heap_free(h, HAND, 0, *mine);

    fi_heap_hand_done(h, HAND);
    if (r == 0) {
        *mine = 0;
    }
    return r;
}

/* The usual case first, as a region does; `place` 0: the reference is `*mine`. */
static inline int free_quickly(const fi_heap_t *h, uint64_t place, uint64_t *mine) {
    uint64_t held = place ? 0 : fi_heap_hand_hold(h, HAND, *mine);

    if (!fi_heap_free_quick(h, HAND, place, *mine, held)) {
        return place ? fi_heap_free(h, HAND, place, 0) : free_private(h, mine);
    }
    *mine = 0;
    return 0;
}

/* `place` 0: the reference is `*mine`. */
static inline int resize_anywhere(const fi_heap_t *h, uint64_t place, uint64_t bytes, uint64_t *mine) {
    fi_heap_move_t move;
    uint64_t ref = *mine;
    int r = fi_heap_resize(h, HAND, place, bytes, &ref, &move);

    if (r == FI_HEAP_MOVES) {
        memcpy(h->base + move.to, h->base + move.from, move.bytes);
        ref = move.to;
        r = fi_heap_moved(h, HAND, place, &move);
    }
    if (r == 0) {
        *mine = ref;
        if (place == 0) {
            fi_heap_hand_done(h, HAND);
        }
    }
    return r;
}

/* The heap is whole and has so many blocks. */
static inline void assert_whole(const fi_heap_t *h, int64_t blocks) {
    int64_t found = fi_heap_check(h);

    if (found < 0) {
        fail_msg("%s", fi_error_text());
    }
    assert_int_equal(found, blocks);
}

#endif
