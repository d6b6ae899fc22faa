/* SPDX-License-Identifier: MIT
 *
 * node/host.c - see host.h.
 */
#include "node/host.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "host/current.h"
#include "host/measure.h"
#include "host/profile.h"
#include "platform/save.h"

#define BOOT_ID "/proc/sys/kernel/random/boot_id"
#define BOOT_LEN 36u

static uint32_t known; /* a profile was found, or measured, by this process */

static ssize_t read_some(int fd, char *to, size_t cap) {
    size_t len = 0;

    while (len < cap) {
        ssize_t n = read(fd, to + len, cap - len);
        if (n < 0 && errno != EINTR) {
            return -1;
        }
        if (n == 0) {
            break;
        }
        len += n > 0 ? (size_t)n : 0;
    }
    return (ssize_t)len;
}

/* --- the one that is given --------------------------------------------------------------------------------------- */

static int find_given(const char *path) {
    char text[FI_PROFILE_MAX + 1];
    char what[PATH_MAX + 64];
    ferry_host_t h;

    snprintf(what, sizeof what, "FERRY_HOST_PROFILE=%s", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return fi_fail(-EINVAL, "%s: this file cannot be read (%s); name a profile, or unset it", what,
                       strerror(errno));
    }
    ssize_t len = read_some(fd, text, sizeof text);
    close(fd);
    if (len < 0) {
        return fi_fail(-EINVAL, "%s: this is no file that can be read", what);
    }
    int r = fi_host_parse(text, (size_t)len, what, &h);
    if (r == 0) {
        h.source = FERRY_HOST_GIVEN;
        fi_host_use(&h);
    }
    return r < 0 ? r : 1;
}

/* --- the one that was measured ----------------------------------------------------------------------------------- */

/* ".host-UID-BOOT"; false: the kernel does not say which start this is. */
static bool name_of(char *name, size_t cap) {
    char boot[BOOT_LEN + 1] = "";
    int fd = open(BOOT_ID, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        return false;
    }
    ssize_t len = read_some(fd, boot, BOOT_LEN);
    close(fd);
    boot[BOOT_LEN] = '\0';
    return len == BOOT_LEN && strspn(boot, "0123456789abcdef-") == BOOT_LEN &&
           snprintf(name, cap, ".host-%lu-%s", (unsigned long)geteuid(), boot) < (int)cap;
}

/* Is it ours, and could nobody else have written it? */
static bool is_ours(int fd) {
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && (st.st_mode & 022) == 0;
}

/* What does not read as a profile counts as none: who measures puts a better one into its place. */
static bool read_kept(int dir, const char *name) {
    char text[FI_PROFILE_MAX + 1];
    ferry_host_t h;
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0) {
        return false;
    }
    ssize_t len = is_ours(fd) ? read_some(fd, text, sizeof text) : -1;
    close(fd);
    if (len < 0 || fi_host_parse(text, (size_t)len, name, &h) < 0) {
        return false;
    }
    h.source = FERRY_HOST_MEASURED;
    fi_host_use(&h);
    return true;
}

struct sweeping {
    int dir;
    const char *keep;
    char ours[32]; /* how our names begin */
};

static int sweep(const char *name, void *arg) {
    const struct sweeping *s = arg;

    if (strncmp(name, s->ours, strlen(s->ours)) == 0 && strcmp(name, s->keep) != 0) {
        (void)unlinkat(s->dir, name, 0);
    }
    return 0;
}

/* Has no name while it is written, so that who dies meanwhile leaves nothing. What cannot be kept is measured again. */
static void keep(int dir, const char *base, const char *name, const ferry_host_t *h) {
    struct sweeping s = {.dir = dir, .keep = name};
    char text[FI_PROFILE_MAX];
    char file[32];
    size_t len = fi_host_print(h, text, sizeof text);
    int fd = openat(dir, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600);

    if (fd < 0) {
        return;
    }
    snprintf(file, sizeof file, "/proc/self/fd/%d", fd);
    if (fi_may_make_file(len) && write(fd, text, len) == (ssize_t)len) {
        (void)unlinkat(dir, name, 0);
        (void)linkat(AT_FDCWD, file, dir, name, AT_SYMLINK_FOLLOW);
    }
    close(fd);
    snprintf(s.ours, sizeof s.ours, ".host-%lu-", (unsigned long)geteuid());
    (void)fi_directory_each(dir, base, sweep, &s);
}

static int open_base(const char *base) {
    return open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int fi_host_find(const char *base) {
    const char *given = secure_getenv("FERRY_HOST_PROFILE");
    char name[80];
    int r = 0;

    if (fi_load_acquire32(&known)) {
        return 1;
    }
    if (given && given[0] != '\0') {
        r = find_given(given);
    } else if (name_of(name, sizeof name)) {
        int dir = open_base(base);
        r = dir >= 0 && read_kept(dir, name);
        if (dir >= 0) {
            close(dir);
        }
    }
    if (r == 1) {
        fi_store_release32(&known, 1);
    }
    return r;
}

int fi_host_learn(const char *base, bool anew, const uint32_t *stop) {
    char name[80];
    ferry_host_t h;
    bool whole;
    int r = fi_host_find(base);

    if (r < 0) {
        return r;
    }
    fi_host_current(&h);
    if (r == 1 && (!anew || h.source == FERRY_HOST_GIVEN)) {
        return 0;
    }
    r = fi_host_measure(stop, &h, &whole);
    if (r < 0) {
        return r;
    }
    fi_host_use(&h);
    fi_store_release32(&known, 1);
    int dir = whole && name_of(name, sizeof name) ? open_base(base) : -1; /* else somebody else may have better luck */
    if (dir >= 0) {
        keep(dir, base, name, &h);
        close(dir);
    }
    return 0;
}

bool fi_host_is_known(void) {
    return fi_load_relaxed32(&known) != 0;
}

void fi_node_want_profile(fi_node_t *n) {
    uint32_t never = FI_MEASURE_NOT;

    if (fi_cas32(&n->measure, &never, FI_MEASURE_WANTED)) {
        fi_bell_ring(n->bell.wr);
    }
}

void fi_node_measure(fi_node_t *n) {
    fi_store_relaxed32(&n->measure, FI_MEASURE_TRIED);
    char *base = strndup(n->space.path, n->space.base_len);
    if (base) {
        (void)fi_host_learn(base, false, &n->stopping);
    }
    free(base);
}
