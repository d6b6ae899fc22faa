/* SPDX-License-Identifier: MIT
 *
 * The bare client library, as its own documentation would have it: requests and acknowledged publishing on a connection
 * that sends as soon as it can, streams on one that puts messages together, all received by callbacks. A lock is, at
 * its barest, a message that a stream takes only if it is the next one.
 *
 * Nothing else in this command needs the library; it is loaded when something is measured, and need not be there when
 * the command is built.
 */
#include "bench/machines.h"

#if __has_include(<nats/nats.h>)
#include <dlfcn.h>
#include <nats/nats.h>
#include <pthread.h>
#include <stdlib.h>

#include "bench/clock.h"
#include "bench/payload.h"

/* clang-format off */
#define FUNCTIONS(X) \
    X(nats_Open) X(natsStatus_GetText) X(natsOptions_Create) X(natsOptions_SetURL) X(natsOptions_SetSendAsap) \
    X(natsOptions_Destroy) X(natsConnection_Connect) X(natsConnection_Destroy) X(natsConnection_Publish) \
    X(natsConnection_FlushTimeout) X(natsConnection_Request) X(natsConnection_Subscribe) X(natsConnection_JetStream) \
    X(natsSubscription_SetPendingLimits) X(natsSubscription_Destroy) X(natsMsg_GetData) X(natsMsg_GetDataLength) \
    X(natsMsg_GetReply) X(natsMsg_Destroy) X(jsCtx_Destroy) X(jsStreamConfig_Init) X(js_AddStream) \
    X(jsPubOptions_Init) X(js_Publish) X(jsPubAck_Destroy) X(js_PublishAsync) X(js_PublishAsyncComplete) \
    X(js_PullSubscribe) X(natsSubscription_Fetch) X(natsMsgList_Destroy) X(natsMsg_Ack)
/* clang-format on */

#define MEMBER(name) static __typeof__(&name) use_##name;
FUNCTIONS(MEMBER)
#undef MEMBER

enum { PATIENCE_MS = BENCH_PATIENCE / 1000000 };

static const char subject[] = "bench.raw";

typedef struct nats {
    bench_side_t *me;
    natsConnection *connection;
    natsSubscription *subscription;
    jsCtx *stream;
    uint64_t sequence; /* of the stream's last message */
    size_t size;
    unsigned char *question, *answer;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bench_heard_t *heard; /* where a stream is counted */
    bool over;
} nats_t;

/* True: all that is used is there. Its threads are started by nats_Open only, in a side. */
static bool load(void) {
    void *library = dlopen("libnats.so.3.4", RTLD_NOW | RTLD_LOCAL);
    bool good = library != NULL;

#define LOAD(name) good = good && (*(void **)&use_##name = dlsym(library, #name)) != NULL;
    FUNCTIONS(LOAD)
#undef LOAD
    return good;
}

static void check(nats_t *n, const char *what, natsStatus status) {
    if (status != NATS_OK)
        bench_fail(n->me, "the bare client library: %s: %s", what, use_natsStatus_GetText(status));
}

/* --- joining ------------------------------------------------------------------------------------------------------ */

static void connect_it(nats_t *n, bool at_once) {
    natsOptions *options = NULL;

    check(n, "nats_Open", use_nats_Open(-1));
    check(n, "natsOptions_Create", use_natsOptions_Create(&options));
    check(n, "natsOptions_SetURL", use_natsOptions_SetURL(options, n->me->settings->place->url));
    check(n, "natsOptions_SetSendAsap", use_natsOptions_SetSendAsap(options, at_once));
    check(n, "natsConnection_Connect", use_natsConnection_Connect(&n->connection, options));
    use_natsOptions_Destroy(options);
}

static void subscribe(nats_t *n, natsMsgHandler heard) {
    if (n->me->index != BENCH_NEAR)
        return;
    check(n, "natsConnection_Subscribe",
          use_natsConnection_Subscribe(&n->subscription, n->connection, subject, heard, n));
    check(n, "natsSubscription_SetPendingLimits", use_natsSubscription_SetPendingLimits(n->subscription, -1, -1));
    check(n, "natsConnection_FlushTimeout", use_natsConnection_FlushTimeout(n->connection, PATIENCE_MS));
}

