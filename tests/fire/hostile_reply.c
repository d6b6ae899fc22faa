/* SPDX-License-Identifier: MIT
 *
 * hostile_reply.c - servers that lie to a client: in their pages, in their replies, to calls that are theirs, that are
 * others', that never were; twice, or without end.
 */
#include "call_scene.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define COUNT(list) (sizeof(list) / sizeof(list)[0])
#define LINES 1000u

typedef struct liar {
    raw_t raw;
    raw_in_t in;
    raw_out_t out;
    uint64_t read; /* position in its calls */
} liar_t;

static void liar_open(liar_t *l, const call_scene_t *scene, uint64_t number, uint32_t lines) {
    char channel[104];
    uint64_t node = atomic_load(&scene->s->client_node);
    *l = (liar_t){.read = 0};
    raw_meet(&l->raw, node);
    raw_in_open(&l->raw, &l->in, number, "+wild", FERRY_QUEUE, 0);
    l->read = l->in.start;
    snprintf(channel, sizeof channel, "~wild.%016" PRIx64 ".%" PRIu64, node, l->in.tx);
    raw_out_open(&l->raw, &l->out, number, channel, FERRY_QUEUE, lines, 0);
}

static void liar_close(liar_t *l) {
    raw_close(&l->raw);
    raw_in_close(&l->in);
    raw_out_close(&l->out);
}

static void read_mail(liar_t *l) {
    raw_mail_t mail;
    while (raw_receive(&l->raw, &mail, 0) == 1)
        raw_drop(&mail);
}

/* The id of the next call in the first ring, or 0: none is there. Larger ones are not looked into. */
static uint64_t next_id(liar_t *l) {
    const unsigned char *lines = (const unsigned char *)(l->in.ring + 1);
    for (;;) {
        uint64_t at = l->read % l->in.lines;
        const struct fi_record *rec = (const struct fi_record *)(const void *)(lines + at * FI_LINE);
        uint64_t word = __atomic_load_n(&rec->word, __ATOMIC_ACQUIRE);
        uint32_t len = fi_word_len(word);
        raw_call_t head;
        if (word == 0 || fi_word_kind(word) == FI_REC_SWITCH)
            return 0;
        if (fi_word_kind(word) == FI_REC_PAD) {
            l->read += l->in.lines - at;
            continue;
        }
        const unsigned char *payload = (const unsigned char *)rec + fi_payload_offset(fi_word_flags(word));
        l->read += fi_record_lines(len, fi_word_flags(word));
        if (fi_word_kind(word) == FI_REC_INLINE && len >= sizeof head) {
            memcpy(&head, payload + len - sizeof head, sizeof head);
            return head.id;
        }
    }
}

/* Says that it has released all it was given, so that more comes. */
static void release_all(liar_t *l) {
    __atomic_store_n(&l->in.ctl->taken, l->read, __ATOMIC_RELEASE);
    __atomic_store_n(&l->in.ctl->cursor, l->read, __ATOMIC_RELEASE);
}

static uint64_t some_number(dice_t *d) {
    static const uint64_t likely[] = {0, 1, 7, 8, 1u << 31, UINT32_MAX, UINT64_C(1) << 32, INT64_MAX, UINT64_MAX};
    return dice_below(d, 4) ? likely[dice_below(d, COUNT(likely))] : dice_roll(d);
}

static int32_t some_error(dice_t *d) {
    static const int32_t likely[] = {0, 1, -ENOSYS, -ECONNRESET, -ETIME, -ECANCELED, -ENOTSUP, -EIO, INT32_MIN};
    return likely[dice_below(d, COUNT(likely))];
}

/* Mostly to the call that it has; sometimes to one before, or after, or to none. */
static raw_reply_t some_reply(dice_t *d, uint64_t id) {
    raw_reply_t head = {.id = id, .kind = (uint32_t)dice_below(d, 7), .error = some_error(d)};
    if (dice_below(d, 4) == 0)
        head.id = dice_below(d, 2) ? some_number(d) : id + dice_below(d, 5) - 2;
    if (dice_below(d, 8) == 0)
        head.kind = (uint32_t)some_number(d);
    head.flags = (uint32_t)(dice_below(d, 2) ? dice_below(d, 8) : some_number(d));
    return head;
}

/* An error's words are said to be so many. */
static void say_something(liar_t *l, dice_t *d, uint64_t id) {
    uint64_t bytes[RAW_WORDS] = {dice_roll(d), some_number(d) << 32 | 5, dice_roll(d)};
    raw_reply_t head = some_reply(d, id);
    if (dice_below(d, 4))
        bytes[0] = (some_number(d) & UINT32_MAX) << 32 | 7;
    if (dice_below(d, 16))
        raw_put_headed(&l->out, bytes, (unsigned)dice_below(d, RAW_WORDS + 1), &head);
    else
        raw_put(&l->out, FI_REC_INLINE, &head, (uint32_t)dice_below(d, sizeof head + 1));
}

