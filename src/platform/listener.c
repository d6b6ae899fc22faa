/* SPDX-License-Identifier: MIT
 *
 * Who listens on a local socket whose queue is full, so that connecting does not tell: see /proc/net/unix in proc(5).
 * There a socket bears the name under which it was bound, which is the unborn one, and has an inode; in /proc/PID/fd
 * the process that has this inode open is found.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform/socket.h"

#define ACCEPTS 0x10000u /* among a socket's flags: it listens */

/* Is this line about the listener with that name? Then its inode; else 0. */
static unsigned long inode_in(const char *line, const char *name) {
    unsigned flags = 0;
    unsigned long inode = 0;
    int at = 0;
    if (sscanf(line, "%*s %*s %*s %x %*s %*s %lu %n", &flags, &inode, &at) < 2 || at == 0 || !(flags & ACCEPTS))
        return 0;
    const char *last = strrchr(line + at, '/');
    size_t prefix = strlen(FI_UNBORN_PREFIX), length = strlen(name);
    bool same = last != NULL && strncmp(last + 1, FI_UNBORN_PREFIX, prefix) == 0 &&
                strncmp(last + 1 + prefix, name, length) == 0 && strcspn(last + 1 + prefix + length, "\n") == 0;
    return same ? inode : 0;
}

static unsigned long find_inode(const char *name) {
    char line[512];
    unsigned long inode = 0;
    FILE *sockets = fopen("/proc/net/unix", "re");
    while (sockets != NULL && inode == 0 && fgets(line, sizeof line, sockets) != NULL)
        inode = inode_in(line, name);
    if (sockets != NULL)
        fclose(sockets);
    return inode;
}

static bool has_open(const char *pid, const char *what) {
    char path[64], link[64];
    bool found = false;
    const struct dirent *entry;
    snprintf(path, sizeof path, "/proc/%.20s/fd", pid);
    DIR *descriptors = opendir(path);
    while (descriptors != NULL && !found && (entry = readdir(descriptors)) != NULL) {
        ssize_t n = readlinkat(dirfd(descriptors), entry->d_name, link, sizeof link - 1);
        link[n < 0 ? 0 : n] = '\0';
        found = strcmp(link, what) == 0;
    }
    if (descriptors != NULL)
        closedir(descriptors);
    return found;
}

pid_t fi_socket_listener(const char *name) {
    char what[40];
    long pid = 0;
    const struct dirent *entry;
    unsigned long inode = find_inode(name);
    snprintf(what, sizeof what, "socket:[%lu]", inode);
    DIR *processes = inode != 0 ? opendir("/proc") : NULL;
    while (processes != NULL && pid == 0 && (entry = readdir(processes)) != NULL) {
        if (entry->d_name[0] > '0' && entry->d_name[0] <= '9' && has_open(entry->d_name, what))
            pid = strtol(entry->d_name, NULL, 10);
    }
    if (processes != NULL)
        closedir(processes);
    return (pid_t)pid;
}
