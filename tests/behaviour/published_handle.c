/* SPDX-License-Identifier: MIT
 *
 * published_handle.c - published regions: what is refused and how it is said, what handles may be used for and by whom.
 */
#include "harness.h"
#include "published.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define REGION "map"
#define BYTES 5000u

/* ---- bad requests ---- */

static int try_writer(ferry_t *node, const char *name, uint64_t bytes, ferry_region_writer_options_t options) {
    ferry_region_writer_t *writer = (void *)&options;
    int r = ferry_region_writer_open(node, name, bytes, &options, &writer);
    check(r < 0 && writer == (void *)&options);
    return r;
}

static int try_reader(ferry_t *node, const char *name, ferry_region_reader_options_t options) {
    ferry_region_reader_t *reader = (void *)&options;
    int r = ferry_region_reader_open(node, name, &options, &reader);
    check(r < 0 && reader == (void *)&options);
    return r;
}

static void a_bad_writer_is_refused_with_a_sentence(void) {
    ferry_t *node = open_node("test");
    char long_name[102];
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    static const ferry_region_writer_options_t none;
    check_error(try_writer(node, NULL, BYTES, none), -EINVAL, "region name");
    check_error(try_writer(node, "", BYTES, none), -EINVAL, "region name");
    check_error(try_writer(node, "@map", BYTES, none), -EINVAL, "region @map");
    check_error(try_writer(node, ".map", BYTES, none), -EINVAL, "region .map");
    check_error(try_writer(node, "a b", BYTES, none), -EINVAL, "region");
    check_error(try_writer(node, long_name, BYTES, none), -EINVAL, "region 100");
    check_error(try_writer(node, REGION, 0, none), -EINVAL, REGION " 0 bytes");
    check_error(try_writer(node, REGION, FERRY_MAX_REGION + 1, none), -EINVAL, REGION " 17592186044416");
    check_error(try_writer(node, REGION, FERRY_MAX_REGION, none), -ENOMEM, REGION " free");
    check_error(try_writer(node, REGION, BYTES, (ferry_region_writer_options_t){.quota = 9999}), -EINVAL,
                REGION " 9999 5000 two");
    check_error(try_writer(node, REGION, BYTES, (ferry_region_writer_options_t){.type_name = "two words"}), -EINVAL,
                REGION " type");
    check_error(try_writer(node, REGION, BYTES, (ferry_region_writer_options_t){.wait = 9}), -EINVAL, REGION " 9");
    check_error(try_writer(node, REGION, BYTES, (ferry_region_writer_options_t){.size = 3}), -EINVAL,
                "ferry_region_writer_options_t 3");
    check_error(ferry_region_writer_open(node, REGION, BYTES, NULL, NULL), -EINVAL, "ferry_region_writer_open");
    check_error(try_writer(NULL, REGION, BYTES, none), -EBADF, "node");
    close_node(node);
}

static void a_bad_reader_is_refused_with_a_sentence(void) {
    ferry_t *node = open_node("test");
    static const ferry_region_reader_options_t none;
    check_error(try_reader(node, NULL, none), -EINVAL, "region name");
    check_error(try_reader(node, "a/b", none), -EINVAL, "region a/b");
    check_error(try_reader(node, REGION, (ferry_region_reader_options_t){.type_name = "\n"}), -EINVAL, REGION " type");
    check_error(try_reader(node, REGION, (ferry_region_reader_options_t){.wait = 9}), -EINVAL, REGION " 9");
    check_error(try_reader(node, REGION, (ferry_region_reader_options_t){.size = 5}), -EINVAL,
                "ferry_region_reader_options_t 5");
    check_error(ferry_region_reader_open(node, REGION, NULL, NULL), -EINVAL, "ferry_region_reader_open");
    check_error(try_reader(NULL, REGION, none), -EBADF, "node");
    close_node(node);
}