static nats_t *join(bench_side_t *me, bool at_once) {
    nats_t *n = bench_keep(me, &(nats_t){.me = me, .size = me->settings->size}, sizeof *n);

    pthread_mutex_init(&n->lock, NULL);
    pthread_cond_init(&n->changed, NULL);
    n->question = bench_buffer(me, n->size);
    n->answer = bench_buffer(me, n->size);
    connect_it(n, at_once);
    return n;
}

static void nats_leave(void *joined) {
    nats_t *n = joined;

    use_natsSubscription_Destroy(n->subscription);
    use_jsCtx_Destroy(n->stream);
    use_natsConnection_Destroy(n->connection);
    /* A callback may still be about to return: what it was given is the process's to the end. */
}

/* --- there and back ----------------------------------------------------------------------------------------------- */

static void answer(natsConnection *connection, natsSubscription *subscription, natsMsg *m, void *arg) {
    nats_t *n = arg;

    (void)subscription;
    bench_make_answer(n->me, use_natsMsg_GetData(m), (size_t)use_natsMsg_GetDataLength(m), n->answer);
    check(n, "natsConnection_Publish",
          use_natsConnection_Publish(connection, use_natsMsg_GetReply(m), n->answer, (int)n->size));
    use_natsMsg_Destroy(m);
}

static void *request_join(bench_side_t *me) {
    nats_t *n = join(me, true);

    subscribe(n, answer);
    return n;
}

static void request_trip(void *joined, uint64_t id) {
    nats_t *n = joined;
    natsMsg *m = NULL;

    bench_payload_fill(n->question, n->size, id);
    check(n, "natsConnection_Request",
          use_natsConnection_Request(&m, n->connection, subject, n->question, (int)n->size, PATIENCE_MS));
    bench_check_answer(n->me, use_natsMsg_GetData(m), (size_t)use_natsMsg_GetDataLength(m), id);
    use_natsMsg_Destroy(m);
}

/* --- a lock ------------------------------------------------------------------------------------------------------- */

static void *lock_join(bench_side_t *me) {
    nats_t *n = join(me, true);
    const char *subjects[] = {"bench.lock"};
    jsStreamConfig config;

    if (me->index != BENCH_FAR)
        return n;
    check(n, "natsConnection_JetStream", use_natsConnection_JetStream(&n->stream, n->connection, NULL));
    use_jsStreamConfig_Init(&config);
    config.Name = "bench-lock";
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    config.MaxMsgs = 1;
    config.Storage = js_FileStorage;
    check(n, "js_AddStream", use_js_AddStream(NULL, n->stream, &config, NULL, NULL));
    return n;
}

static void change(nats_t *n, uint64_t id) {
    jsPubOptions options;
    jsPubAck *ack = NULL;

    use_jsPubOptions_Init(&options);
    options.ExpectLastSeq = n->sequence;
    bench_payload_fill(n->question, n->size, id);
    check(n, "js_Publish",
          use_js_Publish(&ack, n->stream, "bench.lock", n->question, (int)n->size, n->sequence > 0 ? &options : NULL,
                         NULL));
    n->sequence = ack->Sequence;
    use_jsPubAck_Destroy(ack);
}

static void lock_trip(void *joined, uint64_t id) {
    change(joined, id);
}

static void lock_after(void *joined) {
    change(joined, 0);
}

/* --- streams ------------------------------------------------------------------------------------------------------ */

static void hear(natsConnection *connection, natsSubscription *subscription, natsMsg *m, void *arg) {
    nats_t *n = arg;

    (void)connection, (void)subscription;
    if (bench_hear(n->heard, use_natsMsg_GetData(m), (size_t)use_natsMsg_GetDataLength(m))) {
        pthread_mutex_lock(&n->lock);
        n->over = true;
        pthread_cond_signal(&n->changed);
        pthread_mutex_unlock(&n->lock);
    }
    use_natsMsg_Destroy(m);
}

static void *stream_join(bench_side_t *me) {
    nats_t *n = join(me, false);

    subscribe(n, hear);
    return n;
}

static void stream_give(void *joined, uint64_t id) {
    nats_t *n = joined;

    bench_payload_fill(n->question, n->size, id);
    check(n, "natsConnection_Publish", use_natsConnection_Publish(n->connection, subject, n->question, (int)n->size));
}

