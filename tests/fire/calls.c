/* SPDX-License-Identifier: MIT
 *
 * calls.c - see calls.h.
 */
#include "calls.h"

#include <stdio.h>
#include <string.h>

/* What the handlers need: a process serves for one world. */
static struct {
    calls_t *w;
    void (*stage)(unsigned stage);
} serving;

/* ---- arguments and results ---- */

uint32_t calls_number(calls_t *w, bool idempotent) {
    uint32_t number = atomic_fetch_add(&w->next, 1) + 1;
    check(number < CALLS_MAX);
    atomic_store(&w->repeats[number], idempotent);
    return number;
}

#define EDGE 32u

/* Cheap, since some are stepped: a pattern at both ends, one byte in between. */
static void pattern_fill(unsigned char *data, size_t size, uint64_t seed) {
    size_t edge = size < 2 * EDGE ? size : EDGE;
    memset(data, (int)(seed & 255), size);
    fill(data, edge, seed);
    if (edge < size)
        fill(data + size - EDGE, EDGE, seed + 1);
}

static bool pattern_stands(const unsigned char *data, size_t size, uint64_t seed) {
    size_t edge = size < 2 * EDGE ? size : EDGE, middle = edge < size ? size - 2 * EDGE : 0;
    return filled(data, edge, seed) && (edge == size || filled(data + size - EDGE, EDGE, seed + 1)) &&
           (middle == 0 || (data[EDGE] == (seed & 255) && memcmp(data + EDGE, data + EDGE + 1, middle - 1) == 0));
}

void ask_write(void *data, const ask_t *ask) {
    check(ask->size >= sizeof *ask && ask->size <= ARGUMENT_MAX && ask->answer >= 8);
    memcpy(data, ask, sizeof *ask);
    pattern_fill((unsigned char *)data + sizeof *ask, ask->size - sizeof *ask, ask->number);
}

static void result_write(unsigned char *data, const ask_t *ask, uint32_t index) {
    memcpy(data, &ask->number, sizeof ask->number);
    memcpy(data + 4, &index, sizeof index);
    pattern_fill(data + 8, ask->answer - 8, (uint64_t)index << 32 | ask->number);
}

void result_check(const ask_t *ask, ferry_msg_t *m, uint32_t index) {
    const unsigned char *data = ferry_msg_data(m);
    uint32_t number, at;
    check_is(ferry_msg_size(m), ask->answer);
    memcpy(&number, data, sizeof number);
    memcpy(&at, data + 4, sizeof at);
    check_is(number, ask->number);
    check_is(at, index);
    check(pattern_stands(data + 8, ask->answer - 8, (uint64_t)index << 32 | number));
}

/* ---- serving ---- */

static void tell(unsigned stage) {
    if (serving.stage)
        serving.stage(stage);
}

static ask_t ask_read(const void *data, size_t size) {
    ask_t ask = {0};
    check(size >= sizeof ask);
    memcpy(&ask, data, sizeof ask);
    check_is(size, ask.size);
    check(ask.number < CALLS_MAX &&
          pattern_stands((const unsigned char *)data + sizeof ask, size - sizeof ask, ask.number));
    return ask;
}

/* Whoever asked may be gone, or there may be nothing left to answer with: that is told, and no failure. */
static int told(int r) {
    bool good = r == 0 || r == -EPIPE || r == -ETIME || r == -ECANCELED || r == -EMFILE || r == -ENOMEM;
    if (!good)
        fprintf(stderr, "# a reply: %d, %s\n", r, ferry_last_error());
    check(good);
    return r;
}

static int answer_by_pointer(ferry_request_t *rq, const ask_t *ask) {
    ferry_msg_t *m = NULL;
    void *data;
    int r = told(ferry_reply_new(rq, ask->answer, &data, &m));
    if (r == 0) {
        result_write(data, ask, 0);
        r = told(ferry_reply_msg(rq, m));
        release(m);
    }
    return r;
}

static int answer(ferry_request_t *rq, const ask_t *ask, uint32_t index, bool more) {
    static __thread unsigned char result[ARGUMENT_MAX];
    if (ask->by_pointer && !more)
        return answer_by_pointer(rq, ask);
    result_write(result, ask, index);
    return told(more ? ferry_reply_more(rq, result, ask->answer) : ferry_reply(rq, result, ask->answer));
}