static void a_bad_argument_of_a_call_is_refused(void) {
    ferry_t *node = open_node("test");
    ferry_region_writer_t *writer = open_writer(node, REGION, BYTES, NULL);
    ferry_region_reader_t *reader = open_reader(node, REGION, NULL);
    char *data = ferry_region_writer_data(writer);
    check((uintptr_t)data % 4096 == 0);
    check_error(ferry_region_touch(writer, data - 1, 1), -EINVAL, REGION " 5000");
    check_error(ferry_region_touch(writer, data, BYTES + 1), -EINVAL, REGION " 5001 5000");
    check_error(ferry_region_touch(writer, data + 1, UINT64_MAX), -EINVAL, REGION);
    check_error(ferry_region_touch(writer, data + BYTES, 1), -EINVAL, REGION);
    check_error(ferry_region_touch(writer, NULL, 1), -EINVAL, REGION);
    check_is(ferry_region_touch(writer, data + BYTES, 0), 0);
    ferry_region_writer_stats_t stats = {.size = 1};
    check_error(ferry_region_writer_stats(writer, &stats), -EINVAL, "ferry_region_writer_stats_t");
    check_error(ferry_region_writer_stats(writer, NULL), -EINVAL, "ferry_region_writer_stats");
    check_error(ferry_region_view(reader, FERRY_NOW, NULL), -EINVAL, "ferry_region_view");
    check_is(ferry_region_publish(writer, FERRY_NOW, NULL), 0); /* who does not want to know the version */
    ferry_region_view_t *view = view_newest(reader);
    ferry_msg_place_t place = {.size = 3};
    check_error(ferry_view_place(view, &place), -EINVAL, "ferry_msg_place_t");
    check_error(ferry_view_place(view, NULL), -EINVAL, "ferry_view_place");
    check_error(ferry_view_save(view, NULL), -EINVAL, "file");
    check_error(ferry_view_save(view, ""), -EINVAL, "file");
    check_error(ferry_view_save(view, "/tmp/"), -EINVAL, "/tmp/");
    stop_viewing(view);
    close_reader(reader);
    close_writer(writer);
    close_node(node);
}

/* ---- what all must agree on ---- */

static void another_size_or_type_is_refused_and_both_are_named(void) {
    ferry_t *node = open_node("test");
    ferry_region_writer_options_t points = {.type_name = "points"};
    ferry_region_writer_t *writer = open_writer(node, REGION, BYTES, &points);
    check_error(try_reader(node, REGION, (ferry_region_reader_options_t){.bytes = 77}), -EPROTOTYPE,
                "published region " REGION " this reader 77 writer 5000 bytes");
    check_error(try_reader(node, REGION, (ferry_region_reader_options_t){.type_name = "lines"}), -EPROTOTYPE,
                "published region " REGION " this reader lines writer points");
    close_writer(writer);
    ferry_region_reader_options_t wants = {.type_name = "points", .bytes = 77};
    ferry_region_reader_t *reader = open_reader(node, REGION, &wants);
    check_error(try_writer(node, REGION, BYTES, points), -EPROTOTYPE,
                "published region " REGION " this writer 5000 reader 77 bytes");
    check_error(try_writer(node, REGION, 77, (ferry_region_writer_options_t){.type_name = "lines"}), -EPROTOTYPE,
                "published region " REGION " this writer lines reader points");
    writer = open_writer(node, REGION, 77, NULL);
    publish(writer);
    ferry_region_view_t *view = view_newest(reader);
    check_is(ferry_view_size(view), 77);
    stop_viewing(view);
    close_writer(writer);
    close_reader(reader);
    close_node(node);
}

static void names_of_channels_shared_and_published_regions_do_not_meet(void) {
    ferry_t *node = open_node("test");
    ferry_region_writer_t *writer = open_writer(node, REGION, BYTES, NULL);
    ferry_region_reader_t *reader = open_reader(node, REGION, NULL);
    ferry_sender_t *tx = open_sender(node, REGION, FERRY_QUEUE, NULL), *none = NULL;
    ferry_receiver_t *rx = open_receiver(node, REGION, FERRY_QUEUE, NULL), *nothing = NULL;
    check_error(ferry_sender_open(node, "@" REGION, FERRY_TOPIC, NULL, &none), -EINVAL, "channel @" REGION);
    check_error(ferry_receiver_open(node, "@" REGION, FERRY_TOPIC, NULL, &nothing), -EINVAL, "channel @" REGION);
    send_number(tx, 3);
    publish(writer);
    check_is(receive_number(rx), 3);
    ferry_region_view_t *view = view_newest(reader);
    check_is(ferry_view_version(view), 1);
    stop_viewing(view);
    close_sender(tx);
    close_receiver(rx);
    close_reader(reader);
    close_writer(writer);
    close_node(node);
}

