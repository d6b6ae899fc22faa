/* SPDX-License-Identifier: MIT
 *
 * platform/family.c - see family.h.
 */
#include "platform/family.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool read_line(const char *path, char *text, size_t cap) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, cap - 1);
    close(fd);
    text[n < 0 ? 0 : n] = '\0';
    return n > 0;
}

/* Children of every thread of `pid`, as the kernel lists them; on to `member`. */
static int add_children_of_task(const char *tid, int32_t pid, int32_t *member, int count, int cap) {
    char path[80], text[4096], *rest = NULL;
    snprintf(path, sizeof path, "/proc/%d/task/%.16s/children", pid, tid);
    if (!read_line(path, text, sizeof text))
        return count;
    for (char *word = strtok_r(text, " \n", &rest); word != NULL; word = strtok_r(NULL, " \n", &rest)) {
        if (count < cap)
            member[count] = (int32_t)strtol(word, NULL, 10);
        count++;
    }
    return count;
}

static int add_children(int32_t pid, int32_t *member, int count, int cap) {
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    if (tasks == NULL)
        return count;
    const struct dirent *item;
    while ((item = readdir(tasks)) != NULL) {
        if (item->d_name[0] != '.')
            count = add_children_of_task(item->d_name, pid, member, count, cap);
    }
    closedir(tasks);
    return count;
}

int fi_process_family(int32_t pid, int32_t *member, int cap) {
    char path[48];
    snprintf(path, sizeof path, "/proc/%d", pid);
    if (pid <= 0 || cap < 1 || access(path, F_OK) != 0)
        return 0;
    member[0] = pid;
    int count = 1;
    for (int i = 0; i < count && i < cap; i++)
        count = add_children(member[i], member, count, cap);
    return count;
}

static uint32_t count_threads(const char *path) {
    DIR *tasks = opendir(path);
    if (tasks == NULL)
        return UINT32_MAX;
    uint32_t count = 0;
    const struct dirent *item;
    while ((item = readdir(tasks)) != NULL)
        count += item->d_name[0] != '.';
    closedir(tasks);
    return count;
}

uint32_t fi_process_threads(void) {
    return count_threads("/proc/self/task");
}

/* Where its only thread sleeps. False: it has others, which may do anything; or it cannot be seen, or runs. */
static bool sleeps_in(int32_t pid, char *where, size_t cap) {
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    if (count_threads(path) != 1)
        return false;
    snprintf(path, sizeof path, "/proc/%d/wchan", pid);
    return read_line(path, where, cap);
}

bool fi_process_waits_for_child(int32_t pid) {
    char where[64];
    int32_t child[2];
    return sleeps_in(pid, where, sizeof where) && strcmp(where, "do_wait") == 0 && add_children(pid, child, 0, 2) > 0;
}

/* ---- pipes ---- */

typedef struct pipe_name {
    char text[64]; /* as /proc shows it: "pipe:[123]" */
} pipe_name_t;

/* The pipe that it sleeps on until somebody writes. Others may open one that has a name in the file system. */
static bool reads_pipe(int32_t pid, pipe_name_t *pipe) {
    char path[64], text[256];
    long number;
    unsigned long fd;
    if (!sleeps_in(pid, text, sizeof text) || strstr(text, "pipe_read") == NULL)
        return false;
    snprintf(path, sizeof path, "/proc/%d/syscall", pid);
    if (!read_line(path, text, sizeof text) || sscanf(text, "%ld 0x%lx", &number, &fd) != 2 || number != SYS_read)
        return false;
    snprintf(path, sizeof path, "/proc/%d/fd/%lu", pid, fd);
    ssize_t n = readlink(path, pipe->text, sizeof pipe->text - 1);
    pipe->text[n < 0 ? 0 : n] = '\0';
    return strncmp(pipe->text, "pipe:[", 6) == 0;
}

static bool is_its_writing_end(int fds, const char *fd, const pipe_name_t *pipe) {
    struct stat info;
    char text[sizeof pipe->text];
    ssize_t n = readlinkat(fds, fd, text, sizeof text - 1);
    if (n < 0 || (size_t)n != strlen(pipe->text) || memcmp(text, pipe->text, (size_t)n) != 0)
        return false;
    return fstatat(fds, fd, &info, AT_SYMLINK_NOFOLLOW) == 0 && (info.st_mode & S_IWUSR) != 0;
}

static bool may_write(const char *pid, const pipe_name_t *pipe) {
    char path[48];
    snprintf(path, sizeof path, "/proc/%.16s/fd", pid);
    DIR *fds = opendir(path);
    if (fds == NULL)
        return false;
    const struct dirent *item;
    bool found = false;
    while (!found && (item = readdir(fds)) != NULL)
        found = is_its_writing_end(dirfd(fds), item->d_name, pipe);
    closedir(fds);
    return found;
}

static bool is_member(const char *pid, const int32_t *member, int count) {
    int32_t number = (int32_t)strtol(pid, NULL, 10);
    for (int i = 0; i < count; i++) {
        if (member[i] == number)
            return true;
    }
    return false;
}

bool fi_process_reads_from(int32_t pid, const int32_t *member, int count) {
    pipe_name_t pipe;
    DIR *all = reads_pipe(pid, &pipe) ? opendir("/proc") : NULL;
    if (all == NULL)
        return false;
    const struct dirent *item;
    bool inside = false, outside = false;
    while (!outside && (item = readdir(all)) != NULL) {
        if (item->d_name[0] < '1' || item->d_name[0] > '9' || !may_write(item->d_name, &pipe))
            continue;
        inside = true;
        outside = !is_member(item->d_name, member, count);
    }
    closedir(all);
    return inside && !outside;
}
