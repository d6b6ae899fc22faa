/* SPDX-License-Identifier: MIT
 *
 * ferry/steer.h - steering a space from outside: what `ferry purge` does.
 *
 * Whoever may join a space may steer it so, as far as the header of each call says.  What is done concerns nodes on this
 * machine, also in a space that spans machines.
 */
#ifndef FERRY_STEER_H
#define FERRY_STEER_H

#include "space.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What became of one sender's messages. Strings belong to the call. */
typedef struct ferry_purged {
    uint64_t node;    /**< the sender's */
    uint64_t end;     /**< its number within the node */
    const char *name; /**< the node's; "?" if it did not answer */
    int32_t pid;      /**< as this process sees it; 0 when it lives in a PID namespace that is not visible from here */
    uint32_t uid;
    uint64_t messages; /**< dropped */
    uint64_t pending;  /**< a receiver that does not answer (stopped?) may have taken them: it drops those it has not */
    uint32_t answered; /**< 0: the node did not answer in time, nothing is known; `end` and the figures are 0 */
    uint32_t reserved;
} ferry_purged_t;

/**
 * Drops what waits in `channel`: a queue's messages that no receiver has taken, those that are to be tried later among
 * them; a topic's retained messages. `node`: that of whose senders; 0: of all. What a receiver has taken stays taken. The
 * senders count what was dropped as purged (ferry_sender_stats), and their flush and close no longer wait for it.
 *
 * `each(p, arg)` is called for every sender, in this thread; NULL is allowed. Waits a second at most for a node that does not
 * answer. Returns how many senders there were. Errors: -ENOENT no such space; -EINVAL a bad name; -EPERM, -EACCES as
 * ferry_open; -EMFILE, -ENFILE; -ENOMEM.
 */
FERRY_API int ferry_purge(const char *space, const ferry_options_t *options, const char *channel, uint64_t node,
                          void (*each)(const ferry_purged_t *p, void *arg), void *arg);

#ifdef __cplusplus
}
#endif
#endif
