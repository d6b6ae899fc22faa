/* SPDX-License-Identifier: MIT
 *
 * published.c - published regions: which versions readers see, and that these stay as they are.
 */
#include "published.h"
#include "harness.h"

#include <stdlib.h>
#include <string.h>

#define REGION "map"

/* ---- whole versions, while the writer goes on ---- */

#define STAMPED_BYTES (200u * 1024 + 40) /* the last granule is a part of one */
#define STAMPED_VERSIONS (UNDER_TSAN ? 600u : 3000u)
#define STAMPING_READERS 3u

typedef struct show {
    atomic_uint readers;
    atomic_uint seen;
    ferry_wait_t wait;
} show_t;

static void stamp_all_versions(ferry_t *node, void *arg) {
    show_t *show = arg;
    ferry_region_writer_options_t options = {.type_name = "stamps", .wait = show->wait};
    ferry_region_writer_t *writer = open_writer(node, REGION, STAMPED_BYTES, &options);
    await(&show->readers, STAMPING_READERS);
    for (uint64_t v = 1; v <= STAMPED_VERSIONS; v++) {
        stamp(writer, STAMPED_BYTES, v);
        check_is(publish(writer), v);
    }
    await(&show->seen, STAMPING_READERS);
    close_writer(writer);
}

/* Views are held in a chain, so that older ones are looked at again when newer ones are there. */
static void watch_stamps(ferry_t *node, void *arg) {
    show_t *show = arg;
    ferry_region_reader_options_t options = {.wait = show->wait};
    ferry_region_reader_t *reader = open_reader(node, REGION, &options);
    unsigned mine = atomic_fetch_add(&show->readers, 1);
    ferry_region_view_t *before = NULL;
    uint64_t last = 0;
    while (last < STAMPED_VERSIONS) {
        check_is(ferry_region_wait(reader, last, PATIENCE), 0);
        ferry_region_view_t *view = view_newest(reader);
        check(ferry_view_version(view) > last);
        last = ferry_view_version(view);
        check_is(ferry_view_size(view), STAMPED_BYTES);
        check(is_whole(view));
        check(!before || is_whole(before));
        check_is(ferry_view_release(before), 0);
        before = view;
        if (mine == 1)
            nap(MILLISECOND); /* one that does not keep up */
    }
    stop_viewing(before);
    close_reader(reader);
    atomic_fetch_add(&show->seen, 1);
}

static void run_show(where_t where, ferry_wait_t wait) {
    show_t *show = share(sizeof *show);
    show->wait = wait;
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < STAMPING_READERS; i++)
        crew_add(crew, watch_stamps, show);
    crew_add(crew, stamp_all_versions, show);
    crew_end(crew);
}

static void versions_are_whole_and_stay_as_they_are_while_the_writer_goes_on(where_t where) {
    run_show(where, FERRY_WAIT_ADAPTIVE);
}

static void versions_are_whole_when_everybody_sleeps(where_t where) {
    run_show(where, FERRY_WAIT_BLOCK);
}

/* ---- what is copied is what was touched ---- */

#define MODEL_BYTES 300007u
#define MODEL_VERSIONS 800u

typedef struct change {
    uint32_t at;
    uint32_t bytes;
    unsigned char byte;
} change_t;

/* The changes of a version follow from its number, so every reader can make them again. */
static unsigned changes_of(uint64_t version, change_t changes[20]) {
    uint64_t state = version * 0x9e3779b97f4a7c15ull;
    unsigned count = (unsigned)(version % 20);
    for (unsigned i = 0; i < count; i++) {
        state ^= state >> 29;
        state *= 0xbf58476d1ce4e5b9ull;
        change_t *c = &changes[i];
        c->at = (uint32_t)(state >> 20) % MODEL_BYTES;
        uint32_t most = version % 50 == 7 ? MODEL_BYTES : i % 3 == 0 ? 9000 : 90;
        uint32_t left = MODEL_BYTES - c->at;
        c->bytes = 1 + (uint32_t)(state >> 40) % (left < most ? left : most);
        c->byte = (unsigned char)(state >> 8);
    }
    return count;
}

