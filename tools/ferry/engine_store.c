/* SPDX-License-Identifier: MIT
 *
 * engine_store.c - the directory of an engine: found, locked, and filled with small files that nobody else may read.
 *
 * The server inherits the lock, so a killed `ferry engine` leaves it locked until the server has ended, too: two
 * servers never write the same streams.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "engine.h"
#include "say.h"
#include "transfer.h"
#include "units.h"

static const int64_t lock_patience_ns = INT64_C(3) * 1000 * 1000 * 1000; /* for the server of one that was killed */

/* --- the directory ----------------------------------------------------------------------------------------------- */

/* Where it is if nobody says. */
static bool usual_store(char *path, size_t cap) {
    const char *data = getenv("XDG_DATA_HOME");
    const char *home = getenv("HOME");
    int n = data != NULL && data[0] == '/'   ? snprintf(path, cap, "%s/ferry/engine", data)
            : home != NULL && home[0] == '/' ? snprintf(path, cap, "%s/.local/share/ferry/engine", home)
                                             : 0;

    return n > 0 && (size_t)n < cap;
}

static int make_directories(char *path) {
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int made = mkdir(path, 0700);
        *slash = '/';
        if (made < 0 && errno != EEXIST)
            return -errno;
    }
    return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

/* Others may neither read what is stored nor put another configuration in its place. */
static int check_owner(const char *path) {
    struct stat st;

    if (stat(path, &st) < 0) {
        say("cannot use the store %s: %s", path, strerror(errno));
        return STATUS_FAILED;
    }
    if (!S_ISDIR(st.st_mode)) {
        say("the store %s is not a directory", path);
        return STATUS_FAILED;
    }
    if (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        say("the store %s must be yours, and nobody else may write to it: chmod 0700, or choose another with --store",
            path);
        return STATUS_FAILED;
    }
    return 0;
}

int engine_find_store(engine_t *e) {
    char path[PATH_MAX];

    if (e->store == NULL && !usual_store(path, sizeof path)) {
        say("there is no home directory to keep data in: choose a directory with --store");
        return STATUS_FAILED;
    }
    if (e->store != NULL && (size_t)snprintf(path, sizeof path, "%s", e->store) >= sizeof path) {
        say("the path of the store is too long");
        return STATUS_FAILED;
    }
    int error = make_directories(path);
    if (error == 0 && realpath(path, e->directory) == NULL)
        error = -errno;
    if (error != 0) {
        say("cannot make the store %s: %s", path, strerror(-error));
        return STATUS_FAILED;
    }
    return check_owner(e->directory);
}

/* --- its lock ---------------------------------------------------------------------------------------------------- */

/* The process that wrote itself into the lock, or 0. */
static pid_t holder_of(int lock) {
    char text[32] = "";
    ssize_t n = pread(lock, text, sizeof text - 1, 0);

    return n > 0 ? (pid_t)strtol(text, NULL, 10) : 0;
}

/* Whether the lock is worth another look: what holds it may be on its way out. */
static bool is_orphan(int lock) {
    pid_t holder = holder_of(lock);

    return holder <= 0 || (kill(holder, 0) < 0 && errno == ESRCH);
}

static bool lock_it(int lock) {
    const struct timespec nap = {.tv_nsec = 20 * 1000 * 1000};
    int64_t until = now_ns() + lock_patience_ns;

    while (flock(lock, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK || !is_orphan(lock) || now_ns() > until)
            return false;
        nanosleep(&nap, NULL);
    }
    return true;
}

static int refuse(const engine_t *e) {
    pid_t holder = holder_of(e->lock);

    if (errno != EWOULDBLOCK)
        say("cannot lock the store %s: %s", e->directory, strerror(errno));
    else if (is_orphan(e->lock))
        say("the store %s is still in use by a server that another `ferry engine` has left", e->directory);
    else
        say("the store %s is in use by another `ferry engine`, process %d; choose another one with --store",
            e->directory, (int)holder);
    return STATUS_NOT_OBTAINED;
}

