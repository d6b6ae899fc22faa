/* SPDX-License-Identifier: MIT
 *
 * platform/process.c - see process.h, and pidfd_open(2).
 */
#include "platform/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"

int fi_pidfd_self(int *fd) {
    long pidfd = syscall(SYS_pidfd_open, getpid(), 0U);
    if (pidfd < 0)
        return fi_fail_errno(errno,
                             "cannot open a pidfd of this process (Ferry needs Linux 5.14 or newer and descriptors)");
    *fd = (int)pidfd;
    return 0;
}

/* Only pidfds show a line "Pid:" there, and the kernel translates the number into this process's PID namespace. */
static int pid_of(int fd, long *pid) {
    char path[48], text[1024];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    int info = open(path, O_RDONLY | O_CLOEXEC);
    if (info < 0 && errno == ENOENT)
        return fi_fail(-ENOSYS, "cannot look at a received descriptor in %s; mount /proc", path);
    if (info < 0)
        return fi_fail_errno(errno, "cannot look at a received descriptor in %s", path);
    ssize_t n = read(info, text, sizeof text - 1);
    close(info);
    text[n < 0 ? 0 : n] = '\0';
    const char *line = strstr(text, "\nPid:");
    if (line == NULL)
        return fi_fail(-EPROTO, "a peer sent a descriptor that is not a pidfd where its pidfd should be");
    *pid = strtol(line + 5, NULL, 10);
    return 0;
}

/* The kernel shows 0 for a process that is not visible from this PID namespace, and -1 for one that has ended. */
int fi_pidfd_check(int fd, pid_t expected_pid) {
    long pid = 0;
    int rc = pid_of(fd, &pid);
    if (rc < 0)
        return rc;
    if (pid > 0 && expected_pid > 0 && pid != expected_pid)
        return fi_fail(-EPROTO, "a peer with process id %ld sent the pidfd of process %ld as its own",
                       (long)expected_pid, pid);
    return 0;
}

bool fi_pidfd_dead(int fd) {
    struct pollfd item = {.fd = fd, .events = POLLIN};
    return poll(&item, 1, 0) == 1 && (item.revents & (POLLIN | POLLHUP)) != 0;
}

/* Where its code begins and ends, and its stack begins: each execve(2) puts these elsewhere, at random.  Without
 * randomization the code's end tells two programs apart (their stacks may begin at the same place), but not two runs of
 * one. */
#define FIELD_STATE 3
#define FIELD_START_CODE 26
#define FIELD_START_STACK 28
#define ODD UINT64_C(0x9e3779b97f4a7c15)

/* Asked anew each time: a forked child may live in another one. */
uint64_t fi_process_pid_namespace(void) {
    struct stat st;
    return stat("/proc/self/ns/pid", &st) == 0 ? (uint64_t)st.st_ino : 0;
}

uint64_t fi_process_program(pid_t pid) {
    char path[32] = "/proc/self/stat";
    char text[1024];
    if (pid != 0)
        snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n < 0 ? 0 : n] = '\0';
    const char *at = strrchr(text, ')'); /* the name before it may hold anything */
    uint64_t number = 0, value = 0;
    for (int field = FIELD_STATE; at != NULL && field <= FIELD_START_STACK; field++) {
        at = strchr(at + 1, ' ');
        value = at != NULL && field >= FIELD_START_CODE ? strtoull(at + 1, NULL, 10) : 0;
        number = (number ^ value) * ODD;
    }
    return value != 0 ? number : 0; /* 0: the kernel does not show them to us */
}

/* Of those that it has open, how many are below the limit? Others it has from before the limit was lowered. */
static uint64_t count_below(DIR *descriptors, rlim_t limit) {
    uint64_t count = 0;
    const struct dirent *entry;
    while ((entry = readdir(descriptors)) != NULL)
        count += entry->d_name[0] != '.' && strtoull(entry->d_name, NULL, 10) < limit;
    return count;
}

bool fi_process_lacks_descriptors(pid_t pid, unsigned count) {
    struct rlimit limit;
    struct stat st;
    char path[32];
    if (pid <= 0 || prlimit(pid, RLIMIT_NOFILE, NULL, &limit) != 0)
        return false;
    snprintf(path, sizeof path, "/proc/%ld/fd", (long)pid);
    DIR *descriptors = opendir(path);
    if (descriptors == NULL)
        return false;
    /* Since Linux 6.2 the directory's size is their number, which saves counting; before, it is 0. */
    bool many_left =
        fstat(dirfd(descriptors), &st) == 0 && st.st_size > 0 && (rlim_t)st.st_size + count <= limit.rlim_cur;
    bool lacks = !many_left && count_below(descriptors, limit.rlim_cur) + count > limit.rlim_cur;
    closedir(descriptors);
    return lacks;
}

uint64_t fi_random64(void) {
    uint64_t bits = 0;
    while (bits == 0) {
        uint64_t fresh;
        if (getrandom(&fresh, sizeof fresh, 0) == (ssize_t)sizeof fresh)
            bits = fresh;
    }
    return bits;
}

const char *fi_program_name(void) {
    const char *name = program_invocation_short_name;
    return name == NULL || name[0] == '\0' ? "unknown" : name;
}
