/* SPDX-License-Identifier: MIT
 *
 * ferry/watch.h - being told when nodes come and go: what `ferry ls --follow` shows.
 *
 * A watch sees the nodes of its space, also those that its own node shares no channel with. It sleeps while nothing
 * happens; in a space that spans machines its node asks all others once a second whether they are there.
 */
#ifndef FERRY_WATCH_H
#define FERRY_WATCH_H

#include "space.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What happens to a node. */
typedef enum ferry_change {
    FERRY_NODE_JOINED = 1, /**< it was opened, or was there when the watch was */
    FERRY_NODE_LEFT,       /**< it was closed, or its program has ended in good order */
    FERRY_NODE_DIED,       /**< its process was killed, or executed another program, without closing it; on another
                                machine: it has had no connection with the server for two seconds */
    FERRY_NODE_EXPELLED    /**< by ferry_kick; of a node on another machine it is told as having died, or left */
} ferry_change_t;

/** One event. */
typedef struct ferry_watch_event {
    size_t size; /**< in: sizeof(ferry_watch_event_t), or 0 for the same */
    ferry_change_t what;
    uint32_t was_there; /**< JOINED: 1: before the watch was opened */
    uint64_t node;
    int32_t pid; /**< as this process sees it; 0 when it lives in a PID namespace that is not visible from here */
    uint32_t uid;
    char name[104]; /**< "?" if it has never answered (stopped?) */
    char host[64];  /**< of a node on another machine, its name; then `uid` is UINT32_MAX and `pid` is that machine's */
} ferry_watch_event_t;

/** A watch. Used by one thread at a time; to be closed before its node. */
typedef struct ferry_watch ferry_watch_t;

/**
 * Begins to watch the space of `node`. What is there already is told first, as FERRY_NODE_JOINED; `node` itself is not
 * told of. A node on another machine that is slow to answer is told of when it does, with `was_there`, maybe after
 * others have come. It needs a descriptor for each node.
 * Errors: -EBADF; -ECHILD; -EMFILE no descriptors, or this user has no inotify instance left; -ENFILE, -ENOMEM,
 * -ENOSPC.
 */
FERRY_API int ferry_watch_open(ferry_t *node, ferry_watch_t **w);

/**
 * Waits for the next event. Of each node JOINED comes first, then one of the others; one that has gone before the watch
 * got to look at it is not told of. Errors: -EAGAIN nothing has happened (FERRY_NOW); -ETIMEDOUT; -EINTR; -ESHUTDOWN;
 * -EBADF; -EBUSY another thread is inside; -ECHILD; -EINVAL; -ENOMEM.
 */
FERRY_API int ferry_watch_next(ferry_watch_t *w, int64_t timeout, ferry_watch_event_t *event);

/**
 * A descriptor that polls readable when something may have happened, for ferry_poll, poll or epoll: then call
 * ferry_watch_next with FERRY_NOW until it answers -EAGAIN. It belongs to the watch. Errors: -EBADF.
 */
FERRY_API int ferry_watch_fd(ferry_watch_t *w);

/** Ends the watch; NULL is allowed. While another thread is inside it, it stays open. */
FERRY_API void ferry_watch_close(ferry_watch_t *w);

#ifdef __cplusplus
}
#endif
#endif