static void there_is_one_writer_at_a_time(void) {
    ferry_t *node = open_node("test"), *other = open_node("test");
    ferry_region_writer_t *writer = open_writer(node, REGION, BYTES, NULL);
    check_error(try_writer(node, REGION, BYTES, (ferry_region_writer_options_t){0}), -EEXIST,
                "published region " REGION " writer");
    check_error(try_writer(other, REGION, BYTES, (ferry_region_writer_options_t){0}), -EEXIST,
                "published region " REGION " writer");
    ferry_region_writer_t *elsewhere = open_writer(other, "chart", BYTES, NULL);
    close_writer(writer);
    writer = open_writer(other, REGION, BYTES, NULL);
    check_is(publish(writer), 1);
    close_writer(writer);
    close_writer(elsewhere);
    close_node(node);
    close_node(other);
}

/* ---- handles ---- */

static void closed_and_foreign_handles_are_refused(void) {
    ferry_t *node = open_node("test");
    ferry_region_writer_t *writer = open_writer(node, REGION, BYTES, NULL);
    ferry_region_reader_t *reader = open_reader(node, REGION, NULL);
    char *data = ferry_region_writer_data(writer);
    publish(writer);
    ferry_region_view_t *view = view_newest(reader), *none = NULL;
    check_error(ferry_region_reader_close(reader), -EBUSY, REGION " views");
    check(stamped(view, 0));
    stop_viewing(view);
    check_error(ferry_view_release(view), -EBADF, "view");
    check_error(ferry_view_save(view, "/tmp/x"), -EBADF, "view");
    check_error(ferry_view_place(view, &(ferry_msg_place_t){0}), -EBADF, "view");
    check(ferry_view_data(view) == NULL && ferry_view_size(view) == 0 && ferry_view_version(view) == 0);
    close_writer(writer);
    close_reader(reader);
    check_error(ferry_region_writer_close(writer), -EBADF, "writer");
    check_error(ferry_region_publish(writer, FERRY_NOW, NULL), -EBADF, "writer");
    check_error(ferry_region_touch(writer, data, 1), -EBADF, "writer");
    check_error(ferry_region_writer_stats(writer, &(ferry_region_writer_stats_t){0}), -EBADF, "writer");
    check(ferry_region_writer_data(writer) == NULL);
    check_error(ferry_region_view(reader, FERRY_NOW, &none), -EBADF, "reader");
    check_error(ferry_region_wait(reader, 0, FERRY_NOW), -EBADF, "reader");
    check_error(ferry_region_reader_fd(reader), -EBADF, "reader");
    check_error(ferry_region_reader_close(reader), -EBADF, "reader");
    check_error(ferry_region_publish(NULL, FERRY_NOW, NULL), -EBADF, "writer");
    check_error(ferry_region_touch(NULL, data, 1), -EBADF, "writer");
    check_error(ferry_region_view(NULL, FERRY_NOW, &none), -EBADF, "reader");
    check_is(ferry_region_writer_close(NULL), 0);
    check_is(ferry_region_reader_close(NULL), 0);
    check_is(ferry_view_release(NULL), 0);
    close_node(node);
}

static void closing_the_node_closes_what_is_open(void) {
    ferry_t *node = open_node("test"), *other = open_node("test");
    ferry_region_writer_t *writer = open_writer(node, REGION, BYTES, NULL);
    ferry_region_reader_t *near = open_reader(node, REGION, NULL), *far = open_reader(other, REGION, NULL);
    stamp(writer, BYTES, 1);
    publish(writer);
    ferry_region_view_t *view = view_newest(near), *kept = view_newest(far), *old = view;
    stamp(writer, BYTES, 2);
    publish(writer);
    view = view_newest(near);
    check_is(ferry_close(node), 2);
    check_error(ferry_view_release(view), -EBADF, "view");
    check_error(ferry_view_release(old), -EBADF, "view");
    check_error(ferry_region_reader_close(near), -EBADF, "reader");
    check_error(ferry_region_writer_close(writer), -EBADF, "writer");
    check(stamped(kept, 1)); /* readers keep what they view */
    stop_viewing(kept);
    ferry_region_view_t *last = view_newest(far);
    check(stamped(last, 2));
    stop_viewing(last);
    close_reader(far);
    close_node(other);
}

