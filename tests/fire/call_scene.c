/* SPDX-License-Identifier: MIT
 *
 * call_scene.c - see call_scene.h.
 */
#include "call_scene.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the server ---- */

static call_shared_t *shared;

static uint64_t sum_of(const void *data, size_t size) {
    const volatile unsigned char *at = data;
    uint64_t sum = 0;
    for (size_t i = 0; i < size; i++)
        sum += at[i];
    return sum;
}

static void note_caller(const ferry_request_t *rq) {
    ferry_request_info_t info = {.size = sizeof info};
    check_is(ferry_request_info(rq, &info), 0);
    if (info.client_node != atomic_load(&shared->client_node))
        atomic_fetch_add(&shared->strange, 1);
}

/* Of strangers' calls, any error may come: they are gone, they do not listen, their time has passed. */
static int echo(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    (void)arg;
    note_caller(rq);
    (void)sum_of(data, size);
    (void)ferry_reply(rq, data, size);
    return 0;
}

static int take_a_copy(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    const void *copy = NULL;
    (void)arg;
    note_caller(rq);
    (void)sum_of(data, size);
    check_is(ferry_request_private(rq, &copy), 0);
    uint64_t sum = sum_of(copy, size);
    (void)ferry_reply(rq, &sum, sizeof sum);
    check(sum_of(copy, size) == sum);
    return 0;
}

static int stream(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    static unsigned char result[3000];
    (void)arg;
    note_caller(rq);
    (void)sum_of(data, size);
    for (unsigned i = 0; i < 200 && ferry_reply_more(rq, result, sizeof result) == 0; i++) {
    }
    return 0;
}

static void be_server(void *arg) {
    shared = ((call_scene_t *)arg)->s;
    ferry_method_options_t streams = {.streams = 1};
    ferry_service_t *service = NULL;
    ferry_t *node = open_node("test");
    check_is(ferry_service_open(node, "bank", NULL, &service), 0);
    check_is(ferry_service_method(service, "echo", echo, NULL, NULL), 0);
    check_is(ferry_service_method(service, "copy", take_a_copy, NULL, NULL), 0);
    check_is(ferry_service_method(service, "stream", stream, NULL, &streams), 0);
    check_is(ferry_service_start(service, 1), 0);
    atomic_store(&shared->server_node, ferry_node_id(node));
    atomic_fetch_add(&shared->ready, 1);
    while (!atomic_load(&shared->leave))
        nap(10 * MILLISECOND);
    int64_t begin = clock_ns();
    check_is(ferry_service_close(service, SECOND), 0);
    check(clock_ns() - begin < PATIENCE);
    close_node(node);
}

/* ---- the client ---- */

static void took(int64_t begin) {
    uint64_t ns = (uint64_t)(clock_ns() - begin);
    if (ns > atomic_load(&shared->slowest_ns))
        atomic_store(&shared->slowest_ns, ns);
}

static void call_bank(ferry_client_t *bank, uint64_t number) {
    static unsigned char argument[5000];
    ferry_msg_t *m = NULL;
    size_t size = number % 16 ? 8 + number % 500 : sizeof argument;
    fill(argument, size, number);
    int64_t begin = clock_ns();
    check_is(ferry_call(bank, "echo", argument, size, PATIENCE, &m), 0);
    took(begin);
    check_is(ferry_msg_size(m), size);
    check(filled(ferry_msg_data(m), size, number));
    release(m);
    atomic_fetch_add(&shared->served, 1);
}

/* Whatever came, to the last byte. */
static void read_reply(int r, ferry_msg_t *m) {
    ferry_call_error_t error = {.size = sizeof error};
    if (!m)
        return;
    (void)sum_of(ferry_msg_data(m), ferry_msg_size(m));
    if (r == FERRY_CALL_FAILED) {
        int read = ferry_call_error(m, &error);
        check(read == 0 || read == -EINVAL);
        if (read == 0)
            (void)(sum_of(error.message, strlen(error.message)) + sum_of(error.detail, error.detail_size));
    }
    release(m);
}

static void ended(int64_t begin, int r) {
    static const int allowed[] = {0,        FERRY_CALL_FAILED, FERRY_CALL_MORE, -ENOENT,  -EBUSY,  -ECONNRESET,
                                  -ETIME,   -ETIMEDOUT,        -ECANCELED,      -EDEADLK, -EPROTO, -ENOSYS,
                                  -ENOTSUP, -EDQUOT,           -EAGAIN};
    bool known = false;
    for (unsigned i = 0; i < sizeof allowed / sizeof allowed[0]; i++)
        known |= r == allowed[i];
    if (!known)
        check_is(r, 0);
    took(begin);
    atomic_fetch_add(&shared->wild, 1);
    atomic_fetch_add(&shared->answered, r == 0 || r == FERRY_CALL_FAILED);
}

