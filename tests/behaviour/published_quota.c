/* SPDX-License-Identifier: MIT
 *
 * published_quota.c - what publishing costs: what is copied, how many buffers there are, who is waited for.
 */
#include "harness.h"
#include "published.h"

#include <string.h>
#include <time.h>

#define REGION "map"
#define BYTES (20u * 4096)
#define WAKE_UPS 600u

/* ---- what is copied ---- */

static void touch(ferry_region_writer_t *writer, uint64_t at, uint64_t bytes) {
    char *data = ferry_region_writer_data(writer);
    memset(data + at, 'x', bytes);
    check_is(ferry_region_touch(writer, data + at, bytes), 0);
}

static uint64_t copied_by_publishing(ferry_region_writer_t *writer) {
    uint64_t before = writer_stats(writer).copied_bytes;
    uint64_t version = publish(writer);
    ferry_region_writer_stats_t after = writer_stats(writer);
    check_is(after.version, version);
    check_is(after.last_copied, after.copied_bytes - before);
    return after.last_copied;
}

/* Two buffers alternate: each lacks what was touched for this version and for the one before. */
static void only_what_was_touched_is_copied(void) {
    ferry_t *node = open_node("test");
    ferry_region_writer_t *writer = open_writer(node, REGION, BYTES + 10, NULL);
    check_is(copied_by_publishing(writer), BYTES + 10); /* new buffers lack everything */
    check_is(copied_by_publishing(writer), BYTES + 10);
    check_is(copied_by_publishing(writer), 0);
    touch(writer, 100, 1);
    check_is(copied_by_publishing(writer), GRANULE);
    check_is(copied_by_publishing(writer), GRANULE); /* the other one */
    check_is(copied_by_publishing(writer), 0);
    touch(writer, 63, 2); /* across an edge */
    touch(writer, 63, 2);
    check_is(copied_by_publishing(writer), 2 * GRANULE);
    touch(writer, 5 * 4096, 4096);
    check_is(copied_by_publishing(writer), 4096 + 2 * GRANULE);
    touch(writer, 5 * 4096 + 128, 64);
    check_is(copied_by_publishing(writer), 4096); /* both had touched the same */
    check_is(copied_by_publishing(writer), GRANULE);
    touch(writer, BYTES + 9, 1);
    check_is(copied_by_publishing(writer), 10);
    check_is(copied_by_publishing(writer), 10);
    touch(writer, 0, BYTES + 10);
    check_is(copied_by_publishing(writer), BYTES + 10);
    check_is(copied_by_publishing(writer), BYTES + 10);
    check_is(ferry_region_touch(writer, (char *)ferry_region_writer_data(writer) + 500, 0), 0);
    check_is(copied_by_publishing(writer), 0);
    check_is(writer_stats(writer).buffers, 2);
    close_writer(writer);
    close_node(node);
}

static void the_buffer_that_lacks_least_is_taken(void) {
    ferry_t *node = open_node("test");
    ferry_region_writer_t *writer = open_writer(node, REGION, BYTES, NULL);
    ferry_region_reader_t *reader = open_reader(node, REGION, NULL);
    publish(writer);
    ferry_region_view_t *first = view_newest(reader);
    publish(writer);
    ferry_region_view_t *second = view_newest(reader);
    publish(writer);
    publish(writer); /* a fourth buffer: the first two are viewed, the third is the newest */
    check_is(writer_stats(writer).buffers, 4);
    stop_viewing(first);
    stop_viewing(second);
    for (unsigned i = 0; i < 10; i++) {
        touch(writer, i * 4096ull, GRANULE);
        check_is(copied_by_publishing(writer), (i == 0 ? 1 : 2) * GRANULE);
    }
    close_reader(reader);
    close_writer(writer);
    close_node(node);
}

/* ---- who is waited for ---- */

