/* SPDX-License-Identifier: MIT
 *
 * ferry/base.h - what every other header needs: timeouts, errors, versions.
 *
 * Conventions of the whole API
 *   - 0 or a count is success; a negative errno value means "did not happen", and then no output was touched.
 *   - Every call that can wait takes a timeout in nanoseconds, FERRY_NOW or FERRY_FOREVER.
 *   - An options struct whose bytes are all zero is a good default, and NULL means the same.
 *   - A handle is used by one thread at a time; overlapping use is noticed and answered with -EBUSY.  Moving a
 *     handle to another thread between calls is fine: the thread that used it last owns it.
 *   - A thread that ends while it owns a handle counts as dead for that handle (see ferry_sender_close).
 *   - pthread_cancel ends a thread where a sender, a receiver or ferry_poll sleeps, or on entry to a call that opens or
 *     closes.
 *   - What needs memory that others shall see answers -EFBIG, not -ENOMEM, where `ulimit -f` forbids so large a file.
 *   - A signal ends a wait that sleeps: the call answers -EINTR.  One that comes while a wait spins (with
 *     FERRY_WAIT_SPIN: always) or looks around ends nothing; ferry_shutdown ends every wait, also from a handler.
 *   - After fork() the child must open its own node: every call on an inherited handle answers -ECHILD.
 *   - A thread that calls the library needs 64 KiB of stack, and 128 KiB where a space spans machines; the threads that
 *     a program starts have more, unless it says otherwise (pthread_attr_setstacksize(3)).
 */
#ifndef FERRY_BASE_H
#define FERRY_BASE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define FERRY_API __attribute__((visibility("default")))
#else
#define FERRY_API
#endif

/** Version of these headers. ferry_version() tells that of the library in use. */
#define FERRY_VERSION_MAJOR 0
#define FERRY_VERSION_MINOR 1
#define FERRY_VERSION_PATCH 0

/** A timeout: do not wait; a call that would have to wait answers -EAGAIN. */
#define FERRY_NOW ((int64_t)0)
/** A timeout: wait without a limit. Any negative value means the same. */
#define FERRY_FOREVER ((int64_t)-1)

/** How an end waits. Zero is right for nearly everyone. */
typedef enum ferry_wait {
    FERRY_WAIT_ADAPTIVE =
        0, /**< spin for about as long as a wake-up costs, give way when others need the core, then sleep */
    FERRY_WAIT_SPIN = 1, /**< never sleep: lowest latency, one whole core */
    FERRY_WAIT_BLOCK = 2 /**< sleep at once: least processor time */
} ferry_wait_t;

/** "MAJOR.MINOR.PATCH" of the library in use; static storage. */
FERRY_API const char *ferry_version(void);

/**
 * The sentence that explains this thread's last failed call: what was wrong, where, and what would be right.
 * Never NULL; "" when nothing has failed yet. Belongs to the library and stays valid until the calling thread's
 * next call into it.
 */
FERRY_API const char *ferry_last_error(void);

#ifdef __cplusplus
}
#endif
#endif
