/* SPDX-License-Identifier: MIT
 *
 * platform/bell.h - a doorbell: a pipe that its owner sleeps on and any number of processes ring.
 *
 * The owner keeps both ends and hands the write end to peers.  A peer can then ring and nothing else: unlike an eventfd
 * or a shared futex, it cannot take another's ring away.  A ring is one byte; a full pipe needs no further byte, since
 * it is readable already.  So a ring is never lost, and never blocks.
 *
 * Two dangers of writing to a pipe that somebody else owns, and what is done about them (see bell.c):
 *   - The owner has gone: write(2) would raise SIGPIPE.  The process's signal disposition is not ours to change, so
 *     the write asks for no signal (Linux 6.18), or else SIGPIPE is blocked in this thread around it.
 *   - The owner clears O_NONBLOCK, which all holders of the pipe's end share, and lets it fill up: the write itself
 *     asks not to wait (Linux 6.4), and fi_bell_check refuses an end that blocks already.
 */
#ifndef FI_PLATFORM_BELL_H
#define FI_PLATFORM_BELL_H

#include <stdbool.h>
#include <stdint.h>

typedef struct fi_bell {
    int rd; /**< readable while rung */
    int wr; /**< for ringing; our own copy also keeps `rd` from seeing end-of-file */
} fi_bell_t;

/** Makes a bell. Errors: -EMFILE, -ENFILE, -ENOMEM. */
int fi_bell_init(fi_bell_t *bell);

/** Closes both ends; a bell whose ends are -1 is allowed. */
void fi_bell_done(fi_bell_t *bell);

/** Rings. Never blocks, raises no signal, ignores a bell whose owner has gone. Leaves errno; async-signal-safe. */
void fi_bell_ring(int wr);

/** Is a received descriptor the write end of a pipe, opened so that it does not block? 0 or -EPROTO. */
int fi_bell_check(int fd);

/** Takes all rings that are there. Does not block. */
void fi_bell_drain(int rd);

/** Has it been rung since it was drained? */
bool fi_bell_is_rung(int rd);

/** Sleeps until the bell is rung: 1 rung (and still readable), 0 `deadline` has passed, -EINTR a signal came. */
int fi_bell_wait(int rd, int64_t deadline);

#endif
