/* SPDX-License-Identifier: MIT
 *
 * node/space_names.c - the lock and the names inside a space's directory; see space.h.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "node/space.h"
#include "platform/clock.h"
#include "platform/socket.h"

/* A directory that others fill while it is read must not keep us for ever. */
#define NAMES_MAX 1000000

/* ---- the lock ---- */

/* A descriptor of its own: locks and reading positions belong to the open description, which dup(2) would share. */
static int open_again(int dirfd, const char *path) {
    int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fi_fail_errno(errno == ENOENT ? ESTALE : errno, "cannot open the directory \"%s\"", path);
    return fd;
}

/* flock(2) has no timeout, and a member of a group could keep the lock: so ask, and sleep a little longer each time. */
static int lock_until(int fd, int64_t deadline) {
    int64_t nap = 20000;
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return -errno;
        int64_t now = fi_now_ns();
        if (now >= deadline)
            return -ETIMEDOUT;
        fi_sleep_until(now + nap);
        if (nap < 2000000)
            nap *= 2;
    }
    return 0;
}

int fi_space_lock(fi_space_t *s) {
    int fd = open_again(s->dirfd, s->path);
    if (fd < 0)
        return fd;
    int rc = lock_until(fd, fi_deadline(FI_SPACE_LOCK_NS));
    if (rc == -ETIMEDOUT)
        rc = fi_fail(-ETIMEDOUT,
                     "another process has kept the lock of \"%s\" for two seconds; is one stopped? "
                     "`fuser -v %s` lists who has it open",
                     s->path, s->path);
    else if (rc != 0)
        rc = fi_fail_errno(-rc, "cannot lock the directory \"%s\"", s->path);
    else if (fi_space_is_gone(s))
        rc = fi_fail(-ESTALE, "the directory \"%s\" was removed", s->path);
    if (rc == 0)
        return fd;
    fi_space_unlock(fd);
    return rc;
}

/* Unlocks before it closes: a child forked meanwhile holds the descriptor too, and closing alone would not unlock. */
void fi_space_unlock(int lock) {
    (void)flock(lock, LOCK_UN);
    close(lock);
}

int fi_space_listen(fi_space_t *s, const char *name, int *fd) {
    int lock = -ESTALE;
    for (int i = 0; i < 100 && lock == -ESTALE; i++) {
        lock = fi_space_lock(s);
        int rc = lock == -ESTALE ? fi_space_reopen(s) : 0;
        if (rc != 0)
            return rc;
    }
    if (lock < 0)
        return lock;
    int rc = fi_socket_listen(s->dirfd, name, s->group ? 0660 : 0600, s->group ? s->gid : (gid_t)-1, fd);
    fi_space_unlock(lock);
    if (rc == -ENOSPC || rc == -EDQUOT)
        rc = fi_fail(
            rc,
            "there is no room for a node's socket in \"%s\": free some space or names there, or set FERRY_DIR to "
            "another disk",
            s->path);
    return rc;
}

/* ---- names ---- */

void fi_space_node_name(uint64_t node, char name[FI_NODE_NAME_MAX]) {
    snprintf(name, FI_NODE_NAME_MAX, "n-%016" PRIx64, node);
}

#define EXPELLED_PREFIX FI_UNBORN_PREFIX "expelled-"

void fi_space_expelled_name(uint64_t node, char name[FI_EXPELLED_NAME_MAX]) {
    snprintf(name, FI_EXPELLED_NAME_MAX, EXPELLED_PREFIX "n-%016" PRIx64, node);
}

bool fi_space_parse_expelled(const char *name, uint64_t *node) {
    size_t len = sizeof EXPELLED_PREFIX - 1;
    return strncmp(name, EXPELLED_PREFIX, len) == 0 && fi_space_parse_node(name + len, node);
}

bool fi_space_parse_node(const char *name, uint64_t *node) {
    uint64_t id;
    char again[FI_NODE_NAME_MAX];
    if (sscanf(name, "n-%16" SCNx64, &id) != 1 || id == 0)
        return false;
    fi_space_node_name(id, again);
    if (strcmp(name, again) != 0)
        return false;
    *node = id;
    return true;
}

bool fi_space_is_unborn(const char *name) {
    return strncmp(name, FI_UNBORN_PREFIX, sizeof FI_UNBORN_PREFIX - 1) == 0;
}

/* Not by readdir(3), whose buffer of 32 KiB every node would have touched for the sake of a few names. */
static int each_in(int fd, int (*each)(const char *name, void *arg), void *arg) {
    _Alignas(struct dirent64) char names[4096];
    int left = NAMES_MAX;
    ssize_t got;
    while ((got = getdents64(fd, names, sizeof names)) > 0) {
        for (ssize_t at = 0; at < got;) {
            const struct dirent64 *item = (const struct dirent64 *)(names + at);
            at += item->d_reclen;
            bool is_name = strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0;
            int rc = is_name ? each(item->d_name, arg) : 0;
            if (rc != 0 || --left == 0)
                return rc;
        }
    }
    return 0;
}

int fi_directory_each(int dirfd, const char *path, int (*each)(const char *name, void *arg), void *arg) {
    int fd = open_again(dirfd, path);
    if (fd < 0)
        return fd;
    int rc = each_in(fd, each, arg);
    close(fd);
    return rc;
}

int fi_space_each_name(fi_space_t *s, int (*each)(const char *name, void *arg), void *arg) {
    return fi_directory_each(s->dirfd, s->path, each, arg);
}

typedef struct node_walk {
    int (*each)(uint64_t node, void *arg);
    void *arg;
} node_walk_t;

static int visit_node(const char *name, void *arg) {
    const node_walk_t *walk = arg;
    uint64_t node;
    return fi_space_parse_node(name, &node) ? walk->each(node, walk->arg) : 0;
}

int fi_space_each_node(fi_space_t *s, int (*each)(uint64_t node, void *arg), void *arg) {
    node_walk_t walk = {.each = each, .arg = arg};
    return fi_space_each_name(s, visit_node, &walk);
}

/* ---- sweeping ---- */

typedef struct removal {
    const fi_space_t *space;
    char field[24]; /**< how an entry's name contains the node: no other field is 16 digits long */
} removal_t;

static int remove_entry_of(const char *name, void *arg) {
    const removal_t *r = arg;
    const char *entry =
        fi_space_is_unborn(name) ? name + strlen(FI_UNBORN_PREFIX) : name; /* it may have died writing */
    if ((strncmp(entry, "e-", 2) == 0 || strncmp(entry, "o-", 2) == 0) && strstr(entry, r->field) != NULL)
        (void)unlinkat(r->space->dirfd, name, 0);
    return 0;
}

/* The socket goes last: as long as it is there, whoever meets the node finds out that it is dead and sweeps on. */
void fi_space_remove_node(fi_space_t *s, uint64_t node) {
    char name[FI_NODE_NAME_MAX];
    removal_t r = {.space = s};
    snprintf(r.field, sizeof r.field, ":%016" PRIx64 ":", node);
    (void)fi_space_each_name(s, remove_entry_of, &r);
    fi_space_node_name(node, name);
    (void)unlinkat(s->dirfd, name, 0);
}

static int remove_unborn(const char *name, void *arg) {
    const fi_space_t *s = arg;
    if (fi_space_is_unborn(name))
        (void)unlinkat(s->dirfd, name, 0);
    return 0;
}

void fi_space_sweep_unborn(fi_space_t *s) {
    (void)fi_space_each_name(s, remove_unborn, s);
}
