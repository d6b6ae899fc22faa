/* SPDX-License-Identifier: MIT
 *
 * published_death.c - processes that die at any moment: what readers of a published region see, and who may write next.
 */
#include "harness.h"
#include "published.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#define REGION "map"
#define BYTES (120u * 1024 + 8)
#define WRITERS 20u
#define READERS 3u

/* ---- writers, one after the other ---- */

typedef struct dynasty {
    atomic_uint published; /* by the one who writes now */
    atomic_uint reign;     /* number of that one */
    atomic_uint over;
    atomic_uint readers;
    atomic_uint seen[READERS]; /* the reign of the last version that each has viewed */
} dynasty_t;

/* In each granule: the reign, and below it the version. */
static void write_without_end(void *arg) {
    dynasty_t *d = arg;
    ferry_t *node = open_node("test");
    ferry_region_writer_t *writer = open_writer(node, REGION, BYTES, NULL);
    uint64_t reign = atomic_load(&d->reign);
    for (uint64_t v = 1;; v++) {
        stamp(writer, BYTES, reign << 32 | v);
        check_is(publish(writer), v);
        atomic_store(&d->published, (unsigned)v);
    }
}

/* Order within a reign, whole versions, and no way back to an earlier reign. */
static void follow(void *arg) {
    dynasty_t *d = arg;
    ferry_t *node = open_node("test");
    ferry_region_reader_t *reader = open_reader(node, REGION, NULL);
    atomic_uint *seen = &d->seen[atomic_fetch_add(&d->readers, 1)];
    uint64_t reign = 0, version = 0;
    while (!atomic_load(&d->over)) {
        int answer = ferry_region_wait(reader, version, 20 * MILLISECOND);
        if (answer == -ETIMEDOUT || answer == -EPIPE) {
            nap(MILLISECOND); /* between two reigns */
            continue;
        }
        check_is(answer, 0);
        ferry_region_view_t *view = view_newest(reader);
        uint64_t word;
        memcpy(&word, ferry_view_data(view), sizeof word);
        check(stamped(view, word));
        check_is(word & UINT32_MAX, ferry_view_version(view));
        check(word >> 32 > reign || (word >> 32 == reign && ferry_view_version(view) > version));
        reign = word >> 32;
        version = ferry_view_version(view);
        check(stamped(view, word));
        stop_viewing(view);
        atomic_store(seen, (unsigned)reign);
    }
    close_reader(reader);
    close_node(node);
}

static void writers_follow_each_other_and_readers_see_whole_versions_of_each(void) {
    dynasty_t *d = share(sizeof *d);
    pid_t readers[READERS];
    for (unsigned i = 0; i < READERS; i++)
        readers[i] = child_start(follow, d);
    for (unsigned i = 0; i < WRITERS; i++) {
        bool soon = i % 2 == 0; /* half of them die while they open it, or soon after */
        atomic_store(&d->reign, i + 1);
        atomic_store(&d->published, 0);
        pid_t writer = child_start(write_without_end, d);
        for (unsigned k = 0; k < READERS && !soon; k++)
            await(&d->seen[k], i + 1);
        await(&d->published, soon ? 0 : i * 7);
        nap((int64_t)i * MILLISECOND / 5);
        child_kill(writer);
    }
    atomic_store(&d->over, 1);
    for (unsigned i = 0; i < READERS; i++)
        child_join(readers[i]);
}

/* ---- what a dead writer leaves ---- */

typedef struct last {
    atomic_uint ready;
    atomic_uint written;
    unsigned versions;
    unsigned readers; /* that are to be linked before: one that was not within a second may miss all */
} last_t;

static bool are_linked(void *arg) {
    ferry_region_writer_t *writer = arg;
    return writer_stats(writer).readers > 0;
}

static void publish_and_be_killed(void *arg) {
    last_t *last = arg;
    ferry_t *node = open_node("test");
    ferry_region_writer_t *writer = open_writer(node, REGION, BYTES, NULL);
    await(&last->ready, 1);
    if (last->readers > 0)
        await_that(are_linked, writer, "the reader is not linked with the writer");
    for (uint64_t v = 1; v <= last->versions; v++) {
        stamp(writer, BYTES, v);
        publish(writer);
    }
    atomic_store(&last->written, 1);
    raise(SIGKILL);
}

/* 1: the first buffer was never announced before; 3: all of them were. */
static void leave_versions_behind(unsigned versions) {
    last_t *last = share(sizeof *last);
    last->versions = versions;
    last->readers = 1;
    pid_t writer = child_start(publish_and_be_killed, last);
    ferry_t *node = open_node("test");
    ferry_region_reader_t *reader = open_reader(node, REGION, NULL);
    atomic_store(&last->ready, 1);
    check_is(WTERMSIG(child_wait(writer)), SIGKILL);
    for (unsigned i = 0; i < 3; i++) {
        ferry_region_view_t *view = view_newest(reader);
        check_is(ferry_view_version(view), versions);
        check(is_whole(view));
        stop_viewing(view);
        check_error(ferry_region_wait(reader, versions, PATIENCE), -EPIPE, REGION " died");
    }
    ferry_region_writer_t *next = open_writer(node, REGION, BYTES, NULL); /* at once */
    check_is(publish(next), 1);
    check_is(ferry_region_wait(reader, versions, PATIENCE), 0);
    close_writer(next);
    close_reader(reader);
    close_node(node);
}