static void views_hold_their_buffers_and_nothing_else_does(void) {
    ferry_t *node = open_node("test");
    ferry_region_writer_options_t options = {.quota = 3 * BYTES};
    ferry_region_writer_t *writer = open_writer(node, REGION, BYTES, &options);
    ferry_region_reader_t *reader = open_reader(node, REGION, NULL);
    uint64_t version = 77;
    for (uint64_t v = 1; v <= 2; v++) {
        stamp(writer, BYTES, v);
        publish(writer);
    }
    check_is(writer_stats(writer).held, 1);
    ferry_region_view_t *second = view_newest(reader), *second_again = view_newest(reader);
    check_is(writer_stats(writer).held, 1); /* the newest one is held anyway */
    stamp(writer, BYTES, 3);
    publish(writer);
    check_is(writer_stats(writer).held, 2);
    ferry_region_view_t *third = view_newest(reader);
    stamp(writer, BYTES, 4);
    publish(writer);
    check_is(writer_stats(writer).held, 3);
    stamp(writer, BYTES, 5);
    check_error(ferry_region_publish(writer, FERRY_NOW, &version), -EDQUOT, REGION " 3 versions quota");
    check_error(ferry_region_publish(writer, 5 * MILLISECOND, &version), -ETIMEDOUT, REGION " 3 versions quota");
    check_is(version, 77);
    check_is(writer_stats(writer).version, 4);
    check_is(writer_stats(writer).waits, 1);
    check(stamped(second, 2) && stamped(third, 3));
    stop_viewing(second);
    check_error(ferry_region_publish(writer, FERRY_NOW, &version), -EDQUOT, REGION); /* there is one more view of it */
    stop_viewing(second_again);
    check_is(ferry_region_publish(writer, FERRY_NOW, &version), 0); /* and what was touched before is in it */
    check_is(version, 5);
    check(stamped(third, 3));
    stop_viewing(third);
    ferry_region_view_t *fifth = view_newest(reader);
    check(stamped(fifth, 5));
    stop_viewing(fifth);
    ferry_region_writer_stats_t stats = writer_stats(writer);
    check_is(stats.buffers, 3);
    check_is(stats.memory, 3 * BYTES);
    check_is(stats.quota, 3 * BYTES);
    check_is(stats.held, 1);
    close_reader(reader);
    close_writer(writer);
    close_node(node);
}

/* However many there are, and whichever versions they have seen last. */
static void readers_without_views_never_hold_the_writer_back(void) {
    enum { IDLE = 6 };
    ferry_t *node = open_node("test"), *other = open_node("test");
    ferry_region_writer_options_t options = {.quota = 2 * BYTES};
    ferry_region_writer_t *writer = open_writer(node, REGION, BYTES, &options);
    ferry_region_reader_t *idle[IDLE], *never_looks = open_reader(other, REGION, NULL);
    uint64_t version = 0;
    for (unsigned i = 0; i < IDLE; i++)
        idle[i] = open_reader(i % 2 ? node : other, REGION, NULL);
    for (uint64_t v = 1; v <= 50; v++) {
        stamp(writer, BYTES, v);
        check_is(ferry_region_publish(writer, FERRY_NOW, &version), 0);
        if (v <= IDLE) {
            ferry_region_reader_t *reader = idle[v - 1];
            check_is(ferry_region_wait(reader, v - 1, PATIENCE), 0);
            if (v % 2) { /* the others have only waited for it */
                ferry_region_view_t *view = view_newest(reader);
                check(is_whole(view));
                stop_viewing(view);
            }
        }
    }
    check_is(writer_stats(writer).buffers, 2);
    for (unsigned i = 0; i < IDLE; i++) {
        ferry_region_view_t *view = view_newest(idle[i]);
        check_is(ferry_view_version(view), 50);
        check(is_whole(view));
        stop_viewing(view);
        close_reader(idle[i]);
    }
    close_reader(never_looks);
    close_writer(writer);
    close_node(node);
    close_node(other);
}

typedef struct jam {
    atomic_uint viewing;
    atomic_uint published;
    atomic_uint may_release;
    bool dies;
} jam_t;

static void view_until_told(ferry_t *node, void *arg) {
    jam_t *jam = arg;
    ferry_region_reader_t *reader = open_reader(node, REGION, NULL);
    ferry_region_view_t *view = view_newest(reader);
    atomic_store(&jam->viewing, 1);
    await(&jam->may_release, 1);
    nap(50 * MILLISECOND); /* so that the writer probably sleeps */
    check_is(jam->published, 0);
    check(is_whole(view));
    if (jam->dies)
        crew_die();
    stop_viewing(view);
    await(&jam->published, 1);
    close_reader(reader);
}

static void a_waiting_writer_goes_on(where_t where, bool reader_dies) {
    jam_t *jam = share(sizeof *jam);
    jam->dies = reader_dies;
    crew_t *crew = crew_begin(where);
    unsigned viewer = crew_add(crew, view_until_told, jam);
    ferry_region_writer_options_t options = {.quota = 2 * BYTES};
    ferry_region_writer_t *writer = open_writer(crew_node(crew), REGION, BYTES, &options);
    stamp(writer, BYTES, 1);
    publish(writer);
    await(&jam->viewing, 1);
    stamp(writer, BYTES, 2);
    check_is(publish(writer), 2);
    atomic_store(&jam->may_release, 1);
    stamp(writer, BYTES, 3);
    check_is(publish(writer), 3); /* waits */
    atomic_store(&jam->published, 1);
    ferry_region_writer_stats_t stats = writer_stats(writer);
    check_is(stats.waits, 1);
    check_is(stats.buffers, 2);
    if (reader_dies)
        crew_bury(crew, viewer);
    close_writer(writer);
    crew_end(crew);
}

