/* SPDX-License-Identifier: MIT
 *
 * call_scene.h - an honest server and an honest client; the test itself is the third party, which is hostile.
 *
 *   client ── "bank" ──> server        served well all the time, whatever strangers do
 *      └───── "wild" ──> strangers     may end in any way, but must end
 *
 * Both read whatever they are given to the last byte.
 */
#ifndef FERRY_TESTS_CALL_SCENE_H
#define FERRY_TESTS_CALL_SCENE_H

#include "raw.h"

typedef struct call_shared {
    atomic_uint ready;
    atomic_uint leave;
    rest_t rest; /* of the client */
    atomic_ullong server_node;
    atomic_ullong client_node;
    atomic_ullong served;     /* calls of "bank" that came back as they should */
    atomic_ullong strange;    /* calls that the server has had from strangers */
    atomic_ullong wild;       /* calls of "wild" that have ended */
    atomic_ullong answered;   /* of these, with a result or an error of the procedure's */
    atomic_ullong slowest_ns; /* of all these */
} call_shared_t;

typedef struct call_scene {
    call_shared_t *s;
    pid_t server, client;
    holdings_t server_before, client_before;
    uint64_t server_rss;
    uint64_t client_rss;
} call_scene_t;

void call_scene_begin(call_scene_t *scene);
/** Both live, and calls come back: of "bank" well, of "wild" somehow. */
void call_scene_expect_service(call_scene_t *scene);
/** They hold what they held in the beginning. */
void call_scene_expect_recovery(call_scene_t *scene);
/** Service, recovery, an orderly end. */
void call_scene_end(call_scene_t *scene);

/* ---- heads as src/rpc/wire.h has them, which drags the library's insides along ---- */

typedef struct raw_call {
    uint64_t id;
    int64_t deadline;
    uint64_t method;
    uint32_t flags;
    uint32_t consumed;
} raw_call_t;
enum { RAW_ONE_WAY = 8, RAW_STREAMS = 16, RAW_CANCELLED = 32 };

typedef struct raw_reply {
    uint64_t id;
    uint32_t kind;
    int32_t error;
    uint64_t reserved;
    uint32_t flags;
    uint32_t reserved2;
} raw_reply_t;
enum { RAW_RESULT = 1, RAW_MORE, RAW_END, RAW_ERROR, RAW_REFUSED };

/** The number of a method's name. */
uint64_t raw_method(const char *name);

#define RAW_WORDS 4u /* of bytes before a head, at most */

/** Puts a record of `bytes` bytes into the ring, over the lap's end if need be. */
void raw_put(raw_out_t *out, unsigned kind, const void *payload, uint32_t bytes);
/** `words` words of bytes, then the head. */
void raw_put_headed(raw_out_t *out, const uint64_t *bytes, unsigned words, const void *head);
/** Fills the whole ring with this message and leaves it so: read again and again, it never ends. */
void raw_put_circle(raw_out_t *out, const uint64_t bytes[2], const void *head);

#endif