static void change_all(unsigned char *bytes, uint64_t version, ferry_region_writer_t *writer) {
    change_t changes[20];
    unsigned count = changes_of(version, changes);
    for (unsigned i = 0; i < count; i++) {
        memset(bytes + changes[i].at, changes[i].byte, changes[i].bytes);
        if (writer)
            check_is(ferry_region_touch(writer, bytes + changes[i].at, changes[i].bytes), 0);
    }
}

static void publish_model(ferry_t *node, void *arg) {
    show_t *show = arg;
    ferry_region_writer_options_t options = {.quota = (uint64_t)12 * MODEL_BYTES + 12 * 4096};
    ferry_region_writer_t *writer = open_writer(node, REGION, MODEL_BYTES, &options);
    await(&show->readers, 2);
    for (uint64_t v = 1; v <= MODEL_VERSIONS; v++) {
        change_all(ferry_region_writer_data(writer), v, writer);
        check_is(publish(writer), v);
        if (v % 16 == 0)
            nap(MILLISECOND / 2);
    }
    await(&show->seen, 2);
    close_writer(writer);
}

static void compare_with_model(ferry_t *node, void *arg) {
    show_t *show = arg;
    ferry_region_reader_t *reader = open_reader(node, REGION, NULL);
    unsigned char *model = calloc(1, MODEL_BYTES);
    ferry_region_view_t *held[5] = {NULL};
    atomic_fetch_add(&show->readers, 1);
    uint64_t version = 0;
    for (unsigned i = 0; version < MODEL_VERSIONS; i++) {
        check_is(ferry_region_wait(reader, version, PATIENCE), 0);
        check_is(ferry_view_release(held[i % 5]), 0); /* so the images that the writer has are of different ages */
        held[i % 5] = view_newest(reader);
        for (uint64_t next = ferry_view_version(held[i % 5]); version < next;)
            change_all(model, ++version, NULL);
        check(memcmp(ferry_view_data(held[i % 5]), model, MODEL_BYTES) == 0);
    }
    for (unsigned i = 0; i < 5; i++)
        check_is(ferry_view_release(held[i]), 0);
    free(model);
    close_reader(reader);
    atomic_fetch_add(&show->seen, 1);
}

static void every_version_is_what_was_written_however_old_its_buffer_was(where_t where) {
    show_t *show = share(sizeof *show);
    crew_t *crew = crew_begin(where);
    crew_add(crew, compare_with_model, show);
    crew_add(crew, compare_with_model, show);
    crew_add(crew, publish_model, show);
    crew_end(crew);
}

/* ---- which version a reader gets ---- */

typedef struct visit {
    atomic_uint may_come;
    atomic_uint came;
    atomic_uint may_look;
    atomic_uint looked;
} visit_t;

static void visit_late_and_sleep_long(ferry_t *node, void *arg) {
    visit_t *visit = arg;
    await(&visit->may_come, 1);
    ferry_region_reader_t *reader = open_reader(node, REGION, NULL);
    ferry_region_view_t *late = view_newest(reader);
    check_is(ferry_view_version(late), 5);
    check(is_whole(late));
    atomic_store(&visit->came, 1);
    await(&visit->may_look, 1);
    ferry_region_view_t *newest = view_newest(reader);
    check_is(ferry_view_version(newest), 40);
    check(is_whole(newest));
    check(is_whole(late));
    ferry_region_view_t *again = view_newest(reader);
    check_is(ferry_view_version(again), 40);
    check(ferry_view_data(again) == ferry_view_data(newest));
    stop_viewing(newest);
    check(is_whole(again));
    stop_viewing(again);
    stop_viewing(late);
    close_reader(reader);
    atomic_store(&visit->looked, 1);
}

static void a_late_reader_and_one_that_slept_get_the_newest_version(where_t where) {
    visit_t *visit = share(sizeof *visit);
    crew_t *crew = crew_begin(where);
    crew_add(crew, visit_late_and_sleep_long, visit);
    ferry_region_writer_t *writer = open_writer(crew_node(crew), REGION, 5000, NULL);
    for (uint64_t v = 1; v <= 40; v++) {
        stamp(writer, 5000, v);
        check_is(publish(writer), v);
        if (v == 5) {
            atomic_store(&visit->may_come, 1);
            await(&visit->came, 1);
        }
    }
    atomic_store(&visit->may_look, 1);
    await(&visit->looked, 1);
    crew_join(crew, 0);
    close_writer(writer);
    crew_end(crew);
}

