/* SPDX-License-Identifier: MIT
 *
 * ferry/message.h - messages: bytes in their sender's memory, counted by reference, copied only when they must be.
 *
 * Two kinds of handle share one type.  A handle from ferry_msg_new belongs to its sender: it is used under the
 * sender's rule (one thread at a time, together with the sender).  A handle from ferry_recv belongs to its receiver,
 * but may be read and released by any thread, in any order.
 */
#ifndef FERRY_MESSAGE_H
#define FERRY_MESSAGE_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ferry_sender;

/** A message. */
typedef struct ferry_msg ferry_msg_t;

/** What is known about a received message. */
typedef struct ferry_msg_info {
    size_t size;          /**< in: sizeof(ferry_msg_info_t), or 0 for the same */
    uint64_t sender_node; /**< ferry_node_id of the sender's node */
    uint64_t sender;      /**< number of the sending end within its node */
    uint64_t sequence;    /**< the sender's count, from 1: its every message has its own number */
    uint64_t tag;         /**< as set by ferry_msg_set_tag, else 0 */
    uint64_t time_ns;     /**< CLOCK_MONOTONIC when sent, if the contract asks for timestamps, else 0 */
    uint32_t attempt;     /**< 1 for the first delivery, more when earlier receivers did not release it */
    uint32_t reserved;
    uint64_t lost_before; /**< messages of this sender lost to this receiver just before this one */
} ferry_msg_info_t;

/**
 * Takes a writable message of up to `size` bytes from the sender's pool. `*data` is 64-byte aligned and not
 * cleared. `timeout` bounds the wait for the quota.
 *
 * Errors: -EMSGSIZE larger than the contract's limit; -EDQUOT the quota is used up (at once when the contract says
 * FERRY_OVERFLOW_FAIL or the timeout is FERRY_NOW); -ETIMEDOUT; -ENOMEM; -EINTR; -ESHUTDOWN; -EBADF closed sender.
 */
FERRY_API int ferry_msg_new(struct ferry_sender *tx, size_t size, int64_t timeout, void **data, ferry_msg_t **m);

/** Bytes of the message; constant: call ferry_msg_edit to change what has been sent. NULL for a stale handle. */
FERRY_API const void *ferry_msg_data(const ferry_msg_t *m);

/** Number of bytes in the message. */
FERRY_API size_t ferry_msg_size(const ferry_msg_t *m);

/** Sets how many of the bytes asked for are used. -EINVAL: more than that. -EPERM: already sent, or received. */
FERRY_API int ferry_msg_set_size(ferry_msg_t *m, size_t used);

/** Sets the tag that receivers see. -EPERM: a received message. */
FERRY_API int ferry_msg_set_tag(ferry_msg_t *m, uint64_t tag);

/**
 * Makes the message writable. Returns 0: nobody else held it, it is written in place; 1: exactly one copy was made,
 * charged to the editor, and those who hold the message keep it as it was sent. `*data` is where to write; earlier
 * pointers into the message must not be used any more.
 *
 * For a received message the copy is always made (its bytes belong to the sender); the sender's reference is given
 * back when the handle is released, as before.
 *
 * On failure the handle stays as it was. Errors: -EDQUOT no quota for the copy; -ENOMEM; -EBADF; -EBADMSG (only with
 * FERRY_CHECK=1) the message was changed after it was sent, without this call.
 */
FERRY_API int ferry_msg_edit(ferry_msg_t *m, void **data);

/**
 * Gives bytes that nobody but the caller can change: the message itself when it is already private, else a copy
 * (counted), made once and freed with the handle. For decoders that read data from a peer they do not trust.
 * Errors: -ENOMEM; -EBADF.
 */
FERRY_API int ferry_msg_private(ferry_msg_t *m, const void **data);

/** Fills `*info` for a received message. Errors: -EINVAL a message made by this process's sender; -EBADF; -ECHILD. */
FERRY_API int ferry_msg_info(const ferry_msg_t *m, ferry_msg_info_t *info);

