/* SPDX-License-Identifier: MIT
 *
 * lock_kill.h - users of all kinds of synchronization objects: some survive, the others work among them until they are
 * killed.
 *
 *   object              what it guards
 *   one, two            mutexes: goods, changed in several steps; both are sometimes held, in this order
 *   book                reader-writer lock: goods, changed by writers and seen by readers
 *   chairs              owned semaphore: as many chairs as it has units, each for one
 *   plain               plain semaphore: its units are counted in the end
 *   gate                barrier of three, which breaks with every death
 *   flag                event
 *   turn                auto-reset event
 */
#ifndef FERRY_TESTS_LOCK_KILL_H
#define FERRY_TESTS_LOCK_KILL_H

#include "fire.h"
#include "objects.h"

#define SURVIVORS 4u
#define VICTIMS 4u
#define CHAIRS 2u
#define PLAIN_UNITS 2u

enum thing { ONE, TWO, BOOK, CHAIRS_FREE, UNITS, GATE, FLAG, TURN, THINGS };

/* Each call on each kind of object; and what has to do with handles. */
enum verb { TAKING, GIVING, REPAIRING, VERBS };
enum { IN_PROGRAM = KINDS * VERBS, IN_OPEN_NODE, IN_OPEN, IN_CLOSE, IN_CLOSE_NODE, IN_RESET, OPS };

/* What a user leaves behind. */
typedef struct user_marks {
    atomic_uint op;       /* the call it is in */
    atomic_uint calls;    /* that have returned */
    atomic_ullong met;    /* its node, once it has opened something: the survivors know it */
    atomic_uint holds;    /* of what has an owner */
    atomic_uint has_unit; /* a plain one: 1 perhaps, 2 for sure */
    uint64_t seed;
    bool holds_on; /* takes mutex one and keeps it until it is killed */
} user_marks_t;

/* Changed in several steps by whoever has the lock: between these steps a death leaves it torn. */
typedef struct goods {
    atomic_uint inside;
    atomic_ullong left, right, token;
} goods_t;

typedef struct world {
    atomic_uint stage; /* enum stage */
    rest_t rest;       /* of the survivors */
    atomic_uint ready;
    atomic_uint quiet; /* survivors that have left their work */
    goods_t goods[BOOK + 1];
    atomic_int chairs[CHAIRS]; /* process id of who sits there */
    atomic_uint units_added, units_left;
    atomic_ullong progress[SURVIVORS];
    atomic_llong slowest[KINDS]; /* the survivors' waits, in nanoseconds */
    atomic_uint told[KINDS];     /* of a death */
    user_marks_t survivors[SURVIVORS];
    user_marks_t victims[VICTIMS];
} world_t;

enum stage { WORK, LEAVE };

/** What a survivor does until the stage is LEAVE. Number 0 leaves last, and looks at what is left. */
void survivor_run(world_t *w, unsigned who);
/** What a victim does, for ever. */
_Noreturn void victim_run(world_t *w, user_marks_t *marks);

/** What the op of this number is. */
const char *op_name(unsigned op);

#endif
