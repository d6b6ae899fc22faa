/* SPDX-License-Identifier: MIT
 *
 * node/space.h - the directory of a space: who may be in it, and what its names mean.
 *
 *     BASE/                    derived: /tmp/ferry-UID or /tmp/ferry-group-GID; or $FERRY_DIR; or as the options say
 *       SPACE/                 0700, the user's; for a group 03770 (setgid, sticky), the group's
 *         n-NODE               listening socket of a node; NODE is its id, 16 hex digits
 *         e-...                one file per open end (entry.h)
 *         .tmp-...             something that is being made; exists only while its maker holds the lock
 *
 * A space for one user must belong to him and be closed to others: then nobody else has been able to put anything into
 * it.  A directory for a group is owned by whichever member came first; that its group id is right proves that its
 * maker was a member (only members can give a file to a group), so the group id is what is checked.
 *
 * The lock is flock(2) on the directory itself: no file is left behind, and the kernel drops it when its holder dies.
 * No call here waits for longer than FI_SPACE_LOCK_NS.
 */
#ifndef FI_NODE_SPACE_H
#define FI_NODE_SPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <ferry/space.h>

#include "node/address.h"

/** How long fi_space_lock tries. Holders keep the lock for microseconds. */
#define FI_SPACE_LOCK_NS INT64_C(2000000000)

/** Bytes for the name of a node's socket. */
#define FI_NODE_NAME_MAX 24
#define FI_EXPELLED_NAME_MAX 48

/** An open space directory. Used by one thread at a time. */
typedef struct fi_space {
    int dirfd;
    char *path; /**< absolute; messages and ferry_directory only: all work goes through dirfd */
    char name[FI_DIRECTORY_MAX];
    bool group;
    gid_t gid;         /**< when `group` */
    bool derived_base; /**< the base was not given by anybody: removed when empty */
    size_t base_len;   /**< bytes of `path` that name the base */
} fi_space_t;

/**
 * Writes the absolute base directory that `o` (NULL: all defaults) leads to into `buf`; `*group` and `*gid` tell for
 * which group.
 * Errors: -ENOENT no such group; -ERANGE `buf` is too small; -ENAMETOOLONG; others of getcwd for a relative base.
 */
int fi_space_base(const ferry_options_t *o, char *buf, size_t cap, bool *group, gid_t *gid);

/** The same, and looks whether spaces may be there, making nothing. Errors: also -ENOENT; as fi_space_open. */
int fi_space_check_base(const ferry_options_t *o, char *base, size_t cap);

/** A user in words: "NAME (user id 1000)", or without a name if he has none. Returns `buf`. */
const char *fi_user_word(uid_t uid, char *buf, size_t cap);

/** Space names: see ferry_open. 0, or -EINVAL with a sentence. */
int fi_space_check_name(const char *name);

/**
 * Opens the space `name`, making base and space directory when `create`. Each error has its own sentence: -EINVAL bad
 * name; -EPERM somebody else's, open to others, a symbolic link, or not a directory; -ENOENT does not exist (only
 * without `create`), no such group, or the base's parent does not exist; -EACCES, -EROFS, -ENOSPC, -EDQUOT,
 * -ENAMETOOLONG; -EMFILE, -ENFILE; -ENOMEM.
 */
int fi_space_open(const char *name, const ferry_options_t *o, bool create, fi_space_t *s);

/**
 * Opens the directory of a space that somebody else has named, to look at it, if it is one that this user alone, or a
 * group that he is in, can put names into. A descriptor, and what it is; or -1.
 */
int fi_space_open_path(const char *path, struct stat *st);

/** Makes the directory again after somebody swept it, and replaces dirfd. On failure `*s` stays as it was. */
int fi_space_reopen(fi_space_t *s);

/** Was the directory removed or moved away, so that others would not meet us in it? */
bool fi_space_is_gone(const fi_space_t *s);

/** Closes it, and removes the directory if it is empty, and the base too if that is empty and derived. */
void fi_space_close(fi_space_t *s);

/** Closes it and leaves the directory alone: for a forked child, and for those who only looked. */
void fi_space_forget(fi_space_t *s);

/**
 * Takes the space's lock; returns a descriptor for fi_space_unlock.
 * Errors: -ESTALE the directory was removed: reopen it and put everything back; -ETIMEDOUT; -EMFILE, -ENFILE.
 */
int fi_space_lock(fi_space_t *s);
void fi_space_unlock(int lock);

/**
 * Removes what makers that died left half-made. Call it with the lock held: everything half-made belongs to a holder of
 * the lock, so whatever the current holder finds has no maker any more.
 */
void fi_space_sweep_unborn(fi_space_t *s);

/** Is this the name of something that is being made? */
bool fi_space_is_unborn(const char *name);

/**
 * Makes the socket `name` under the lock (see fi_socket_listen), admitting whom the space admits; if the directory
 * was removed, makes that again first. Errors: those of fi_space_lock, fi_space_reopen and fi_socket_listen.
 */
int fi_space_listen(fi_space_t *s, const char *name, int *fd);

/** Writes the name of the node's socket, "n-" and 16 hex digits. */
void fi_space_node_name(uint64_t node, char name[FI_NODE_NAME_MAX]);

/** Writes the name that the socket of an expelled node has for a moment, which is that of something half-made. */
void fi_space_expelled_name(uint64_t node, char name[FI_EXPELLED_NAME_MAX]);
/** Is it one? Then the node's id is in `*node`. */
bool fi_space_parse_expelled(const char *name, uint64_t *node);

/** Is this the name of a node's socket? Then its id is in `*node`. */
bool fi_space_parse_node(const char *name, uint64_t *node);

/** Removes the socket and all entries of a node; what belongs to another user in a group's space stays. */
void fi_space_remove_node(fi_space_t *s, uint64_t node);

/** Calls `each` for every node that has a socket. Stops at its first non-zero result and returns that; else 0. */
int fi_space_each_node(fi_space_t *s, int (*each)(uint64_t node, void *arg), void *arg);

/** The same for every name in any directory, given as a descriptor and a path to show. At most a million names. */
int fi_directory_each(int dirfd, const char *path, int (*each)(const char *name, void *arg), void *arg);

/** Calls `each` for every name in the directory, as above. The base of the two other walks. */
int fi_space_each_name(fi_space_t *s, int (*each)(const char *name, void *arg), void *arg);

#endif