typedef struct errand {
    ferry_region_view_t *view;
    ferry_region_writer_t *writer;
    ferry_region_reader_t *reader;
    int result;
} errand_t;

static void *release_elsewhere(void *arg) {
    errand_t *errand = arg;
    check(is_whole(errand->view));
    stop_viewing(errand->view);
    return NULL;
}

static void *publish_elsewhere(void *arg) {
    errand_t *errand = arg;
    errand->result = ferry_region_publish(errand->writer, FERRY_NOW, NULL);
    return NULL;
}

static void run_elsewhere(void *(*run)(void *), errand_t *errand) {
    pthread_t thread;
    check(pthread_create(&thread, NULL, run, errand) == 0);
    check(pthread_join(thread, NULL) == 0);
}

static void a_view_can_be_released_by_any_thread(void) {
    ferry_t *node = open_node("test"), *other = open_node("test");
    ferry_region_writer_options_t options = {.quota = 2 * 8192};
    ferry_region_writer_t *writer = open_writer(node, REGION, BYTES, &options);
    ferry_region_reader_t *reader = open_reader(other, REGION, NULL);
    for (uint64_t v = 1; v <= 40; v += 2) {
        errand_t errand = {0};
        stamp(writer, BYTES, v);
        publish(writer);
        errand.view = view_newest(reader);
        if (v % 4 == 1) { /* of the newest version, or of one before */
            stamp(writer, BYTES, v + 1);
            publish(writer);
        }
        run_elsewhere(release_elsewhere, &errand);
        if (v % 4 == 3) {
            stamp(writer, BYTES, v + 1);
            check_is(ferry_region_publish(writer, FERRY_NOW, NULL), 0);
        }
        ferry_region_view_t *view = view_newest(reader);
        check_is(ferry_view_version(view), v + 1);
        check(is_whole(view));
        stop_viewing(view);
    }
    check_is(writer_stats(writer).buffers, 2);
    close_reader(reader);
    close_writer(writer);
    close_node(other);
    close_node(node);
}

static void a_writer_is_whoevers_thread_used_it_last_and_dies_with_it(void) {
    ferry_t *node = open_node("test");
    ferry_region_writer_t *writer = open_writer(node, REGION, BYTES, NULL);
    ferry_region_reader_t *reader = open_reader(node, REGION, NULL);
    errand_t errand = {.writer = writer};
    run_elsewhere(publish_elsewhere, &errand);
    check_is(errand.result, 0);
    check_error(ferry_region_publish(writer, FERRY_NOW, NULL), -EOWNERDEAD, REGION " writer");
    ferry_region_view_t *view = view_newest(reader);
    check_is(ferry_view_version(view), 1);
    stop_viewing(view);
    check_error(ferry_region_wait(reader, 1, PATIENCE), -EPIPE, REGION);
    ferry_region_writer_t *next = NULL;
    for (int64_t end = monotonic() + PATIENCE; !next && monotonic() < end;) /* until the steward has seen it */
        check(ferry_region_writer_open(node, REGION, BYTES, NULL, &next) == 0 || monotonic() < end);
    check_is(publish(next), 1);
    check_is(ferry_region_wait(reader, 1, PATIENCE), 0);
    close_writer(next);
    close_writer(writer);
    close_reader(reader);
    close_node(node);
}

static void *view_and_end(void *arg) {
    errand_t *errand = arg;
    errand->view = view_newest(errand->reader);
    return NULL;
}

