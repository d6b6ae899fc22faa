/* SPDX-License-Identifier: MIT
 *
 * platform/memfd.c - see memfd.h, memfd_create(2), and fcntl(2) on seals.
 */
#include "platform/memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bits.h"
#include "base/error.h"
#include "platform/save.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

#define FIXED (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define ONE_WRITER (FIXED | F_SEAL_FUTURE_WRITE)
#define FOR_ALL (F_SEAL_SHRINK | F_SEAL_SEAL)
#define HUGE_PAGE (UINT64_C(2) << 20)
#define LARGE (UINT64_C(64) << 20)

size_t fi_page_size(void) {
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* Newer kernels may insist on a file that cannot be executed (vm.memfd_noexec=2); older ones do not know the flag. */
static int create_file(const char *label) {
    int fd = (int)syscall(SYS_memfd_create, label, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL)
        fd = (int)syscall(SYS_memfd_create, label, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return fd;
}

/* Touching every page is what MADV_POPULATE_WRITE does in one call; kernels without it get it page by page. */
static int touch_pages(int fd, char *map, size_t bytes) {
    if (fallocate(fd, 0, 0, (off_t)bytes) != 0)
        return errno;
    for (size_t at = 0; at < bytes; at += fi_page_size())
        ((volatile char *)map)[at] = 0;
    return 0;
}

/* Makes every page present and mapped, so that the file has no holes. Returns 0 or a positive errno value. */
static int populate(int fd, char *map, size_t bytes) {
    if (bytes >= HUGE_PAGE)
        (void)madvise(map, bytes, MADV_HUGEPAGE); /* a wish: smaller pages do as well */
    int rc;
    do
        rc = madvise(map, bytes, MADV_POPULATE_WRITE) == 0 ? 0 : errno;
    while (rc == EINTR || rc == EAGAIN);
    if (rc == EINVAL)
        return touch_pages(fd, map, bytes);
    return rc == 0 ? 0 : ENOMEM; /* EFAULT is how this call says that a page could not be had */
}

/* Sizes, maps, fills and seals `fd`. Returns 0 or a negative errno value; on failure nothing is mapped. */
static int furnish(int fd, size_t bytes, int seals, void **map) {
    /* The default mode is 0777: through /proc, any user who sees the descriptor could open it anew for writing. */
    if (fchmod(fd, 0600) != 0)
        return fi_fail_errno(errno, "cannot restrict the mode of a memory file");
    if (ftruncate(fd, (off_t)bytes) != 0)
        return fi_fail_errno(ENOMEM, "cannot make a memory file of %zu bytes", bytes);
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return fi_fail_errno(ENOMEM, "cannot map a memory file of %zu bytes", bytes);
    (void)madvise(at, bytes, MADV_DONTFORK);
    int rc = populate(fd, at, bytes);
    if (rc == ENOSPC)
        rc = ENOMEM;
    /* What was had is given back before anything is said: where a control group is full and nobody in it may be killed,
     * a thread that touches another page, of its stack perhaps, stands still until there is room. */
    if (rc != 0) {
        (void)!ftruncate(fd, 0);
        rc = fi_fail_errno(rc,
                           "cannot allocate the %zu bytes of a memory file; free memory, raise the limit of this "
                           "control group, or ask for a smaller quota",
                           bytes);
    } else if (fcntl(fd, F_ADD_SEALS, seals) != 0) {
        rc = fi_fail(-ENOSYS, "this kernel cannot seal a memory file against changes; Ferry needs Linux 5.14");
    }
    if (rc == 0)
        *map = at;
    else
        munmap(at, bytes);
    return rc;
}

/* Kilobytes behind `key` in /proc/meminfo's text; 0 when it is not there. */
static uint64_t kilobytes(const char *text, const char *key) {
    const char *line = strstr(text, key);
    return line == NULL ? 0 : strtoull(line + strlen(key), NULL, 10);
}

/*
 * Memory files have no limit of their own: the kernel grants any size, and kills somebody when the pages run out.  So a
 * large request is compared with what is available first; small ones would only pay for the look.
 */
bool fi_memory_is_available(size_t bytes) {
    char text[4096];
    if (bytes < LARGE)
        return true;
    int fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n < 0 ? 0 : n] = '\0';
    uint64_t free_kb = kilobytes(text, "\nMemAvailable:");
    return free_kb == 0 || bytes / 1024 < free_kb + kilobytes(text, "\nSwapFree:");
}

/* May a memory file be as large as `bytes`, `more` of them new? */
static int check_size(size_t bytes, size_t more) {
    if (bytes > PTRDIFF_MAX || !fi_memory_is_available(more))
        return fi_fail(-ENOMEM, "a memory file of %zu bytes is more than this machine has free; ask for a smaller one",
                       bytes);
    if (!fi_may_make_file(bytes))
        return fi_fail(-EFBIG, "a memory file of %zu bytes is larger than this process may make files; raise ulimit -f",
                       bytes);
    return 0;
}

static int create(const char *label, size_t bytes, int seals, int *fd, void **map) {
    fi_assert(bytes != 0 && bytes % fi_page_size() == 0);
    int r = check_size(bytes, bytes);
    if (r < 0)
        return r;
    int file = create_file(label);
    if (file < 0 && (errno == ENOSYS || errno == EPERM || errno == EACCES))
        return fi_fail(-ENOSYS, "the kernel, or a filter on this process, refuses memfd_create; Ferry cannot work "
                                "without it");
    if (file < 0)
        return fi_fail_errno(errno, "cannot make a memory file (see ulimit -n)");
    void *at = NULL;
    int rc = furnish(file, bytes, seals, &at);
    if (rc != 0) {
        close(file);
        return rc;
    }
    *fd = file;
    *map = at;
    return 0;
}

int fi_memfd_create(const char *label, size_t bytes, int *fd, void **map) {
    return create(label, bytes, ONE_WRITER, fd, map);
}

int fi_memfd_create_shared(const char *label, size_t bytes, int *fd, void **map) {
    return create(label, bytes, FOR_ALL, fd, map);
}

/* How much of memory that somebody else writes has no holes. What all may write has some where somebody found no
 * memory to make it larger. */
static uint64_t solid_bytes(int seals, const struct stat *st, size_t min_bytes) {
    return seals == FOR_ALL ? min_bytes : (uint64_t)st->st_size;
}

/* What we require of it. Returns 0, -EPROTO, or -EFBIG for what is sound and too large. */
static int check_peer(int fd, int wanted, struct stat *st, size_t min_bytes, size_t max_bytes) {
    /* Seals first: once they are there, neither size nor blocks can change any more. */
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & wanted) != wanted)
        return fi_fail(-EPROTO, "a peer offered memory that is not sealed against changes of size and new writers");
    if (fstat(fd, st) != 0)
        return fi_fail_errno(EPROTO, "a peer offered memory that cannot be looked at");
    if (st->st_size <= 0 || (uint64_t)st->st_size < min_bytes)
        return fi_fail(-EPROTO, "a peer offered %lld bytes of memory where %zu are the least", (long long)st->st_size,
                       min_bytes);
    if ((uint64_t)st->st_blocks < (solid_bytes(wanted, st, min_bytes) + 511) / 512)
        return fi_fail(-EPROTO, "a peer offered memory with holes, which we would be charged for when we read it");
    if ((uint64_t)st->st_size > max_bytes)
        return fi_fail(-EFBIG, "a peer offered %lld bytes of memory where %zu are allowed", (long long)st->st_size,
                       max_bytes);
    return 0;
}

