/* SPDX-License-Identifier: MIT
 *
 * hostile_sender.c - senders whose rings lie: in their head, in their records, in their pointers, and while they are
 * being read.
 */
#include "raw.h"
#include "scene.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define COUNT(list) (sizeof(list) / sizeof(list)[0])
#define LINES 62u

/* ---- lies in the head ---- */

typedef struct head_lie {
    const char *what;
    struct fi_ident ident;
    uint64_t start;
} head_lie_t;

static const head_lie_t head_lies[] = {
    {"magic", {0x1234, FI_LAYOUT_VERSION, FI_LAYOUT_FINGERPRINT, LINES, 0, {0}}, LINES},
    {"version", {FI_RING_MAGIC, FI_LAYOUT_VERSION + 1, FI_LAYOUT_FINGERPRINT, LINES, 0, {0}}, LINES},
    {"fingerprint", {FI_RING_MAGIC, FI_LAYOUT_VERSION, FI_LAYOUT_FINGERPRINT ^ 1, LINES, 0, {0}}, LINES},
    {"no lines", {FI_RING_MAGIC, FI_LAYOUT_VERSION, FI_LAYOUT_FINGERPRINT, 0, 0, {0}}, LINES},
    {"one line", {FI_RING_MAGIC, FI_LAYOUT_VERSION, FI_LAYOUT_FINGERPRINT, 1, 0, {0}}, LINES},
    {"more lines than there are", {FI_RING_MAGIC, FI_LAYOUT_VERSION, FI_LAYOUT_FINGERPRINT, 100000, 0, {0}}, 100000},
    {"as many lines as fit into 32 bits",
     {FI_RING_MAGIC, FI_LAYOUT_VERSION, FI_LAYOUT_FINGERPRINT, UINT32_MAX, 0, {0}},
     UINT32_MAX},
    {"a start in lap 0", {FI_RING_MAGIC, FI_LAYOUT_VERSION, FI_LAYOUT_FINGERPRINT, LINES, 0, {0}}, 1},
};

static void a_ring_whose_head_lies_is_refused(void) {
    scene_t scene = {0};
    scene_begin(&scene);
    for (unsigned i = 0; i < COUNT(head_lies); i++) {
        raw_t raw;
        struct fi_ring_head *head;
        int ctl = -1;
        raw_meet(&raw, scene.node);
        uint64_t rx = raw_find_receiver(&raw, 77, "pings", FERRY_QUEUE);
        int ring = raw_ring(LINES, &head);
        head->ident = head_lies[i].ident;
        int r = raw_offer(&raw, 77, rx, FERRY_QUEUE, ring, head_lies[i].start, 0, &ctl);
        if (r == 1)
            fprintf(stderr, "# accepted: a ring that lies about its %s\n", head_lies[i].what);
        check(r != 1);
        close(ring);
        munmap(head, fi_ring_bytes(LINES));
        raw_close(&raw);
        scene_expect_service(&scene);
    }
    scene_end(&scene);
}

/* A start may be any position in or after lap 1: the largest one makes positions wrap. */
static void a_ring_that_begins_at_the_last_position_of_all_is_read(void) {
    scene_t scene = {0};
    raw_t raw;
    raw_out_t out;
    struct fi_ring_head *head;
    int ctl;
    scene_begin(&scene);
    raw_meet(&raw, scene.node);
    uint64_t rx = raw_find_receiver(&raw, 77, "pings", FERRY_QUEUE);
    int ring = raw_ring(64, &head);
    uint64_t start = UINT64_MAX - 63 - 32; /* a multiple of 64, minus half a lap */
    if (raw_offer(&raw, 77, rx, FERRY_QUEUE, ring, start, 0, &ctl) == 1) {
        close(ctl);
        out = (raw_out_t){.raw = &raw, .lines = 64, .pos = start, .ring = head};
        for (unsigned i = 0; i < 63; i++)
            raw_say(&out, "x", 1);
    }
    close(ring);
    scene_expect_service(&scene);
    munmap(head, fi_ring_bytes(64));
    raw_close(&raw);
    scene_end(&scene);
}

/* ---- lies in a record ---- */