static void answer_for(liar_t *l, dice_t *d, int64_t time) {
    int64_t end = clock_ns() + time;
    for (unsigned said = 0; clock_ns() < end && said < 20 * LINES;) {
        uint64_t id = next_id(l);
        for (unsigned i = 0; id && i < 1 + dice_below(d, 3); i++, said++) {
            while (l->out.pos - __atomic_load_n(&l->out.ctl->cursor, __ATOMIC_ACQUIRE) > LINES / 2 && clock_ns() < end)
                read_mail(l);
            say_something(l, d, id);
        }
        release_all(l);
        read_mail(l);
    }
}

static void replies_by_dice_harm_nobody(void) {
    call_scene_t scene;
    dice_t dice = dice_new("the replies");
    unsigned rounds = fire_count("FERRY_FIRE_LIARS", "lying servers", 8, 4);
    call_scene_begin(&scene);
    for (unsigned i = 0; i < rounds; i++) {
        liar_t liar;
        liar_open(&liar, &scene, 100, LINES);
        answer_for(&liar, &dice, 150 * MILLISECOND);
        call_scene_expect_service(&scene);
        liar_close(&liar);
        call_scene_expect_service(&scene);
    }
    check(atomic_load(&scene.s->answered) > rounds);
    call_scene_end(&scene);
}

/* ---- pages ---- */

typedef struct scribbler {
    liar_t *liars;   /* whose pages it writes */
    uint64_t *words; /* or whose memory */
    unsigned count;
    dice_t dice;
    atomic_uint stop;
} scribbler_t;

