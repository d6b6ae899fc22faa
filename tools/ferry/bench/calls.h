/* SPDX-License-Identifier: MIT
 *
 * calls.h - calls, and what they are compared with: messages there and back, the bare machine, a socket, other
 * libraries. All take turns in the same run.
 *
 * The first sides serve, the others call. Of anything but Ferry's calls only the first server and the first caller have
 * a part, and all others sleep.
 */
#ifndef FERRY_BENCH_CALLS_H
#define FERRY_BENCH_CALLS_H

#include "bench/object.h"
#include "bench/window.h"

enum {
    BENCH_MAX_CALLERS = 4,  /* sides that hold all clients together */
    BENCH_SHORT_ANSWER = 64 /* bytes of the answer to an argument that is handed over */
};

typedef enum bench_talk {
    BENCH_TALK_CALLS,    /* Ferry's */
    BENCH_TALK_MESSAGES, /* over two queues */
    BENCH_TALK_BARE,     /* a cache line, or a futex */
    BENCH_TALK_SOCKET,
    BENCH_TALK_GRPC,
    BENCH_TALK_CAPNP,
    BENCH_TALKS
} bench_talk_t;

/* What one side needs to know; it stands in memory that all share, from before they were started. */
typedef struct bench_calls {
    const bench_settings_t *settings;
    unsigned callers;
    bool by_futex; /* the bare round trip */
    bool has[BENCH_TALKS];
    bool idles; /* the processor time of waiting is to be told as well */
    int sockets[2];
    uint64_t asked[BENCH_MAX_CALLERS]; /* what the sides leave: Ferry's calls */
    uint64_t served[BENCH_MAX_PARTIES];
    double idle_cpu_ms[2];
    double waiting_cpu_ms[2];
} bench_calls_t;

/* How one of them is done. */
typedef struct bench_speech {
    void *(*join)(bench_side_t *me, bench_calls_t *calls);
    /* Asks for so many ticks; the trips are begun by it. */
    void (*lead)(void *joined, uint64_t ticks, bench_trips_t *trips);
    void (*follow)(void *joined);
    void (*leave)(void *joined);
} bench_speech_t;

extern const bench_speech_t bench_speak_calls;    /* call_ferry.c */
extern const bench_speech_t bench_speak_messages; /* call_messages.c */
extern const bench_speech_t bench_speak_socket;   /* limit_echo.c */
extern const bench_speech_t bench_speak_grpc;     /* call_peers.c */
extern const bench_speech_t bench_speak_capnp;

/*
 * A server waits a second for a call, and then a caller waits a second for an answer: what each takes of the processor
 * on both sides goes to `idle_cpu_ms` and `waiting_cpu_ms`.
 */
void bench_calls_idle(void *joined);

/* Whether that library was built. For the parent. */
bool bench_call_peer_is_there(bench_talk_t talk);

static inline bool bench_is_server(const bench_side_t *me) {
    return me->index < me->settings->servers;
}

/* Bytes of an answer. */
static inline size_t bench_answer_size(const bench_settings_t *s) {
    return s->method == BENCH_METHOD_TAKE ? BENCH_SHORT_ANSWER : s->size;
}

/* Of one talk: medians of the slices. */
typedef struct bench_talked {
    double per_s;
    double p50_ns, p99_ns, p999_ns; /* as the first caller sees it */
    double trips;
} bench_talked_t;

typedef struct bench_calls_result {
    bench_quality_t quality;
    bool by_futex;
    unsigned sides;
    double idle_cpu_ms, waiting_cpu_ms; /* NAN: were not asked for */
    bool has[BENCH_TALKS];
    bench_talked_t of[BENCH_TALKS];
} bench_calls_result_t;

/* Runs it, as bench_repeat wants it: `arg` are the settings, `out` a bench_calls_result_t. */
int bench_calls_once(const void *arg, void *out);

#endif