/* The thread that used the reader last has ended; its views may be in other hands. */
static void views_outlive_the_thread_that_took_them(void) {
    ferry_t *node = open_node("test");
    ferry_region_writer_options_t options = {.quota = 2 * 8192};
    ferry_region_writer_t *writer = open_writer(node, REGION, BYTES, &options);
    ferry_region_reader_t *reader = open_reader(node, REGION, NULL);
    errand_t errand = {.reader = reader};
    stamp(writer, BYTES, 1);
    publish(writer);
    run_elsewhere(view_and_end, &errand);
    stamp(writer, BYTES, 2);
    publish(writer);
    stamp(writer, BYTES, 3);
    check_error(ferry_region_publish(writer, 50 * MILLISECOND, NULL), -ETIMEDOUT, REGION);
    check(stamped(errand.view, 1));
    check_error(ferry_region_wait(reader, 0, FERRY_NOW), -EOWNERDEAD, REGION " reader");
    check_error(ferry_region_reader_close(reader), -EBUSY, REGION);
    stop_viewing(errand.view);
    check_is(publish(writer), 3);
    close_reader(reader);
    close_writer(writer);
    close_node(node);
}

static void a_forked_child_can_use_nothing_and_disturbs_nobody(void) {
    ferry_t *node = open_node("test");
    ferry_region_writer_t *writer = open_writer(node, REGION, BYTES, NULL);
    ferry_region_reader_t *reader = open_reader(node, REGION, NULL);
    stamp(writer, BYTES, 1);
    publish(writer);
    ferry_region_view_t *view = view_newest(reader), *none = NULL;
    char *data = ferry_region_writer_data(writer);
    pid_t child = fork();
    check(child >= 0);
    if (child == 0) {
        check_error(ferry_region_touch(writer, data, 1), -ECHILD, "writer");
        check_error(ferry_region_publish(writer, FERRY_NOW, NULL), -ECHILD, "writer");
        check_error(ferry_region_writer_close(writer), -ECHILD, "writer");
        check_error(ferry_region_view(reader, FERRY_NOW, &none), -ECHILD, "reader");
        check_error(ferry_region_reader_close(reader), -ECHILD, "reader");
        check_error(ferry_view_release(view), -ECHILD, "view");
        check_error(ferry_view_save(view, "/tmp/x"), -ECHILD, "view");
        check(ferry_region_writer_data(writer) == NULL && ferry_view_data(view) == NULL);
        check(mincore(data, 4096, (unsigned char[1]){0}) < 0 && errno == ENOMEM); /* not even mapped */
        _exit(0);
    }
    child_join(child);
    check(is_whole(view));
    stop_viewing(view);
    stamp(writer, BYTES, 2);
    check_is(publish(writer), 2);
    close_reader(reader);
    close_writer(writer);
    close_node(node);
}

/* ---- waiting ---- */

static bool polls_readable(int fd) {
    struct pollfd item = {.fd = fd, .events = POLLIN};
    return poll(&item, 1, 0) == 1;
}

static bool becomes_readable(int fd) {
    struct pollfd item = {.fd = fd, .events = POLLIN};
    return poll(&item, 1, (int)(PATIENCE / MILLISECOND)) == 1;
}

static void the_descriptor_tells_of_versions_that_were_not_viewed(void) {
    ferry_t *node = open_node("test"), *other = open_node("test");
    ferry_region_writer_t *writer = open_writer(node, REGION, BYTES, NULL);
    ferry_region_reader_t *reader = open_reader(other, REGION, NULL);
    ferry_region_view_t *view = NULL;
    int fd = ferry_region_reader_fd(reader);
    check(fd >= 0 && ferry_region_reader_fd(reader) == fd);
    check_error(ferry_region_view(reader, FERRY_NOW, &view), -EAGAIN, REGION);
    check(!polls_readable(fd));
    for (uint64_t v = 1; v <= 20; v++) {
        stamp(writer, BYTES, v);
        publish(writer);
        check(becomes_readable(fd));
        check_is(ferry_region_wait(reader, v - 1, PATIENCE), 0);
        check(polls_readable(fd)); /* it is there, and was not viewed */
        view = view_newest(reader);
        check_is(ferry_view_version(view), v);
        check(!polls_readable(fd));
        stop_viewing(view);
        check(!polls_readable(fd));
    }
    close_writer(writer);
    check(becomes_readable(fd));
    check_error(ferry_region_wait(reader, 20, FERRY_NOW), -EPIPE, REGION);
    close_reader(reader);
    close_node(other);
    close_node(node);
}

static void *shut_down_soon(void *arg) {
    nap(30 * MILLISECOND);
    check_is(ferry_shutdown(arg), 0);
    return NULL;
}

