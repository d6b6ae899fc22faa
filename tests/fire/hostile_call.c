/* SPDX-License-Identifier: MIT
 *
 * hostile_call.c - clients that lie to a server: in the heads of their calls, while it reads them, and by not
 * listening.
 */
#include "call_scene.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define COUNT(list) (sizeof(list) / sizeof(list)[0])
#define TX 77u
#define LINES 1000u

typedef struct liar {
    raw_t raw;
    raw_out_t out;
    raw_in_t in;
    bool listens;
} liar_t;

static void name_replies(const raw_t *raw, uint64_t tx, char channel[104]) {
    snprintf(channel, 104, "~bank.%016" PRIx64 ".%" PRIu64, raw->id, tx);
}

/* Says in the directory that it receives replies. */
static void enter_replies(const raw_t *raw, uint64_t tx) {
    char channel[104], path[512];
    name_replies(raw, tx, channel);
    snprintf(path, sizeof path, "%s/test/e-%s:rq:%016" PRIx64 ":%u:00000000", getenv("FERRY_DIR"), channel, raw->id,
             99u);
    FILE *entry = fopen(path, "we");
    check(entry != NULL && fputs("ferry-entry 1\n", entry) >= 0 && fclose(entry) == 0);
}

static void leave_replies(const raw_t *raw, uint64_t tx) {
    char channel[104], path[512];
    name_replies(raw, tx, channel);
    snprintf(path, sizeof path, "%s/test/e-%s:rq:%016" PRIx64 ":%u:00000000", getenv("FERRY_DIR"), channel, raw->id,
             99u);
    (void)unlink(path);
}

static void liar_open(liar_t *l, const call_scene_t *scene, uint32_t lines) {
    *l = (liar_t){.listens = false};
    raw_meet(&l->raw, atomic_load(&scene->s->server_node));
    raw_out_open(&l->raw, &l->out, TX, "+bank", FERRY_QUEUE, lines, 0);
}

static raw_call_t good_call(uint64_t id, const char *method) {
    return (raw_call_t){.id = id, .deadline = INT64_MAX, .method = raw_method(method)};
}

static void call(liar_t *l, const raw_call_t *head) {
    static const uint64_t bytes[2] = {1, 2};
    raw_put_headed(&l->out, bytes, 2, head);
}

/* Gets itself a way back, as an honest client has one. */
static void liar_listen(liar_t *l) {
    char channel[104];
    raw_mail_t mail;
    raw_call_t head = good_call(1, "echo");
    enter_replies(&l->raw, TX);
    call(l, &head);
    raw_await(&l->raw, FI_MEET_SENDER, &mail);
    fi_frame_t f = raw_frame(FI_SETTLED, mail.frame.tx, 0);
    raw_drop(&mail);
    check(raw_send(&l->raw, &f, NULL, 0));
    name_replies(&l->raw, TX, channel);
    raw_in_open(&l->raw, &l->in, 99, channel, FERRY_QUEUE, 0);
    l->listens = true;
}

static void liar_close(liar_t *l) {
    leave_replies(&l->raw, TX);
    raw_close(&l->raw);
    raw_out_close(&l->out);
    if (l->listens)
        raw_in_close(&l->in);
}

static bool has_read_all(const liar_t *l) {
    return __atomic_load_n(&l->out.ctl->taken, __ATOMIC_ACQUIRE) >= l->out.pos;
}

/* Everything that was said has been looked at. */
static void await_read(liar_t *l, call_scene_t *scene) {
    int64_t end = clock_ns() + PATIENCE;
    while (!has_read_all(l)) {
        raw_mail_t mail;
        while (raw_receive(&l->raw, &mail, 0) == 1)
            raw_drop(&mail);
        check(clock_ns() < end);
        call_scene_expect_service(scene);
    }
}

/* ---- heads ---- */

static uint64_t some_number(dice_t *d) {
    static const uint64_t likely[] = {0,         1, 7, 8, 31, 32, 1u << 31, UINT32_MAX, INT64_MAX, (uint64_t)INT64_MIN,
                                      UINT64_MAX};
    return dice_below(d, 4) ? likely[dice_below(d, COUNT(likely))] : dice_roll(d);
}

