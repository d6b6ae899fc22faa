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
    ferry_newest_t newest;
    atomic_ullong node;
    atomic_uint ready;
    atomic_uint received;
} reader_t;

/* Spins: it looks at the message that is not there yet some hundred thousand times. */
static void read_one(void *arg) {
    reader_t *s = arg;
    const ferry_receiver_options_t spinning = {.size = sizeof spinning, .wait = FERRY_WAIT_SPIN, .newest = s->newest};
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "late", s->kind, &spinning);
    atomic_store(&s->node, ferry_node_id(node));
    atomic_store(&s->ready, 1);
    ferry_msg_t *m = receive(rx);
    check_is(ferry_msg_size(m), SIZE);
    atomic_store(&s->received, 1);
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

/* ---- its sender does not know its reader yet ---- */

/* Else it would be overtaken and written over while it is looked at: the sender cannot see yet that somebody holds
 * it. */
static void expect_restraint(ferry_newest_t newest) {
    reader_t *s = share(sizeof *s);
    raw_t raw;
    raw_out_t out;
    *s = (reader_t){.kind = FERRY_TOPIC, .newest = newest};
    pid_t reader = child_start(read_one, s);
    await(&s->ready, 1);
    raw_meet(&raw, atomic_load(&s->node));
    raw_out_offer(&raw, &out, 77, "late", FERRY_TOPIC, LINES, FI_OFFER_LOSSY);
    announce(&raw, &out);
    point_into(&out, SEGMENT);
    nap(300 * MILLISECOND);
    check_is(atomic_load(&s->received), 0);
    raw_out_live(&out);
    child_join(reader);
    raw_out_close(&out);
    raw_close(&raw);
}

static void who_may_be_overtaken_holds_nothing_before_its_sender_knows_where(void) {
    expect_restraint(FERRY_NEWEST_ALL);
    expect_restraint(FERRY_NEWEST_PER_TAG);
}

/* ---- it never comes ---- */

/* The message waits, the others do not. When the sender is gone, so is the message; nobody is blamed for it. A reader
 * that may lose messages goes on with what stands behind it then. */
static void memory_that_never_comes_delays_only_its_own_link(void) {
    const uint32_t segments[] = {7, UINT32_MAX - 1, UINT32_MAX};
    unsigned lossy = 3;
    scene_t scene = {0};
    scene_begin(&scene);
    for (unsigned i = 0; i < 6; i++) {
        raw_t raw;
        raw_out_t out;
        bool topic = i % 2;
        raw_meet(&raw, scene.node);
        raw_out_open(&raw, &out, 77, topic ? "calls" : "pings", topic ? FERRY_TOPIC : FERRY_QUEUE, LINES,
                     i == lossy ? FI_OFFER_LOSSY : 0);
        point_into(&out, segments[i / 2]);
        raw_say(&out, "behind", 6);
        nap(20 * MILLISECOND);
        scene_expect_service(&scene);
        raw_close(&raw);
        scene_expect_recovery(&scene);
        raw_out_close(&out);
        check_is(atomic_load(&scene.s->strange), i >= lossy);
    }
    check_is(atomic_load(&scene.s->expelled), 0);
    scene_end(&scene);
}

/* ---- it must come first ---- */

typedef struct writer {
    atomic_ullong node;
    atomic_uint ready;
    atomic_uint go;
} writer_t;

static void send_one(void *arg) {
    writer_t *s = arg;
    char bytes[10000] = "by pointer";
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "late", FERRY_QUEUE, NULL);
    atomic_store(&s->node, ferry_node_id(node));
    atomic_store(&s->ready, 1);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    await(&s->go, 1);
    check_is(ferry_send(tx, bytes, sizeof bytes, PATIENCE), 0); /* it may wait in our own memory */
    await(&s->go, 2);
    drop_sender(tx);
    close_node(node);
}

/* Asks again and again and does not listen, until the answers fill the socket and wait in the other process. */
static void stop_listening(raw_t *raw) {
    const fi_frame_t look = raw_frame(FI_LOOK, 0, 0);
    for (unsigned i = 0; i < 1000; i++)
        check(raw_send(raw, &look, NULL, 0));
}

/* Were it otherwise, a sender that is killed now would take along what its receiver needs to read the message. */
static void a_message_is_seen_only_when_its_memory_is_on_its_way(void) {
    writer_t *s = share(sizeof *s);
    raw_t raw;
    raw_in_t in;
    raw_mail_t mail;
    pid_t writer = child_start(send_one, s);
    await(&s->ready, 1);
    raw_meet(&raw, atomic_load(&s->node));
    raw_in_open(&raw, &in, 88, "late", FERRY_QUEUE, 0);
    stop_listening(&raw);
    atomic_store(&s->go, 1);
    nap(300 * MILLISECOND); /* a sender that does not wait is done long before */
    check_is(raw_first_word(&in), 0);
    raw_await(&raw, FI_SEGMENT, &mail);
    raw_drop(&mail);
    for (int64_t end = clock_ns() + PATIENCE; raw_first_word(&in) == 0;) {
        check(clock_ns() < end);
        if (raw_receive(&raw, &mail, MILLISECOND) == 1) /* there may be more answers behind */
            raw_drop(&mail);
    }
    atomic_store(&s->go, 2);
    child_join(writer);
    raw_close(&raw); /* it still says in the link's memory that it holds nothing */
    raw_in_close(&in);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(memory_that_comes_late_is_waited_for),
        TEST(memory_that_comes_late_is_waited_for_by_who_may_be_overtaken),
        TEST(who_may_be_overtaken_holds_nothing_before_its_sender_knows_where),
        TEST(memory_that_never_comes_delays_only_its_own_link),
        TEST(a_message_is_seen_only_when_its_memory_is_on_its_way),
    };
    return run_suite("late memory", tests, sizeof tests / sizeof tests[0], argc, argv);
}