static void stream_flush(void *joined) {
    nats_t *n = joined;

    check(n, "natsConnection_FlushTimeout", use_natsConnection_FlushTimeout(n->connection, 4 * PATIENCE_MS));
}

/* Nothing was sent yet: the sides meet before and after. */
static void stream_take(void *joined, bench_heard_t *heard) {
    nats_t *n = joined;
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 8 * PATIENCE_MS / 1000;
    pthread_mutex_lock(&n->lock);
    n->heard = heard;
    pthread_mutex_unlock(&n->lock);
    bench_meet(n->me);
    pthread_mutex_lock(&n->lock);
    while (!n->over) {
        if (pthread_cond_timedwait(&n->changed, &n->lock, &until) != 0)
            bench_fail(n->me, "the end of a stream by the bare client library did not come");
    }
    n->over = false;
    pthread_mutex_unlock(&n->lock);
}

/* --- a work queue of JetStream's ---------------------------------------------------------------------------------- */

static void *kept_join(bench_side_t *me) {
    nats_t *n = join(me, false);
    const char *subjects[] = {"bench.kept"};
    jsStreamConfig config;

    check(n, "natsConnection_JetStream", use_natsConnection_JetStream(&n->stream, n->connection, NULL));
    if (me->index != BENCH_NEAR) /* the near side joins first */
        return n;
    use_jsStreamConfig_Init(&config);
    config.Name = "bench-kept";
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    config.Retention = js_WorkQueuePolicy;
    config.Storage = js_FileStorage;
    check(n, "js_AddStream", use_js_AddStream(NULL, n->stream, &config, NULL, NULL));
    check(n, "js_PullSubscribe",
          use_js_PullSubscribe(&n->subscription, n->stream, subjects[0], "worker", NULL, NULL, NULL));
    return n;
}

static void kept_give(void *joined, uint64_t id) {
    nats_t *n = joined;

    bench_payload_fill(n->question, n->size, id);
    check(n, "js_PublishAsync", use_js_PublishAsync(n->stream, "bench.kept", n->question, (int)n->size, NULL));
}

static void kept_flush(void *joined) {
    nats_t *n = joined;
    jsPubOptions options;

    use_jsPubOptions_Init(&options);
    options.MaxWait = 8 * PATIENCE_MS;
    check(n, "js_PublishAsyncComplete", use_js_PublishAsyncComplete(n->stream, &options));
}

static void kept_take(void *joined, bench_heard_t *heard) {
    nats_t *n = joined;
    bool over = false;

    bench_meet(n->me);
    while (!over) {
        natsMsgList list = {0};
        check(n, "natsSubscription_Fetch", use_natsSubscription_Fetch(&list, n->subscription, 512, PATIENCE_MS, NULL));
        for (int i = 0; i < list.Count; i++) {
            natsMsg *m = list.Msgs[i];
            over |= bench_hear(heard, use_natsMsg_GetData(m), (size_t)use_natsMsg_GetDataLength(m));
            check(n, "natsMsg_Ack", use_natsMsg_Ack(m, NULL));
        }
        if (heard->received == (uint64_t)list.Count && !over) {
            heard->first_ns = bench_now_ns();
            heard->at_first = heard->received;
        }
        use_natsMsgList_Destroy(&list);
    }
}

const bench_dealing_t *bench_by_nats(bench_part_t part, bool durable) {
    static const bench_dealing_t requests = {.join = request_join, .trip = request_trip, .leave = nats_leave};
    static const bench_dealing_t locks = {
        .join = lock_join, .trip = lock_trip, .after = lock_after, .leave = nats_leave};
    static const bench_dealing_t streams = {
        .join = stream_join, .give = stream_give, .flush = stream_flush, .take = stream_take, .leave = nats_leave};

    static const bench_dealing_t kept = {
        .join = kept_join, .give = kept_give, .flush = kept_flush, .take = kept_take, .leave = nats_leave};

    if (!load())
        return NULL;
    if (durable)
        return &kept;
    return part == BENCH_LOCK ? &locks : part == BENCH_THROUGHPUT ? &streams : &requests;
}

#else

const bench_dealing_t *bench_by_nats(bench_part_t part, bool durable) {
    (void)part, (void)durable;
    return NULL;
}

#endif