static raw_call_t some_head(dice_t *d) {
    static const char *const methods[] = {"echo", "copy", "stream", FERRY_METHOD_DESCRIBE, FERRY_METHOD_DESCRIPTOR};
    raw_call_t head = {.id = some_number(d), .deadline = (int64_t)some_number(d), .consumed = (uint32_t)some_number(d)};
    head.method = dice_below(d, 8) ? raw_method(methods[dice_below(d, COUNT(methods))]) : some_number(d);
    head.flags = dice_below(d, 2) ? (uint32_t)dice_below(d, 64) : (uint32_t)some_number(d);
    if (dice_below(d, 2))
        head.deadline = INT64_MAX;
    /* Who takes no results of a stream keeps a thread for as long as the call has time: that is how streams are. */
    if (dice_below(d, 4) == 0 || head.method == raw_method("stream"))
        head.deadline = clock_ns() + (int64_t)dice_below(d, 2000000) - MILLISECOND;
    return head;
}

/* With bytes before it that may be fewer than it says, or not even room for a head. */
static void say_something(liar_t *l, dice_t *d) {
    uint64_t bytes[RAW_WORDS] = {dice_roll(d)};
    raw_call_t head = some_head(d);
    if (dice_below(d, 8))
        raw_put_headed(&l->out, bytes, (unsigned)dice_below(d, RAW_WORDS + 1), &head);
    else
        raw_put(&l->out, FI_REC_INLINE, &head, (uint32_t)dice_below(d, sizeof head + 1));
}

static void heads_by_dice(bool listens) {
    call_scene_t scene;
    dice_t dice = dice_new("the heads");
    unsigned rounds = fire_count("FERRY_FIRE_HEADS", "liars with 300 calls each", 6, 3);
    call_scene_begin(&scene);
    for (unsigned i = 0; i < rounds; i++) {
        liar_t liar;
        liar_open(&liar, &scene, LINES);
        if (listens)
            liar_listen(&liar);
        for (unsigned k = 0; k < 300; k++)
            say_something(&liar, &dice);
        call_scene_expect_service(&scene);
        if (!listens || i % 2)
            await_read(&liar, &scene);
        liar_close(&liar);
        call_scene_expect_service(&scene);
    }
    call_scene_end(&scene);
}

static void heads_by_dice_harm_nobody(void) {
    heads_by_dice(false);
}

static void heads_by_dice_of_one_who_could_listen_harm_nobody(void) {
    heads_by_dice(true);
}

/* ---- by pointer ---- */

static void announce(liar_t *l, size_t bytes, void **map) {
    fi_frame_t f = raw_frame(FI_SEGMENT, l->out.tx, l->out.rx);
    int fd = raw_memory(bytes, true, RAW_SEALS, map);
    f.a = 1;
    check(raw_send(&l->raw, &f, &fd, 1));
    close(fd);
}

#define SEGMENT_BYTES 65536u

/* Heads behind the bytes, or in the annex; at odd places, at the very end, too close to the end. */
static void pointers_to_odd_places_are_read_with_care(void) {
    static const struct fi_pointer places[] = {{1, 33, 1, 0},
                                               {8, 31, 1, 0},
                                               {0, 0, 1, 0},
                                               {4, 40, 1, 0},
                                               {7, 65521, 1, 0},
                                               {SEGMENT_BYTES - 32, 32, 1, 0},
                                               {SEGMENT_BYTES, 0, 1, 0},
                                               {0, SEGMENT_BYTES, 1, 0},
                                               {3, 8, 1, 0},
                                               {SEGMENT_BYTES - 1, 1, 1, 0}};
    call_scene_t scene;
    call_scene_begin(&scene);
    for (unsigned i = 0; i < 2 * COUNT(places); i++) {
        liar_t liar;
        void *map;
        unsigned char payload[56];
        raw_call_t head = good_call(i, i % 3 ? "echo" : "copy");
        liar_open(&liar, &scene, LINES);
        announce(&liar, SEGMENT_BYTES, &map);
        memset(map, 0x77, SEGMENT_BYTES);
        memcpy(payload, &places[i / 2], 24);
        memcpy(payload + 24, &head, 32);
        raw_put(&liar.out, FI_REC_POINTER, payload, i % 2 ? 56 : 24);
        await_read(&liar, &scene);
        munmap(map, SEGMENT_BYTES);
        liar_close(&liar);
    }
    call_scene_end(&scene);
}

