/* SPDX-License-Identifier: MIT
 *
 * net_published.c - published regions between machines: whole versions, little traffic, writers and servers that go;
 * and shared regions, which end at the machine.
 */
#include "lines.h"
#include "published.h"

enum { SMALL = 100000, LARGE = 16 << 20 };

typedef struct common {
    engine_t *engine;
    atomic_uint ready; /* readers that are open */
    atomic_uint seen;  /* the newest version that a reader has had */
    atomic_uint other; /* the same of a second one */
    atomic_uint go;
    atomic_uint over;
} common_t;

static common_t *common_new(void) {
    common_t *c = share(sizeof *c);
    c->engine = engine_start();
    return c;
}

static ferry_t *node_on(common_t *c, const char *machine) {
    engine_machine(c->engine, machine);
    return open_node(engine_space(c->engine));
}

/* ---- contents that show whether a version is whole: the first word is the sum of the others ---- */

static uint64_t sum_of(const uint64_t *words, size_t bytes) {
    uint64_t sum = 1;
    for (size_t i = 1; i < bytes / 8; i++)
        sum = sum * 31 + words[i];
    return sum;
}

/* One page of a hundred changes, in places that differ. */
static void change_a_hundredth(ferry_region_writer_t *writer, size_t bytes, uint64_t seed) {
    uint64_t *words = ferry_region_writer_data(writer);
    for (size_t i = 0; i < bytes / 4096 / 100; i++) {
        size_t page = 1 + (i * 100 + seed * 37) % (bytes / 4096 - 1);
        fill(words + page * 512, 4096, seed * 1000 + i);
        check_is(ferry_region_touch(writer, words + page * 512, 4096), 0);
    }
    words[0] = sum_of(words, bytes);
    check_is(ferry_region_touch(writer, words, 8), 0);
}

/* Views each version that comes, until `last` or the end; `*seen` tells the newest. */
static int read_up_to(ferry_region_reader_t *reader, uint64_t last, atomic_uint *seen) {
    uint64_t version = 0;
    while (version < last) {
        int r = ferry_region_wait(reader, version, PATIENCE);
        if (r < 0)
            return r;
        ferry_region_view_t *view = view_newest(reader);
        const uint64_t *words = ferry_view_data(view);
        check_is(words[0], sum_of(words, ferry_view_size(view)));
        check(ferry_view_version(view) >= version);
        version = ferry_view_version(view);
        stop_viewing(view);
        atomic_store(seen, (unsigned)version);
    }
    return 0;
}

static void read_five_on_b(void *arg) {
    common_t *c = arg;
    ferry_t *node = node_on(c, "b");
    ferry_region_reader_t *reader = open_reader(node, "map", NULL);
    atomic_fetch_add(&c->ready, 1);
    check_is(read_up_to(reader, 5, &c->seen), 0);
    close_reader(reader);
    close_node(node);
}

static void only_what_changed_travels_and_readers_see_whole_versions(void) {
    common_t *c = common_new();
    pid_t b = child_start(read_five_on_b, c);
    ferry_t *node = node_on(c, "a");
    ferry_region_writer_t *writer = open_writer(node, "map", LARGE, NULL);
    fill(ferry_region_writer_data(writer), LARGE, 1);
    check_is(ferry_region_touch(writer, ferry_region_writer_data(writer), LARGE), 0);
    change_a_hundredth(writer, LARGE, 1);
    check_is(publish(writer), 1);
    await(&c->seen, 1);
    uint64_t before =
        writer_stats(writer).sent_bytes; /* whole, perhaps more than once if the reader was silent for long */
    check(before >= LARGE);
    for (unsigned version = 2; version <= 5; version++) {
        change_a_hundredth(writer, LARGE, version);
        check_is(writer_stats(writer).far_readers, 1);
        check_is(publish(writer), version);
        await(&c->seen, version);
    }
    uint64_t sent = writer_stats(writer).sent_bytes - before; /* 4 % of one; a part of it may have gone twice */
    check(sent < LARGE / 4);
    child_join(b);
    close_writer(writer);
    close_node(node);
    engine_stop(c->engine);
}

/* ---- several readers, readers that come late, slow ones ---- */

static void read_first(void *arg) {
    common_t *c = arg;
    ferry_t *node = node_on(c, "b");
    ferry_region_reader_t *reader = open_reader(node, "map", NULL);
    atomic_fetch_add(&c->ready, 1);
    check_is(read_up_to(reader, UINT64_MAX, &c->seen), -EPIPE);
    close_reader(reader);
    close_node(node);
}

static void read_second(void *arg) {
    common_t *c = arg;
    await(&c->seen, 1);
    ferry_t *node = node_on(c, "b");
    ferry_region_reader_t *reader = open_reader(node, "map", NULL);
    atomic_fetch_add(&c->ready, 1);
    check_is(read_up_to(reader, UINT64_MAX, &c->other), -EPIPE);
    close_reader(reader);
    close_node(node);
}

