/* SPDX-License-Identifier: MIT
 *
 * platform/memfd.h - memory that one process writes and others may only read.
 *
 * The owner allocates every page (a hole would be charged to whoever touches it first, and may be a SIGBUS later), maps
 * it writable, then seals it against shrinking, growing, new writers and further seals.  A peer accepts a descriptor
 * only with those seals and without holes, so nothing the owner does later can make its reads fault or hang.
 *
 * Mappings of our own are not inherited by a forked child (it would go on writing into its parent's memory). Mappings
 * of peers are: a child may finish reading what its parent has received.
 *
 * These calls allocate memory in the kernel: they take about 0.25 microseconds per KiB and may wait for reclaim.
 */
#ifndef FI_PLATFORM_MEMFD_H
#define FI_PLATFORM_MEMFD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Bytes per page. */
size_t fi_page_size(void);

/** Has this machine so much memory free? Small requests are taken for granted. */
bool fi_memory_is_available(size_t bytes);

/**
 * Makes a sealed memory file of `bytes` (a multiple of the page size, not 0), with every page present and zero, mapped
 * for reading and writing. `label` is what /proc/PID/maps shows behind "memfd:". The caller owns `*fd` (close it once
 * it was handed out) and `*map` (fi_memfd_unmap).
 *
 * Errors: -ENOMEM no memory, also for the limits on it; -EMFILE, -ENFILE no descriptors; -ENOSYS the kernel lacks
 * memfd_create or a seal.
 */
int fi_memfd_create(const char *label, size_t bytes, int *fd, void **map);

/**
 * Maps a peer's memory file for reading after checking seals, size bounds (inclusive) and that it has no holes. `fd`
 * stays the caller's. Up to 64 MiB are mapped at once, more on first touch.
 *
 * Errors: -EPROTO not such a file: the peer is wrong; -EFBIG it is, and too large; -ENOMEM no room for the mapping.
 */
int fi_memfd_map_peer(int fd, size_t min_bytes, size_t max_bytes, const void **map, size_t *bytes, uint64_t *inode);

/**
 * The same two for memory that all its holders write: sealed against shrinking only, so that nobody's access faults.
 */
int fi_memfd_create_shared(const char *label, size_t bytes, int *fd, void **map);
int fi_memfd_map_shared(int fd, size_t min_bytes, size_t max_bytes, void **map, size_t *bytes);

/**
 * Maps `bytes` bytes of such a file once more, also where it does not reach yet: what lies beyond its end must not be
 * touched before it has grown. Errors: -ENOMEM no room for the mapping.
 */
int fi_memfd_map_reach(int fd, size_t bytes, bool writable, void **map);

/**
 * Makes such a file larger, up to `to`; every page from `from` on is there when this returns. Errors: -ENOMEM; -EFBIG
 * over ulimit -f. Some of it may have become larger all the same.
 */
int fi_memfd_grow(int fd, size_t from, size_t to);
/** Before that: the same by huge pages, as far as they can be had; or nothing, where there is not memory enough. `map`
 * has room for it, and fi_memfd_wish_huge. The page at `from` may be in use. */
void fi_memfd_grow_huge(int fd, void *map, size_t from, size_t to);

/** Bytes of the file; 0 when `fd` is not open. It never becomes smaller. */
size_t fi_memfd_bytes(int fd);

/** Asks for huge pages there; whether they are had is the kernel's business. */
void fi_memfd_wish_huge(void *map, size_t bytes);

/** Bytes of the mapping that begins there which huge pages map now; 0 when the kernel does not say. */
uint64_t fi_memfd_huge_bytes(const void *map);

/** Makes every page of the mapping present. */
void fi_memfd_populate(void *map, size_t bytes, bool writable);

/** Unmaps what any of these calls mapped; NULL is allowed. */
void fi_memfd_unmap(const void *map, size_t bytes);

/** Inode of the file, as /proc/PID/maps shows it; 0 when `fd` is not open. */
uint64_t fi_memfd_inode(int fd);

#endif
