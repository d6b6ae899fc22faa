/* SPDX-License-Identifier: MIT
 *
 * Other libraries' calls. Their modules are loaded by the sides, since some do not survive a fork.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench/callpeer.h"
#include "bench/calls.h"
#include "bench/module.h"
#include "bench/payload.h"

typedef struct joined {
    bench_side_t *me;
    const bench_callpeer_t *peer;
    void *handle; /* of the server, or the client */
    unsigned char *question;
    uint64_t asked;
    uint64_t due; /* the id of the answer */
} joined_t;

static const char *file_of(bench_talk_t talk) {
    return talk == BENCH_TALK_GRPC ? "grpc.so" : "capnp.so";
}

bool bench_call_peer_is_there(bench_talk_t talk) {
    char path[BENCH_MODULE_PATH];

    return bench_module_find(file_of(talk), path, sizeof path);
}

/* --- calling ----------------------------------------------------------------------------------------------------- */

static int echo(void *arg, const void *data, size_t size, void *result) {
    const joined_t *j = arg;
    uint64_t id = 0;

    if (size != j->me->settings->size || !bench_payload_check(data, size, &id))
        return -1;
    bench_payload_fill(result, size, id | BENCH_ID_REPLY);
    return 0;
}

static int got(void *arg, const void *data, size_t size) {
    const joined_t *j = arg;
    uint64_t id = 0;

    return size == j->me->settings->size && bench_payload_check(data, size, &id) && id == j->due ? 0 : -1;
}

static void prepare(void *asker, unsigned place, uint64_t number) {
    joined_t *j = asker;

    (void)place;
    bench_payload_fill(j->question, j->me->settings->size, number);
    j->due = number | BENCH_ID_REPLY;
}

static void call(void *asker, unsigned place, uint64_t number) {
    joined_t *j = asker;

    (void)place;
    if (j->peer->call(j->handle, j->question, j->me->settings->size, got, j) != 0)
        bench_fail(j->me, "call %llu of the other library failed, or its bytes were damaged",
                   (unsigned long long)number);
}

static void peer_lead(void *joined, uint64_t ticks, bench_trips_t *trips) {
    joined_t *j = joined;

    bench_trips_begin(trips, ticks);
    j->asked = bench_window(prepare, call, j, 1, j->asked, trips);
}

/* Its server has threads of its own. */
static void peer_follow(void *joined) {
    (void)joined;
}

/* --- sides ------------------------------------------------------------------------------------------------------- */

static const bench_callpeer_t *load(bench_side_t *me, const char *file) {
    char path[BENCH_MODULE_PATH];
    const bench_callpeer_t *peer =
        bench_module_find(file, path, sizeof path) ? bench_module_load(path, BENCH_CALLPEER_SYMBOL) : NULL;

    if (peer == NULL)
        bench_fail(me, "cannot load %s", path);
    return peer;
}

static void *join(bench_side_t *me, bench_talk_t talk) {
    const char *file = file_of(talk);
    char path[4200];
    joined_t *j = calloc(1, sizeof *j);

    if (j == NULL)
        bench_fail(me, "there is no memory left");
    *j = (joined_t){.me = me, .peer = load(me, file), .question = bench_buffer(me, me->settings->size)};
    snprintf(path, sizeof path, "%s/%s.sock", bench_directory(me), file);
    if (bench_is_server(me))
        j->handle = j->peer->serve(path, echo, j);
    bench_meet(me);
    if (!bench_is_server(me))
        j->handle = j->peer->connect(path);
    if (j->handle == NULL)
        bench_fail(me, "%s cannot use the socket %s", file, path);
    return j;
}

static void *grpc_join(bench_side_t *me, bench_calls_t *calls) {
    (void)calls;
    return join(me, BENCH_TALK_GRPC);
}

static void *capnp_join(bench_side_t *me, bench_calls_t *calls) {
    (void)calls;
    return join(me, BENCH_TALK_CAPNP);
}

static void peer_leave(void *joined) {
    joined_t *j = joined;

    if (!bench_is_server(j->me))
        j->peer->disconnect(j->handle);
    bench_meet(j->me);
    if (bench_is_server(j->me))
        j->peer->stop(j->handle);
    free(j->question);
    free(j);
}

const bench_speech_t bench_speak_grpc = {grpc_join, peer_lead, peer_follow, peer_leave};
const bench_speech_t bench_speak_capnp = {capnp_join, peer_lead, peer_follow, peer_leave};