static void publish_next(ferry_region_writer_t *writer) {
    uint64_t number = writer_stats(writer).version + 1;
    uint64_t *words = ferry_region_writer_data(writer);
    fill(words + 1, SMALL - 8, number);
    words[0] = sum_of(words, SMALL);
    check_is(ferry_region_touch(writer, words, SMALL), 0);
    check_is(publish(writer), number);
}

static void readers_of_a_machine_share_a_copy_and_outlive_the_process_that_has_it(void) {
    common_t *c = common_new();
    pid_t first = child_start(read_first, c);
    pid_t second = child_start(read_second, c);
    ferry_t *node = node_on(c, "a");
    await(&c->ready, 1);
    ferry_region_writer_t *writer = open_writer(node, "map", SMALL, NULL);
    publish_next(writer);
    await(&c->ready, 2);
    await(&c->other, 1);
    check_is(writer_stats(writer).far_readers, 1);
    publish_next(writer);
    await(&c->seen, 2);
    await(&c->other, 2);
    child_kill(first); /* which has the copy */
    publish_next(writer);
    await(&c->other, 3);
    publish_next(writer);
    await(&c->other, 4);
    close_writer(writer);
    child_join(second);
    close_node(node);
    engine_stop(c->engine);
}

static void view_on_b(void *arg) {
    common_t *c = arg;
    ferry_t *node = node_on(c, "b");
    ferry_region_reader_t *reader = open_reader(node, "map", NULL);
    ferry_region_view_t *view = view_newest(reader);
    check_is(ferry_view_version(view), 1);
    atomic_store(&c->ready, 1);
    await(&c->go, 1);
    const uint64_t *words = ferry_view_data(view);
    check_is(words[0], sum_of(words, SMALL)); /* as it was */
    stop_viewing(view);
    check_is(read_up_to(reader, 100, &c->seen), 0);
    close_reader(reader);
    close_node(node);
}

static void the_writer_does_not_wait_for_a_reader_elsewhere(void) {
    common_t *c = common_new();
    pid_t b = child_start(view_on_b, c);
    ferry_t *node = node_on(c, "a");
    ferry_region_writer_options_t options = {.quota = 2 * SMALL + 8192};
    ferry_region_writer_t *writer = open_writer(node, "map", SMALL, &options);
    publish_next(writer);
    await(&c->ready, 1);
    for (unsigned i = 2; i <= 100; i++) {
        uint64_t *words = ferry_region_writer_data(writer);
        fill(words + 1, SMALL - 8, i);
        words[0] = sum_of(words, SMALL);
        check_is(ferry_region_touch(writer, words, SMALL), 0);
        check_is(ferry_region_publish(writer, FERRY_NOW, NULL), 0);
    }
    atomic_store(&c->go, 1);
    child_join(b);
    close_writer(writer);
    close_node(node);
    engine_stop(c->engine);
}

/* ---- ends ---- */

static void write_and_stay(void *arg) {
    common_t *c = arg;
    ferry_t *node = node_on(c, "b");
    ferry_region_writer_t *writer = open_writer(node, "map", SMALL, NULL);
    publish_next(writer);
    await(&c->over, 1);
    close_writer(writer);
    close_node(node);
}

static void a_killed_writer_is_told_and_another_may_follow(void) {
    common_t *c = common_new();
    pid_t b = child_start(write_and_stay, c);
    pid_t again = child_start(read_first, c);
    await(&c->seen, 1);
    child_kill(again);
    ferry_t *node = node_on(c, "a");
    ferry_region_reader_t *reader = open_reader(node, "map", NULL);
    ferry_region_writer_t *writer;
    stop_viewing(view_newest(reader));
    check_error(ferry_region_writer_open(node, "map", SMALL, NULL, &writer), -EEXIST, "map machine");
    child_kill(b);
    int64_t begin = monotonic();
    check_is(ferry_region_wait(reader, 1, PATIENCE), -EPIPE);
    check(monotonic() - begin < 8 * SECOND);
    writer = open_writer(node, "map", SMALL, NULL);
    publish_next(writer);
    check_is(ferry_region_wait(reader, 1, PATIENCE), 0);
    close_writer(writer);
    close_reader(reader);
    close_node(node);
    engine_stop(c->engine);
}

static void versions_go_on_when_the_server_was_restarted(void) {
    common_t *c = common_new();
    pid_t b = child_start(read_first, c);
    ferry_t *node = node_on(c, "a");
    ferry_region_writer_t *writer = open_writer(node, "map", SMALL, NULL);
    publish_next(writer);
    await(&c->seen, 1);
    engine_kill(c->engine);
    publish_next(writer);
    publish_next(writer);
    engine_restart(c->engine);
    await(&c->seen, 3);
    publish_next(writer);
    await(&c->seen, 4);
    close_writer(writer);
    child_join(b);
    close_node(node);
    engine_stop(c->engine);
}

