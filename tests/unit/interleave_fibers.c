/* SPDX-License-Identifier: MIT
 *
 * interleave_fibers.c - see interleave_fibers.h. makecontext(3) makes the stacks; setjmp and longjmp go from one to the
 * other, which takes no system call, as swapcontext(3) would.
 */
#undef _FORTIFY_SOURCE /* its longjmp takes a jump to another stack for an error */
#include "interleave_fibers.h"

#include <setjmp.h>
#include <stddef.h>
#include <ucontext.h>

#define STACK_BYTES (64u << 10)

typedef struct fiber {
    jmp_buf here;
    jmp_buf top;
} fiber_t;

static fiber_t fibers[FIBERS + 1];
static char stacks[FIBERS][STACK_BYTES] __attribute__((aligned(64)));
static unsigned (*fiber_body)(unsigned self);
static unsigned newest;

void fiber_switch(unsigned from, unsigned to) {
    if (_setjmp(fibers[from].here) == 0)
        _longjmp(fibers[to].here, 1);
}

_Noreturn void fiber_start_over(unsigned self) {
    _longjmp(fibers[self].top, 1);
}

static void live(void) {
    const unsigned self = newest;
    (void)_setjmp(fibers[self].top);
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
