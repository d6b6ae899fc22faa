/* SPDX-License-Identifier: MIT
 *
 * guard.h - a file that a command inherits locked, so that a lock is held as long as the command runs, also when
 * `ferry lock` itself is killed.
 *
 * The guard of the lock NAME is the file g-NAME in the space's directory, under flock(2). It is taken after the lock of
 * Ferry, so it is normally free; only a command whose `ferry lock` was killed, or what a command has left running in
 * the background, still has it. The file is removed by the last one to leave it, if that one may.
 */
#ifndef FERRY_TOOL_GUARD_H
#define FERRY_TOOL_GUARD_H

#include <stdbool.h>

#include "patience.h"

typedef struct guard {
    const char *name; /* of the lock */
    char *path;
    int fd; /* -1: not taken */
    bool shared;
    bool group; /* members of a group share the space */
} guard_t;

/* Makes `*guard` that of `name` in `directory`, not taken. False: no memory. */
bool guard_init(guard_t *guard, const char *directory, const char *name, bool shared, bool group);

/* Takes it, waiting as `p` allows. Returns 0, or an exit status, all said. */
int guard_take(guard_t *guard, const patience_t *p);

/* Leaves it to whoever else has it, or removes it; and frees what guard_init made. */
void guard_done(guard_t *guard);

#endif
