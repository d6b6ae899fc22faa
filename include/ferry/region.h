/* SPDX-License-Identifier: MIT
 *
 * ferry/region.h - memory that several threads and processes see at once.  There are two kinds, each with its types:
 *
 *   shared      ferry_region_t          every holder writes; the program keeps order with the locks of sync.h, which
 *                                       may stand inside.  Ends at the machine.
 *   published   ferry_region_writer_t   one writer hands out whole versions; each reader's view of one stays as it is
 *               ferry_region_reader_t   for as long as it is held.  Nobody but the writer can write: the kernel sees
 *               ferry_region_view_t     to that.
 *
 * A shared region has a name in its space, like the objects of sync.h: whoever opens it first creates it, every holder
 * serves it to those who come later, and it is gone with the last.  It is sealed against shrinking, so no access to it
 * faults.  Where it is mapped differs from process to process: inside, places are named by references (ferry_ref_t),
 * never by pointers.
 *
 * Errors that any call on a handle can give: -EBADF closed, or none; -ECHILD it belongs to the parent process; -EBUSY
 * another thread is inside a call on it; -EOWNERDEAD the thread that used it last ended in the middle of a call.
 */
#ifndef FERRY_REGION_H
#define FERRY_REGION_H

#include "message.h"
#include "sync.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A place in a shared region: its distance in bytes from the region's first byte. 0: none. */
typedef uint64_t ferry_ref_t;

/** One handle on a shared region. Each thread that allocates opens its own. */
typedef struct ferry_region ferry_region_t;

#define FERRY_MAX_REGION ((uint64_t)1 << 44) /**< bytes */
#define FERRY_MAX_REGION_HANDLES 1000u       /**< on one shared region, of all processes together */

/** What all openers of a shared region must agree on, and how this one uses it. All zero is a good default. */
typedef struct ferry_region_options {
    size_t size; /**< sizeof(ferry_region_options_t), or 0 for the same */

    /* shared by all openers; zero is no opinion, and a mismatch is -EPROTOTYPE with a sentence that shows both sides */
    uint64_t limit; /**< bytes up to which it may grow; 0: no opinion, and who creates it means that it does not */
    const char *type_name; /**< of the root object, up to 63 bytes; NULL: no opinion */
    uint64_t type_size; /**< of the root object, in bytes; 0: no opinion, and who creates it means that there is none */

    /* this handle's own */
    uint32_t read_only;  /**< 1: map it for reading only. Whatever would change the region is then refused (-EROFS) */
    uint32_t prefault;   /**< 1: map every page now, so that no first access takes longer */
    uint32_t huge_pages; /**< 1: ask for huge pages, for what is mapped and grown by this handle; ferry_region_info
                              tells whether they were had: the system must allow them, see `ferry doctor` */
    ferry_wait_t wait;   /**< how to wait for another one's step in the allocator */
    int64_t patience;    /**< nanoseconds to wait for somebody who was stopped in the middle of such a step; 0: 5 s */
} ferry_region_options_t;

/**
 * Opens the region `name`: creates it with `bytes` bytes, or finds it. `bytes` 0: no opinion. The memory is there in
 * full when this returns, and zero. It holds the root object, what is allocated in it, and the allocator's own notes
 * (some 24 KiB, and 16 bytes for each block).
 *
 * Errors: -EINVAL bad name, size or option; -ENOENT 0 bytes, and nobody has it open; -EPROTOTYPE another size, limit,
 * type name or type size, or the name is that of another kind of object; -EUSERS FERRY_MAX_REGION_HANDLES are open;
 * -EREMOTE it is open on another machine of the space: a shared region ends at the machine, as do the locks inside it
 * (the sentence names the machine); without a connection to a server this is not found out;
 * -ENOMEM; -EFBIG over `ulimit -f`; -ETIMEDOUT its holders do not answer; -ESHUTDOWN; -EMFILE, -ENFILE; -EACCES,
 * -ENOSPC the directory.
 */
FERRY_API int ferry_region_open(ferry_t *node, const char *name, uint64_t bytes, const ferry_region_options_t *options,
                                ferry_region_t **region);