/* ---- while it is read ---- */

typedef struct scribbler {
    unsigned char *at;
    size_t size;
    dice_t dice;
    atomic_uint stop;
} scribbler_t;

static void *scribble(void *arg) {
    scribbler_t *s = arg;
    while (!atomic_load_explicit(&s->stop, memory_order_relaxed)) {
        uint64_t r = dice_roll(&s->dice);
        uint64_t *word = (uint64_t *)(void *)(s->at + (r >> 32) % (s->size / 8) * 8);
        __atomic_store_n(word, r & 1 ? some_number(&s->dice) : r, __ATOMIC_RELAXED);
    }
    return NULL;
}

/* Bytes, heads and annexes change all the time; the words of the ring stand. */
static void bytes_and_heads_that_change_while_they_are_read_harm_nobody(void) {
    call_scene_t scene;
    unsigned rounds = fire_count("FERRY_FIRE_ROUNDS", "liars whose calls change", 8, 4);
    call_scene_begin(&scene);
    for (unsigned i = 0; i < rounds; i++) {
        liar_t liar;
        void *map;
        pthread_t thread;
        unsigned char payload[56];
        struct fi_pointer p = {0, 4096, 1, 0};
        liar_open(&liar, &scene, LINES);
        announce(&liar, 4096, &map);
        scribbler_t s = {.at = map, .size = 4096, .dice = {i + 1}};
        check_is(pthread_create(&thread, NULL, scribble, &s), 0);
        for (unsigned k = 0; k < 300; k++) {
            raw_call_t head = good_call(k, k % 2 ? "copy" : "echo");
            memcpy(payload, &p, 24);
            memcpy(payload + 24, &head, 32);
            raw_put(&liar.out, FI_REC_POINTER, payload, k % 3 ? 56 : 24);
        }
        await_read(&liar, &scene);
        atomic_store(&s.stop, 1);
        pthread_join(thread, NULL);
        munmap(map, 4096);
        liar_close(&liar);
    }
    call_scene_end(&scene);
}

/* It says that it has taken what was never sent, and takes nothing. */
static void *jump(void *arg) {
    scribbler_t *s = arg;
    raw_call_t *head = (raw_call_t *)(void *)s->at;
    while (!atomic_load_explicit(&s->stop, memory_order_relaxed))
        __atomic_store_n(&head->consumed, (uint32_t)some_number(&s->dice), __ATOMIC_RELAXED);
    return NULL;
}

static void results_that_were_consumed_before_they_were_sent_cost_only_so_much(void) {
    call_scene_t scene;
    call_scene_begin(&scene);
    for (unsigned i = 0; i < 5; i++) {
        liar_t liar;
        pthread_t thread;
        static const uint64_t bytes[2] = {3, 4};
        liar_open(&liar, &scene, LINES);
        liar_listen(&liar);
        raw_call_t head = good_call(2, "stream");
        head.flags = RAW_STREAMS;
        head.deadline = clock_ns() + 300 * MILLISECOND;
        uint32_t at = (uint32_t)(liar.out.pos % LINES);
        raw_put_headed(&liar.out, bytes, 2, &head); /* 16 + 48 bytes: one line */
        scribbler_t s = {.at = raw_line(liar.out.ring, at) + 16 + 16, .size = 32, .dice = {i + 1}};
        check_is(pthread_create(&thread, NULL, jump, &s), 0);
        nap(20 * MILLISECOND);
        call_scene_expect_service(&scene);
        atomic_store(&s.stop, 1);
        pthread_join(thread, NULL);
        liar_close(&liar);
    }
    call_scene_end(&scene);
}

/* ---- by not listening, and by never ending ---- */

/* Nobody could ever take the results of a stream that is not answered. */
static void a_stream_that_is_not_to_be_answered_keeps_no_thread(void) {
    call_scene_t scene;
    liar_t liar;
    call_scene_begin(&scene);
    liar_open(&liar, &scene, LINES);
    for (unsigned i = 0; i < 10; i++) {
        raw_call_t head = good_call(i, "stream");
        head.flags = RAW_STREAMS | RAW_ONE_WAY;
        call(&liar, &head);
    }
    await_read(&liar, &scene);
    liar_close(&liar);
    call_scene_end(&scene);
}

