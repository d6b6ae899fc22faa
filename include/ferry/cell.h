/* SPDX-License-Identifier: MIT
 *
 * ferry/cell.h - named, versioned values: the newest one is what counts.
 *
 * A cell holds one value of up to `max_bytes` bytes, and its version, which grows by one with every put; 0: none was
 * put yet.  One name may stand for many cells (5,000 symbols of an exchange), told apart by index.  All holders may
 * put. Whoever opens a name first creates it, every holder serves it to those who come later, and it is gone with the
 * last.
 *
 *   - A get never sees half a value, and does not wait for anybody: who dies in the middle of a put leaves the version
 *     before.  (Under puts that come faster than it can copy, a get takes its turn with them after a few tries.)
 *   - A put waits only for other puts on the same cell.
 *   - Who waits for a newer version sleeps in the kernel.
 *
 * In a space that spans machines the same calls work between them, with these differences:
 *
 *   - The engine keeps the value, also when nobody has the cell open, until ferry_cell_remove (`ferry cell rm`). A get
 *     and a put ask it each time (some 0.1 ms). A get never gives an older value than one whose put has returned.
 *   - A cell may have the name of an object of sync.h or a region.
 *   - A put makes the version larger, but by one only where the name stands for one cell and no tokens are used on it.
 *   - A value must go into one message of the server's: by default a little less than 1 MiB (max_payload in its
 *     configuration). To open a cell for larger ones is -EMSGSIZE.
 *   - Calls wait for the server, over a lost connection, for as long as the handle's `patience`. After -ETIMEDOUT, and
 *     after -ENOTCONN, it is not known whether a put has happened. A wait goes on until its own timeout.
 *   - Further errors of any call: -ENOENT the cell was removed; -ENOTCONN; -EACCES the server does not permit it;
 *     -ENOSPC the server has no room; of ferry_cell_open: -ENOTSUP the server runs without JetStream, -EEXIST another
 *     stream there has the cell's subjects.
 *
 * One handle serves one thread at a time, but ferry_cell_get, _get_at, _version and _info may be called by any number
 * of them at once on the same handle.
 *
 * Errors that any call can give: -EBADF the handle is closed, or none; -ECHILD it belongs to the parent process; -EBUSY
 * another thread is inside a call on it; -ERANGE no cell has that index; -EINVAL no place for a result, or no data;
 * -EPROTO (get, put, compare-and-set) somebody has written nonsense into the memory of the cells.
 */
#ifndef FERRY_CELL_H
#define FERRY_CELL_H

#include "space.h"

