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

bool fi_process_waits_for_child(int32_t pid) {
    char path[48], text[64];
    int32_t child[2];
    snprintf(path, sizeof path, "/proc/%d/wchan", pid);
    return read_line(path, text, sizeof text) && strcmp(text, "do_wait") == 0 && add_children(pid, child, 0, 2) > 0;
}

uint32_t fi_process_threads(void) {
    DIR *tasks = opendir("/proc/self/task");
    if (tasks == NULL)
        return UINT32_MAX;
    uint32_t count = 0;
    const struct dirent *item;
    while ((item = readdir(tasks)) != NULL)
        count += item->d_name[0] != '.';
    closedir(tasks);
    return count;
}