static void wait_for_first_then_for_third(ferry_t *node, void *arg) {
    visit_t *visit = arg;
    ferry_region_reader_t *reader = open_reader(node, REGION, NULL);
    ferry_region_view_t *view = NULL;
    check_error(ferry_region_view(reader, FERRY_NOW, &view), -EAGAIN, REGION);
    check_error(ferry_region_view(reader, MILLISECOND, &view), -ETIMEDOUT, REGION);
    check_error(ferry_region_wait(reader, 0, FERRY_NOW), -EAGAIN, REGION);
    check_error(ferry_region_wait(reader, 0, MILLISECOND), -ETIMEDOUT, REGION);
    check(view == NULL);
    atomic_store(&visit->came, 1);
    view = view_newest(reader);
    check_is(ferry_view_version(view), 1);
    stop_viewing(view);
    check_is(ferry_region_wait(reader, 0, FERRY_NOW), 0);
    check_error(ferry_region_wait(reader, 1, FERRY_NOW), -EAGAIN, "newer");
    check_error(ferry_region_wait(reader, 1, MILLISECOND), -ETIMEDOUT, "newer");
    atomic_store(&visit->looked, 1);
    check_is(ferry_region_wait(reader, 2, PATIENCE), 0);
    view = view_newest(reader);
    check_is(ferry_view_version(view), 3);
    check(is_whole(view));
    stop_viewing(view);
    close_reader(reader);
}

static void a_reader_waits_for_the_version_that_it_asked_for(where_t where) {
    visit_t *visit = share(sizeof *visit);
    crew_t *crew = crew_begin(where);
    crew_add(crew, wait_for_first_then_for_third, visit);
    await(&visit->came, 1);
    nap(20 * MILLISECOND);
    ferry_region_writer_t *writer = open_writer(crew_node(crew), REGION, 100, NULL);
    nap(20 * MILLISECOND);
    stamp(writer, 100, 1);
    publish(writer);
    await(&visit->looked, 1);
    for (uint64_t v = 2; v <= 3; v++) {
        nap(20 * MILLISECOND);
        stamp(writer, 100, v);
        publish(writer);
    }
    crew_join(crew, 0);
    close_writer(writer);
    crew_end(crew);
}

static void a_version_is_not_lost_when_its_writer_closes_at_once(void) {
    ferry_t *node = open_node("test");
    ferry_region_reader_t *reader = open_reader(node, REGION, NULL);
    ferry_region_view_t *view = NULL;
    ferry_region_writer_t *writer = open_writer(node, REGION, 1000, NULL);
    stamp(writer, 1000, 1);
    publish(writer);
    stamp(writer, 1000, 2);
    publish(writer);
    close_writer(writer);
    view = view_newest(reader);
    check_is(ferry_view_version(view), 2);
    check(is_whole(view));
    stop_viewing(view);
    check_error(ferry_region_wait(reader, 2, PATIENCE), -EPIPE, "closed");
    view = view_newest(reader); /* it was seen, so it can be seen again */
    check_is(ferry_view_version(view), 2);
    check(is_whole(view));
    stop_viewing(view);
    close_reader(reader);
    close_node(node);
}

static void a_writer_that_publishes_nothing_leaves_nothing_to_view(void) {
    ferry_t *node = open_node("test");
    ferry_region_reader_t *reader = open_reader(node, REGION, NULL);
    ferry_region_view_t *view = NULL;
    close_writer(open_writer(node, REGION, 1000, NULL));
    check_error(ferry_region_view(reader, PATIENCE, &view), -EPIPE, REGION);
    check_error(ferry_region_wait(reader, 0, PATIENCE), -EPIPE, REGION);
    check(view == NULL);
    close_reader(reader);
    close_node(node);
}

