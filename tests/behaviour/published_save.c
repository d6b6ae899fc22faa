/* SPDX-License-Identifier: MIT
 *
 * published_save.c - versions in files: whole or not at all, while the writer goes on; and publishing without
 * descriptors.
 */
#include "harness.h"
#include "mounts.h"
#include "published.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define REGION "map"
#define BYTES (300u * 1024 + 11)
#define SAVES 60u

static void path_of(char path[300], const char *name) {
    snprintf(path, 300, "%s/%s", getenv("FERRY_DIR"), name);
}

/* The bytes of a file; NULL: there is none. */
static char *read_file(const char *path, size_t *size) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    check(fstat(fd, &st) == 0);
    *size = (size_t)st.st_size;
    char *bytes = malloc(*size + 1);
    check(bytes != NULL && read(fd, bytes, *size) == (ssize_t)*size);
    close(fd);
    return bytes;
}

/* Does the file hold exactly these bytes? */
static bool holds(const char *path, const void *bytes, size_t size) {
    size_t found = 0;
    char *file = read_file(path, &found);
    bool same = file && found == size && memcmp(file, bytes, size) == 0;
    free(file);
    return same;
}

/* Files in the directory beside those of Ferry's spaces. */
static unsigned files_in(const char *path) {
    unsigned count = 0;
    DIR *dir = opendir(path);
    check(dir != NULL);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += entry->d_type != DT_DIR;
    closedir(dir);
    return count;
}

/* ---- while the writer goes on ---- */

typedef struct saving {
    atomic_uint saved;
    atomic_uint ready;
} saving_t;

static void publish_until_saved(ferry_t *node, void *arg) {
    saving_t *saving = arg;
    ferry_region_writer_t *writer = open_writer(node, REGION, BYTES, NULL);
    for (uint64_t v = 1; atomic_load(&saving->saved) < SAVES; v++) {
        stamp(writer, BYTES, v);
        check_is(publish(writer), v);
    }
    close_writer(writer);
}

static void a_saved_version_is_whole_while_the_writer_goes_on(where_t where) {
    saving_t *saving = share(sizeof *saving);
    char path[300];
    path_of(path, "saved");
    crew_t *crew = crew_begin(where);
    crew_add(crew, publish_until_saved, saving);
    ferry_region_reader_t *reader = open_reader(crew_node(crew), REGION, NULL);
    for (unsigned i = 0; i < SAVES; i++) {
        ferry_region_view_t *view = view_newest(reader);
        check_is(ferry_view_save(view, path), 0);
        check(holds(path, ferry_view_data(view), BYTES));
        check(is_whole(view));
        check_is(files_in(getenv("FERRY_DIR")), 1);
        stop_viewing(view);
        atomic_fetch_add(&saving->saved, 1);
    }
    check(unlink(path) == 0);
    crew_join(crew, 0);
    close_reader(reader);
    crew_end(crew);
}

/* ---- whole or not at all ---- */

typedef struct reprint {
    atomic_uint saves;
    char path[300];
} reprint_t;

static void save_without_end(void *arg) {
    reprint_t *reprint = arg;
    ferry_t *node = open_node("test");
    ferry_region_reader_t *reader = open_reader(node, REGION, NULL);
    for (;;) {
        ferry_region_view_t *view = view_newest(reader);
        check_is(ferry_view_save(view, reprint->path), 0);
        atomic_fetch_add(&reprint->saves, 1);
        stop_viewing(view);
    }
}

static void remove_unborn(const char *path) {
    char name[600];
    DIR *dir = opendir(path);
    check(dir != NULL);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (strncmp(entry->d_name, ".ferry-", 7) == 0) {
            snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
            check(unlink(name) == 0);
        }
    closedir(dir);
}

static void a_file_is_whole_whenever_its_saver_dies(void) {
    enum { KILLS = 25 };
    reprint_t *reprints = share(KILLS * sizeof *reprints);
    pid_t savers[KILLS];
    size_t size = 0;
    for (unsigned i = 0; i < KILLS; i++) {
        path_of(reprints[i].path, "saved");
        savers[i] = child_start(save_without_end, &reprints[i]);
    }
    ferry_t *node = open_node("test");
    ferry_region_writer_t *writer = open_writer(node, REGION, BYTES, NULL);
    uint64_t version = 0;
    for (unsigned i = 0; i < KILLS; i++) {
        stamp(writer, BYTES, ++version);
        publish(writer);
        await(&reprints[i].saves, 1);
        nap((int64_t)i * MILLISECOND / 7);
        child_kill(savers[i]);
        char *file = read_file(reprints[i].path, &size);
        uint64_t number = 0, found = 0;
        check(file != NULL && size == BYTES);
        memcpy(&number, file, sizeof number);
        for (size_t at = 0; at + sizeof found <= size; at += GRANULE) {
            memcpy(&found, file + at, sizeof found);
            check_is(found, number);
        }
        free(file);
    }
    close_writer(writer);
    remove_unborn(getenv("FERRY_DIR"));
    check(unlink(reprints[0].path) == 0);
    close_node(node);
}

/* ---- errors leave nothing ---- */

static ferry_region_view_t *some_view(ferry_t *node, ferry_region_writer_t **writer, ferry_region_reader_t **reader) {
    *writer = open_writer(node, REGION, BYTES, NULL);
    *reader = open_reader(node, REGION, NULL);
    stamp(*writer, BYTES, 1);
    publish(*writer);
    return view_newest(*reader);
}

