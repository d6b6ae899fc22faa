/* SPDX-License-Identifier: MIT
 *
 * late_memory.c - a message points into memory that has not arrived: the ring is faster than the socket that carries
 * descriptors, and a sender may die between the two.
 */
#include "raw.h"
#include "scene.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LINES 62u
#define SEGMENT 7u
#define SIZE 100u

static void announce(raw_t *raw, const raw_out_t *out) {
    fi_frame_t f = raw_frame(FI_SEGMENT, out->tx, out->rx);
    void *map;
    int fd = raw_memory(4096, true, 0, &map);
    fill(map, SIZE, SEGMENT);
    munmap(map, 4096);
    check(fcntl(fd, F_ADD_SEALS, RAW_SEALS) == 0);
    f.a = SEGMENT;
    check(raw_send(raw, &f, &fd, 1));
    close(fd);
}

static void point_into(raw_out_t *out, uint32_t segment) {
    const struct fi_pointer p = {0, SIZE, segment, 0};
    memcpy(raw_line(out->ring, (uint32_t)(out->pos % LINES)) + 16, &p, sizeof p);
    raw_publish(out, fi_record_word(sizeof p, FI_REC_POINTER, 0, 1));
}

/* ---- it comes in the end ---- */

typedef struct reader {
    ferry_kind_t kind;
    atomic_ullong node;
    atomic_uint ready;
} reader_t;

/* Spins: it looks at the message that is not there yet some hundred thousand times. */
static void read_one(void *arg) {
    reader_t *s = arg;
    const ferry_receiver_options_t spinning = {.size = sizeof spinning, .wait = FERRY_WAIT_SPIN};
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "late", s->kind, &spinning);
    atomic_store(&s->node, ferry_node_id(node));
    atomic_store(&s->ready, 1);
    ferry_msg_t *m = receive(rx);
    check_is(ferry_msg_size(m), SIZE);
    check(filled(ferry_msg_data(m), SIZE, SEGMENT));
    release(m);
    close_receiver(rx);
    close_node(node);
}

static void expect_patience(ferry_kind_t kind, unsigned flags) {
    reader_t *s = share(sizeof *s);
    raw_t raw;
    raw_out_t out;
    s->kind = kind;
    pid_t reader = child_start(read_one, s);
    await(&s->ready, 1);
    raw_meet(&raw, atomic_load(&s->node));
    raw_out_open(&raw, &out, 77, "late", kind, LINES, flags);
    point_into(&out, SEGMENT);
    nap(SECOND);
    announce(&raw, &out);
    child_join(reader);
    raw_out_close(&out);
    raw_close(&raw);
}

static void memory_that_comes_late_is_waited_for(void) {
    expect_patience(FERRY_QUEUE, 0);
    expect_patience(FERRY_TOPIC, 0);
}

static void memory_that_comes_late_is_waited_for_by_who_may_be_overtaken(void) {
    expect_patience(FERRY_TOPIC, FI_OFFER_LOSSY);
}

/* ---- it never comes ---- */

/* The message waits, the others do not. When the sender is gone, so is the message; nobody is blamed for it. */
static void memory_that_never_comes_delays_only_its_own_link(void) {
    const uint32_t segments[] = {7, UINT32_MAX - 1, UINT32_MAX};
    scene_t scene = {0};
    scene_begin(&scene);
    for (unsigned i = 0; i < 6; i++) {
        raw_t raw;
        raw_out_t out;
        bool topic = i % 2;
        raw_meet(&raw, scene.node);
        raw_out_open(&raw, &out, 77, topic ? "calls" : "pings", topic ? FERRY_TOPIC : FERRY_QUEUE, LINES,
                     i == 3 ? FI_OFFER_LOSSY : 0);
        point_into(&out, segments[i / 2]);
        raw_say(&out, "behind", 6);
        nap(20 * MILLISECOND);
        scene_expect_service(&scene);
        raw_close(&raw);
        scene_expect_recovery(&scene);
        raw_out_close(&out);
    }
    check_is(atomic_load(&scene.s->expelled), 0);
    check_is(atomic_load(&scene.s->strange), 0);
    scene_end(&scene);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(memory_that_comes_late_is_waited_for),
        TEST(memory_that_comes_late_is_waited_for_by_who_may_be_overtaken),
        TEST(memory_that_never_comes_delays_only_its_own_link),
    };
    return run_suite("late memory", tests, sizeof tests / sizeof tests[0], argc, argv);
}