static void what_was_published_before_the_death_can_still_be_taken(void) {
    for (unsigned versions = 1; versions <= 5; versions++)
        leave_versions_behind(versions);
}

static void a_reader_that_comes_after_the_death_waits_for_the_next_writer(void) {
    last_t *last = share(sizeof *last);
    last->versions = 2;
    atomic_store(&last->ready, 1);
    check_is(WTERMSIG(child_wait(child_start(publish_and_be_killed, last))), SIGKILL);
    ferry_t *node = open_node("test");
    ferry_region_reader_t *reader = open_reader(node, REGION, NULL);
    ferry_region_view_t *view = NULL;
    check_error(ferry_region_view(reader, 20 * MILLISECOND, &view), -ETIMEDOUT, REGION);
    ferry_region_writer_options_t options = {.type_name = "other"}; /* the dead one's opinions do not count either */
    ferry_region_writer_t *writer = open_writer(node, REGION, BYTES + 1, &options);
    publish(writer);
    view = view_newest(reader);
    check_is(ferry_view_size(view), BYTES + 1);
    stop_viewing(view);
    close_writer(writer);
    close_reader(reader);
    close_node(node);
}

/* Whether others have noticed the death or not: the kernel knows. */
static void the_next_writer_can_open_as_soon_as_the_one_before_is_dead(void) {
    enum { DEATHS = 60 };
    last_t *last = share(sizeof *last);
    for (unsigned i = 0; i < DEATHS; i++) {
        *last = (last_t){.versions = 1};
        pid_t writer = child_start(publish_and_be_killed, last);
        /* Mostly somebody is there before who is connected with the dead one. */
        ferry_t *node = i % 4 ? open_node("test") : NULL;
        ferry_region_reader_t *reader = node ? open_reader(node, REGION, NULL) : NULL;
        atomic_store(&last->ready, 1);
        check_is(WTERMSIG(child_wait(writer)), SIGKILL);
        node = node ? node : open_node("test");
        ferry_region_writer_t *next = open_writer(node, REGION, BYTES, NULL);
        check_is(publish(next), 1);
        close_writer(next);
        check_is(ferry_region_reader_close(reader), 0);
        close_node(node);
    }
}

/* ---- readers ---- */

typedef struct audience {
    atomic_uint viewing;
} audience_t;

static void view_without_end(void *arg) {
    audience_t *a = arg;
    ferry_t *node = open_node("test");
    ferry_region_reader_t *reader = open_reader(node, REGION, NULL);
    ferry_region_view_t *views[2] = {NULL};
    for (unsigned i = 0;; i++) {
        check_is(ferry_view_release(views[i % 2]), 0);
        views[i % 2] = view_newest(reader);
        check(is_whole(views[i % 2]));
        atomic_fetch_add(&a->viewing, 1);
    }
}

/* With two views each, readers leave the writer no buffer but the last one. */
static void readers_that_die_give_their_buffers_back(void) {
    enum { KILLS = 15 };
    audience_t *audience = share(sizeof(audience_t) * KILLS);
    pid_t readers[KILLS];
    for (unsigned i = 0; i < KILLS; i++)
        readers[i] = child_start(view_without_end, &audience[i]);
    ferry_t *node = open_node("test");
    ferry_region_writer_options_t options = {.quota = 34 * (uint64_t)(BYTES + 4096)};
    ferry_region_writer_t *writer = open_writer(node, REGION, BYTES, &options);
    uint64_t version = 0;
    for (unsigned i = 0; i < KILLS; i++) {
        unsigned seen = atomic_load(&audience[i].viewing);
        int64_t end = monotonic() + PATIENCE;
        do {
            stamp(writer, BYTES, ++version);
            check_is(publish(writer), version);
        } while (atomic_load(&audience[i].viewing) < seen + 3 && monotonic() < end);
        child_kill(readers[i]);
    }
    for (int64_t end = monotonic() + PATIENCE; writer_stats(writer).held > 1 && monotonic() < end;)
        nap(MILLISECOND);
    ferry_region_writer_stats_t stats = writer_stats(writer);
    check_is(stats.held, 1);
    check_is(stats.readers, 0);
    check(stats.memory <= stats.quota);
    close_writer(writer);
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(writers_follow_each_other_and_readers_see_whole_versions_of_each),
        TEST(what_was_published_before_the_death_can_still_be_taken),
        TEST(a_reader_that_comes_after_the_death_waits_for_the_next_writer),
        TEST(the_next_writer_can_open_as_soon_as_the_one_before_is_dead),
        TEST(readers_that_die_give_their_buffers_back),
    };
    return run_suite("published_death", tests, sizeof tests / sizeof tests[0], argc, argv);
}