static uint64_t word(uint32_t len, unsigned kind, unsigned flags) {
    return fi_record_word(len, kind, flags, 1);
}

/* A record that nobody could have written honestly: the link must end, with a word to the program. */
static void expect_expelled_for(const char *what, uint64_t header, uint64_t at, const struct fi_pointer *p) {
    scene_t scene = {0};
    raw_t raw;
    raw_out_t out;
    raw_mail_t mail;
    scene_begin(&scene);
    raw_meet(&raw, scene.node);
    raw_out_open(&raw, &out, 77, "pings", FERRY_QUEUE, LINES, 0);
    for (uint64_t i = 0; i < at; i++)
        raw_say(&out, "fine", 4);
    if (p)
        memcpy(raw_line(out.ring, (uint32_t)(out.pos % LINES)) + 16, p, sizeof *p);
    raw_publish(&out, header);
    printf("# %s\n", what);
    fflush(stdout);
    raw_await(&raw, FI_EXPEL, &mail);
    scene_expect_expelled(&scene, 1);
    scene_expect_service(&scene);
    raw_out_close(&out);
    raw_close(&raw);
    scene_end(&scene);
}

static void a_record_of_an_unknown_kind_expels_its_sender(void) {
    expect_expelled_for("kind 7", word(8, 7, 0), 3, NULL);
    expect_expelled_for("kind 255", word(8, 255, 0), 3, NULL);
    expect_expelled_for("kind 0, yet a length", word(8, FI_REC_NONE, 0), 3, NULL);
}

static void a_record_that_is_longer_than_its_ring_expels_its_sender(void) {
    expect_expelled_for("the largest length", word(UINT32_MAX, FI_REC_INLINE, 0), 3, NULL);
    expect_expelled_for("the largest length, all flags", word(UINT32_MAX, FI_REC_INLINE, 255), 3, NULL);
    expect_expelled_for("one byte more than is left of the lap", word((LINES - 3) * 64 - 15, FI_REC_INLINE, 0), 3,
                        NULL);
    expect_expelled_for("a pointer of another size", word(25, FI_REC_POINTER, 0), 3, NULL);
    expect_expelled_for("an empty pointer", word(0, FI_REC_POINTER, 0), 3, NULL);
}

static void padding_where_none_can_be_expels_its_sender(void) {
    expect_expelled_for("padding in the first line of a lap", word(0, FI_REC_PAD, 0), 0, NULL);
}

/* Every line says: skip to the next lap. */
static void endless_padding_is_no_endless_walk(void) {
    scene_t scene = {0};
    raw_t raw;
    raw_out_t out;
    raw_mail_t mail;
    scene_begin(&scene);
    raw_meet(&raw, scene.node);
    raw_out_open(&raw, &out, 77, "pings", FERRY_QUEUE, LINES, 0);
    raw_say(&out, "fine", 4);
    for (uint32_t i = 0; i < LINES; i++)
        if (i != 1)
            ((struct fi_record *)(void *)raw_line(out.ring, i))->word = word(0, FI_REC_PAD, 0);
    __atomic_store_n(&((struct fi_record *)(void *)raw_line(out.ring, 1))->word, word(0, FI_REC_PAD, 0),
                     __ATOMIC_RELEASE);
    raw_await(&raw, FI_EXPEL, &mail);
    scene_expect_expelled(&scene, 1);
    raw_out_close(&out);
    raw_close(&raw);
    scene_end(&scene);
}

/* ---- lies in a pointer ---- */

#define SEGMENT_BYTES 65536u

static void announce_segment(raw_t *raw, const raw_out_t *out, uint64_t id, size_t bytes) {
    fi_frame_t f = raw_frame(FI_SEGMENT, out->tx, out->rx);
    int fd = raw_memory(bytes, true, RAW_SEALS, NULL);
    f.a = id;
    check(raw_send(raw, &f, &fd, 1));
    close(fd);
}

