/* SPDX-License-Identifier: MIT
 *
 * hostile_published.c - a writer of a published region that lies: about sizes, about versions, about what it overtakes.
 * Its reader is told, and neither crashes nor stays in a call for ever.
 */
#include "published.h"
#include "raw.h"

#include <unistd.h>

#define BYTES 40u /* so a version fits into one line of a ring */
#define LINES 62u
#define WAIT (5 * MILLISECOND)

typedef struct scene {
    atomic_ullong node;
    atomic_uint leave;
    atomic_uint views;
    atomic_uint told; /* -EPROTO */
    atomic_ullong newest;
    pid_t reader;
} scene_t;

static void read_on(scene_t *scene, ferry_region_reader_t *reader) {
    ferry_region_view_t *view = NULL;
    unsigned sum = 0;
    int answer = ferry_region_view(reader, WAIT, &view);
    if (answer == 0) {
        const unsigned char *data = ferry_view_data(view);
        check_is(ferry_view_size(view), BYTES);
        for (unsigned i = 0; i < BYTES; i++)
            sum += data[i];
        atomic_store(&scene->newest, ferry_view_version(view));
        atomic_fetch_add(&scene->views, 1 + (sum == 1)); /* the bytes are looked at, whatever they are */
        stop_viewing(view);
        answer = ferry_region_wait(reader, scene->newest, FERRY_NOW);
    }
    check(answer == 0 || answer == -EAGAIN || answer == -ETIMEDOUT || answer == -EPIPE || answer == -EPROTO);
    atomic_fetch_add(&scene->told, answer == -EPROTO);
}

static void be_reader(void *arg) {
    scene_t *scene = arg;
    ferry_t *node = open_node("test");
    ferry_region_reader_options_t options = {.bytes = BYTES};
    ferry_region_reader_t *reader = open_reader(node, "map", &options);
    atomic_store(&scene->node, ferry_node_id(node));
    while (!atomic_load(&scene->leave))
        read_on(scene, reader);
    close_reader(reader);
    close_node(node);
}

static bool is_ready(void *arg) {
    return atomic_load(&((scene_t *)arg)->node) != 0;
}

static scene_t *begin(void) {
    scene_t *scene = share(sizeof *scene);
    scene->reader = child_start(be_reader, scene);
    await_that(is_ready, scene, "the reader is open");
    return scene;
}

static void end(scene_t *scene) {
    atomic_store(&scene->leave, 1);
    child_join(scene->reader);
}

static void open_out(scene_t *scene, raw_t *raw, raw_out_t *out, unsigned flags) {
    raw_meet(raw, scene->node);
    raw_out_open(raw, out, 77, "@map", FERRY_TOPIC, LINES, flags);
    if (flags & FI_OFFER_LOSSY) {
        out->ring->shared.oldest = LINES;
        out->ring->shared.reserve = 2 * LINES;
    }
}

static void close_out(raw_t *raw, raw_out_t *out) {
    raw_out_close(out);
    raw_close(raw);
}

/* With whatever a writer may say of itself. */
static const unsigned offers[] = {0, FI_OFFER_LOSSY};

static void a_version_of_another_size_is_told_and_others_are_seen(void) {
    const unsigned char good[BYTES] = {7};
    scene_t *scene = begin();
    for (unsigned i = 0; i < 2; i++) {
        raw_t raw;
        raw_out_t out;
        open_out(scene, &raw, &out, offers[i]);
        unsigned views = atomic_load(&scene->views), told = atomic_load(&scene->told);
        raw_say(&out, good, BYTES);
        await(&scene->views, views + 1);
        raw_say(&out, good, BYTES - 1);
        await(&scene->told, told + 1);
        raw_say(&out, good, 0);
        await(&scene->told, told + 2);
        views = atomic_load(&scene->views);
        raw_say(&out, good, BYTES);
        await(&scene->views, views + 1);
        close_out(&raw, &out);
    }
    end(scene);
}

/* Each line is a sound record, in each lap again: there is always a newer version. */
static void a_writer_that_is_always_ahead_does_not_keep_a_reader_in_its_call(void) {
    scene_t *scene = begin();
    for (unsigned i = 0; i < 2; i++) {
        raw_t raw;
        raw_out_t out;
        open_out(scene, &raw, &out, offers[i]);
        unsigned views = atomic_load(&scene->views);
        for (uint32_t line = 1; line <= LINES; line++) {
            struct fi_record *rec = (struct fi_record *)(void *)raw_line(out.ring, line % LINES);
            __atomic_store_n(&rec->word, fi_record_word(BYTES, FI_REC_INLINE, 0, 1), __ATOMIC_RELEASE);
        }
        await(&scene->views, views + 100);
        close_out(&raw, &out);
    }
    end(scene);
}

/* Records of every sort at random, tags and sequences too, and words about what is overtaken. */
static void fill_ring(raw_out_t *out, dice_t *dice) {
    for (uint32_t line = 0; line < LINES; line++) {
        uint64_t *words = (uint64_t *)(void *)raw_line(out->ring, line);
        for (unsigned i = 1; i < FI_LINE / 8; i++)
            words[i] = dice_below(dice, 3) ? dice_below(dice, 200) : dice_roll(dice);
        uint32_t len = dice_below(dice, 4) ? BYTES : (uint32_t)dice_below(dice, 100);
        uint64_t kind = 1 + dice_below(dice, 4);
        words[0] = fi_record_word(kind == FI_REC_POINTER ? sizeof(struct fi_pointer) : len, (unsigned)kind,
                                  (unsigned)dice_below(dice, 4), 1);
    }
    out->ring->shared.oldest = LINES + dice_below(dice, 3 * LINES);
    out->ring->shared.reserve = LINES + dice_below(dice, 5 * LINES);
}

static void random_rings_of_versions_are_read_without_harm(void) {
    scene_t *scene = begin();
    dice_t dice = dice_new("the rings");
    unsigned rings = fire_count("FERRY_FIRE_RINGS", "random rings", 300, 60);
    const unsigned char good[BYTES] = {7};
    for (unsigned i = 0; i < rings; i++) {
        raw_t raw;
        raw_out_t out;
        open_out(scene, &raw, &out, offers[dice_below(&dice, 2)]);
        fi_frame_t f = raw_frame(FI_SEGMENT, out.tx, out.rx);
        int fd = raw_memory(4096, true, RAW_SEALS, NULL);
        f.a = dice_below(&dice, 4);
        check(raw_send(&raw, &f, &fd, 1));
        close(fd);
        fill_ring(&out, &dice);
        nap((int64_t)dice_below(&dice, 3) * MILLISECOND);
        fill_ring(&out, &dice); /* while it is read */
        nap((int64_t)dice_below(&dice, 3) * MILLISECOND);
        close_out(&raw, &out);
    }
    raw_t raw;
    raw_out_t out;
    open_out(scene, &raw, &out, FI_OFFER_LOSSY);
    unsigned views = atomic_load(&scene->views);
    raw_say(&out, good, BYTES);
    await(&scene->views, views + 1);
    close_out(&raw, &out);
    end(scene);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(a_version_of_another_size_is_told_and_others_are_seen),
        TEST(a_writer_that_is_always_ahead_does_not_keep_a_reader_in_its_call),
        TEST(random_rings_of_versions_are_read_without_harm),
    };
    return run_suite("hostile_published", tests, sizeof tests / sizeof tests[0], argc, argv);
}