#define WILD_TIME (10 * MILLISECOND)

static void call_wild(ferry_client_t *wild, const char *method, size_t size) {
    static unsigned char argument[5000];
    ferry_msg_t *m = NULL;
    int64_t begin = clock_ns();
    int r = ferry_call(wild, method, argument, size, WILD_TIME, &m);
    read_reply(r, m);
    ended(begin, r);
}

/* More than anybody can want: a liar's stream need not end. */
static void stream_wild(ferry_client_t *wild) {
    ferry_call_t *call = NULL;
    int64_t begin = clock_ns();
    int r = ferry_call_start(wild, "stream", "x", 1, FERRY_CALL_STREAM, WILD_TIME, &call);
    for (unsigned i = 0; call && i < 1000; i++) {
        ferry_msg_t *m = NULL;
        r = ferry_call_wait(call, WILD_TIME, &m);
        read_reply(r, m);
        if (r != FERRY_CALL_MORE)
            break;
    }
    check_is(ferry_call_release(call), 0);
    ended(begin, r);
}

static void several_wild(ferry_client_t *wild) {
    ferry_call_t *calls[8] = {NULL}, *next;
    int64_t begin = clock_ns();
    int r = 0;
    for (unsigned i = 0; i < 8; i++)
        (void)ferry_call_start(wild, "echo", "several", 7, 0, WILD_TIME, &calls[i]);
    for (unsigned i = 0; i < 16 && (r = ferry_client_next(wild, WILD_TIME / 2, &next)) == 0; i++) {
        ferry_msg_t *m = NULL;
        r = ferry_call_wait(next, FERRY_NOW, &m);
        read_reply(r, m);
    }
    for (unsigned i = 0; i < 8; i++)
        check_is(ferry_call_release(calls[i]), 0);
    ended(begin, r);
}

static void one_wild_call(ferry_client_t *wild, uint64_t number) {
    int64_t begin = clock_ns();
    switch (number % 6) {
    case 0:
        call_wild(wild, "echo", 40);
        return;
    case 1:
        stream_wild(wild);
        return;
    case 2:
        several_wild(wild);
        return;
    case 3:
        ended(begin, ferry_call_one_way(wild, "echo", "one way", 7, WILD_TIME));
        return;
    case 4:
        call_wild(wild, FERRY_METHOD_DESCRIBE, 0);
        return;
    default:
        call_wild(wild, "echo", 5000);
    }
}

static void be_client(void *arg) {
    shared = ((call_scene_t *)arg)->s;
    ferry_client_t *bank = NULL, *wild = NULL;
    ferry_client_options_t small = {.quota = 1 << 20};
    ferry_t *node = open_node("test");
    atomic_store(&shared->client_node, ferry_node_id(node));
    check_is(ferry_client_open(node, "bank", NULL, &bank), 0);
    check_is(ferry_client_open(node, "wild", &small, &wild), 0);
    check_is(ferry_client_wait(bank, 1, PATIENCE), 1);
    atomic_fetch_add(&shared->ready, 1);
    for (uint64_t number = 1; !atomic_load(&shared->leave); number++) {
        rest_when_asked(&shared->rest);
        call_bank(bank, number);
        one_wild_call(wild, number);
        if (number % 8 == 0)
            nap(MILLISECOND / 4);
    }
    check_is(ferry_client_close(wild, FERRY_NOW, NULL), 0);
    check_is(ferry_client_close(bank, FERRY_NOW, NULL), 0);
    close_node(node);
}

/* ---- the scene ---- */

static void expect_alive(pid_t pid, const char *who) {
    int status;
    if (waitpid(pid, &status, WNOHANG) == 0)
        return;
    fprintf(stderr, "# the %s has ended, status %#x\n", who, (unsigned)status);
    exit(1);
}

static void await_more(call_scene_t *scene, atomic_ullong *count, uint64_t more, const char *sentence) {
    uint64_t before = atomic_load(count);
    int64_t end = clock_ns() + PATIENCE;
    while (atomic_load(count) < before + more) {
        expect_alive(scene->server, "server");
        expect_alive(scene->client, "client");
        if (clock_ns() > end) {
            threads_print("the server", scene->server);
            threads_print("the client", scene->client);
            check_failed(sentence, __FILE__, __LINE__);
        }
        nap(MILLISECOND / 4);
    }
}

void call_scene_expect_service(call_scene_t *scene) {
    await_more(scene, &scene->s->served, 5, "honest calls are still served");
    await_more(scene, &scene->s->wild, 5, "calls to strangers still end");
}

