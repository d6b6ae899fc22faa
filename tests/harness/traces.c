/* SPDX-License-Identifier: MIT
 *
 * traces.c - see traces.h.
 */
#include "traces.h"

#include <dirent.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

__attribute__((format(printf, 2, 3))) static void add(traces_t *traces, const char *format, ...) {
    va_list args;
    check(traces->count < TRACES_MAX);
    va_start(args, format);
    check(vasprintf(&traces->lines[traces->count++], format, args) >= 0);
    va_end(args);
}

static void add_descriptors(traces_t *traces) {
    DIR *dir = opendir("/proc/self/fd");
    check(dir != NULL);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char target[512];
        int fd = atoi(entry->d_name);
        if (entry->d_name[0] == '.' || fd == dirfd(dir))
            continue;
        ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1);
        target[n < 0 ? 0 : n] = '\0';
        add(traces, "descriptor %d is open: %s", fd, target);
    }
    closedir(dir);
}

static void add_mappings(traces_t *traces) {
    char *line = NULL;
    size_t size = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    check(maps != NULL);
    while (getline(&line, &size, maps) > 0)
        if (strstr(line, "memfd:")) {
            line[strcspn(line, "\n")] = '\0';
            add(traces, "memory is mapped: %s", line);
        }
    free(line);
    fclose(maps);
}

static void add_threads(traces_t *traces) {
    DIR *dir = opendir("/proc/self/task");
    check(dir != NULL);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.')
            add(traces, "thread %s runs", entry->d_name);
    closedir(dir);
}

static void add_children(traces_t *traces) {
    siginfo_t info = {0};
    /* WNOWAIT: only look; a zombie that nobody waited for is left over as well. */
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0)
        add(traces, info.si_pid ? "child process %d was not waited for" : "a child process is still there",
            info.si_pid);
}

static int compare(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void traces_take(traces_t *traces) {
    traces->count = 0;
    add_descriptors(traces);
    add_mappings(traces);
    add_threads(traces);
    add_children(traces);
    qsort(traces->lines, traces->count, sizeof traces->lines[0], compare);
}

void traces_free(traces_t *traces) {
    for (size_t i = 0; i < traces->count; i++)
        free(traces->lines[i]);
    traces->count = 0;
}

static size_t more_than(const traces_t *before, bool print) {
    static traces_t after;
    size_t more = 0;
    traces_take(&after);
    for (size_t i = 0; i < after.count; i++) {
        if (bsearch(&after.lines[i], before->lines, before->count, sizeof after.lines[0], compare))
            continue;
        more++;
        if (print)
            fprintf(stderr, "# left behind: %s\n", after.lines[i]);
    }
    traces_free(&after);
    return more;
}

bool traces_settled(const traces_t *before) {
    for (int tries = 0; tries < 200; tries++) {
        if (more_than(before, false) == 0)
            return true;
        nap(10 * MILLISECOND);
    }
    return more_than(before, true) == 0;
}

static int files_left;

static int count_file(const char *path, const struct stat *status, int type, struct FTW *place) {
    (void)status;
    (void)place;
    if (type == FTW_D || type == FTW_DP)
        return 0;
    fprintf(stderr, "# left behind: the file %s\n", path);
    files_left++;
    return 0;
}

static int look_at(const char *space, void *arg) {
    ferry_look_t *look = NULL;
    (void)arg;
    if (ferry_look(space, NULL, &look) == 0)
        ferry_look_close(look);
    return 0;
}

bool directory_clean(const char *directory) {
    ferry_spaces(NULL, look_at, NULL);
    files_left = 0;
    nftw(directory, count_file, 16, FTW_PHYS);
    return files_left == 0;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place) {
    (void)status;
    (void)type;
    (void)place;
    return remove(path);
}

void directory_remove(const char *directory) {
    nftw(directory, remove_one, 16, FTW_PHYS | FTW_DEPTH);
}

long own_memory(void) {
    static const char word[] = "RssAnon:";
    char line[256];
    long kib = -1;
    FILE *f = fopen("/proc/self/status", "r");
    check(f != NULL);
    while (fgets(line, sizeof line, f))
        if (strncmp(line, word, sizeof word - 1) == 0)
            kib = strtol(line + sizeof word - 1, NULL, 10);
    check(fclose(f) == 0 && kib >= 0);
    return kib;
}
