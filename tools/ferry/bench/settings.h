/* SPDX-License-Identifier: MIT
 *
 * settings.h - what to measure: the command line of `ferry bench`.
 */
#ifndef FERRY_BENCH_SETTINGS_H
#define FERRY_BENCH_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ferry/ferry.h>

enum {
    BENCH_SLICES = 5, /* of the limit and as many of Ferry, in turn */
    BENCH_MAX_SENDERS = 256,
    BENCH_MAX_RECEIVERS = 64,
    BENCH_MAX_COUNT = 10000,
    BENCH_MAX_PARTIES = 64, /* sides at one synchronization object */
    BENCH_MAX_SERVERS = 32,
    BENCH_MAX_CLIENTS = 10000
};

/* How long a side waits for the other one before it calls the run a failure, in nanoseconds. */
#define BENCH_PATIENCE INT64_C(5000000000)

typedef enum bench_between { BENCH_PROCESSES = 0, BENCH_THREADS = 1, BENCH_MACHINES = 2 } bench_between_t;
typedef enum bench_pin { BENCH_PIN_APART = 0, BENCH_PIN_TOGETHER = 1, BENCH_PIN_NONE = 2 } bench_pin_t;
typedef enum bench_api { BENCH_SEND = 0, BENCH_CLAIM = 1 } bench_api_t;
typedef enum bench_take { BENCH_TAKE_ONE = 0, BENCH_TAKE_BATCH = 1, BENCH_TAKE_COPY = 2 } bench_take_t;
typedef enum bench_touch { BENCH_TOUCH_BOTH = 0, BENCH_TOUCH_LINE = 1, BENCH_TOUCH_WHOLE = 2 } bench_touch_t;
typedef enum bench_pattern { BENCH_PATTERN_BOTH = 0, BENCH_PATTERN_LIFO = 1, BENCH_PATTERN_RANDOM = 2 } bench_pattern_t;
typedef enum bench_peer_of { BENCH_PEER_NONE = 0, BENCH_PEER_BOOST = 1 } bench_peer_of_t;
typedef enum bench_scatter { BENCH_SCATTER_PAGE = 0, BENCH_SCATTER_ITEM = 1 } bench_scatter_t;
typedef enum bench_work { BENCH_WORK_BOTH = 0, BENCH_WORK_PING_PONG = 1, BENCH_WORK_UNITS = 2 } bench_work_t;
typedef enum bench_method { BENCH_METHOD_ECHO = 0, BENCH_METHOD_TAKE = 1 } bench_method_t;

typedef enum bench_part {
    BENCH_LATENCY = 1 << 0,
    BENCH_THROUGHPUT = 1 << 1,
    BENCH_LARGE = 1 << 2,
    BENCH_SENDERS = 1 << 3,
    BENCH_FAIRNESS = 1 << 4,
    BENCH_LOCK = 1 << 5,
    BENCH_RWLOCK = 1 << 6,
    BENCH_SEMAPHORE = 1 << 7,
    BENCH_EVENT = 1 << 8,
    BENCH_BARRIER = 1 << 9,
    BENCH_REGION = 1 << 10,
    BENCH_CELL = 1 << 11,
    BENCH_BUFFER = 1 << 12,
    BENCH_SNAPSHOT = 1 << 13,
    BENCH_RPC = 1 << 14,
    BENCH_PEERS = 1 << 15,
    BENCH_ALL = 1 << 16
} bench_part_t;

typedef struct bench_settings {
    bench_between_t between;
    ferry_wait_t wait;
    ferry_kind_t kind;
    bool durable; /* throughput between machines: a queue that the server keeps */
    bench_api_t api;
    bench_take_t take;
    bench_touch_t touch;
    bench_pin_t pin;
    size_t size;             /* bytes of a message, block, value, item or region; 0: the part's own choice */
    unsigned senders;        /* throughput */
    unsigned receivers;      /* throughput */
    unsigned count;          /* senders: the largest number of senders */
    unsigned depth;          /* large: messages on their way at once; 0: as many as fit a reasonable memory */
    unsigned parties;        /* sides at one object or region; rwlock: readers; 0: few, and then more */
    unsigned writers;        /* rwlock: sides besides those */
    bench_work_t work;       /* semaphore */
    bench_pattern_t pattern; /* region: the order in which blocks are freed */
    bench_peer_of_t peer;    /* region: another library to compare with */
    unsigned live;           /* region: blocks of each side that live meanwhile */
    unsigned slots;          /* buffer */
    double dirty;            /* snapshot: share of the bytes that each version changes; 0: some and then all */
    bench_scatter_t scatter; /* snapshot: what lies in random places */
    bool verify;             /* snapshot: the reader verifies all of each version (not on the command line) */
    unsigned outstanding;    /* rpc: calls of each calling side under way at once; 0: the usual set of runs */
    unsigned clients;        /* rpc: all together */
    unsigned servers;        /* rpc */
    bench_method_t method;   /* rpc */
    bool both_betweens;      /* rpc: the usual set between processes, and then between threads */
    bool peers;              /* rpc: other libraries beside, if they were built */
    int64_t measure_ns;      /* of Ferry, all slices together; the limit is given as much again */
    bool json;
    bool quiet;            /* no word of progress */
    const char *directory; /* where the temporary space is made; NULL: $TMPDIR, else /tmp */

    /* between machines: where they are (not on the command line) */
    struct bench_place *place;
} bench_settings_t;

/*
 * Reads the command line. True: go on with `*part`. False: it is over with exit status `*status` (help was shown, or
 * the line was wrong).
 */
bool bench_settings_read(int argc, char **argv, bench_settings_t *settings, bench_part_t *part, int *status);

/* Words for the tables. */
const char *bench_between_word(bench_between_t between);
const char *bench_wait_word(ferry_wait_t wait);
const char *bench_pin_word(bench_pin_t pin);
const char *bench_pattern_word(bench_pattern_t pattern);
const char *bench_scatter_word(bench_scatter_t scatter);
const char *bench_method_word(bench_method_t method);

#endif