/* What must end with an expulsion: the pointer leads out of a segment of 64 KiB. */
static const struct fi_pointer wild[] = {
    {SEGMENT_BYTES + 1, 0, 1, 0},
    {0, SEGMENT_BYTES + 1, 1, 0},
    {SEGMENT_BYTES, 1, 1, 0},
    {1, SEGMENT_BYTES, 1, 0},
    {UINT64_MAX, 1, 1, 0},
    {UINT64_MAX, UINT64_MAX, 1, 0},
    {16, UINT64_MAX - 15, 1, 0},
    {UINT64_MAX - 4095, 4096, 1, 0},
    {SEGMENT_BYTES - 4096, 1u << 30, 1, 0},
    {(uint64_t)1 << 63, (uint64_t)1 << 63, 1, 0},
};

static void a_pointer_out_of_its_segment_expels_its_sender(void) {
    scene_t scene = {0};
    scene_begin(&scene);
    for (unsigned i = 0; i < COUNT(wild); i++) {
        raw_t raw;
        raw_out_t out;
        raw_mail_t mail;
        raw_meet(&raw, scene.node);
        raw_out_open(&raw, &out, 77, "pings", FERRY_QUEUE, LINES, 0);
        announce_segment(&raw, &out, 1, SEGMENT_BYTES);
        const struct fi_pointer good = {SEGMENT_BYTES - 100, 100, 1, 0};
        uint64_t before = atomic_load(&scene.s->strange);
        memcpy(raw_line(out.ring, 0) + 16, &good, sizeof good);
        raw_publish(&out, word(sizeof good, FI_REC_POINTER, 0));
        memcpy(raw_line(out.ring, 1) + 16, &wild[i], sizeof wild[i]);
        raw_publish(&out, word(sizeof wild[i], FI_REC_POINTER, 0));
        raw_await(&raw, FI_EXPEL, &mail);
        scene_expect_expelled(&scene, i + 1);
        check(atomic_load(&scene.s->strange) == before + 1); /* the good one, to the last byte of the segment */
        raw_out_close(&out);
        raw_close(&raw);
    }
    scene_end(&scene);
}

/* ---- lies about segments and rings to come ---- */

static void a_segment_with_a_huge_number_costs_no_huge_table(void) {
    enum { LINKS = 12 };
    scene_t scene = {0};
    raw_t raw;
    raw_out_t out[LINKS];
    scene_begin(&scene);
    raw_meet(&raw, scene.node);
    uint64_t before = status_of(scene.victim, "VmRSS:");
    for (unsigned i = 0; i < LINKS; i++) {
        raw_out_open(&raw, &out[i], 77 + i, "pings", FERRY_QUEUE, LINES, 0);
        announce_segment(&raw, &out[i], (1u << 24) - 1, 4096);
    }
    raw_find_receiver(&raw, 500, "pings", FERRY_QUEUE); /* answered: what came before has been looked at */
    uint64_t after = status_of(scene.victim, "VmRSS:");
    printf("# %llu KiB before, %llu KiB after\n", (unsigned long long)before, (unsigned long long)after);
    fflush(stdout);
    check(after < before + 16 * 1024);
    scene_expect_service(&scene);
    for (unsigned i = 0; i < LINKS; i++)
        raw_out_close(&out[i]);
    raw_close(&raw);
    scene_end(&scene);
}

static void more_memory_than_a_peer_may_have_mapped_is_refused(void) {
    scene_t scene = {.options = {.max_memory_per_peer = 1 << 20}};
    raw_t raw;
    raw_out_t out;
    scene_begin(&scene);
    raw_meet(&raw, scene.node);
    raw_out_open(&raw, &out, 77, "pings", FERRY_QUEUE, LINES, 0);
    for (uint64_t id = 1; id < 40; id++) { /* 16 are too many; what comes later concerns nobody */
        fi_frame_t f = raw_frame(FI_SEGMENT, out.tx, out.rx);
        int fd = raw_memory(65536, true, RAW_SEALS, NULL);
        f.a = id;
        check(raw_send(&raw, &f, &fd, 1));
        close(fd);
    }
    raw_mail_t mail;
    raw_await(&raw, FI_EXPEL, &mail);
    check(mail.frame.tx == out.tx && strstr(mail.frame.text, "may not map") != NULL);
    raw_drop(&mail);
    check(!raw_hung_up(&raw, MILLISECOND));
    scene_expect_service(&scene);
    raw_out_close(&out);
    raw_close(&raw);
    scene_end(&scene);
}

