/* SPDX-License-Identifier: MIT
 *
 * interleave_fibers.h - threads that take turns: each has a stack of its own, and one runs until it names the next.
 */
#ifndef FERRY_TESTS_INTERLEAVE_FIBERS_H
#define FERRY_TESTS_INTERLEAVE_FIBERS_H

#include <stdbool.h>
#include <stddef.h>

#define FIBERS 12
#define MAIN_FIBER FIBERS /* the program itself */

/* Makes them all. `body` is what each runs, again and again; it ends by returning the next fiber to run. */
void fibers_make(unsigned (*body)(unsigned self));

/* Stops `from`, which is running, and goes on with `to`. Returns when somebody goes on with `from`. */
void fiber_switch(unsigned from, unsigned to);

/* Keeps the first `count` fibers as they are now, as the newest of the pictures that are kept. `self`, who runs, is one
 * of them. False: now; true: somebody has gone back to it. */
bool fibers_keep(unsigned self, unsigned count);
/* Pictures that are kept. */
size_t fibers_kept(void);
/* The main fiber goes back to the newest picture, and on when somebody switches to it. */
void fibers_go_back(void);
/* Forgets the newest picture. */
void fibers_forget(void);

/* The running fiber forgets what it was doing and begins anew when it is switched to; goes on with the main one. */
_Noreturn void fiber_start_over(unsigned self);

#endif
