/* SPDX-License-Identifier: MIT
 *
 * node/space.c - finding, making, checking and leaving a space's directory; see space.h.
 *
 * A directory is opened first and then looked at through the descriptor, never by name again, so what was checked is
 * what is used.  Symbolic links are not followed in the last component: somebody else may have put it there.
 */
#include "node/space.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "node/contract.h"
#include "platform/cancel.h"
#include "platform/clock.h"

#define SPACE_NAME_MAX 63
#define MODE_BITS 07777U
#define GROUP_MODE (S_ISGID | S_ISVTX | 0770)

/** What a directory must be like. */
typedef struct rules {
    bool group;
    gid_t gid;
    bool given_base; /**< a base that somebody chose: it may be root's, as /tmp is */
    bool create;
} rules_t;

/* ---- the base ---- */

/* A group's list of members may be long: the buffer grows until it fits. */
static int group_by_name(const char *name, gid_t *gid) {
    struct group entry, *found = NULL;
    int why = ERANGE;
    for (size_t room = 4096; why == ERANGE && room <= (16U << 20); room *= 4) {
        char *buf = malloc(room);
        if (buf == NULL)
            return fi_fail(-ENOMEM, "no memory to look up the group \"%s\"", name);
        why = getgrnam_r(name, &entry, buf, room, &found);
        if (found != NULL)
            *gid = entry.gr_gid;
        free(buf);
    }
    if (found != NULL)
        return 0;
    return fi_fail(-ENOENT, "there is no group \"%s\"; `getent group` lists them", name);
}

static int find_group(const char *name, gid_t *gid) {
    char *end = NULL;
    unsigned long number = strtoul(name, &end, 10);
    if (name[0] < '0' || name[0] > '9' || *end != '\0' || number >= UINT32_MAX)
        return group_by_name(name, gid);
    *gid = (gid_t)number;
    return 0;
}

static const char *given_base(const ferry_options_t *o) {
    const char *given = o == NULL ? NULL : o->directory;
    if (given == NULL)
        given = getenv("FERRY_DIR");
    return given == NULL || given[0] == '\0' ? NULL : given;
}

/* Makes `given` absolute and drops slashes at its end, which would make O_NOFOLLOW follow a link. */
static int absolute(const char *given, char *buf, size_t cap) {
    char here[PATH_MAX] = "";
    if (given[0] != '/' && getcwd(here, sizeof here) == NULL)
        return fi_fail_errno(errno, "the base directory \"%s\" is relative, and the current directory is unknown",
                             given);
    size_t len = strlen(given);
    if (len > PATH_MAX)
        return -ERANGE;
    while (len > 1 && given[len - 1] == '/')
        len--;
    int n = snprintf(buf, cap, "%s%s%.*s", here, given[0] == '/' ? "" : "/", (int)len, given);
    return n < 0 || (size_t)n >= cap ? -ERANGE : 0;
}

/* For the user or the group alone: the environment of cron, of a login shell and of a service may differ. */
static int derived(bool group, gid_t gid, char *buf, size_t cap) {
    int n = group ? snprintf(buf, cap, "/tmp/ferry-group-%lu", (unsigned long)gid)
                  : snprintf(buf, cap, "/tmp/ferry-%lu", (unsigned long)geteuid());
    return n < 0 || (size_t)n >= cap ? -ERANGE : 0;
}

int fi_space_base(const ferry_options_t *o, char *buf, size_t cap, bool *group, gid_t *gid) {
    bool for_group = o != NULL && o->group != NULL && o->group[0] != '\0';
    gid_t number = 0;
    int rc = for_group ? find_group(o->group, &number) : 0;
    if (rc != 0)
        return rc;
    char path[PATH_MAX + 1];
    const char *given = given_base(o);
    rc = given != NULL ? absolute(given, path, sizeof path) : derived(for_group, number, path, sizeof path);
    if (rc == -ERANGE)
        return fi_fail(-ENAMETOOLONG, "the base directory's path is longer than %d bytes", PATH_MAX);
    if (rc != 0)
        return rc;
    if (strlen(path) >= cap)
        return fi_fail(-ERANGE, "the base directory's path needs %zu bytes", strlen(path) + 1);
    memcpy(buf, path, strlen(path) + 1);
    *group = for_group;
    *gid = number;
    return 0;
}

/* ---- checking a directory ---- */

const char *fi_user_word(uid_t uid, char *buf, size_t cap) {
    char fields[4096];
    struct passwd entry, *found = NULL;
    if (getpwuid_r(uid, &entry, fields, sizeof fields, &found) == 0 && found != NULL)
        snprintf(buf, cap, "%s (user id %lu)", found->pw_name, (unsigned long)uid);
    else
        snprintf(buf, cap, "user id %lu", (unsigned long)uid);
    return buf;
}