static int map_checked(int fd, int seals, int access, size_t min_bytes, size_t max_bytes, void **map, struct stat *st) {
    int rc = check_peer(fd, seals, st, min_bytes, max_bytes);
    if (rc != 0)
        return rc;
    size_t size = (size_t)st->st_size;
    /* They would be filled, and charged to us. */
    bool may_have_holes = fi_align_up(solid_bytes(seals, st, min_bytes), fi_page_size()) < size;
    int flags = MAP_SHARED | (size <= LARGE && !may_have_holes ? MAP_POPULATE : 0);
    void *at = mmap(NULL, size, access, flags, fd, 0);
    if (at == MAP_FAILED && (errno == EACCES || errno == EBADF || errno == EPERM))
        return fi_fail_errno(EPROTO, "a peer offered memory that we may not use");
    if (at == MAP_FAILED)
        return fi_fail_errno(ENOMEM, "cannot map the %zu bytes of a peer's memory", size);
    *map = at;
    return 0;
}

int fi_memfd_map_peer(int fd, size_t min_bytes, size_t max_bytes, const void **map, size_t *bytes, uint64_t *inode) {
    struct stat st;
    void *at = NULL;
    int rc = map_checked(fd, ONE_WRITER, PROT_READ, min_bytes, max_bytes, &at, &st);
    if (rc == 0) {
        *map = at;
        *bytes = (size_t)st.st_size;
        *inode = (uint64_t)st.st_ino;
    }
    return rc;
}