/**
 * Closes the handle; NULL is allowed. With the process's last handle on it the memory is unmapped: pointers into it
 * end: that one is -EBUSY also while handles of locks or buffers inside the region are open.
 */
FERRY_API int ferry_region_close(ferry_region_t *region);

/** The root object: `type_size` bytes, zero at first, at one reference for all. NULL: there is none. Any thread. */
FERRY_API void *ferry_region_root(const ferry_region_t *region);

/**
 * The address of `ref` in this process, good until the handle is closed; NULL for 0 and for what is outside the
 * region. For a read-only handle it may be read only. Any thread. A reference that somebody else wrote may lie: with
 * `bytes` bytes wanted there, ask ferry_region_span.
 */
FERRY_API void *ferry_region_at(const ferry_region_t *region, ferry_ref_t ref);
/** The same, if all of `bytes` bytes from there lie in the region; else NULL. */
FERRY_API void *ferry_region_span(const ferry_region_t *region, ferry_ref_t ref, uint64_t bytes);
/** The reference of an address in the region, as the calls above gave it; 0 outside. Any thread. */
FERRY_API ferry_ref_t ferry_region_ref(const ferry_region_t *region, const void *address);

/* ---- the allocator inside ----
 *
 * All calls take the place where the reference stands.  If that place lies in the region itself, changing it is part of
 * the same step: a process that is killed in the middle leaves block and reference both as before or both as after.  If
 * it is a variable of the program's, a block that was not yet handed out, or was to be given back, is freed after the
 * death.
 */

/**
 * Allocates `bytes` bytes, aligned to 16, and stores the reference in `*place`. They are not cleared. A region that may
 * grow does so when need be.
 *
 * Errors: -ENOSPC the region is full; -EINVAL 0 bytes; -EROFS; -EPROTO the allocator's notes are damaged: somebody
 * wrote outside his block; -ETIMEDOUT somebody was stopped in the middle of such a call; -EINTR; -ESHUTDOWN; -ENOMEM
 * no memory to grow.
 */
FERRY_API int ferry_region_alloc(ferry_region_t *region, uint64_t bytes, ferry_ref_t *place);
/**
 * Makes the block larger or smaller, keeping its bytes; it may move, and `*place` is then changed. 0 in `*place`: as
 * ferry_region_alloc.
 * Errors as there, and ferry_region_free. On failure the block stays as it was.
 */
FERRY_API int ferry_region_resize(ferry_region_t *region, ferry_ref_t *place, uint64_t bytes);
/**
 * Frees the block and stores 0 in `*place`; 0 there is allowed. Errors: -EINVAL that is no block of this region, or a
 * free one (freed before?); -EROFS, -EPROTO, -ETIMEDOUT, -EINTR, -ESHUTDOWN as above.
 */
FERRY_API int ferry_region_free(ferry_region_t *region, ferry_ref_t *place);
/** Bytes that the block holds: at least what was asked for. 0: that is no block. */
FERRY_API uint64_t ferry_region_block_size(ferry_region_t *region, ferry_ref_t ref);

/** What a region has and uses. */
typedef struct ferry_region_info {
    size_t size;         /**< in: sizeof(ferry_region_info_t), or 0 for the same */
    uint64_t bytes;      /**< its size now, with the allocator's notes */
    uint64_t created_as; /**< as it was created */
    uint64_t limit;      /**< up to where it may grow */
    uint64_t type_size;
    char type_name[64];
    uint64_t blocks;       /**< allocated */
    uint64_t used;         /**< bytes in these blocks, with their headers */
    uint64_t free_bytes;   /**< in free blocks */
    uint64_t largest_free; /**< a block of this size can be had without growing */
    uint64_t huge_bytes;   /**< of it, mapped here by huge pages */
    uint64_t inode;        /**< of the memfd, as in /proc/PID/maps */
    uint32_t handles;      /**< of all processes */
    uint32_t repairs;      /**< steps of the allocator that were undone after a death */
} ferry_region_info_t;
/** Fills `*info`. For a read-only handle, while others allocate, the figures of the allocator may not fit together. */
FERRY_API int ferry_region_info(ferry_region_t *region, ferry_region_info_t *info);