static ask_t begin(const void *data, size_t size) {
    ask_t ask = ask_read(data, size);
    tell(HANDLING);
    atomic_fetch_add(&serving.w->ran[ask.number], 1);
    if (ask.pause_us)
        nap((int64_t)ask.pause_us * MILLISECOND / 1000);
    tell(ANSWERING);
    return ask;
}

static int handle_one(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    (void)arg;
    ask_t ask = begin(data, size);
    int r = answer(rq, &ask, 0, false);
    tell(0);
    return r;
}

static int handle_stream(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    (void)arg;
    ask_t ask = begin(data, size);
    int r = 0;
    for (uint32_t i = 0; i < ask.results && r == 0; i++)
        r = answer(rq, &ask, i, true);
    tell(0);
    return r;
}

ferry_service_t *calls_open_service(ferry_t *node, calls_t *w, void (*stage)(unsigned stage)) {
    ferry_method_options_t often = {.idempotent = 1}, stream = {.streams = 1}, both = {.idempotent = 1, .streams = 1};
    ferry_service_t *service = NULL;
    serving.w = w;
    serving.stage = stage;
    check_is(ferry_service_open(node, SERVICE, NULL, &service), 0);
    check_is(ferry_service_method(service, "once", handle_one, NULL, NULL), 0);
    check_is(ferry_service_method(service, "often", handle_one, NULL, &often), 0);
    check_is(ferry_service_method(service, "stream", handle_stream, NULL, &stream), 0);
    check_is(ferry_service_method(service, "restream", handle_stream, NULL, &both), 0);
    return service;
}

bool calls_lock_was_kept(int r) {
    return r == -ETIMEDOUT && strstr(ferry_last_error(), "has kept the lock");
}

/* ---- calling ---- */

ferry_client_t *calls_open_client(ferry_t *node, unsigned servers) {
    ferry_client_t *client = NULL;
    check_is(ferry_client_open(node, SERVICE, NULL, &client), 0);
    check(ferry_client_wait(client, servers, PATIENCE) >= (int)servers);
    return client;
}

int calls_finish(ferry_call_t *call, const ask_t *ask, int64_t patience) {
    ferry_msg_t *m = NULL;
    uint32_t came = 0;
    int r;
    for (; (r = ferry_call_wait(call, patience, &m)) == FERRY_CALL_MORE; came++) {
        check(came < ask->results);
        result_check(ask, m, came);
        release(m);
    }
    check(r != -ETIMEDOUT);
    if (r == 0 && ask->results > 0) {
        check_is(came, ask->results);
        check(m == NULL);
    } else if (r == 0) {
        result_check(ask, m, 0);
        release(m);
    }
    check_is(ferry_call_release(call), 0);
    return r;
}

/* ---- judging ---- */

static enum call_end meaning(int ended) {
    if (ended == 0)
        return WITH_RESULT;
    return ended == -ENOENT || ended == -ENOSYS || ended == -EBUSY ? NOT_RUN : MAY_HAVE_RUN;
}

static void judge(const calls_t *w, uint32_t number) {
    unsigned ran = atomic_load(&w->ran[number]), end = atomic_load(&w->end[number]);
    bool repeats = atomic_load(&w->repeats[number]);
    bool good = (repeats || ran <= 1) && (end != WITH_RESULT || ran >= 1) && (end != NOT_RUN || ran == 0);
    if (!good)
        fprintf(stderr, "# call %u (%s idempotent) has run %u times, and ended %s\n", number, repeats ? "" : "not", ran,
                end == WITH_RESULT ? "with a result"
                : end == NOT_RUN   ? "as not run"
                                   : "as one that may have run");
    check(good);
}

void calls_judge(calls_t *w, uint32_t number, int ended) {
    check_is(atomic_exchange(&w->end[number], meaning(ended)), NOT_KNOWN);
    judge(w, number);
}

void calls_judge_all(const calls_t *w) {
    for (uint32_t number = 1; number <= atomic_load(&w->next); number++)
        judge(w, number);
}