static int fail_owner(const char *path, uid_t owner) {
    char words[128];
    return fi_fail(-EPERM,
                   "\"%s\" belongs to %s, not to you; set FERRY_DIR to a directory of your own, or open the "
                   "space for a group",
                   path, fi_user_word(owner, words, sizeof words));
}

/* Closed to others, so that its contents are ours. Root is no exception: it would be led by whoever owns this. */
static int check_user(const struct stat *st, const char *path) {
    if (st->st_uid != geteuid())
        return fail_owner(path, st->st_uid);
    if ((st->st_mode & 0077) != 0)
        return fi_fail(-EPERM,
                       "\"%s\" is open to other users (mode %04o); `chmod 0700 %s`, or open the space for a "
                       "group",
                       path, (unsigned)(st->st_mode & MODE_BITS), path);
    return 0;
}

/*
 * Any member may own it.  The group id proves that a member made it: a user can give a file only to groups he is in,
 * and the directory above is not the group's, or is itself one that only members can write to.
 */
static int check_group(const struct stat *st, const char *path, gid_t gid) {
    if (st->st_gid != gid)
        return fi_fail(-EPERM,
                       "\"%s\" belongs to group %lu, not to group %lu; another group or user has that name: "
                       "choose another, or set FERRY_DIR",
                       path, (unsigned long)st->st_gid, (unsigned long)gid);
    if ((st->st_mode & (S_ISGID | S_ISVTX)) != (S_ISGID | S_ISVTX) || (st->st_mode & 0007) != 0)
        return fi_fail(-EPERM,
                       "\"%s\" has mode %04o, but a group's space needs setgid and sticky bits and nothing for "
                       "others; `chmod 3770 %s`",
                       path, (unsigned)(st->st_mode & MODE_BITS), path);
    return 0;
}

/* Nobody but the user, root or the group's members may be able to replace what is in it. */
static int check_given_base(const struct stat *st, const char *path, const rules_t *r) {
    bool groups_own = r->group && st->st_gid == r->gid && (st->st_mode & S_ISGID) != 0 && (st->st_mode & 0007) == 0;
    if (st->st_uid != geteuid() && st->st_uid != 0 && !groups_own)
        return fail_owner(path, st->st_uid);
    if ((st->st_mode & 0022) != 0 && (st->st_mode & S_ISVTX) == 0)
        return fi_fail(-EPERM, "others can replace what is in \"%s\" (mode %04o without the sticky bit); `chmod +t %s`",
                       path, (unsigned)(st->st_mode & MODE_BITS), path);
    return 0;
}

static int check(const struct stat *st, const char *path, const rules_t *r) {
    if (r->given_base)
        return check_given_base(st, path, r);
    return r->group ? check_group(st, path, r->gid) : check_user(st, path);
}

/* ---- opening a directory ---- */

static int fail_open(int at, const char *name, const char *path, const rules_t *r, int why) {
    struct stat st;
    bool seen = fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (seen && S_ISLNK(st.st_mode))
        return fi_fail(-EPERM, "\"%s\" is a symbolic link, which Ferry does not follow; name the directory itself",
                       path);
    if (seen && !S_ISDIR(st.st_mode))
        return fi_fail(-EPERM, "\"%s\" is not a directory; remove it or choose another name", path);
    if (why == EACCES && seen && !r->group && !r->given_base)
        return check(&st, path, r) != 0 ? -EPERM
                                        : fi_fail(-EACCES, "\"%s\" cannot be read (mode %04o); `chmod 0700 %s`", path,
                                                  (unsigned)(st.st_mode & MODE_BITS), path);
    if (why == EACCES && seen && !r->given_base)
        return fi_fail(-EACCES,
                       "\"%s\" is for group %lu, and you are not a member (a new membership counts after the "
                       "next login)",
                       path, (unsigned long)st.st_gid);
    if (why == ENOENT)
        return fi_fail(-ENOENT, "\"%s\" does not exist", path);
    return fi_fail_errno(why, "cannot open the directory \"%s\"", path);
}

static int fail_make(const char *path, int why) {
    switch (why) {
    case ENOENT:
        return fi_fail(-ENOENT, "\"%s\" cannot be made because the directory above it does not exist; make that first",
                       path);
    case ENOTDIR:
        return fi_fail(-EPERM, "\"%s\" cannot be made because something above it is not a directory", path);
    case EPERM:
    case EACCES:
        return fi_fail(-EACCES,
                       "\"%s\" cannot be made: the directory above it is not writable for you; set FERRY_DIR to "
                       "one that is",
                       path);
    case EROFS:
        return fi_fail(-EROFS,
                       "\"%s\" cannot be made: its file system is read-only; set FERRY_DIR to a directory on "
                       "another one",
                       path);
    case ENOSPC:
    case EDQUOT:
        return fi_fail_errno(why, "\"%s\" cannot be made; free some space or set FERRY_DIR to another disk", path);
    default:
        return fi_fail_errno(why, "\"%s\" cannot be made", path);
    }
}