#ifdef __cplusplus
extern "C" {
#endif

/** One handle on one name. */
typedef struct ferry_cell ferry_cell_t;

#define FERRY_MAX_CELL_BYTES ((uint64_t)64 << 20) /**< largest value */
#define FERRY_MAX_CELLS 1000000u                  /**< under one name */

/** All zero is a good default. */
typedef struct ferry_cell_options {
    size_t size; /**< sizeof(ferry_cell_options_t), or 0 for the same */

    /* shared by all openers; zero is no opinion, and a mismatch is -EPROTOTYPE with a sentence that shows both sides */
    uint64_t max_bytes;    /**< largest value; 0: no opinion, and who creates it means 4 KiB */
    uint32_t count;        /**< cells under this name; 0: no opinion, and who creates it means 1 */
    uint32_t must_exist;   /**< 1: do not create it: -ENOENT when nobody has it open */
    const char *type_name; /**< of the value, up to 63 bytes; NULL: no opinion */

    /* this handle's own */
    ferry_wait_t wait;
    int64_t
        patience; /**< nanoseconds that a put waits for one who was stopped in the middle of his, and in a space that
                           spans machines, any call for the server; 0: 5 s; negative: without a limit */
} ferry_cell_options_t;

/**
 * Opens the cell `name`. Memory is four times `max_bytes` for each cell, all of it from the start.
 * Errors: -EINVAL bad name or option; -ENOENT; -EPROTOTYPE another size, count or type, or the name is that of another
 * kind of object;
 * -ENOMEM; -ETIMEDOUT its holders do not answer; -ESHUTDOWN; -EMFILE, -ENFILE; -EACCES, -ENOSPC the directory.
 */
FERRY_API int ferry_cell_open(ferry_t *node, const char *name, const ferry_cell_options_t *options,
                              ferry_cell_t **cell);

/**
 * Puts a value. `*version` (may be NULL) is what it became.
 * Errors: -EMSGSIZE larger than `max_bytes`; -ETIMEDOUT somebody was stopped in the middle of a put; -EINTR;
 * -ESHUTDOWN.
 */
FERRY_API int ferry_cell_put(ferry_cell_t *cell, const void *data, size_t len, uint64_t *version);
/**
 * Copies the newest value to `buf`, its length to `*len`, its version to `*version` (both may be NULL).
 * `buf` may have been written to all the same. Errors: -ENODATA none was put yet; -EMSGSIZE it is larger than `cap`
 * (`*len` says how large); -ETIMEDOUT (only under puts without a pause, by one who was then stopped).
 */
FERRY_API int ferry_cell_get(ferry_cell_t *cell, void *buf, size_t cap, size_t *len, uint64_t *version);
/**
 * Puts a value if the version is still `version` (0: if none was put yet). `*newer` (may be NULL) is what it became.
 * Errors: -ESTALE it is another version; others as ferry_cell_put.
 */
FERRY_API int ferry_cell_cas(ferry_cell_t *cell, uint64_t version, const void *data, size_t len, uint64_t *newer);
/**
 * Puts a value into the cell with this index, unless a larger token was used on it before. So a lock's holder that was
 * stopped, and comes back after others have had the lock, cannot overwrite what they put. The token is what
 * ferry_mutex_token gave. What puts without a token does not look at tokens.
 * Errors: -ESTALE a larger token was used; -EINVAL the token is 0; others as ferry_cell_put.
 * (M. Kleppmann, "How to do distributed locking", 2016, calls such a number a fencing token.)
 */
FERRY_API int ferry_cell_put_fenced(ferry_cell_t *cell, uint32_t index, uint64_t token, const void *data, size_t len,
                                    uint64_t *version);
/** Waits until the version is larger than `after`. Errors: -EAGAIN (FERRY_NOW), -ETIMEDOUT, -EINTR, -ESHUTDOWN. */
FERRY_API int ferry_cell_wait(ferry_cell_t *cell, uint64_t after, int64_t timeout);

/** The same four for the cell with this index, from 0; those above mean the first one. */
FERRY_API int ferry_cell_put_at(ferry_cell_t *cell, uint32_t index, const void *data, size_t len, uint64_t *version);
FERRY_API int ferry_cell_get_at(ferry_cell_t *cell, uint32_t index, void *buf, size_t cap, size_t *len,
                                uint64_t *version);
FERRY_API int ferry_cell_cas_at(ferry_cell_t *cell, uint32_t index, uint64_t version, const void *data, size_t len,
                                uint64_t *newer);
FERRY_API int ferry_cell_wait_at(ferry_cell_t *cell, uint32_t index, uint64_t after, int64_t timeout);

/** The newest version; 0: none. */
FERRY_API int ferry_cell_version(ferry_cell_t *cell, uint32_t index, uint64_t *version);

/**
 * Waits until any of all cells under this name has another version than `seen[index]`. `seen` has one number for each
 * cell, zero at first. The indices of up to `max` that differ are stored in `changed`, and their versions in `seen`.
 * Returns how many.
 * Errors: -EINVAL; -EAGAIN, -ETIMEDOUT, -EINTR, -ESHUTDOWN.
 */
FERRY_API int ferry_cell_watch(ferry_cell_t *cell, uint64_t *seen, uint32_t *changed, uint32_t max, int64_t timeout);

/**
 * A descriptor for poll, epoll and ferry_poll that is readable when something was put since this handle's last
 * ferry_cell_rearm (level-triggered; it may also be readable when nothing was). Use: when it is readable, call
 * ferry_cell_rearm, then look at the cells. It belongs to the handle: do not read it, do not close it. Errors:
 * -EMFILE, -ENFILE. ferry_cell_rearm before it: -EINVAL.
 */
FERRY_API int ferry_cell_fd(ferry_cell_t *cell);
/** Makes the descriptor unreadable until the next put. What was put before is not told again: look after this call. */
FERRY_API int ferry_cell_rearm(ferry_cell_t *cell);

typedef struct ferry_cell_info {
    size_t size; /**< in: sizeof(ferry_cell_info_t), or 0 for the same */
    uint64_t max_bytes;
    uint32_t count;
    uint32_t reserved;
    char type_name[64];
    uint64_t memory; /**< bytes */
} ferry_cell_info_t;
FERRY_API int ferry_cell_info(ferry_cell_t *cell, ferry_cell_info_t *info);

/** Closes the handle; NULL is allowed. */
FERRY_API int ferry_cell_close(ferry_cell_t *cell);

/**
 * In a space that spans machines: removes the cell, and its values. Who has it open is told -ENOENT by his next call.
 * Errors: -ENOENT there is none; -ENOTSUP the space is of one machine, where cells end with their last holder;
 * -ENOTCONN, -ETIMEDOUT, -EACCES.
 */
FERRY_API int ferry_cell_remove(ferry_t *node, const char *name);
/**
 * In a space that spans machines: calls `each` for every cell that there is, until it returns something else than 0,
 * which is then returned. `info->memory` is what its values take at the server. Errors as ferry_cell_remove.
 */
FERRY_API int ferry_cell_each(ferry_t *node, int (*each)(const char *name, const ferry_cell_info_t *info, void *arg),
                              void *arg);

#ifdef __cplusplus
}
#endif
#endif
