/* SPDX-License-Identifier: MIT
 *
 * platform/save.c - see save.h.
 *
 * The file has no name while it is written (O_TMPFILE), so a process that is killed leaves nothing; where that is not
 * possible, and for a moment between its first name and its final one, it leaves a file called .ferry-... beside the
 * path.
 */
#include "platform/save.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/error.h"
#include "platform/process.h"

#define CHUNK ((size_t)64 << 20) /* a write cannot be interrupted in its middle, so none is very long */
#define NAME_TRIES 8

/* Where the file is to appear, and what it is called until then; "" while it has no name at all. */
typedef struct place {
    int dir;
    const char *name;
    char unborn[32];
} place_t;

static int open_place(const char *path, place_t *p) {
    const char *slash = strrchr(path, '/');
    char *above = slash == NULL ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
    if (above == NULL)
        return fi_fail(-ENOMEM, "no memory for the name of the directory of \"%s\"", path);
    p->name = slash == NULL ? path : slash + 1;
    p->dir = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int why = errno;
    free(above);
    return p->dir < 0 ? fi_fail_errno(why, "cannot open the directory of \"%s\"", path) : 0;
}

/* A device, a FIFO or a link (/dev/stdout) would be gone, and a file in its place; of a directory rename(2) says so
 * itself. */
static int check_target(const place_t *p, const char *path) {
    struct stat st;
    if (fstatat(p->dir, p->name, &st, AT_SYMLINK_NOFOLLOW) != 0 || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
        return 0;
    return fi_fail(-EINVAL, "\"%s\" is %s, which a file would replace: name a file", path,
                   S_ISLNK(st.st_mode)    ? "a symbolic link"
                   : S_ISFIFO(st.st_mode) ? "a FIFO"
                   : S_ISSOCK(st.st_mode) ? "a socket"
                                          : "a device");
}

static void think_of_a_name(place_t *p) {
    snprintf(p->unborn, sizeof p->unborn, ".ferry-%016" PRIx64, fi_random64());
}

/* Some file systems have no files without names. */
static int create(place_t *p) {
    int fd = openat(p->dir, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666);
    for (int i = 0; i < NAME_TRIES && fd < 0; i++) {
        think_of_a_name(p);
        fd = openat(p->dir, p->unborn, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST && errno != EINTR)
            break;
    }
    if (fd < 0)
        p->unborn[0] = '\0';
    return fd;
}

/* These return 0 or a positive errno value. */
static int write_all(int fd, const char *data, size_t bytes) {
    for (size_t done = 0; done < bytes;) {
        ssize_t n = write(fd, data + done, fi_min(bytes - done, CHUNK));
        if (n < 0 && errno != EINTR)
            return errno;
        if (n == 0)
            return ENOSPC;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int sync_file(int fd) {
    while (fsync(fd) != 0)
        if (errno != EINTR)
            return errno;
    return 0;
}

/* Some file systems cannot make a name durable by itself, and say EINVAL. */
static int sync_directory(int dir) {
    int why = sync_file(dir);
    return why == EINVAL ? 0 : why;
}

/* Gives a file that has none a name, which can then be changed into that of a file that is there already. */
static int give_name(place_t *p, int fd) {
    char file[32];
    snprintf(file, sizeof file, "/proc/self/fd/%d", fd);
    for (int i = 0; i < NAME_TRIES && p->unborn[0] == '\0'; i++) {
        think_of_a_name(p);
        if (linkat(AT_FDCWD, file, p->dir, p->unborn, AT_SYMLINK_FOLLOW) == 0)
            break;
        p->unborn[0] = '\0';
        if (errno != EEXIST)
            return errno;
    }
    return p->unborn[0] == '\0' ? EEXIST : 0;
}

static int fill(place_t *p, int fd, const void *data, size_t bytes) {
    int why = write_all(fd, data, bytes);
    if (why == 0)
        why = sync_file(fd);
    if (why == 0)
        why = give_name(p, fd);
    if (close(fd) != 0 && why == 0 && errno != EINTR)
        why = errno;
    return why;
}

static int write_place(place_t *p, const void *data, size_t bytes) {
    int fd = create(p);
    if (fd < 0)
        return errno;
    int why = fill(p, fd, data, bytes);
    if (why == 0 && renameat(p->dir, p->unborn, p->dir, p->name) != 0)
        why = errno;
    if (why != 0 && p->unborn[0] != '\0')
        (void)unlinkat(p->dir, p->unborn, 0);
    return why != 0 ? why : sync_directory(p->dir);
}

int fi_save_file(const char *path, const void *data, size_t bytes) {
    place_t p = {.dir = -1};

    if (path[0] == '\0' || path[strlen(path) - 1] == '/')
        return fi_fail(-EINVAL, "\"%s\" is no name of a file", path);
    if (!fi_may_make_file(bytes))
        return fi_fail(-EFBIG, "%zu bytes for \"%s\" are more than this process may write to a file; raise ulimit -f",
                       bytes, path);
    int rc = open_place(path, &p);
    if (rc < 0)
        return rc;
    rc = check_target(&p, path);
    int why = rc == 0 ? write_place(&p, data, bytes) : 0;
    close(p.dir);
    if (rc < 0)
        return rc;
    return why == 0 ? 0 : fi_fail_errno(why, "cannot write \"%s\"", path);
}