int engine_enter(engine_t *e) {
    char text[32];

    if (chdir(e->directory) < 0) {
        say("cannot enter the store %s: %s", e->directory, strerror(errno));
        return STATUS_FAILED;
    }
    e->lock = open("lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (e->lock < 0) {
        say("cannot write to the store %s: %s", e->directory, strerror(errno));
        return STATUS_FAILED;
    }
    if (!lock_it(e->lock))
        return refuse(e);
    int len = snprintf(text, sizeof text, "%d\n", (int)getpid());
    if (ftruncate(e->lock, 0) < 0 || pwrite(e->lock, text, (size_t)len, 0) != len) {
        say("cannot write to the store %s: %s", e->directory, strerror(errno));
        return STATUS_FAILED;
    }
    return 0;
}

/* --- files in it ------------------------------------------------------------------------------------------------- */

static int put_error(const char *path, int error) {
    say("cannot write %s: %s", path, strerror(error));
    return STATUS_FAILED;
}

int engine_put_file(const char *path, const char *text) {
    char new[PATH_MAX];

    if ((size_t)snprintf(new, sizeof new, "%s.new", path) >= sizeof new)
        return put_error(path, ENAMETOOLONG);
    (void)unlink(new);
    int fd = open(new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return put_error(path, errno);
    int error = -write_fully(fd, text, strlen(text), NULL);
    close(fd);
    if (error == 0 && rename(new, path) < 0)
        error = errno;
    if (error == 0)
        return 0;
    (void)unlink(new);
    return put_error(path, error);
}

/* The first line of the file, or false. */
static bool read_secret(const char *path, char *secret) {
    FILE *file = fopen(path, "re");
    bool got = file != NULL && fgets(secret, ENGINE_SECRET, file) != NULL;

    if (file != NULL)
        fclose(file);
    if (got)
        secret[strcspn(secret, "\n")] = '\0';
    return got && secret[0] != '\0';
}

int engine_random(char *secret) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    enum { LETTERS = 43 }; /* 258 bits */
    unsigned char random[LETTERS];

    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        say("the kernel gives no random numbers: %s", strerror(errno));
        return STATUS_FAILED;
    }
    for (size_t i = 0; i < LETTERS; i++)
        secret[i] = digits[random[i] % 64];
    if (secret[0] == '-')
        secret[0] = '_'; /* never to be taken for an option */
    secret[LETTERS] = '\0';
    return 0;
}

int engine_secret(const char *path, char *secret) {
    char line[ENGINE_SECRET + 1];

    if (access(path, F_OK) == 0) {
        if (read_secret(path, secret))
            return 0;
        say("there is no password in %s; remove it, and a new one is made", path);
        return STATUS_FAILED;
    }
    int status = engine_random(secret);
    snprintf(line, sizeof line, "%s\n", secret);
    return status == 0 ? engine_put_file(path, line) : status;
}

/* --- room for it ------------------------------------------------------------------------------------------------- */

static uint64_t counted; /* nftw has no argument for its function */

static int count(const char *path, const struct stat *st, int kind, struct FTW *where) {
    (void)path;
    (void)where;
    if (kind == FTW_F)
        counted += (uint64_t)st->st_blocks * 512;
    return 0;
}

int engine_room(const char *directory, const char *data, uint64_t *bytes) {
    static const uint64_t least = (uint64_t)64 << 20;
    struct statvfs fs;
    char path[PATH_MAX];
    char text[UNITS_TEXT];

    if (statvfs(directory, &fs) < 0) {
        say("cannot tell how much is free in %s: %s", directory, strerror(errno));
        return STATUS_FAILED;
    }
    counted = 0;
    if ((size_t)snprintf(path, sizeof path, "%s/%s", directory, data) < sizeof path)
        (void)nftw(path, count, 16, FTW_PHYS);
    uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (free_bytes < least) {
        say("there is no room for data: %s are free where the store is; make room, or choose another place with "
            "--store",
            show_bytes((double)free_bytes, text));
        return STATUS_FAILED;
    }
    *bytes = (free_bytes + counted) / 4 * 3;
    return 0;
}
