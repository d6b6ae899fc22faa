/* SPDX-License-Identifier: MIT
 *
 * doctor_kernel.c - the kernel's features. Each is tried as Ferry uses it: a filter (seccomp) may refuse what the
 * version promises.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "doctor.h"

/* Newer than the headers of some systems. */
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static const char filtered[] = "use a newer kernel, or if this is a container, a seccomp profile that permits %s";

void check_kernel(const common_t *common, finding_t *f) {
    struct utsname name;
    int major = 0;
    int minor = 0;

    (void)common;
    if (uname(&name) != 0 || sscanf(name.release, "%d.%d", &major, &minor) != 2) {
        find(f, VERDICT_WARN, "the kernel does not tell its version");
        advise(f, "Ferry needs Linux 5.14 or newer; see whether the checks below pass");
        return;
    }
    bool enough = major > 5 || (major == 5 && minor >= 14);
    find(f, enough ? VERDICT_OK : VERDICT_WARN, "%s %s on %s", name.sysname, name.release, name.machine);
    if (!enough)
        advise(f, "Ferry is made for Linux 5.14 or newer; it may work if the checks below pass");
}

void check_proc(const common_t *common, finding_t *f) {
    (void)common;
    if (access("/proc/self/fd/", R_OK | X_OK) == 0) {
        find(f, VERDICT_OK, "mounted");
        return;
    }
    find(f, VERDICT_FAIL, "/proc/self/fd cannot be used: %s", strerror(errno));
    advise(f, "mount it: mount -t proc proc /proc");
}

/* Seals a memory file as Ferry does and sees whether the seals hold. Returns what went wrong, or NULL. */
static const char *try_seals(int fd, size_t page) {
    static const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;

    if (ftruncate(fd, (off_t)page) != 0)
        return "a memory file cannot get a size";
    if (fcntl(fd, F_ADD_SEALS, seals) != 0)
        return "a memory file cannot be sealed against future writers";
    if (fcntl(fd, F_GET_SEALS) != seals)
        return "a memory file does not show its seals";
    void *map = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map != MAP_FAILED) {
        munmap(map, page);
        return "a sealed memory file can still be mapped writable";
    }
    return NULL;
}

void check_memory_files(const common_t *common, finding_t *f) {
    (void)common;
    int fd = memfd_create("ferry-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        find(f, VERDICT_FAIL, "memfd_create fails: %s", strerror(errno));
        advise(f, filtered, "memfd_create");
        return;
    }
    const char *wrong = try_seals(fd, (size_t)sysconf(_SC_PAGESIZE));
    close(fd);
    if (wrong == NULL) {
        find(f, VERDICT_OK, "memfd with seals against shrinking, growing and future writers");
        return;
    }
    find(f, VERDICT_FAIL, "%s", wrong);
    advise(f, filtered, "fcntl(F_ADD_SEALS)");
}

void check_pidfd(const common_t *common, finding_t *f) {
    (void)common;
    int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (fd >= 0) {
        close(fd);
        find(f, VERDICT_OK, "pidfd_open works: the death of a peer is told by the kernel");
        return;
    }
    find(f, VERDICT_FAIL, "pidfd_open fails: %s", strerror(errno));
    advise(f, filtered, "pidfd_open");
}

void check_barrier(const common_t *common, finding_t *f) {
    (void)common;
    long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
    if (commands >= 0 && (commands & MEMBARRIER_CMD_GLOBAL_EXPEDITED) != 0) {
        find(f, VERDICT_OK, "membarrier (global, expedited): a message needs no fence");
        return;
    }
    find(f, VERDICT_WARN, "no global expedited membarrier: senders pay for a fence with every message");
    advise(f, filtered, "membarrier");
}

void check_populate(const common_t *common, finding_t *f) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *map = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)common;
    if (map == MAP_FAILED) {
        find(f, VERDICT_FAIL, "not even one page of memory can be mapped: %s", strerror(errno));
        advise(f, "see the limits of this process: ulimit -v");
        return;
    }
    bool works = madvise(map, page, MADV_POPULATE_WRITE) == 0;
    munmap(map, page);
    find(f, works ? VERDICT_OK : VERDICT_WARN, "%s",
         works ? "MADV_POPULATE_WRITE works" : "no MADV_POPULATE_WRITE: the first use of each page is slower");
    if (!works)
        advise(f, "use Linux 5.14 or newer");
}