void call_scene_begin(call_scene_t *scene) {
    scene->s = share(sizeof(call_shared_t));
    scene->server = child_start(be_server, scene);
    await(&scene->s->ready, 1);
    scene->client = child_start(be_client, scene);
    await(&scene->s->ready, 2);
    for (unsigned i = 0; i < 10; i++)
        call_scene_expect_service(scene);
    rest_begin(&scene->s->rest, 1);
    scene->server_before = holdings_at_rest(scene->server);
    scene->client_before = holdings_at_rest(scene->client);
    rest_end(&scene->s->rest);
    scene->server_rss = status_of(scene->server, "VmRSS:");
    scene->client_rss = status_of(scene->client, "VmRSS:");
}

#define MORE_MEMORY 6u                           /* rings and pools that have grown */
#define MORE_KIB (FIRE_SLOW ? 400000u : 160000u) /* two quotas and a bit */

static void expect_no_more_memory(pid_t pid, const char *who, uint64_t before) {
    uint64_t now = status_of(pid, "VmRSS:");
    if (now > before + MORE_KIB)
        fprintf(stderr, "# the %s has %llu KiB now, and had %llu\n", who, (unsigned long long)now,
                (unsigned long long)before);
    check(now <= before + MORE_KIB);
}

void call_scene_expect_recovery(call_scene_t *scene) {
    expect_holdings_about(scene->server, "the server", &scene->server_before, MORE_MEMORY);
    expect_holdings_about(scene->client, "the client", &scene->client_before, MORE_MEMORY);
    expect_no_more_memory(scene->server, "server", scene->server_rss);
    expect_no_more_memory(scene->client, "client", scene->client_rss);
}

void call_scene_end(call_scene_t *scene) {
    call_scene_expect_service(scene);
    call_scene_expect_recovery(scene);
    printf("# %llu honest calls, %llu from strangers, %llu to strangers (%llu answered); slowest %.1f ms\n",
           (unsigned long long)atomic_load(&scene->s->served), (unsigned long long)atomic_load(&scene->s->strange),
           (unsigned long long)atomic_load(&scene->s->wild), (unsigned long long)atomic_load(&scene->s->answered),
           (double)atomic_load(&scene->s->slowest_ns) / 1e6);
    fflush(stdout);
    check(atomic_load(&scene->s->slowest_ns) < (uint64_t)PATIENCE);
    atomic_store(&scene->s->leave, 1);
    child_join(scene->client);
    child_join(scene->server);
}

/* ---- records made by hand ---- */

uint64_t raw_method(const char *name) {
    size_t n = strlen(name);
    uint64_t h = UINT64_C(0x9e3779b97f4a7c15) ^ n, word;
    for (; n >= 8; n -= 8, name += 8) {
        memcpy(&word, name, 8);
        h = (h ^ word) * UINT64_C(0xff51afd7ed558ccd);
        h ^= h >> 32;
    }
    word = 0;
    memcpy(&word, name, n);
    h = (h ^ word) * UINT64_C(0xff51afd7ed558ccd);
    return h ^ h >> 29;
}

void raw_put(raw_out_t *out, unsigned kind, const void *payload, uint32_t bytes) {
    unsigned flags = fi_record_place(bytes, false);
    uint64_t lines = fi_record_lines(bytes, flags);
    if (lines > out->lines - out->pos % out->lines) {
        struct fi_record *pad = (struct fi_record *)(void *)raw_line(out->ring, (uint32_t)(out->pos % out->lines));
        ((struct fi_record *)(void *)raw_line(out->ring, 0))->word = 0;
        __atomic_store_n(&pad->word, fi_record_word(0, FI_REC_PAD, 0, 1), __ATOMIC_RELEASE);
        out->pos += out->lines - out->pos % out->lines;
    }
    memcpy(raw_line(out->ring, (uint32_t)(out->pos % out->lines)) + fi_payload_offset(flags), payload, bytes);
    raw_publish(out, fi_record_word(bytes, kind, flags, 1));
}

void raw_put_headed(raw_out_t *out, const uint64_t *bytes, unsigned words, const void *head) {
    uint64_t all[RAW_WORDS + 4];
    check(words <= RAW_WORDS);
    memcpy(all, bytes, words * 8);
    memcpy(all + words, head, 32);
    raw_put(out, FI_REC_INLINE, all, words * 8 + 32);
}

void raw_put_circle(raw_out_t *out, const uint64_t bytes[2], const void *head) {
    for (uint32_t i = 0; i < out->lines; i++) {
        uint32_t at = (uint32_t)((out->pos + 1 + i) % out->lines); /* the next one at last: then all are there */
        unsigned char *line = raw_line(out->ring, at);
        memcpy(line + 16, bytes, 16);
        memcpy(line + 32, head, 32);
        __atomic_store_n(&((struct fi_record *)(void *)line)->word, fi_record_word(48, FI_REC_INLINE, 0, 1),
                         __ATOMIC_RELEASE);
    }
}