static void a_waiting_writer_goes_on_when_a_view_is_released(where_t where) {
    a_waiting_writer_goes_on(where, false);
}

static void a_waiting_writer_goes_on_when_a_reader_dies_that_views_between_processes(void) {
    a_waiting_writer_goes_on(IN_PROCESSES, true);
}

/* One that was not woken would find out by itself when it looks for deadlocks, which it does after 50 ms, then ever
 * more seldom. */
static void release_each_version(ferry_t *node, void *arg) {
    jam_t *jam = arg;
    ferry_region_reader_t *reader = open_reader(node, REGION, NULL);
    for (unsigned i = 1; i <= WAKE_UPS; i++) {
        await(&jam->published, i);
        ferry_region_view_t *view = view_newest(reader);
        atomic_store(&jam->viewing, i);
        await(&jam->may_release, i);
        nap(MILLISECOND / 5); /* so that the writer probably sleeps */
        stop_viewing(view);
    }
    close_reader(reader);
}

static void a_waiting_writer_is_woken_each_time(where_t where) {
    jam_t *jam = share(sizeof *jam);
    crew_t *crew = crew_begin(where);
    crew_add(crew, release_each_version, jam);
    ferry_region_writer_options_t options = {.quota = 2 * BYTES, .wait = FERRY_WAIT_BLOCK};
    ferry_region_writer_t *writer = open_writer(crew_node(crew), REGION, BYTES, &options);
    publish(writer);
    unsigned slow = 0;
    for (unsigned i = 1; i <= WAKE_UPS; i++) {
        atomic_store(&jam->published, i);
        await(&jam->viewing, i);
        publish(writer);
        int64_t begin = monotonic();
        atomic_store(&jam->may_release, i);
        publish(writer);
        slow += monotonic() - begin >= 50 * MILLISECOND;
    }
    check(slow <= WAKE_UPS / 2); /* a busy machine makes some, too */
    crew_join(crew, 0);
    close_writer(writer);
    crew_end(crew);
}

static void a_waiting_writer_does_not_go_on_without_end(void) {
    ferry_t *node = open_node("test");
    ferry_region_writer_options_t options = {.quota = 2 * BYTES, .wait = FERRY_WAIT_BLOCK};
    ferry_region_writer_t *writer = open_writer(node, REGION, BYTES, &options);
    ferry_region_reader_t *reader = open_reader(node, REGION, NULL);
    publish(writer);
    ferry_region_view_t *view = view_newest(reader);
    publish(writer);
    int64_t begin = monotonic();
    check_error(ferry_region_publish(writer, 100 * MILLISECOND, NULL), -ETIMEDOUT, REGION);
    check(monotonic() - begin >= 100 * MILLISECOND);
    check_is(ferry_shutdown(node), 0);
    check_error(ferry_region_publish(writer, FERRY_FOREVER, NULL), -ESHUTDOWN, REGION);
    stop_viewing(view);
    close_reader(reader);
    close_writer(writer);
    close_node(node);
}

/* ---- how many ---- */

static void one_reader_can_view_64_versions_and_is_told_when_it_wants_more(void) {
    enum { MOST = 64 };
    ferry_t *node = open_node("test");
    ferry_region_writer_options_t options = {.quota = 100 * 4096};
    ferry_region_writer_t *writer = open_writer(node, REGION, 500, &options);
    ferry_region_reader_t *reader = open_reader(node, REGION, NULL);
    ferry_region_view_t *views[MOST], *more = NULL;
    for (uint64_t v = 1; v <= MOST; v++) {
        stamp(writer, 500, v);
        check_is(publish(writer), v);
        views[v - 1] = view_newest(reader);
        check_is(ferry_view_version(views[v - 1]), v);
    }
    stamp(writer, 500, MOST + 1);
    publish(writer);
    check_error(ferry_region_view(reader, FERRY_NOW, &more), -EDQUOT, REGION " 64 release");
    for (uint64_t v = 1; v <= MOST; v++)
        check(stamped(views[v - 1], v));
    stop_viewing(views[10]);
    more = view_newest(reader);
    check_is(ferry_view_version(more), MOST + 1);
    check(is_whole(more));
    stop_viewing(more);
    for (uint64_t v = 1; v <= MOST; v++)
        if (v != 11)
            stop_viewing(views[v - 1]);
    close_reader(reader);
    close_writer(writer);
    close_node(node);
}