int fi_memfd_map_shared(int fd, size_t min_bytes, size_t max_bytes, void **map, size_t *bytes) {
    struct stat st;
    int rc = map_checked(fd, FOR_ALL, PROT_READ | PROT_WRITE, min_bytes, max_bytes, map, &st);
    if (rc == 0) {
        (void)madvise(*map, (size_t)st.st_size, MADV_DONTFORK);
        *bytes = (size_t)st.st_size;
    }
    return rc;
}

int fi_memfd_map_reach(int fd, size_t bytes, bool writable, void **map) {
    void *at = mmap(NULL, bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return fi_fail_errno(ENOMEM, "cannot map the %zu bytes up to which a memory file may grow (see ulimit -v)",
                             bytes);
    (void)madvise(at, bytes, MADV_DONTFORK);
    *map = at;
    return 0;
}

int fi_memfd_grow(int fd, size_t from, size_t to) {
    int rc = check_size(to, to - from);
    while (rc == 0 && fallocate(fd, 0, (off_t)from, (off_t)(to - from)) != 0)
        if (errno != EINTR)
            rc = fi_fail_errno(errno == ENOSPC ? ENOMEM : errno, "cannot allocate %zu more bytes of a memory file",
                               to - from);
    return rc;
}

/* The kernel looks at the mapping's wish when a page is touched, not when fallocate makes one. Where not all of them are
 * to be had, those that were go back at once, as in furnish(); but not the first one, which may hold something. */
void fi_memfd_grow_huge(int fd, void *map, size_t from, size_t to) {
    size_t fresh = from + fi_page_size();
    if (check_size(to, to - from) == 0 && ftruncate(fd, (off_t)to) == 0 &&
        madvise((char *)map + from, to - from, MADV_POPULATE_WRITE) != 0 && fresh < to)
        (void)!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)fresh, (off_t)(to - fresh));
}

size_t fi_memfd_bytes(int fd) {
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_size > 0 ? (size_t)st.st_size : 0;
}

void fi_memfd_wish_huge(void *map, size_t bytes) {
    (void)madvise(map, bytes, MADV_HUGEPAGE);
}

/* See proc(5) on /proc/PID/smaps: a line with the addresses begins each mapping. */
uint64_t fi_memfd_huge_bytes(const void *map) {
    FILE *f = fopen("/proc/self/smaps", "re");
    char line[256], begin[32];
    bool inside = false;
    uint64_t kb = 0;
    int n = snprintf(begin, sizeof begin, "%lx-", (unsigned long)(uintptr_t)map);
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strchr(line, '-') != NULL && strchr(line, ':') > strchr(line, ' '))
            inside = strncmp(line, begin, (size_t)n) == 0;
        else if (inside)
            kb += kilobytes(line, "ShmemPmdMapped:") + kilobytes(line, "Shared_Hugetlb:");
    }
    if (f != NULL)
        fclose(f);
    return kb * 1024;
}

void fi_memfd_populate(void *map, size_t bytes, bool writable) {
    (void)madvise(map, bytes,
                  writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ); /* a wish: what faults later does as well */
}

void fi_memfd_unmap(const void *map, size_t bytes) {
    union {
        const void *from;
        void *to;
    } drop_const = {.from = map};
    if (map != NULL)
        (void)munmap(drop_const.to, bytes);
}

uint64_t fi_memfd_inode(int fd) {
    struct stat st;
    return fstat(fd, &st) == 0 ? (uint64_t)st.st_ino : 0;
}