/* ---- an end that is said while nobody hears it ---- */

/* The first on its machine, so it has the copy; and it waits for nothing until it is told to. */
static void hold_copy_by_far_line(void *arg) {
    lines_t *s = arg;
    ferry_t *node = lines_node(s, "b", s->far);
    ferry_region_reader_t *reader = open_reader(node, "map", NULL);
    check_is(ferry_region_wait(reader, 0, PATIENCE), 0);
    atomic_store(&s->ready, 1);
    await(&s->received, 2);
    check_is(ferry_region_wait(reader, 1, PATIENCE), -EPIPE);
    close_reader(reader);
    close_node(node);
}

static void wait_by_far_line(void *arg) {
    lines_t *s = arg;
    await(&s->ready, 1);
    ferry_t *node = lines_node(s, "b", s->far);
    ferry_region_reader_t *reader = open_reader(node, "map", NULL);
    check_is(ferry_region_wait(reader, 0, PATIENCE), 0);
    atomic_store(&s->received, 1);
    check_is(ferry_region_wait(reader, 1, PATIENCE), -EPIPE);
    atomic_store(&s->received, 2);
    close_reader(reader);
    close_node(node);
}

static void readers_that_were_cut_off_while_the_writer_closed_learn_of_it(void) {
    lines_t *s = lines_new();
    pid_t holds = child_start(hold_copy_by_far_line, s);
    pid_t waits = child_start(wait_by_far_line, s);
    ferry_t *node = lines_node(s, "a", s->near);
    ferry_region_writer_t *writer = open_writer(node, "map", SMALL, NULL);
    publish_next(writer);
    await(&s->received, 1);
    relay_refuse(s->far, true);
    close_writer(writer);
    relay_refuse(s->far, false);
    child_join(waits);
    child_join(holds);
    close_node(node);
    lines_end(s);
}

static void size_and_type_are_compared(void) {
    common_t *c = common_new();
    pid_t b = child_start(write_and_stay, c);
    pid_t one = child_start(read_first, c);
    await(&c->seen, 1);
    child_kill(one);
    ferry_t *node = node_on(c, "a");
    ferry_region_reader_options_t options = {.bytes = SMALL + 8};
    ferry_region_reader_t *reader;
    check_error(ferry_region_reader_open(node, "map", &options, &reader), -EPROTOTYPE, "map 100000 100008");
    atomic_store(&c->over, 1);
    child_join(b);
    close_node(node);
    engine_stop(c->engine);
}

/* ---- shared regions ---- */

static void hold_region_on_b(void *arg) {
    common_t *c = arg;
    ferry_t *node = node_on(c, "b");
    ferry_region_t *region;
    check_is(ferry_region_open(node, "index", 65536, NULL, &region), 0);
    atomic_store(&c->ready, 1);
    await(&c->over, 1);
    check_is(ferry_region_close(region), 0);
    atomic_store(&c->seen, 1);
    await(&c->over, 2);
    close_node(node);
}

static void a_shared_region_of_another_machine_cannot_be_opened(void) {
    common_t *c = common_new();
    pid_t b = child_start(hold_region_on_b, c);
    ferry_t *node = node_on(c, "a");
    ferry_region_t *region, *again;
    await(&c->ready, 1);
    check_error(ferry_region_open(node, "index", 65536, NULL, &region), -EREMOTE, "index machine");
    check_error(ferry_region_open(node, "index", 0, NULL, &region), -EREMOTE, "index machine");
    atomic_store(&c->over, 1);
    await(&c->seen, 1);
    check_is(ferry_region_open(node, "index", 0, NULL, &region), -ENOENT);
    check_is(ferry_region_open(node, "index", 65536, NULL, &region), 0);
    check_is(ferry_region_open(node, "index", 65536, NULL, &again), 0);
    check_is(ferry_region_close(again), 0);
    check_is(ferry_region_close(region), 0);
    atomic_store(&c->over, 2);
    child_join(b);
    close_node(node);
    engine_stop(c->engine);
}

int main(int argc, char **argv) {
    static const test_t tests[] = {
        TEST(only_what_changed_travels_and_readers_see_whole_versions),
        TEST(readers_of_a_machine_share_a_copy_and_outlive_the_process_that_has_it),
        TEST(the_writer_does_not_wait_for_a_reader_elsewhere),
        TEST(a_killed_writer_is_told_and_another_may_follow),
        TEST(versions_go_on_when_the_server_was_restarted),
        TEST(readers_that_were_cut_off_while_the_writer_closed_learn_of_it),
        TEST(size_and_type_are_compared),
        TEST(a_shared_region_of_another_machine_cannot_be_opened),
    };
    return run_suite("net_published", tests, sizeof tests / sizeof tests[0], argc, argv);
}