static void who_asks_without_end_is_served_in_turn(void) {
    static const uint64_t bytes[2] = {5, 6};
    for (unsigned i = 0; i < 4; i++) {
        call_scene_t scene;
        liar_t liar;
        raw_call_t head = good_call(7, i % 2 ? "nothing" : "echo");
        head.flags = i / 2 ? RAW_ONE_WAY : 0;
        call_scene_begin(&scene);
        liar_open(&liar, &scene, 62);
        raw_put_circle(&liar.out, bytes, &head);
        for (unsigned k = 0; k < 20; k++)
            call_scene_expect_service(&scene);
        printf("# %llu calls of one who never stops\n", (unsigned long long)atomic_load(&scene.s->strange));
        atomic_store(&scene.s->leave, 1); /* while it goes on: that must be no obstacle */
        child_join(scene.client);
        child_join(scene.server);
        liar_close(&liar);
    }
}

/* It has a way back, and does not say so when it is asked: 30 calls, each of which must not be waited for a second. */
static void who_does_not_answer_when_it_is_asked_delays_nobody(void) {
    call_scene_t scene;
    liar_t liar;
    call_scene_begin(&scene);
    liar_open(&liar, &scene, LINES);
    enter_replies(&liar.raw, TX);
    for (unsigned i = 0; i < 60; i++) {
        raw_call_t head = good_call(i, "echo");
        call(&liar, &head);
    }
    for (unsigned i = 0; i < 30; i++)
        call_scene_expect_service(&scene);
    liar_close(&liar);
    call_scene_end(&scene);
}

static void who_never_reads_its_answers_keeps_nobody_else_from_being_served(void) {
    call_scene_t scene;
    liar_t liar;
    call_scene_begin(&scene);
    liar_open(&liar, &scene, LINES);
    liar_listen(&liar);
    for (unsigned i = 0; i < 900; i++) {
        raw_call_t head = good_call(i, "echo");
        call(&liar, &head);
    }
    for (unsigned i = 0; i < 50; i++)
        call_scene_expect_service(&scene);
    liar_close(&liar);
    call_scene_end(&scene);
}

/* One peer, many clients, each with one call. */
static void invented_clients_cost_only_so_much(void) {
    enum { INVENTED = 300 };
    static raw_out_t out[INVENTED];
    call_scene_t scene;
    raw_t raw;
    call_scene_begin(&scene);
    raw_meet(&raw, atomic_load(&scene.s->server_node));
    for (unsigned i = 0; i < INVENTED; i++) {
        static const uint64_t bytes[2] = {7, 8};
        raw_call_t head = good_call(i, "echo");
        raw_out_open(&raw, &out[i], 1000 + i, "+bank", FERRY_QUEUE, 62, 0);
        raw_put_headed(&out[i], bytes, 2, &head);
        if (i % 50 == 0)
            call_scene_expect_service(&scene);
    }
    for (unsigned i = 0; i < 10; i++)
        call_scene_expect_service(&scene);
    raw_close(&raw);
    for (unsigned i = 0; i < INVENTED; i++)
        raw_out_close(&out[i]);
    call_scene_end(&scene);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(heads_by_dice_harm_nobody),
        TEST(heads_by_dice_of_one_who_could_listen_harm_nobody),
        TEST(pointers_to_odd_places_are_read_with_care),
        TEST(bytes_and_heads_that_change_while_they_are_read_harm_nobody),
        TEST(results_that_were_consumed_before_they_were_sent_cost_only_so_much),
        TEST(a_stream_that_is_not_to_be_answered_keeps_no_thread),
        TEST(who_asks_without_end_is_served_in_turn),
        TEST(who_does_not_answer_when_it_is_asked_delays_nobody),
        TEST(who_never_reads_its_answers_keeps_nobody_else_from_being_served),
        TEST(invented_clients_cost_only_so_much),
    };
    return run_suite("hostile call", tests, sizeof tests / sizeof tests[0], argc, argv);
}