/*
 * Gives a directory that was just made, with mode 0700, what a group's needs.  The mode comes last: until then its
 * name shows mode 0700, and other members wait for a moment (see is_half_made).
 */
static int finish_group(int fd, const char *path, gid_t gid) {
    if (fchown(fd, (uid_t)-1, gid) != 0)
        return errno == EPERM ? fi_fail(-EPERM,
                                        "\"%s\" cannot be given to group %lu: you are not its member (a new "
                                        "membership counts after the next login)",
                                        path, (unsigned long)gid)
                              : fi_fail_errno(errno, "\"%s\" cannot be given to group %lu", path, (unsigned long)gid);
    if (fchmod(fd, GROUP_MODE) != 0)
        return fi_fail_errno(errno, "\"%s\" cannot be opened to group %lu", path, (unsigned long)gid);
    return 0;
}

/* The setgid bit may have come from the directory above. */
static bool is_half_made(const struct stat *st) {
    return S_ISDIR(st->st_mode) && (st->st_mode & MODE_BITS & ~(mode_t)S_ISGID) == 0700;
}

static int found_one(const char *name, void *arg) {
    (void)name;
    (void)arg;
    return 1;
}

/* Nothing is in it: it may be the work of a process of ours that died between making and finishing it. */
static bool is_empty(int fd, const char *path) {
    return fi_directory_each(fd, path, found_one, NULL) == 0;
}

/* Looks at an open directory: 0 fine; -EAGAIN somebody else is still making it; else why not. */
static int admit(int fd, const char *path, const rules_t *r, bool made) {
    struct stat st;
    if (fstat(fd, &st) != 0)
        return fi_fail_errno(errno, "cannot look at \"%s\"", path);
    if (r->group && is_half_made(&st) && (made || !r->given_base)) {
        bool ours = st.st_uid == geteuid() && (made || (r->create && is_empty(fd, path)));
        int rc = ours ? finish_group(fd, path, r->gid) : -EAGAIN;
        if (rc != 0)
            return rc;
        if (fstat(fd, &st) != 0)
            return fi_fail_errno(errno, "cannot look at \"%s\"", path);
    }
    return check(&st, path, r);
}

/* 1: made; 0: somebody else was quicker; else why not. */
static int make(int at, const char *name, const char *path) {
    struct stat st;
    if (mkdirat(at, name, 0700) != 0)
        return errno == EEXIST ? 0 : fail_make(path, errno);
    if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || (st.st_mode & S_IRWXU) == S_IRWXU)
        return 1;
    (void)unlinkat(at, name, AT_REMOVEDIR);
    return fi_fail(
        -EACCES,
        "\"%s\" would be of no use: the umask takes its owner's rights away (mode %04o); set another one, as by "
        "`umask 077`",
        path, (unsigned)(st.st_mode & MODE_BITS));
}

/* One try: 0 and `*fd`; -EAGAIN try again (`*made` tells that we have just made it); else why not. */
static int try_open(int at, const char *name, const char *path, const rules_t *r, bool *made, int *fd) {
    struct stat st;
    int dir = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0 && errno == ENOENT && r->create) {
        int rc = make(at, name, path);
        *made |= rc == 1;
        return rc < 0 ? rc : -EAGAIN;
    }
    if (dir < 0) {
        int why = errno;
        if (why == EACCES && r->group && fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && is_half_made(&st) &&
            st.st_uid != geteuid())
            return -EAGAIN;
        return fail_open(at, name, path, r, why);
    }
    int rc = admit(dir, path, r, *made);
    if (rc == 0)
        *fd = dir;
    else
        close(dir);
    return rc;
}

/* Another member needs microseconds to finish what he makes; after 200 ms he is taken for dead. */
static int open_directory(int at, const char *name, const char *path, const rules_t *r, int *fd) {
    bool made = false;
    int rc = -EAGAIN;
    for (int i = 0; i < 100 && rc == -EAGAIN; i++) {
        if (i >= 3)
            fi_sleep_until(fi_now_ns() + 2000000);
        rc = try_open(at, name, path, r, &made, fd);
    }
    if (rc == -EAGAIN)
        rc = fi_fail(-EPERM, "\"%s\" has been made, but not opened to group %lu (mode 0700); its owner must remove it",
                     path, (unsigned long)r->gid);
    if (rc != 0 && made)
        (void)unlinkat(at, name, AT_REMOVEDIR);
    return rc;
}

/* ---- opening a space ---- */

