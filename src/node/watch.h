/* SPDX-License-Identifier: MIT
 *
 * node/watch.h - noticing that somebody swept our files.
 *
 * A cleaner of /tmp may remove names of a space that lives on; their owners must put them back.  Each node watches its
 * own files by inode, and the directory only for being removed or moved: files that others make, remove or read wake
 * nobody.  (While a descriptor of the directory is open its removal is not told; but a directory is empty before it is
 * removed, so the removal of our files has told already.)
 *
 * Users have few watches (128 descriptors by default).  Without one a node works, but does not notice such a sweep.
 */
#ifndef FI_NODE_WATCH_H
#define FI_NODE_WATCH_H

#include <stdbool.h>

#include "node/space.h"

/**
 * Opens a descriptor that polls readable when a watched thing vanished, watching the directory itself.
 * Errors: -EMFILE this user or process has no more; -ENFILE; -ENOMEM; -ENOSPC; -ENOENT the directory was removed.
 */
int fi_watch_open(fi_space_t *s, int *fd);

/** Watches one of our own files. Errors: -ENOENT it has vanished already; -ENOSPC, -ENOMEM no more watches. */
int fi_watch_add(int fd, fi_space_t *s, const char *name);
/** Watches it no longer: it is about to be removed. */
void fi_watch_forget(int fd, const fi_space_t *s, const char *name);

/** Takes all events; true when one is news (the end of a watch is none): look which files are missing. */
bool fi_watch_drain(int fd);

#endif