static void cannot_be_replaced(const ferry_region_view_t *view) {
    struct stat st;
    char fifo[300], link[300];
    path_of(fifo, "fifo");
    path_of(link, "link");
    check(mkfifo(fifo, 0600) == 0 && symlink("saved", link) == 0);
    check_error(ferry_view_save(view, fifo), -EINVAL, "fifo FIFO");
    check(lstat(fifo, &st) == 0 && S_ISFIFO(st.st_mode));
    check_error(ferry_view_save(view, link), -EINVAL, "link symbolic");
    check(lstat(link, &st) == 0 && S_ISLNK(st.st_mode));
    check(unlink(fifo) == 0 && unlink(link) == 0);
}

static void what_cannot_be_saved_leaves_everything_as_it_was(void) {
    ferry_t *node = open_node("test");
    ferry_region_writer_t *writer;
    ferry_region_reader_t *reader;
    ferry_region_view_t *view = some_view(node, &writer, &reader);
    char path[300], below[300], directory[300];
    struct rlimit limit, small;
    path_of(path, "saved");
    path_of(below, "saved/below");
    path_of(directory, "directory");
    check_error(ferry_view_save(view, "/nowhere/at/all"), -ENOENT, "/nowhere/at/all");
    check_is(ferry_view_save(view, path), 0);
    check_error(ferry_view_save(view, below), -ENOTDIR, "saved/below");
    check(mkdir(directory, 0700) == 0);
    check_error(ferry_view_save(view, directory), -EISDIR, "directory");
    check(rmdir(directory) == 0);
    cannot_be_replaced(view);
    stamp(writer, BYTES, 2);
    publish(writer);
    ferry_region_view_t *next = view_newest(reader);
    check(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    small = (struct rlimit){BYTES - 1, limit.rlim_max};
    check(setrlimit(RLIMIT_FSIZE, &small) == 0);
    check_error(ferry_view_save(next, path), -EFBIG, "saved ulimit");
    check(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    check(holds(path, ferry_view_data(view), BYTES));
    check_is(files_in(getenv("FERRY_DIR")), 1);
    check(chdir(getenv("FERRY_DIR")) == 0);
    check_is(ferry_view_save(next, "saved"), 0); /* a name without a directory */
    check(holds(path, ferry_view_data(next), BYTES));
    check(unlink(path) == 0 && chdir("/") == 0);
    stop_viewing(view);
    stop_viewing(next);
    close_reader(reader);
    close_writer(writer);
    close_node(node);
}

static void save_on_a_full_disk(void *arg) {
    (void)arg;
    char directory[300], path[300];
    path_of(directory, "disk");
    path_of(path, "disk/saved");
    if (!have_own_mounts()) {
        fprintf(stderr, "# no mount namespace is to be had here: the full disk was not tried\n");
        return;
    }
    check(mkdir(directory, 0700) == 0);
    check_is(mount("tmpfs", directory, "tmpfs", 0, "size=400k,mode=0700"), 0);
    ferry_t *node = open_node("test");
    ferry_region_writer_t *writer;
    ferry_region_reader_t *reader;
    ferry_region_view_t *view = some_view(node, &writer, &reader);
    check_is(ferry_view_save(view, path), 0);
    stamp(writer, BYTES, 2);
    publish(writer);
    ferry_region_view_t *next = view_newest(reader);
    check_error(ferry_view_save(next, path), -ENOSPC, "disk/saved");
    check(holds(path, ferry_view_data(view), BYTES));
    check_is(files_in(directory), 1);
    stop_viewing(view);
    stop_viewing(next);
    close_reader(reader);
    close_writer(writer);
    close_node(node);
    check_is(umount2(directory, MNT_DETACH), 0);
    check(rmdir(directory) == 0);
}

static void a_full_disk_is_told_and_the_file_before_stays(void) {
    child_join(child_start(save_on_a_full_disk, NULL));
}

/* ---- no descriptors ---- */

static void publishing_without_descriptors_can_be_tried_again(void) {
    ferry_t *node = open_node("test");
    ferry_region_reader_t *reader = open_reader(node, REGION, NULL);
    ferry_region_writer_t *writer = open_writer(node, REGION, BYTES, NULL);
    uint64_t version = 99;
    struct rlimit limit, small;
    stamp(writer, BYTES, 1);
    check(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    small = (struct rlimit){3, limit.rlim_max};
    check(setrlimit(RLIMIT_NOFILE, &small) == 0);
    check_error(ferry_region_publish(writer, FERRY_NOW, &version), -EMFILE, "ulimit");
    check_is(version, 99);
    check(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    check_is(publish(writer), 1);
    ferry_region_view_t *view = view_newest(reader);
    check(is_whole(view));
    stop_viewing(view);
    close_writer(writer);
    close_reader(reader);
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST_BOTH(a_saved_version_is_whole_while_the_writer_goes_on),
        TEST(a_file_is_whole_whenever_its_saver_dies),
        TEST(what_cannot_be_saved_leaves_everything_as_it_was),
        TEST(a_full_disk_is_told_and_the_file_before_stays),
        TEST(publishing_without_descriptors_can_be_tried_again),
    };
    return run_suite("published_save", tests, sizeof tests / sizeof tests[0], argc, argv);
}
