/* SPDX-License-Identifier: MIT
 *
 * Whoever removes the file has it locked exclusively, and whoever gets the lock looks whether the name still leads to
 * this file. So two files of one name never guard the same lock.
 */
#include "guard.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "say.h"
#include "stop.h"
#include "tool.h"
#include "units.h"

static const int64_t shortest_nap_ns = 1000 * 1000;
static const int64_t longest_nap_ns = 20 * 1000 * 1000;

bool guard_init(guard_t *guard, const char *directory, const char *name, bool shared, bool group) {
    *guard = (guard_t){.name = name, .fd = -1, .shared = shared, .group = group};
    if (asprintf(&guard->path, "%s/g-%s", directory, name) >= 0)
        return true;
    guard->path = NULL;
    return false;
}

/* --- the file ---------------------------------------------------------------------------------------------------- */

/* Other members of the group must be able to open it from the first moment on, whatever our umask is. */
static int create(const guard_t *guard, int flags) {
    mode_t mask = umask(0);
    int fd = open(guard->path, flags | O_CREAT | O_EXCL, guard->group ? 0660 : 0600);
    int error = errno;

    umask(mask);
    errno = error;
    return fd;
}

/*
 * In a directory that many write to, the kernel refuses O_CREAT for a file of somebody else (fs.protected_regular), so
 * a file that is there is opened without it. The descriptor shall be inherited. Returns it, or a negative errno value.
 */
static int open_file(const guard_t *guard) {
    const int flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;

    for (;;) {
        int fd = open(guard->path, flags);
        if (fd < 0 && errno == ENOENT)
            fd = create(guard, flags);
        if (fd >= 0 || errno != EEXIST)
            return fd >= 0 ? fd : -errno;
    }
}

static bool same_file(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/*
 * One try with the file that the name leads to now; `operation` is for flock. Returns a descriptor that has it locked;
 * -EAGAIN somebody else has; -ESTALE the name leads elsewhere by now; or another negative errno value.
 */
static int lock_file(const guard_t *guard, int operation) {
    struct stat opened;
    struct stat named;
    int fd = open_file(guard);

    if (fd < 0)
        return fd;
    int error = 0;
    if (fstat(fd, &opened) < 0 || flock(fd, operation | LOCK_NB) < 0)
        error = errno;
    else if (!S_ISREG(opened.st_mode))
        error = EINVAL;
    else if (lstat(guard->path, &named) < 0)
        error = errno == ENOENT ? ESTALE : errno;
    else if (!same_file(&opened, &named))
        error = ESTALE;
    if (error == 0)
        return fd;
    close(fd);
    return -error;
}

/* The same, until it is clear which file the name leads to. */
static int lock_named_file(const guard_t *guard, int operation) {
    int fd;

    do
        fd = lock_file(guard, operation);
    while (fd == -ESTALE || fd == -EINTR);
    return fd;
}

/* --- waiting ----------------------------------------------------------------------------------------------------- */

/*
 * Whether this very process has inherited the guard. Returns the descriptor, or -1. Looks by name: a descriptor of the
 * library may be closed by its thread meanwhile.
 */
static int inherited(const guard_t *guard) {
    struct stat named;
    struct stat ours;
    int found = -1;
    DIR *dir = lstat(guard->path, &named) == 0 ? opendir("/proc/self/fd") : NULL;

    if (dir == NULL)
        return -1;
    for (const struct dirent *item = readdir(dir); item != NULL && found < 0; item = readdir(dir)) {
        if (fstatat(dirfd(dir), item->d_name, &ours, 0) == 0 && same_file(&ours, &named))
            found = atoi(item->d_name);
    }
    closedir(dir);
    return found;
}

static int say_taken(const guard_t *guard, const patience_t *p) {
    int fd = inherited(guard);

    if (fd >= 0) {
        say("\"%s\" is kept by a command that this one belongs to (it inherited descriptor %d): it would wait for "
            "itself",
            guard->name, fd);
        return STATUS_NOT_OBTAINED;
    }
    if (p->timeout == 0) {
        say("\"%s\" is kept by a command of a holder that is gone; `fuser -v %s` lists its processes", guard->name,
            guard->path);
        return p->refused;
    }
    if (!p->quiet)
        say("waiting for \"%s\": the command of a killed holder still runs; `fuser -v %s` lists its processes",
            guard->name, guard->path);
    return 0;
}

static void nap(int64_t ns, int64_t left) {
    int64_t length = left >= 0 && left < ns ? left : ns;
    struct timespec t = {.tv_nsec = (long)length};

    nanosleep(&t, NULL); /* a signal ends it early */
}

/* Waits until somebody else has let go, or patience is over. Returns 0 or an exit status. */
static int wait_for_others(guard_t *guard, const patience_t *p) {
    char text[UNITS_TEXT];
    int operation = guard->shared ? LOCK_SH : LOCK_EX;
    int status = say_taken(guard, p);

    for (int64_t ns = shortest_nap_ns; status == 0 && guard->fd == -EAGAIN;
         ns = ns * 2 < longest_nap_ns ? ns * 2 : longest_nap_ns) {
        if (stop_signal() != 0)
            return STATUS_FAILED;
        if (patience_left(p) == FERRY_NOW) {
            say("timed out after %s: \"%s\" is kept by the command of a killed holder",
                show_duration((double)p->timeout, text), guard->name);
            return STATUS_TIMED_OUT;
        }
        nap(ns, patience_left(p));
        guard->fd = lock_named_file(guard, operation);
    }
    return status;
}

int guard_take(guard_t *guard, const patience_t *p) {
    guard->fd = lock_named_file(guard, guard->shared ? LOCK_SH : LOCK_EX);
    int status = guard->fd == -EAGAIN ? wait_for_others(guard, p) : 0;

    if (status == 0 && guard->fd < 0) {
        say("cannot lock the file '%s': %s", guard->path, strerror(-guard->fd));
        status = STATUS_FAILED;
    }
    return status;
}

/* --- leaving ----------------------------------------------------------------------------------------------------- */

/*
 * Our lock goes with our descriptor, unless processes that the command has left behind have inherited it. So whether
 * anybody has it still shows if it is opened anew and can be locked by that.
 */
void guard_done(guard_t *guard) {
    if (guard->fd >= 0) {
        close(guard->fd);
        int fd = lock_file(guard, LOCK_EX);
        if (fd >= 0) {
            (void)unlink(guard->path); /* another member's file stays, which does no harm */
            close(fd);
        }
    }
    free(guard->path);
    guard->path = NULL;
    guard->fd = -1;
}