static void more_links_than_a_peer_may_have_are_refused(void) {
    enum { LIMIT = 16 };
    scene_t scene = {.options = {.max_links_per_peer = LIMIT}};
    raw_t raw;
    unsigned accepted = 0;
    struct fi_ring_head *head;
    scene_begin(&scene);
    raw_meet(&raw, scene.node);
    uint64_t rx = raw_find_receiver(&raw, 77, "pings", FERRY_QUEUE);
    int ring = raw_ring(LINES, &head);
    for (unsigned i = 0; i < 4 * LIMIT; i++) {
        int ctl = -1;
        int r = raw_offer(&raw, 1000 + i, rx, FERRY_QUEUE, ring, LINES, 0, &ctl);
        accepted += r == 1;
        if (ctl >= 0)
            close(ctl);
        if (r < 0)
            break;
    }
    printf("# %u links accepted\n", accepted);
    check(accepted > 0 && accepted <= LIMIT);
    close(ring);
    munmap(head, fi_ring_bytes(LINES));
    scene_expect_service(&scene);
    raw_close(&raw);
    scene_end(&scene);
}

static void rings_that_were_never_asked_for_harm_nobody(void) {
    scene_t scene = {0};
    raw_t raw;
    raw_out_t out;
    dice_t dice = dice_new("rings and segments");
    scene_begin(&scene);
    raw_meet(&raw, scene.node);
    raw_out_open(&raw, &out, 77, "pings", FERRY_QUEUE, LINES, 0);
    for (unsigned i = 0; i < 400; i++) {
        static const unsigned types[] = {FI_RING, FI_SEGMENT, FI_UNSEGMENT, FI_LIVE, FI_OFFER, FI_SETTLED};
        unsigned type = types[dice_below(&dice, COUNT(types))];
        struct fi_ring_head *head;
        fi_frame_t f = raw_frame(type, 77 + dice_below(&dice, 2), 1 + dice_below(&dice, 3));
        uint32_t lines = (uint32_t)(8 + dice_below(&dice, 100));
        int ring = raw_ring(lines, &head);
        f.a = dice_below(&dice, 12);
        f.b = dice_below(&dice, 6);
        f.kind = FERRY_QUEUE;
        head->ident.lines += dice_below(&dice, 8) == 0;
        bool alive = raw_send(&raw, &f, &ring, type == FI_RING || type == FI_SEGMENT || type == FI_OFFER);
        close(ring);
        munmap(head, fi_ring_bytes(lines));
        if (!alive)
            break;
    }
    scene_expect_service(&scene);
    raw_out_close(&out);
    raw_close(&raw);
    scene_end(&scene);
}

/* ---- random contents ---- */

static void random_rings_are_read_without_harm(void) {
    scene_t scene = {0};
    dice_t dice = dice_new("the rings");
    unsigned rings = fire_count("FERRY_FIRE_RINGS", "random rings", 300, 60);
    scene_begin(&scene);
    for (unsigned i = 0; i < rings; i++) {
        raw_t raw;
        raw_out_t out;
        bool topic = dice_below(&dice, 2);
        raw_meet(&raw, scene.node);
        raw_out_open(&raw, &out, 77, topic ? "calls" : "pings", topic ? FERRY_TOPIC : FERRY_QUEUE, LINES,
                     dice_below(&dice, 2) ? FI_OFFER_LOSSY : 0);
        announce_segment(&raw, &out, 1, SEGMENT_BYTES);
        uint64_t *words = (uint64_t *)(void *)raw_line(out.ring, 0);
        for (uint32_t k = LINES * 8; k-- > 0;) { /* backwards: the first line comes last */
            uint64_t w = dice_roll(&dice);
            if (k % 8 == 0) /* headers are nearly right */
                w = fi_record_word((uint32_t)(w % 300), (unsigned)(w >> 32) % 6, (unsigned)(w >> 40) % 4, 1);
            else if (dice_below(&dice, 2))
                w %= 70000;
            __atomic_store_n(&words[k], w, __ATOMIC_RELEASE);
        }
        out.ring->shared.reserve = dice_below(&dice, 4) ? LINES : dice_roll(&dice);
        out.ring->shared.oldest = dice_below(&dice, 4) ? LINES : dice_roll(&dice);
        nap(MILLISECOND);
        raw_close(&raw);
        raw_out_close(&out);
        if (i % 10 == 0)
            scene_expect_service(&scene);
    }
    scene_end(&scene);
}