/**
 * Walks the whole allocator and compares all its notes. Returns the number of allocated blocks. Error: -EPROTO with a
 * sentence that says where they contradict each other. Takes some ns for each block; nobody allocates meanwhile.
 */
FERRY_API int64_t ferry_region_check(ferry_region_t *region);

/* ---- locks inside a region ----
 *
 * They are those of sync.h: the same calls, the same answers to a death.  A lock needs some bytes of the region,
 * aligned to 8, that were zero before the first one opened it and are used for nothing else until the last one has
 * closed it.
 */

#define FERRY_LOCK_BYTES 32u /**< mutex, event, plain semaphore */
#define FERRY_UNITS_BYTES(units)                                                                                       \
    (FERRY_LOCK_BYTES + 8u * (uint64_t)(units)) /**< semaphore with that many owned units */

/**
 * Errors as ferry_mutex_open; -EINVAL `place` is not in the region, or not aligned; -EROFS; -EPROTOTYPE another kind
 * stands there.
 */
FERRY_API int ferry_mutex_open_in(ferry_region_t *region, ferry_ref_t place, const ferry_sync_options_t *options,
                                  ferry_mutex_t **mutex);
/** The same, and errors as ferry_semaphore_open. */
FERRY_API int ferry_semaphore_open_in(ferry_region_t *region, ferry_ref_t place, uint32_t count,
                                      const ferry_sync_options_t *options, ferry_semaphore_t **semaphore);
/** The same, and errors as ferry_event_open. */
FERRY_API int ferry_event_open_in(ferry_region_t *region, ferry_ref_t place, const ferry_sync_options_t *options,
                                  ferry_event_t **event);

/* ---- a bounded buffer inside a region ----
 *
 * A ring of slots between any number of producers and consumers, each with a handle of its own: a mutex, and two
 * events.  What was put before a death comes out, once; what was half put does not.
 */

typedef struct ferry_buffer ferry_buffer_t;

/**
 * Opens the buffer whose reference stands in `*place`; 0 there: allocates one of `slots` slots for items of up to
 * `item_bytes` bytes, and stores the reference (if two do so at once for a place in the region, one of them does). 0
 * slots or bytes: no opinion. It is freed by ferry_region_free, when all handles are closed.
 *
 * Errors: as ferry_region_alloc; -EINVAL no number where one is needed, or too large ones; -EPROTOTYPE it has other
 * numbers, or that is no buffer.
 */
FERRY_API int ferry_buffer_open(ferry_region_t *region, ferry_ref_t *place, uint32_t slots, uint64_t item_bytes,
                                const ferry_sync_options_t *options, ferry_buffer_t **buffer);
/**
 * Puts a copy of `len` bytes in. Errors: -EMSGSIZE more than an item may have; -EAGAIN full (FERRY_NOW); -ETIMEDOUT;
 * -EPIPE it was ended; -EINTR; -ESHUTDOWN; -EPROTO its bytes are damaged.
 */
FERRY_API int ferry_buffer_put(ferry_buffer_t *buffer, const void *data, size_t len, int64_t timeout);
/**
 * Takes the oldest item out: its bytes into `buf`, how many into `*len` (NULL is allowed). Errors: -EAGAIN empty
 * (FERRY_NOW); -ETIMEDOUT;
 * -EPIPE it was ended, and is empty; -EMSGSIZE it has more than `cap` bytes, and stays (`*len` says how many); -EINTR;
 * -ESHUTDOWN; -EPROTO.
 */
FERRY_API int ferry_buffer_get(ferry_buffer_t *buffer, void *buf, size_t cap, int64_t timeout, size_t *len);
/** Nothing more will be put: consumers get what is there, then -EPIPE. */
FERRY_API int ferry_buffer_end(ferry_buffer_t *buffer);
/** Items in it now. */
FERRY_API int64_t ferry_buffer_count(ferry_buffer_t *buffer);
/** Closes the handle; NULL is allowed. */
FERRY_API int ferry_buffer_close(ferry_buffer_t *buffer);

