/* SPDX-License-Identifier: MIT
 *
 * node/watch.c - see watch.h, and inotify(7).
 */
#include "node/watch.h"

#include <errno.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/error.h"

/*
 * Removing a name changes the number of links of its inode, which is IN_ATTRIB; IN_DELETE_SELF comes only when the last
 * one who has it open lets go, and for a bound socket that is ourselves.
 */
#define FILE_EVENTS (IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_DONT_FOLLOW)
#define DIRECTORY_EVENTS (IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

static int add(int fd, const char *path, const char *shown, uint32_t events) {
    if (inotify_add_watch(fd, path, events) >= 0)
        return 0;
    if (errno == ENOSPC)
        return fi_fail(-ENOSPC, "no inotify watch is left for \"%s\"; raise fs.inotify.max_user_watches", shown);
    return fi_fail_errno(errno, "cannot watch \"%s\"", shown);
}

int fi_watch_open(fi_space_t *s, int *fd) {
    int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (watch < 0 && errno == EMFILE)
        return fi_fail(-EMFILE, "this user has no inotify instance left, or this process no descriptor; raise "
                                "fs.inotify.max_user_instances or ulimit -n");
    if (watch < 0)
        return fi_fail_errno(errno, "cannot make an inotify instance");
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", s->dirfd);
    int rc = add(watch, path, s->path, DIRECTORY_EVENTS);
    if (rc == 0 && fi_space_is_gone(s))
        rc = fi_fail(-ENOENT, "the directory \"%s\" was removed", s->path);
    if (rc != 0)
        close(watch);
    else
        *fd = watch;
    return rc;
}

int fi_watch_add(int fd, fi_space_t *s, const char *name) {
    char path[320];
    int n = snprintf(path, sizeof path, "/proc/self/fd/%d/%s", s->dirfd, name);
    if (n < 0 || (size_t)n >= sizeof path)
        return fi_fail(-ENAMETOOLONG, "the file name \"%.300s\" is too long", name);
    return add(fd, path, name, FILE_EVENTS);
}

void fi_watch_forget(int fd, const fi_space_t *s, const char *name) {
    char path[320];
    int n = snprintf(path, sizeof path, "/proc/self/fd/%d/%s", s->dirfd, name);
    int watch = n > 0 && (size_t)n < sizeof path ? inotify_add_watch(fd, path, FILE_EVENTS) : -1;
    if (watch >= 0)
        (void)inotify_rm_watch(fd, watch); /* it was watched already: an inode has one watch */
}

/* Is any of these events more than the end of a watch, which somebody has asked for? */
static bool has_news(const char *bytes, ssize_t n) {
    for (ssize_t at = 0; at < n;) {
        const struct inotify_event *e = (const void *)(bytes + at);
        if (e->mask & ~(uint32_t)IN_IGNORED)
            return true;
        at += (ssize_t)(sizeof *e + e->len);
    }
    return false;
}

/* Bounded: what is left after 64 KiB of events wakes us again. */
bool fi_watch_drain(int fd) {
    union {
        struct inotify_event align;
        char bytes[4096];
    } events;
    bool any = false;
    for (int i = 0; i < 16; i++) {
        ssize_t n = read(fd, &events, sizeof events);
        if (n <= 0 && !(n < 0 && errno == EINTR))
            break;
        any = any || has_news(events.bytes, n);
    }
    return any;
}
