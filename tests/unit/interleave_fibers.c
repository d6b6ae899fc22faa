/* SPDX-License-Identifier: MIT
 *
 * interleave_fibers.c - see interleave_fibers.h. makecontext(3) makes the stacks; setjmp and longjmp go from one to the
 * other, which takes no system call, as swapcontext(3) would. Who copies a stack while its fiber does not run can put it
 * back later.
 */
#undef _FORTIFY_SOURCE /* its longjmp takes a jump to another stack for an error */
#include "interleave_fibers.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define STACK_BYTES (64u << 10)

typedef struct fiber {
    jmp_buf here;
    char *lowest; /* of what is in use on its stack while it does not run */
} fiber_t;

static fiber_t fibers[FIBERS + 1];
static jmp_buf tops[FIBERS];
static char stacks[FIBERS][STACK_BYTES] __attribute__((aligned(64)));
static unsigned (*fiber_body)(unsigned self);
static unsigned newest;

/* Its own frame lies below those of all who called it. */
static __attribute__((noinline)) void note_depth(unsigned self) {
    fibers[self].lowest = __builtin_frame_address(0);
}

void fiber_switch(unsigned from, unsigned to) {
    note_depth(from);
    if (_setjmp(fibers[from].here) == 0)
        _longjmp(fibers[to].here, 1);
}

_Noreturn void fiber_start_over(unsigned self) {
    _longjmp(tops[self], 1);
}

static void live(void) {
    const unsigned self = newest;
    (void)_setjmp(tops[self]);
    for (unsigned next = MAIN_FIBER;; next = fiber_body(self))
        fiber_switch(self, next);
}

void fibers_make(unsigned (*body)(unsigned self)) {
    fiber_body = body;
    for (newest = 0; newest < FIBERS; newest++) {
        ucontext_t context;
        getcontext(&context);
        context.uc_stack.ss_sp = stacks[newest];
        context.uc_stack.ss_size = STACK_BYTES;
        context.uc_link = NULL;
        makecontext(&context, live, 0);
        if (_setjmp(fibers[MAIN_FIBER].here) == 0)
            setcontext(&context);
    }
}

/* ---- pictures ---- */

typedef struct picture {
    jmp_buf point;
    fiber_t fibers[FIBERS];
    unsigned count; /* of these */
    size_t at;      /* in the album: what is in use on each stack, one after the other */
} picture_t;

static picture_t *pictures;
static size_t kept, room;
static char *album;
static size_t album_bytes, album_room;

static void *enlarge(void *memory, size_t bytes) {
    void *larger = realloc(memory, bytes);
    if (!larger)
        abort();
    return larger;
}

static size_t bytes_in_use(unsigned self) {
    return (size_t)(stacks[self] + STACK_BYTES - fibers[self].lowest);
}

static __attribute__((noinline)) void take_picture(unsigned self) {
    picture_t *p = &pictures[kept - 1];
    note_depth(self);
    p->at = album_bytes;
    for (unsigned i = 0; i < p->count; i++) {
        size_t bytes = bytes_in_use(i);
        if (album_bytes + bytes > album_room)
            album = enlarge(album, album_room = 2 * (album_bytes + bytes));
        memcpy(album + album_bytes, fibers[i].lowest, bytes);
        album_bytes += bytes;
        p->fibers[i] = fibers[i];
    }
}

bool fibers_keep(unsigned self, unsigned count) {
    if (kept == room)
        pictures = enlarge(pictures, (room = 2 * room + 64) * sizeof *pictures);
    pictures[kept++].count = count;
    if (_setjmp(pictures[kept - 1].point) != 0)
        return true;
    take_picture(self);
    return false;
}

size_t fibers_kept(void) {
    return kept;
}

static void put_back(const picture_t *p) {
    const char *from = album + p->at;
    for (unsigned i = 0; i < p->count; i++) {
        fibers[i] = p->fibers[i];
        memcpy(fibers[i].lowest, from, bytes_in_use(i));
        from += bytes_in_use(i);
    }
}

void fibers_go_back(void) {
    if (_setjmp(fibers[MAIN_FIBER].here) != 0)
        return;
    put_back(&pictures[kept - 1]);
    _longjmp(pictures[kept - 1].point, 1);
}

void fibers_forget(void) {
    album_bytes = pictures[--kept].at;
}
