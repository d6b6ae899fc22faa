/* SPDX-License-Identifier: MIT
 *
 * calls.h - a service whose effects are counted in shared memory, so that they outlive who has had them, and a ledger
 * of how every call ended.
 *
 *   method    idempotent  answers with
 *   once      no          one result
 *   often     yes         one result
 *   stream    no          several results
 *   restream  yes         several results
 *
 * Arguments and results are patterns that belong to the call's number: one that is torn, or another call's, is noticed.
 */
#ifndef FERRY_TESTS_CALLS_H
#define FERRY_TESTS_CALLS_H

#include "fire.h"

#define CALLS_MAX (8u << 20)
#define SERVICE "svc"
#define ARGUMENT_MAX 65536u

enum call_end { NOT_KNOWN, WITH_RESULT, NOT_RUN, MAY_HAVE_RUN };

typedef struct calls {
    atomic_uint next;                /* the last number that was given */
    atomic_uchar ran[CALLS_MAX];     /* times that the handler has begun */
    atomic_uchar end[CALLS_MAX];     /* enum call_end */
    atomic_uchar repeats[CALLS_MAX]; /* 1: its method is idempotent */
} calls_t;

/* The argument, filled up to its size with the number's pattern. */
typedef struct ask {
    uint32_t number;
    uint32_t size;   /* of the argument */
    uint32_t answer; /* bytes of each result, 8 or more */
    uint32_t results;
    uint32_t pause_us; /* that the handler takes */
    uint32_t by_pointer;
} ask_t;

/** A number for the next call of a method that is idempotent or not. */
uint32_t calls_number(calls_t *w, bool idempotent);
void ask_write(void *data, const ask_t *ask);

/** Opens the service and adds its methods. `stage` (may be NULL) is told where a handler is: HANDLING, ANSWERING, then
 * 0. */
enum { HANDLING = 1, ANSWERING };
ferry_service_t *calls_open_service(ferry_t *node, calls_t *w, void (*stage)(unsigned stage));
ferry_client_t *calls_open_client(ferry_t *node, unsigned servers);
/** Was something not opened for want of the space's lock? It is waited for two seconds only, and those who have it may
 * be held up one after the other: to be tried again. */
bool calls_lock_was_kept(int r);

/** Fails unless the result is the call's, and the `index`th. */
void result_check(const ask_t *ask, ferry_msg_t *m, uint32_t index);
/** Takes what comes of a call that was started: each result once and in order; how it ended. */
int calls_finish(ferry_call_t *call, const ask_t *ask, int64_t patience);
/** Writes down how a call has ended; fails when its effect contradicts that. */
void calls_judge(calls_t *w, uint32_t number, int ended);
/** The same for all calls, when everybody is at rest: what has happened since must not contradict it either. */
void calls_judge_all(const calls_t *w);

#endif