static void a_shutdown_ends_all_waits(void) {
    ferry_t *node = open_node("test");
    ferry_region_reader_t *reader = open_reader(node, REGION, NULL);
    ferry_region_view_t *view = NULL;
    pthread_t thread;
    check(pthread_create(&thread, NULL, shut_down_soon, node) == 0);
    check_error(ferry_region_view(reader, FERRY_FOREVER, &view), -ESHUTDOWN, REGION);
    check_error(ferry_region_wait(reader, 0, FERRY_FOREVER), -ESHUTDOWN, REGION);
    check_error(try_writer(node, REGION, BYTES, (ferry_region_writer_options_t){0}), -ESHUTDOWN, REGION);
    check(pthread_join(thread, NULL) == 0);
    close_reader(reader);
    close_node(node);
}

/* ---- the kernel's word ---- */

static int open_map_of(uint64_t inode) {
    char line[512], path[128];
    FILE *maps = fopen("/proc/self/maps", "re");
    check(maps != NULL);
    int fd = -1;
    while (fd < 0 && fgets(line, sizeof line, maps)) {
        unsigned long from, to, found;
        if (sscanf(line, "%lx-%lx %*s %*s %*s %lu", &from, &to, &found) == 3 && found == inode) {
            snprintf(path, sizeof path, "/proc/self/map_files/%lx-%lx", from, to);
            fd = open(path, O_RDWR | O_CLOEXEC);
            check(fd >= 0 || errno == EPERM || errno == EACCES); /* needs privileges of its own */
        }
    }
    fclose(maps);
    return fd;
}

static void try_to_write(void *arg) {
    (void)arg;
    ferry_t *node = open_node("test");
    ferry_region_reader_t *reader = open_reader(node, REGION, NULL);
    ferry_region_view_t *view = view_newest(reader);
    ferry_msg_place_t place = {0};
    char *data = (char *)(uintptr_t)ferry_view_data(view);
    check(mprotect(data, 4096, PROT_READ | PROT_WRITE) < 0 && errno == EACCES);
    check_is(ferry_view_place(view, &place), 0);
    int fd = open_map_of(place.inode);
    if (fd >= 0) {
        check(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EPERM);
        check(pwrite(fd, "x", 1, 0) < 0 && errno == EPERM);
        check(ftruncate(fd, 0) < 0 && errno == EPERM);
        close(fd);
    }
    check(is_whole(view));
    signal(SIGSEGV, SIG_DFL);
    *(volatile char *)data = 'x';
    _exit(0); /* not reached */
}

static void a_reader_cannot_write_into_a_view(void) {
    pid_t child = child_start(try_to_write, NULL);
    ferry_t *node = open_node("test");
    ferry_region_writer_t *writer = open_writer(node, REGION, BYTES, NULL);
    stamp(writer, BYTES, 1);
    publish(writer);
    int status = child_wait(child);
    if (UNDER_SANITIZER) /* which reports it, and exits */
        check(WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
    else
        check(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    ferry_region_reader_t *reader = open_reader(node, REGION, NULL);
    ferry_region_view_t *view = view_newest(reader);
    check(is_whole(view));
    stop_viewing(view);
    close_reader(reader);
    close_writer(writer);
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(a_bad_writer_is_refused_with_a_sentence),
        TEST(a_bad_reader_is_refused_with_a_sentence),
        TEST(a_bad_argument_of_a_call_is_refused),
        TEST(another_size_or_type_is_refused_and_both_are_named),
        TEST(names_of_channels_shared_and_published_regions_do_not_meet),
        TEST(there_is_one_writer_at_a_time),
        TEST(closed_and_foreign_handles_are_refused),
        TEST(closing_the_node_closes_what_is_open),
        TEST(a_view_can_be_released_by_any_thread),
        TEST(a_writer_is_whoevers_thread_used_it_last_and_dies_with_it),
        TEST(views_outlive_the_thread_that_took_them),
        TEST(a_forked_child_can_use_nothing_and_disturbs_nobody),
        TEST(the_descriptor_tells_of_versions_that_were_not_viewed),
        TEST(a_shutdown_ends_all_waits),
        TEST(a_reader_cannot_write_into_a_view),
    };
    return run_suite("published_handle", tests, sizeof tests / sizeof tests[0], argc, argv);
}