/* ---- hostile writes: the ring changes while it is read ---- */

typedef struct writer {
    raw_out_t *out;
    atomic_uint stop;
    dice_t dice;
    uint64_t writes;
} writer_t;

/* Mostly plausible, so that the reader goes far: good headers that change their length, kind and place under it. */
static uint64_t plausible(uint64_t w) {
    static const uint32_t lens[] = {8, 24, 24, 24, 48, 100, 2000, UINT32_MAX};
    unsigned kind = (unsigned)(w >> 8) % 16 < 14 ? 1 + (unsigned)(w >> 8) % 2 : (unsigned)(w >> 8) % 8;
    return w % 16 == 0 ? 0 : fi_record_word(lens[w >> 16 & 7], kind, (unsigned)(w >> 20) & 3, (uint16_t)(w >> 24));
}

static void *write_for_ever(void *arg) {
    writer_t *w = arg;
    uint64_t *words = (uint64_t *)(void *)raw_line(w->out->ring, 0);
    while (!atomic_load_explicit(&w->stop, memory_order_relaxed)) {
        uint64_t r = dice_roll(&w->dice);
        uint32_t line = (uint32_t)(r >> 40) % LINES;
        __atomic_store_n(&words[line * 8], plausible(r), __ATOMIC_RELAXED);
        __atomic_store_n(&words[line * 8 + 2 + (r & 3)], r & 4 ? r >> 44 : r & 8 ? r : 1 + (r >> 63), __ATOMIC_RELAXED);
        if ((r >> 32) % 64 == 0) {
            w->out->ring->shared.oldest = w->out->ring->shared.reserve + (r >> 50);
            w->out->ring->shared.reserve = r & 16 ? UINT64_MAX : w->out->ring->shared.oldest + LINES;
            w->out->ring->shared.want = r;
        }
        w->writes++;
    }
    return NULL;
}

static void expect_service_under_fire(scene_t *scene, raw_out_t *out, int64_t duration) {
    writer_t writer = {.out = out, .dice = {clock_ns() ? 7 : 0}};
    pthread_t thread;
    int64_t end = clock_ns() + duration;
    check_is(pthread_create(&thread, NULL, write_for_ever, &writer), 0);
    while (clock_ns() < end) {
        raw_mail_t mail;
        scene_expect_service(scene);
        if (raw_receive(out->raw, &mail, MILLISECOND) == 1) {
            bool expelled = mail.frame.type == FI_EXPEL;
            raw_drop(&mail);
            if (expelled)
                break;
        }
    }
    atomic_store(&writer.stop, 1);
    pthread_join(thread, NULL);
}

/* It is expelled soon, and there again: for so long, or longer, until that has happened once. */
static void hostile_writes_on(const char *channel, ferry_kind_t kind, unsigned flags) {
    scene_t scene = {0};
    unsigned links = 0;
    scene_begin(&scene);
    int64_t begin = clock_ns();
    int64_t end = begin + (FIRE_SLOW ? 2 : 1) * SECOND;
    for (; clock_ns() < (atomic_load(&scene.s->expelled) ? end : begin + PATIENCE); links++) {
        raw_t raw;
        raw_out_t out;
        raw_meet(&raw, scene.node);
        raw_out_open(&raw, &out, 77, channel, kind, LINES, flags);
        announce_segment(&raw, &out, 1, SEGMENT_BYTES);
        announce_segment(&raw, &out, 2, 4096);
        expect_service_under_fire(&scene, &out, SECOND);
        raw_close(&raw);
        raw_out_close(&out);
    }
    printf("# %u links under fire, expelled %u times, %llu messages with %llu as the sum of their bytes\n", links,
           atomic_load(&scene.s->expelled), (unsigned long long)atomic_load(&scene.s->strange),
           (unsigned long long)atomic_load(&scene.s->strange_sum));
    fflush(stdout);
    check(atomic_load(&scene.s->expelled) > 0);
    scene_end(&scene);
}