/* Opens base and space below it. -ESTALE: the base was removed between the two steps, by the last one who left. */
static int open_both(const fi_space_t *s, bool create, int *dirfd) {
    char base[PATH_MAX + 1];
    struct stat st;
    memcpy(base, s->path, s->base_len);
    base[s->base_len] = '\0';
    rules_t r = {.group = s->group, .gid = s->gid, .given_base = !s->derived_base, .create = create};
    int at = -1;
    int rc = open_directory(AT_FDCWD, base, base, &r, &at);
    if (rc != 0)
        return rc;
    r.given_base = false;
    rc = open_directory(at, s->name, s->path, &r, dirfd);
    if (rc == -ENOENT && create &&
        (fstatat(AT_FDCWD, base, &st, AT_SYMLINK_NOFOLLOW) != 0 || fstat(at, &st) != 0 || st.st_nlink == 0))
        rc = -ESTALE;
    else if (rc != 0 && s->derived_base && create)
        (void)rmdir(base); /* only if it is empty: we may have made it for nothing */
    close(at);
    return rc;
}

static int open_patiently(const fi_space_t *s, bool create, int *dirfd) {
    int rc = -ESTALE;
    for (int i = 0; i < 100 && rc == -ESTALE; i++)
        rc = open_both(s, create, dirfd);
    return rc == -ESTALE ? fi_fail(-ENOENT, "\"%s\" is removed again and again by somebody else", s->path) : rc;
}

int fi_space_check_base(const ferry_options_t *o, char *base, size_t cap) {
    rules_t r = {.given_base = given_base(o) != NULL};
    int fd = -1;
    int rc = fi_space_base(o, base, cap, &r.group, &r.gid);
    if (rc == 0)
        rc = open_directory(AT_FDCWD, base, base, &r, &fd);
    if (rc == 0)
        close(fd);
    return rc;
}

int fi_space_check_name(const char *name) {
    return fi_name_check("space", name, SPACE_NAME_MAX);
}

int fi_space_open(const char *name, const ferry_options_t *o, bool create, fi_space_t *s) {
    char base[PATH_MAX + 1];
    fi_space_t fresh = {.dirfd = -1, .derived_base = given_base(o) == NULL};
    fi_address_t address;
    int rc = fi_address_parse(name, &address);
    if (rc == 0)
        rc = fi_space_base(o, base, sizeof base, &fresh.group, &fresh.gid);
    if (rc != 0)
        return rc;
    snprintf(fresh.name, sizeof fresh.name, "%s", address.directory);
    fresh.base_len = strlen(base);
    if (asprintf(&fresh.path, "%s/%s", base, fresh.name) < 0)
        return fi_fail(-ENOMEM, "no memory for the path of a space");
    rc = open_patiently(&fresh, create, &fresh.dirfd);
    if (rc != 0)
        free(fresh.path);
    else
        *s = fresh;
    return rc;
}

/* Whoever is in a group may search its directory: others fail with EACCES when they ask there. */
int fi_space_open_path(const char *path, struct stat *st) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -1;
    bool fine = fstat(fd, st) == 0;
    if (fine && (st->st_mode & 0077) == 0)
        fine = st->st_uid == geteuid();
    else if (fine)
        fine = (st->st_mode & (S_ISGID | S_ISVTX)) == (S_ISGID | S_ISVTX) && (st->st_mode & 0007) == 0;
    if (fine)
        return fd;
    close(fd);
    return -1;
}

int fi_space_reopen(fi_space_t *s) {
    int dirfd = -1;
    int rc = open_patiently(s, true, &dirfd);
    if (rc != 0)
        return rc;
    close(s->dirfd);
    s->dirfd = dirfd;
    return 0;
}

bool fi_space_is_gone(const fi_space_t *s) {
    struct stat ours, named;
    if (fstat(s->dirfd, &ours) != 0 || ours.st_nlink == 0)
        return true;
    if (lstat(s->path, &named) != 0)
        return errno == ENOENT || errno == ENOTDIR;
    return ours.st_ino != named.st_ino || ours.st_dev != named.st_dev;
}

void fi_space_forget(fi_space_t *s) {
    if (s->dirfd >= 0)
        close(s->dirfd);
    free(s->path);
    *s = (fi_space_t){.dirfd = -1};
}

/*
 * Under the lock, so that nobody is about to put the first name into it; and if somebody opened it and has not locked
 * it yet, his fi_space_lock tells him that it is gone.
 */
void fi_space_close(fi_space_t *s) {
    int cancel = fi_cancel_off();
    int lock = s->dirfd < 0 ? -1 : fi_space_lock(s);
    if (lock >= 0) {
        fi_space_sweep_unborn(s);
        bool removed = rmdir(s->path) == 0;
        fi_space_unlock(lock);
        if (removed && s->derived_base) {
            s->path[s->base_len] = '\0';
            (void)rmdir(s->path);
        }
    }
    fi_space_forget(s);
    fi_cancel_restore(cancel);
}