/* ---- published regions ----
 *
 *   writer                                            reader
 *   data = ferry_region_writer_data(w)                ferry_region_view(r, FERRY_FOREVER, &view)
 *   writes there; ferry_region_touch(w, at, bytes)    reads ferry_view_data(view): it does not change
 *   ferry_region_publish(w, timeout, &version)        ferry_view_release(view)
 *
 * The writer's bytes are its own.  Publishing brings one of a few buffers up to date, by copying what was touched since
 * that buffer was published last, and hands it out.  A buffer that somebody views, or that holds the newest version,
 * is not written to.  Names of published regions do not meet those of shared ones, nor of channels.
 *
 * In a space that spans machines, readers on other machines open the same name, and see whole versions of it:
 *
 *   - A machine with readers has one copy, in the memory of one of their processes; all readers there share it as ever.
 *     If that process ends, another one fetches it anew; ferry_region_wait may then tell a version that was viewed
 *     before.
 *   - Only what was touched since the version that the copy has is sent, to a new copy all of it, compressed where that
 *     pays.
 *   - The writer does not wait for other machines: those that are slow skip versions.  For them it may use memory of up
 *     to four further versions, beyond `quota`.
 *   - There is one writer in all of the space: a second one is -EEXIST.
 *   - That the writer's process or machine has died, a reader that waits finds out in 2 to 4 s (-EPIPE).  Over a lost
 *     connection it waits.
 *   - A writer whose thread ends without closing it is not told to other machines before it is closed.
 */

typedef struct ferry_region_writer ferry_region_writer_t;
typedef struct ferry_region_reader ferry_region_reader_t;
typedef struct ferry_region_view ferry_region_view_t;

typedef struct ferry_region_writer_options {
    size_t size;           /**< sizeof(ferry_region_writer_options_t), or 0 for the same */
    const char *type_name; /**< of what stands in it, up to 63 bytes; NULL: no opinion. All must agree */
    uint64_t quota; /**< bytes for versions, held by readers or newest; 0: four times the region's. At least twice */
    ferry_wait_t wait;
} ferry_region_writer_options_t;

/**
 * Opens the region `name` for writing, with `bytes` bytes, all zero; nothing is published yet. There is one writer at
 * a time.
 * Errors: -EINVAL; -EEXIST somebody writes it already; -EPROTOTYPE another size or type (readers may have one in
 * mind); -ENOTCONN (in a space that spans machines) no connection to ask by; -ENOMEM and others as ferry_sender_open.
 */
FERRY_API int ferry_region_writer_open(ferry_t *node, const char *name, uint64_t bytes,
                                       const ferry_region_writer_options_t *options, ferry_region_writer_t **writer);
/** The writer's bytes, aligned to a page, at the same address until it is closed. Private: nobody sees them. */
FERRY_API void *ferry_region_writer_data(const ferry_region_writer_t *writer);
/**
 * Says that `bytes` bytes from `at` (inside ferry_region_writer_data) have changed, or will before the next publish.
 * What is changed and not said may or may not be in a version. Errors: -EINVAL outside.
 */
FERRY_API int ferry_region_touch(ferry_region_writer_t *writer, const void *at, uint64_t bytes);
/**
 * Publishes the bytes as the next version; the first one is 1. Waits for a buffer up to `timeout`, when the quota is
 * held by readers.
 * Errors: -EDQUOT (FERRY_NOW) or -ETIMEDOUT readers hold all of the quota; -ENOMEM; -EINTR; -ESHUTDOWN. On failure what
 * was touched stays so. `version` may be NULL.
 */
FERRY_API int ferry_region_publish(ferry_region_writer_t *writer, int64_t timeout, uint64_t *version);