static void a_new_writers_first_version_is_newer_than_all_of_the_one_before(void) {
    ferry_t *node = open_node("test");
    ferry_region_reader_t *reader = open_reader(node, REGION, NULL);
    ferry_region_writer_t *writer = open_writer(node, REGION, 1000, NULL);
    for (uint64_t v = 1; v <= 9; v++) {
        stamp(writer, 1000, v);
        publish(writer);
    }
    ferry_region_view_t *old = view_newest(reader);
    check_is(ferry_view_version(old), 9);
    close_writer(writer);
    writer = open_writer(node, REGION, 1000, NULL);
    check_error(ferry_region_wait(reader, 9, FERRY_NOW), -EAGAIN, "newer");
    check_is(publish(writer), 1);
    check_is(ferry_region_wait(reader, 9, PATIENCE), 0);
    check_is(ferry_region_wait(reader, 9, FERRY_NOW), 0); /* still not seen */
    ferry_region_view_t *fresh = view_newest(reader);
    check_is(ferry_view_version(fresh), 1);
    check(stamped(fresh, 0) && is_whole(old));
    check_error(ferry_region_wait(reader, 1, FERRY_NOW), -EAGAIN, "newer"); /* from now on its numbers count */
    stop_viewing(old);
    stop_viewing(fresh);
    close_writer(writer);
    close_reader(reader);
    close_node(node);
}

/* It has a version of each of them before it, and takes them in whatever order. */
static void a_reader_that_slept_through_several_writers_sees_the_last_ones(void) {
    enum { WRITERS = 5 };
    for (unsigned count = 1; count <= WRITERS; count++) {
        ferry_t *node = open_node("test");
        ferry_region_reader_t *reader = open_reader(node, REGION, NULL);
        for (uint64_t i = 1; i <= count; i++) {
            ferry_region_writer_t *writer = open_writer(node, REGION, 1000, NULL);
            stamp(writer, 1000, 100 * i);
            publish(writer);
            close_writer(writer);
        }
        for (unsigned i = 0; i < 3; i++) {
            ferry_region_view_t *view = view_newest(reader);
            check(stamped(view, 100ull * count));
            stop_viewing(view);
        }
        close_reader(reader);
        close_node(node);
    }
}

static void a_reader_sees_the_writers_buffer_not_a_copy(void) {
    ferry_t *node = open_node("test"), *other = open_node("test");
    ferry_region_reader_t *near = open_reader(node, REGION, NULL), *far = open_reader(other, REGION, NULL);
    ferry_region_writer_t *writer = open_writer(node, REGION, 5000, NULL);
    publish(writer);
    ferry_region_view_t *views[] = {view_newest(near), view_newest(far)};
    ferry_msg_place_t places[2] = {{0}, {.size = sizeof places[0]}};
    for (unsigned i = 0; i < 2; i++) {
        check_is(ferry_view_place(views[i], &places[i]), 0);
        check((uintptr_t)ferry_view_data(views[i]) % 4096 == 0);
    }
    check(places[0].inode != 0 && places[0].inode == places[1].inode && places[0].offset == places[1].offset);
    check_is(writer_stats(writer).readers, 2);
    for (unsigned i = 0; i < 2; i++)
        stop_viewing(views[i]);
    close_reader(near);
    close_reader(far);
    close_writer(writer);
    close_node(node);
    close_node(other);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST_ALL(versions_are_whole_and_stay_as_they_are_while_the_writer_goes_on),
        TEST_BOTH(versions_are_whole_when_everybody_sleeps),
        TEST_ALL(every_version_is_what_was_written_however_old_its_buffer_was),
        TEST_ALL(a_late_reader_and_one_that_slept_get_the_newest_version),
        TEST_ALL(a_reader_waits_for_the_version_that_it_asked_for),
        TEST(a_version_is_not_lost_when_its_writer_closes_at_once),
        TEST(a_writer_that_publishes_nothing_leaves_nothing_to_view),
        TEST(a_new_writers_first_version_is_newer_than_all_of_the_one_before),
        TEST(a_reader_that_slept_through_several_writers_sees_the_last_ones),
        TEST(a_reader_sees_the_writers_buffer_not_a_copy),
    };
    return run_suite("published", tests, sizeof tests / sizeof tests[0], argc, argv);
}
