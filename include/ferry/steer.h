/* SPDX-License-Identifier: MIT
 *
 * ferry/steer.h - steering a space from outside: what `ferry purge` and `ferry kick` do.
 *
 * Whoever may join a space may steer it so, as far as the header of each call says.
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
    uint32_t answered; /**< 0: the node did not answer in time and drops nothing; `end` and the figures are 0 */
    uint32_t starved;  /**< it did not answer, and: 1: its process has too few descriptors left (ferry_look_node_t) */
    const char *host;  /**< the node's machine, when that is another one (then `uid` is UINT32_MAX); else NULL */
    uint32_t other_version; /**< it did not answer, and: 1: it is of another version of Ferry */
    uint32_t reserved;
} ferry_purged_t;

/**
 * Drops what waits in `channel`: a queue's messages that no receiver has taken, those that are to be tried later among
 * them; a topic's retained messages. `node`: that of whose senders; 0: of all. What a receiver has taken stays taken.
 * A queue's senders count what was dropped as purged (ferry_sender_stats), and their flush and close no longer wait for
 * it.
 *
 * In a space that spans machines all are asked. What a machine has from senders on others, and no receiver there has
 * taken, is dropped there, and told with `end` 0 of a node that had it; its senders count that as released. What is on
 * its way between machines at this moment is not.
 *
 * `each(p, arg)` is called for every sender, in this thread; NULL is allowed. Waits a second at most for a node that
 * does not answer. Returns how many senders there were. Errors: -ENOENT no such space; -EINVAL a bad name; -EPERM,
 * -EACCES as ferry_open; -EMFILE, -ENFILE; -ENOMEM.
 */
FERRY_API int ferry_purge(const char *space, const ferry_options_t *options, const char *channel, uint64_t node,
                          void (*each)(const ferry_purged_t *p, void *arg), void *arg);

/** How a node was expelled. */
typedef struct ferry_kicked {
    size_t size;     /**< in: sizeof(ferry_kicked_t), or 0 for the same */
    uint32_t peers;  /**< nodes that have given up their connection to it */
    uint32_t silent; /**< nodes that did not answer (stopped?): they keep theirs until it ends. Nodes of another version
                          of Ferry than its own are not among them, since they have no connection to it */
    uint32_t told;   /**< 1: it knows; 0: it does not answer, and learns it when it goes on */
    int32_t pid;     /**< its process; 0 when that cannot be seen from here */
    uint32_t uid;
    uint32_t starved;       /**< it does not answer, and: 1: its process has too few descriptors left */
    uint32_t other_version; /**< it does not answer, and: 1: it is of another version of Ferry */
    uint32_t reserved;
} ferry_kicked_t;

/**
 * Expels a node from the space: for a program that is stopped or misbehaves, and shall not keep others. Its peers give
 * up their links to it, so that messages that it holds go to others, with their next attempt, and topics no longer wait
 * for it; they accept it no more. It is told, and all its calls answer -ESHUTDOWN with a sentence that says so, also
 * where it releases a queue's message, which another one has by then; its process is not ended. What its program holds
 * of messages does not change: senders keep that memory, at the cost of their quota, until it is released or the
 * process ends. Locks that it holds stay held until its process ends, since it may still be at work under them. Nodes
 * on other machines notice nothing before it closes.
 *
 * Only the node's own user, the owner of the space's directory and root may. Waits a second at most for each node that
 * does not answer. `*result` may be NULL.
 *
 * Errors: -ENOENT no such space, or no such node in it; -ESRCH it is dead (its names were removed); -EPERM it is
 * neither yours nor is the directory; -EINVAL; -ETIMEDOUT somebody keeps the directory's lock; -EACCES, -EMFILE,
 * -ENFILE.
 */
FERRY_API int ferry_kick(const char *space, const ferry_options_t *options, uint64_t node, ferry_kicked_t *result);

/** What the engine keeps of a durable queue or topic (see channel.h). Strings belong to the call. */
typedef struct ferry_durable_info {
    const char *queue;  /**< or topic */
    uint64_t messages;  /**< kept: of a queue not released yet, those that receivers hold among them */
    uint64_t bytes;     /**< that they take up there */
    uint64_t sent;      /**< ever put in */
    uint64_t oldest_ns; /**< when the oldest was stored, by the engine's clock: ns since 1970; 0: there is none */
    uint32_t kind;      /**< FERRY_QUEUE or FERRY_TOPIC */
    uint32_t reserved;
} ferry_durable_info_t;

/**
 * Calls `each(info, arg)` for every durable queue and topic of the space, until it returns something other than 0, and
 * returns that; else
 * 0. Any thread. Errors: -ENOTSUP the space has no engine, or one without JetStream; -ETIMEDOUT, -ENOTCONN it cannot be
 * asked within 5 s; -EACCES it does not permit it; -EBADF, -ECHILD, -EINVAL; -ENOMEM.
 */
FERRY_API int ferry_durable_each(ferry_t *node, int (*each)(const ferry_durable_info_t *info, void *arg), void *arg);

/**
 * Drops all messages that the engine keeps of a durable queue or topic; with `remove` 1 that itself as well: nothing is
 * left of it on the engine's disk, and the name may be used for something else once its ends are closed. What receivers
 * hold stays readable for them; a topic's receivers count what they had not read as lost. `*messages` (may be NULL)
 * says how many there were. Any thread. Errors: -ENOENT there is no such channel; -EINVAL a bad name;
 * and those of ferry_durable_each.
 */
FERRY_API int ferry_durable_purge(ferry_t *node, const char *queue, uint32_t remove, uint64_t *messages);

#ifdef __cplusplus
}
#endif
#endif