static void buffers_that_are_not_needed_any_more_go_back(void) {
    enum { VIEWS = 10 };
    ferry_t *node = open_node("test"), *other = open_node("test");
    ferry_region_writer_options_t options = {.quota = 20 * BYTES};
    ferry_region_writer_t *writer = open_writer(node, REGION, BYTES, &options);
    ferry_region_reader_t *reader = open_reader(other, REGION, NULL), *behind = open_reader(other, REGION, NULL);
    ferry_region_view_t *views[VIEWS];
    for (uint64_t v = 1; v <= VIEWS; v++) {
        stamp(writer, BYTES, v);
        publish(writer);
        views[v - 1] = view_newest(reader);
        if (v == VIEWS / 2)
            stop_viewing(view_newest(behind));
    }
    publish(writer);
    check_is(writer_stats(writer).buffers, VIEWS + 1);
    for (unsigned i = 0; i < VIEWS; i++) {
        check(stamped(views[i], i + 1));
        stop_viewing(views[i]);
    }
    for (uint64_t v = VIEWS + 2; v < 100; v++) {
        stamp(writer, BYTES, v);
        publish(writer);
        check(is_whole(views[0] = view_newest(reader)));
        stop_viewing(views[0]);
    }
    check_is(writer_stats(writer).buffers, 2);
    check_is(writer_stats(writer).memory, 2 * BYTES);
    check(is_whole(views[0] = view_newest(behind)));
    stop_viewing(views[0]);
    close_reader(reader);
    close_reader(behind);
    close_writer(writer);
    close_node(node);
    close_node(other);
}

static int64_t time_of_this_thread(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * SECOND + t.tv_nsec;
}

/* Notes that grew with each version would make this quadratic. */
static void a_view_that_is_held_for_long_does_not_make_publishing_slow(void) {
    enum { VERSIONS = UNDER_SANITIZER ? 30000 : 300000 };
    ferry_t *node = open_node("test");
    ferry_region_writer_t *writer = open_writer(node, REGION, GRANULE, NULL);
    ferry_region_reader_t *reader = open_reader(node, REGION, NULL);
    stamp(writer, GRANULE, 1);
    publish(writer);
    ferry_region_view_t *view = view_newest(reader);
    int64_t begin = time_of_this_thread();
    for (uint64_t v = 2; v <= VERSIONS; v++) {
        stamp(writer, GRANULE, v);
        check_is(ferry_region_publish(writer, FERRY_NOW, NULL), 0);
    }
    check(time_of_this_thread() - begin < PATIENCE);
    check(stamped(view, 1));
    check_is(writer_stats(writer).buffers, 3);
    stop_viewing(view);
    view = view_newest(reader);
    check_is(ferry_view_version(view), VERSIONS);
    stop_viewing(view);
    close_reader(reader);
    close_writer(writer);
    close_node(node);
}

static void sizes_from_a_byte_to_more_than_the_caches_work(void) {
    static const uint64_t sizes[] = {1, 7, 64, 4096, 4097, 262144, 262145, 20u << 20 | 3};
    ferry_t *node = open_node("test");
    ferry_region_reader_t *reader = open_reader(node, REGION, NULL);
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        close_reader(reader);
        reader = open_reader(node, REGION, NULL);
        ferry_region_writer_t *writer = open_writer(node, REGION, sizes[i], NULL);
        for (unsigned v = 1; v <= 4; v++) {
            unsigned char *data = ferry_region_writer_data(writer);
            fill(data, sizes[i], v);
            check_is(ferry_region_touch(writer, data, sizes[i]), 0);
            publish(writer);
            ferry_region_view_t *view = view_newest(reader);
            check_is(ferry_view_size(view), sizes[i]);
            check(filled(ferry_view_data(view), sizes[i], v));
            stop_viewing(view);
        }
        uint64_t unit = (sizes[i] + 4095) / 4096 * 4096;
        check_is(writer_stats(writer).quota, 4 * unit);
        check_is(writer_stats(writer).memory, 2 * unit);
        close_writer(writer);
    }
    close_reader(reader);
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(only_what_was_touched_is_copied),
        TEST(the_buffer_that_lacks_least_is_taken),
        TEST(views_hold_their_buffers_and_nothing_else_does),
        TEST(readers_without_views_never_hold_the_writer_back),
        TEST_ALL(a_waiting_writer_goes_on_when_a_view_is_released),
        TEST(a_waiting_writer_goes_on_when_a_reader_dies_that_views_between_processes),
        TEST_ALL(a_waiting_writer_is_woken_each_time),
        TEST(a_waiting_writer_does_not_go_on_without_end),
        TEST(one_reader_can_view_64_versions_and_is_told_when_it_wants_more),
        TEST(buffers_that_are_not_needed_any_more_go_back),
        TEST(a_view_that_is_held_for_long_does_not_make_publishing_slow),
        TEST(sizes_from_a_byte_to_more_than_the_caches_work),
    };
    return run_suite("published_quota", tests, sizeof tests / sizeof tests[0], argc, argv);
}