static void a_queue_ring_may_change_while_it_is_read(void) {
    hostile_writes_on("pings", FERRY_QUEUE, 0);
}

static void a_topic_ring_may_change_while_it_is_read(void) {
    hostile_writes_on("calls", FERRY_TOPIC, 0);
}

static void a_ring_that_may_overtake_may_change_while_it_is_read(void) {
    hostile_writes_on("calls", FERRY_TOPIC, FI_OFFER_LOSSY);
}

/* ---- something is always there, and never comes ---- */

typedef void tease_fn(raw_out_t *out, uint64_t round);

/* Overtaken all the time, and always something newer. */
static void tease_by_overtaking(raw_out_t *out, uint64_t round) {
    __atomic_store_n(&out->ring->shared.oldest, 2 * LINES + round * LINES, __ATOMIC_RELEASE);
    __atomic_store_n(&out->ring->shared.reserve, UINT64_MAX, __ATOMIC_RELEASE);
}

/* A message that is there for the look, and gone for the taking. */
static void tease_by_flickering(raw_out_t *out, uint64_t round) {
    struct fi_record *rec = (struct fi_record *)(void *)raw_line(out->ring, 0);
    __atomic_store_n(&rec->word, round % 2 ? word(24, FI_REC_POINTER, 0) : 0, __ATOMIC_RELEASE);
}

typedef struct teaser {
    raw_out_t *out;
    tease_fn *tease;
    atomic_uint stop;
} teaser_t;

static void *tease_for_ever(void *arg) {
    teaser_t *t = arg;
    for (uint64_t round = 0; !atomic_load_explicit(&t->stop, memory_order_relaxed); round++)
        t->tease(t->out, round);
    return NULL;
}

static void expect_timeouts_kept(tease_fn *tease, unsigned flags) {
    scene_t scene = {0};
    raw_t raw;
    raw_out_t out;
    pthread_t thread;
    scene_begin(&scene);
    raw_meet(&raw, scene.node);
    raw_out_open(&raw, &out, 77, flags ? "calls" : "pings", flags ? FERRY_TOPIC : FERRY_QUEUE, LINES, flags);
    teaser_t teaser = {.out = &out, .tease = tease};
    check_is(pthread_create(&thread, NULL, tease_for_ever, &teaser), 0);
    for (int64_t end = clock_ns() + SECOND; clock_ns() < end;)
        scene_expect_service(&scene); /* which needs a timeout of 5 ms to pass again and again */
    atomic_store(&teaser.stop, 1);
    pthread_join(thread, NULL);
    raw_close(&raw);
    raw_out_close(&out);
    scene_end(&scene);
}

static void a_sender_that_overtakes_for_ever_stops_no_timeout(void) {
    expect_timeouts_kept(tease_by_overtaking, FI_OFFER_LOSSY);
}

static void a_message_that_flickers_stops_no_timeout(void) {
    expect_timeouts_kept(tease_by_flickering, 0);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(a_ring_whose_head_lies_is_refused),
        TEST(a_ring_that_begins_at_the_last_position_of_all_is_read),
        TEST(a_record_of_an_unknown_kind_expels_its_sender),
        TEST(a_record_that_is_longer_than_its_ring_expels_its_sender),
        TEST(padding_where_none_can_be_expels_its_sender),
        TEST(endless_padding_is_no_endless_walk),
        TEST(a_pointer_out_of_its_segment_expels_its_sender),
        TEST(a_segment_with_a_huge_number_costs_no_huge_table),
        TEST(more_memory_than_a_peer_may_have_mapped_is_refused),
        TEST(more_links_than_a_peer_may_have_are_refused),
        TEST(rings_that_were_never_asked_for_harm_nobody),
        TEST(random_rings_are_read_without_harm),
        TEST(a_queue_ring_may_change_while_it_is_read),
        TEST(a_topic_ring_may_change_while_it_is_read),
        TEST(a_ring_that_may_overtake_may_change_while_it_is_read),
        TEST(a_sender_that_overtakes_for_ever_stops_no_timeout),
        TEST(a_message_that_flickers_stops_no_timeout),
    };
    return run_suite("hostile sender", tests, sizeof tests / sizeof tests[0], argc, argv);
}
