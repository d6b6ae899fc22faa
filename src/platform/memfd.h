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

#include <stddef.h>
#include <stdint.h>

/** Bytes per page. */
size_t fi_page_size(void);

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
 * Errors: -EPROTO not such a file: the peer is wrong; -ENOMEM no room for the mapping.
 */
int fi_memfd_map_peer(int fd, size_t min_bytes, size_t max_bytes, const void **map, size_t *bytes, uint64_t *inode);

/**
 * The same two for memory that all its holders write: sealed against changes of size only, so that nobody's access faults.
 */
int fi_memfd_create_shared(const char *label, size_t bytes, int *fd, void **map);
int fi_memfd_map_shared(int fd, size_t min_bytes, size_t max_bytes, void **map, size_t *bytes);

/** Unmaps what any of these calls mapped; NULL is allowed. */
void fi_memfd_unmap(const void *map, size_t bytes);

/** Inode of the file, as /proc/PID/maps shows it; 0 when `fd` is not open. */
uint64_t fi_memfd_inode(int fd);

#endif