/** Where a message's bytes live, to show that sender and receiver look at the same memory. */
typedef struct ferry_msg_place {
    size_t size;     /**< in: sizeof(ferry_msg_place_t), or 0 for the same */
    uint64_t inode;  /**< inode of the memfd, as in /proc/PID/maps; 0: private memory */
    uint64_t offset; /**< of the first byte in it */
} ferry_msg_place_t;

/** Tells the place of the message's bytes. */
FERRY_API int ferry_msg_place(const ferry_msg_t *m, ferry_msg_place_t *place);

/** Takes one more reference; each needs its own ferry_msg_release. Returns m. */
FERRY_API ferry_msg_t *ferry_msg_ref(ferry_msg_t *m);

/**
 * Gives one reference back; with the last one the handle is gone. NULL is allowed. Releasing a queue's message
 * acknowledges it. Returns 0; -EBADF a stale handle; -EBADMSG (only with FERRY_CHECK=1) the message was changed after
 * it was sent, without ferry_msg_edit (the reference is given back all the same); -ESTALE the message was held for
 * longer than the receiver's `ack_within`, so another receiver has it (likewise); -ESHUTDOWN its node was expelled
 * while the message was held, with the same consequence (ferry_kick; likewise).
 */
FERRY_API int ferry_msg_release(ferry_msg_t *m);

/**
 * Hands a queue's message back: somebody must try again, but not before `delay_ns` nanoseconds from now (0: at once).
 * It goes to a receiver of the queue, perhaps the same one, with its attempt + 1, and waits in its sender's memory
 * meanwhile, or, where the queue is durable, with the engine. The handle is gone, as after ferry_msg_release. Any
 * thread.
 *
 * Errors, which leave the handle as it was: -EINVAL a topic's message, the result of a call, one made by this process,
 * a negative delay; -EPIPE its sender has ended, so that nobody could send it again; -EBUSY other references to it are
 * held (ferry_msg_ref); -EBADF a stale handle; -ESHUTDOWN its node was expelled, and others have the message; -ENOMEM;
 * -ECHILD. -ESTALE it was held for too long, so that another receiver has it: the handle is gone.
 */
FERRY_API int ferry_msg_reject(ferry_msg_t *m, int64_t delay_ns);

/**
 * Says that the message is still being worked on: a receiver with the option `ack_within` may hold it for that long
 * from now on. Without that option it does nothing. Any thread.
 *
 * Errors: -ESTALE it was held for too long, and another receiver has it or will get it. Its bytes stay readable until
 * it is released, which answers -ESTALE as well; -ESHUTDOWN likewise, its node was expelled; -EINVAL not a received
 * message; -EBADF; -ECHILD.
 */
FERRY_API int ferry_msg_progress(ferry_msg_t *m);

/** Where a dead letter comes from. */
typedef struct ferry_msg_origin {
    size_t size;          /**< in: sizeof(ferry_msg_origin_t), or 0 for the same */
    char queue[104];      /**< in which it was tried */
    uint64_t sender_node; /**< as ferry_msg_info had it there, and the next two */
    uint64_t sender;
    uint64_t sequence;
    uint32_t attempts; /**< how often it was tried */
    uint32_t reserved;
} ferry_msg_origin_t;

/**
 * Fills `*origin` for a message of a dead-letter queue: one that a receiver with the options `max_attempts` and
 * `dead_letter` was given after it had been tried so often. Its bytes and its tag are those of the message that was
 * tried.
 *
 * That message stays in its sender's memory, where nobody tries it, until the dead letter has been released; if the
 * receiver that sent it dies before, another one sends it again. So it gets there at least once, and is lost with its
 * sender only. What the dead-letter queue does not admit stays likewise until that receiver closes (see ferry_recv).
 *
 * Errors: -ENOENT the message is no dead letter; -EINVAL not a received message; -EBADF a stale handle; -ECHILD.
 */
FERRY_API int ferry_msg_origin(const ferry_msg_t *m, ferry_msg_origin_t *origin);

#ifdef __cplusplus
}
#endif
#endif