static void *scribble(void *arg) {
    scribbler_t *s = arg;
    while (!atomic_load_explicit(&s->stop, memory_order_relaxed)) {
        struct fi_receiver_page_copy *page = s->liars[dice_below(&s->dice, s->count)].in.page;
        uint64_t n = some_number(&s->dice);
        __atomic_store_n(&page->leaves, (uint32_t)dice_below(&s->dice, 3), __ATOMIC_RELAXED);
        __atomic_store_n(&page->queue, (uint32_t)some_number(&s->dice), __ATOMIC_RELAXED);
        __atomic_store_n(&page->busy_since, dice_below(&s->dice, 2) ? n : (uint64_t)clock_ns() + n % 1000,
                         __ATOMIC_RELAXED);
        __atomic_store_n(&page->usual_ns, some_number(&s->dice), __ATOMIC_RELAXED);
        __atomic_store_n(&page->sleep, (uint32_t)n, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void pages_that_say_anything_lead_nobody_astray(void) {
    enum { LIARS = 3 };
    call_scene_t scene;
    liar_t liars[LIARS];
    dice_t dice = dice_new("the pages");
    pthread_t thread;
    call_scene_begin(&scene);
    for (unsigned i = 0; i < LIARS; i++)
        liar_open(&liars[i], &scene, 100 + i, LINES);
    scribbler_t s = {.liars = liars, .count = LIARS, .dice = dice};
    check_is(pthread_create(&thread, NULL, scribble, &s), 0);
    for (unsigned i = 0; i < 15; i++) {
        answer_for(&liars[i % LIARS], &dice, 50 * MILLISECOND);
        call_scene_expect_service(&scene);
    }
    atomic_store(&s.stop, 1);
    pthread_join(thread, NULL);
    for (unsigned i = 0; i < LIARS; i++)
        liar_close(&liars[i]);
    call_scene_end(&scene);
}

/* ---- without end ---- */

/* Every line says the same for ever, without any more work of the liar's. */
static void answer_in_a_circle(unsigned kind, bool its_call) {
    static const uint64_t bytes[2] = {UINT64_C(9) << 32 | 3, 0};
    call_scene_t scene;
    liar_t liar;
    raw_reply_t head = {.id = UINT64_C(99) << 32 | 5, .kind = kind};
    call_scene_begin(&scene);
    liar_open(&liar, &scene, 100, 62);
    int64_t end = clock_ns() + PATIENCE;
    while (its_call && (head.id = next_id(&liar)) == 0)
        check(clock_ns() < end);
    raw_put_circle(&liar.out, bytes, &head);
    for (unsigned i = 0; i < 10; i++)
        call_scene_expect_service(&scene);
    atomic_store(&scene.s->leave, 1); /* while it goes on: that must be no obstacle */
    child_join(scene.client);
    child_join(scene.server);
    liar_close(&liar);
}

static void answers_to_nobody_without_end_keep_nobody_waiting(void) {
    answer_in_a_circle(RAW_RESULT, false);
}

static void the_same_answer_without_end_is_one_answer(void) {
    answer_in_a_circle(RAW_RESULT, true);
    answer_in_a_circle(RAW_MORE, true);
}

/* ---- a ring that breaks the rules ---- */

static void who_writes_nonsense_into_its_replies_harms_no_other_call(void) {
    call_scene_t scene;
    call_scene_begin(&scene);
    for (unsigned i = 0; i < 10; i++) {
        liar_t liar;
        raw_mail_t mail;
        raw_reply_t head = {.kind = RAW_RESULT};
        liar_open(&liar, &scene, 100, LINES);
        raw_put(&liar.out, i % 2 ? 7 : 255, &head, sizeof head);
        raw_await(&liar.raw, FI_EXPEL, &mail);
        raw_drop(&mail);
        call_scene_expect_service(&scene);
        liar_close(&liar);
    }
    call_scene_end(&scene);
}

/* It takes calls, and releases them without an answer; or holds them all. */
static void calls_that_are_never_answered_end_with_their_time(void) {
    call_scene_t scene;
    call_scene_begin(&scene);
    for (unsigned i = 0; i < 4; i++) {
        liar_t liar;
        liar_open(&liar, &scene, 100, LINES);
        for (unsigned k = 0; k < 10; k++) {
            while (i % 2 && next_id(&liar)) {
            }
            release_all(&liar);
            read_mail(&liar);
            call_scene_expect_service(&scene);
        }
        liar_close(&liar);
    }
    call_scene_end(&scene);
}

/* Results by pointer: to odd places, and their bytes change all the time. */
static void *change(void *arg) {
    scribbler_t *s = arg;
    while (!atomic_load_explicit(&s->stop, memory_order_relaxed)) {
        uint64_t r = dice_roll(&s->dice);
        __atomic_store_n(&s->words[(r >> 32) % 512], r & 1 ? some_number(&s->dice) : r, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void announce(liar_t *l, size_t bytes, void **map) {
    fi_frame_t f = raw_frame(FI_SEGMENT, l->out.tx, l->out.rx);
    int fd = raw_memory(bytes, true, RAW_SEALS, map);
    f.a = 1;
    check(raw_send(&l->raw, &f, &fd, 1));
    close(fd);
}

static void point_to(liar_t *l, dice_t *d, uint64_t id) {
    unsigned char payload[56];
    uint64_t offset = dice_below(d, 4096);
    struct fi_pointer p = {offset, 4096 - offset, 1, 0};
    raw_reply_t head = {.id = id, .kind = 1 + (uint32_t)dice_below(d, 4)};
    memcpy(payload, &p, 24);
    memcpy(payload + 24, &head, 32);
    raw_put(&l->out, FI_REC_POINTER, payload, dice_below(d, 4) ? 56 : 24);
}

static void results_that_change_while_they_are_read_harm_nobody(void) {
    call_scene_t scene;
    dice_t dice = dice_new("the results");
    call_scene_begin(&scene);
    for (unsigned i = 0; i < 6; i++) {
        liar_t liar;
        void *map;
        pthread_t thread;
        liar_open(&liar, &scene, 100, LINES);
        announce(&liar, 4096, &map);
        scribbler_t s = {.words = map, .dice = {i + 1}};
        check_is(pthread_create(&thread, NULL, change, &s), 0);
        int64_t end = clock_ns() + 200 * MILLISECOND;
        for (unsigned said = 0; clock_ns() < end && said < LINES / 4; said++) {
            uint64_t id = next_id(&liar);
            if (id)
                point_to(&liar, &dice, id);
            release_all(&liar);
            read_mail(&liar);
            nap(MILLISECOND / 10);
        }
        call_scene_expect_service(&scene);
        atomic_store(&s.stop, 1);
        pthread_join(thread, NULL);
        munmap(map, 4096);
        liar_close(&liar);
    }
    call_scene_end(&scene);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(replies_by_dice_harm_nobody),
        TEST(pages_that_say_anything_lead_nobody_astray),
        TEST(answers_to_nobody_without_end_keep_nobody_waiting),
        TEST(the_same_answer_without_end_is_one_answer),
        TEST(who_writes_nonsense_into_its_replies_harms_no_other_call),
        TEST(calls_that_are_never_answered_end_with_their_time),
        TEST(results_that_change_while_they_are_read_harm_nobody),
    };
    return run_suite("hostile reply", tests, sizeof tests / sizeof tests[0], argc, argv);
}
