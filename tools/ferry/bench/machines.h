/* SPDX-License-Identifier: MIT
 *
 * machines.h - `ferry bench PART --between machines`: two processes that reach each other through a nats-server only.
 *
 * The near side is on the server's machine, and follows; the far one leads: it sends, calls or locks. Beside Ferry the
 * same bytes go by the bare client library through the same server, and over plain TCP.
 */
#ifndef FERRY_BENCH_MACHINES_H
#define FERRY_BENCH_MACHINES_H

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/settings.h"
#include "bench/sides.h"
#include "bench/stats.h"
#include "engine.h"

enum { BENCH_NEAR = 0, BENCH_FAR = 1, BENCH_MACHINES_SIDES = 2 };

/* --- machines_place.c: two machines and a server ------------------------------------------------------------------ */

typedef struct bench_place {
    engine_t engine;
    char url[ENGINE_URL];
    const char *host; /* the near side's address */
    const char *link; /* what lies between the sides */
    int far;          /* the far side's network namespace; -1: they share one */
} bench_place_t;

/* False: there is no server (said). */
bool bench_place_open(bench_place_t *place, const bench_settings_t *settings);
/* Ends the server and removes its directory. */
void bench_place_close(bench_place_t *place);
/* For a side, before it does anything else. False: it cannot go there. */
bool bench_place_enter(const bench_place_t *place, unsigned side);

/* --- what two sides can do by one means --------------------------------------------------------------------------- */

typedef enum bench_means { BENCH_BY_FERRY, BENCH_BY_NATS, BENCH_BY_TCP, BENCH_MEANS } bench_means_t;

/* One slice of a stream, as the near side has received it. */
typedef struct bench_heard {
    bench_side_t *me;
    uint64_t last;     /* message */
    uint64_t received; /* by this means, of this slice */
    uint64_t lost;
    uint64_t at_first;         /* of these, what had come by first_ns: those that are fetched together come together */
    int64_t first_ns, last_ns; /* when the first came, and the last */
} bench_heard_t;

typedef struct bench_dealing {
    void *(*join)(bench_side_t *me);         /* the near side first */
    void (*ready)(void *joined);             /* once both have joined; NULL: nothing is to do */
    void (*trip)(void *joined, uint64_t id); /* far: there and back */
    void (*after)(void *joined);             /* far, not measured: makes the next trip possible; NULL: it is */
    void (*follow)(void *joined); /* near: answers, until a message says BENCH_ID_LAST; NULL: its threads do */
    void (*give)(void *joined, uint64_t id);          /* far: sends one of a stream */
    void (*flush)(void *joined);                      /* far: nothing more follows; NULL: nothing is held back */
    void (*take)(void *joined, bench_heard_t *heard); /* near: until the message that says so */
    void (*leave)(void *joined);
} bench_dealing_t;

/* What both sides share; zero at first. */
typedef struct bench_meeting {
    const bench_dealing_t *dealing[BENCH_MEANS]; /* NULL: not to be had */
    bool streams;                                /* and no trips */
    _Atomic unsigned port;                       /* of the near side's TCP */
    size_t room;
    uint32_t *sample[BENCH_MEANS];
    size_t count[BENCH_MEANS];
    uint64_t lost;
    bench_series_t series[BENCH_MEANS]; /* of each slice: the median trip in ns, or messages per second */
} bench_meeting_t;

/* --- machines_ferry.c, machines_nats.c, machines_tcp.c ------------------------------------------------------------ */

/* `durable`: of BENCH_THROUGHPUT, by a queue that the server keeps. */
const bench_dealing_t *bench_by_ferry(bench_part_t part, bool durable);
/* NULL: this command was built without the library's header, or it is not installed. */
const bench_dealing_t *bench_by_nats(bench_part_t part, bool durable);
const bench_dealing_t *bench_by_tcp(void);

/* --- machines.c --------------------------------------------------------------------------------------------------- */

/* Notes a message of a stream, after a look at every byte. True: it was the last one of the slice. */
bool bench_hear(bench_heard_t *heard, const void *data, size_t size);
/* The answer to message `id` must be as large, and whole. */
void bench_check_answer(bench_side_t *me, const void *data, size_t size, uint64_t id);
/* Makes the answer to a question of this side's size, in `answer`. Returns the question's id. */
uint64_t bench_make_answer(bench_side_t *me, const void *data, size_t size, unsigned char *answer);
void *bench_keep(bench_side_t *me, const void *joined, size_t size);

#endif
