/* SPDX-License-Identifier: MIT
 *
 * groups.c - see groups.h.
 */
#include "groups.h"

#include <fcntl.h>
#include <mntent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

/* What the two versions call the same things. */
typedef struct version {
    const char *limit;
    const char *swap;
    bool swap_counts_both; /* memory and swap space, not the latter alone */
    const char *events;
} version_t;

static const version_t first = {"memory.limit_in_bytes", "memory.memsw.limit_in_bytes", true, "memory.oom_control"};
static const version_t second = {"memory.max", "memory.swap.max", false, "memory.events"};

static const version_t *version;
static char group[512];

static const char *in_group(const char *name) {
    static char path[600];
    snprintf(path, sizeof path, "%s/%s", group, name);
    return path;
}

static bool write_text(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return good;
}

static bool write_number(const char *path, int64_t number) {
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)number);
    return write_text(path, text);
}

/* Is this word in the file of that directory? */
static bool has_word(const char *directory, const char *name, const char *word) {
    char path[600], found[64];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "re");
    bool has = false;
    while (file && !has && fscanf(file, "%63s", found) == 1)
        has = strcmp(found, word) == 0;
    if (file)
        fclose(file);
    return has;
}

/* At the root of the second version a group gets what is handed down there: nothing of others is changed for a test. */
static const version_t *version_of(const struct mntent *mount) {
    if (strcmp(mount->mnt_type, "cgroup") == 0 && hasmntopt(mount, "memory"))
        return &first;
    if (strcmp(mount->mnt_type, "cgroup2") == 0 && has_word(mount->mnt_dir, "cgroup.subtree_control", "memory"))
        return &second;
    return NULL;
}

static bool find_place(void) {
    FILE *mounts = setmntent("/proc/self/mounts", "re");
    const struct mntent *mount;
    while (mounts && !version && (mount = getmntent(mounts)) != NULL) {
        version = version_of(mount);
        snprintf(group, sizeof group, "%s/ferry-test-%d", mount->mnt_dir, (int)getpid());
    }
    if (mounts)
        endmntent(mounts);
    return version != NULL;
}

static void await_end_of(pid_t pid) {
    struct pollfd item = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
    while (item.fd >= 0 && getppid() == pid && poll(&item, 1, -1) < 0) {
    }
}

/* A process that outlives the program, however that ends: its children die with it, and then the group can go. */
static void guard(pid_t program) {
    if (fork() != 0)
        return;
    setsid();
    for (int fd = 0; fd <= 2; fd++)
        close(fd); /* whoever reads what the program says shall not wait for us */
    await_end_of(program);
    for (unsigned i = 0; i < 2000 && rmdir(group) != 0 && errno == EBUSY; i++)
        nap(10 * MILLISECOND);
    _exit(0);
}

/* Whether the limit can be set, and a process can go in. */
static bool try_group(void) {
    bool good = write_number(in_group(version->limit), 64 << 20);
    pid_t pid = good ? fork() : -1;
    if (pid == 0)
        _exit(!write_number(in_group("cgroup.procs"), getpid()));
    int status = 0, error = errno;
    good = pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
    errno = pid > 0 ? EPERM : error;
    return good;
}

/* Whoever was waited for, or killed with a test that failed, may still be in it for a moment. */
static bool is_gone(void *arg) {
    (void)arg;
    return rmdir(group) == 0 || errno == ENOENT;
}

void group_remove(void) {
    await_that(is_gone, NULL, "a control group without processes cannot be removed");
}

const char *groups_begin(void) {
    static char why[700];
    if (!find_place())
        return "no control groups with a memory controller are mounted here";
    bool made = mkdir(group, 0700) == 0;
    bool good = made && try_group();
    int error = errno;
    if (made)
        group_remove();
    if (good) {
        guard(getpid());
        return NULL;
    }
    snprintf(why, sizeof why, "no control group with a memory limit can be made at %s: %s", group, strerror(error));
    return why;
}

void group_make(uint64_t bytes) {
    group_remove();
    check(mkdir(group, 0700) == 0);
    check(write_number(in_group(version->limit), (int64_t)bytes));
    /* Not there in kernels that do not count swap space. */
    (void)write_number(in_group(version->swap), version->swap_counts_both ? (int64_t)bytes : 0);
}

void group_enter(void) {
    check(write_number("/proc/self/oom_score_adj", 1000));
    check(write_number(in_group("cgroup.procs"), getpid()));
}

/* The first way takes CAP_SYS_RESOURCE, the second one the first version. */
bool group_enter_spared(void) {
    if (!write_number("/proc/self/oom_score_adj", -1000) &&
        (version != &first || !write_number(in_group(version->events), 1)))
        return false;
    check(write_number(in_group("cgroup.procs"), getpid()));
    return true;
}

unsigned group_kills(void) {
    char key[64];
    unsigned value = 0;
    FILE *file = fopen(in_group(version->events), "re");
    check(file != NULL);
    while (fscanf(file, "%63s %u", key, &value) == 2 && strcmp(key, "oom_kill") != 0)
        value = 0;
    fclose(file);
    return value;
}