typedef struct ferry_region_writer_stats {
    size_t size;           /**< in: sizeof(ferry_region_writer_stats_t), or 0 for the same */
    uint64_t version;      /**< the newest; 0: none */
    uint64_t copied_bytes; /**< by publishing, since it was opened */
    uint64_t last_copied;  /**< by the last publish */
    uint64_t memory;       /**< bytes of the buffers */
    uint64_t quota;
    uint32_t buffers;
    uint32_t held;        /**< of these, held by readers, or newest */
    uint32_t readers;     /**< that have it open */
    uint32_t waits;       /**< publishes that had to wait */
    uint64_t sent_bytes;  /**< to other machines, as they went over the network */
    uint32_t far_readers; /**< nodes on other machines that are sent versions, each for all readers of its machine */
    uint32_t reserved;
} ferry_region_writer_stats_t;
FERRY_API int ferry_region_writer_stats(ferry_region_writer_t *writer, ferry_region_writer_stats_t *stats);
/** Closes it; NULL is allowed. Readers keep what they view, and are told -EPIPE then. */
FERRY_API int ferry_region_writer_close(ferry_region_writer_t *writer);

typedef struct ferry_region_reader_options {
    size_t size;           /**< sizeof(ferry_region_reader_options_t), or 0 for the same */
    const char *type_name; /**< as for the writer */
    uint64_t bytes;        /**< size of the region; 0: no opinion */
    ferry_wait_t wait;
} ferry_region_reader_options_t;

/** Opens the region `name` for reading, also when there is no writer yet. Errors as ferry_receiver_open. */
FERRY_API int ferry_region_reader_open(ferry_t *node, const char *name, const ferry_region_reader_options_t *options,
                                       ferry_region_reader_t **reader);
/**
 * The newest version, which stays as it is until `*view` is released. Waits for a first one up to `timeout`. A view
 * may be used and released by any thread. With FERRY_NOW a version that stands in a buffer new to this reader may be
 * overlooked for a moment: it finds the one before, or none.
 * Errors: -EAGAIN, -ETIMEDOUT none was published yet; -EPIPE nor will be: the writer has closed or died (a version that
 * this reader has seen can be viewed all the same); -EDQUOT 64 versions are viewed by this reader at once; -EPROTO the
 * writer broke the rules and was expelled; -EINTR; -ESHUTDOWN; -ENOMEM.
 */
FERRY_API int ferry_region_view(ferry_region_reader_t *reader, int64_t timeout, ferry_region_view_t **view);
/**
 * Waits until there is a version after `version`. Errors: -EAGAIN, -ETIMEDOUT; -EPIPE the writer has closed or died,
 * and there will be none; -EDQUOT, -EPROTO as above; -EINTR; -ESHUTDOWN. Each writer counts from 1: any version of a
 * newer one counts as after `version`, until one of its versions was viewed.
 */
FERRY_API int ferry_region_wait(ferry_region_reader_t *reader, uint64_t version, int64_t timeout);
/** A descriptor that polls readable when there may be a newer version than the last one viewed, as
 * ferry_receiver_fd. */
FERRY_API int ferry_region_reader_fd(ferry_region_reader_t *reader);
/** Closes it; NULL is allowed. Error: -EBUSY views of it are still held. */
FERRY_API int ferry_region_reader_close(ferry_region_reader_t *reader);

FERRY_API const void *ferry_view_data(const ferry_region_view_t *view);
FERRY_API uint64_t ferry_view_size(const ferry_region_view_t *view);
FERRY_API uint64_t ferry_view_version(const ferry_region_view_t *view);
/** Where its bytes live: inode of the memfd and offset, to show that it is the writer's buffer. */
FERRY_API int ferry_view_place(const ferry_region_view_t *view, ferry_msg_place_t *place);
/**
 * Writes the version to the file `path`, which appears whole or not at all (rename(2)). The writer goes on meanwhile.
 * Errors: -EINVAL no name of a file, or that of a symbolic link, device, FIFO or socket, in whose place the file would
 * be; -EFBIG over ulimit -f; as open(2), write(2), fsync(2) and rename(2) give them; -EBADF.
 */
FERRY_API int ferry_view_save(const ferry_region_view_t *view, const char *path);
/** Lets it go; NULL is allowed. Error: -EBADF. */
FERRY_API int ferry_view_release(ferry_region_view_t *view);

#ifdef __cplusplus
}
#endif
#endif
