/* SPDX-License-Identifier: MIT
 *
 * ferry/space.h - spaces and nodes.
 *
 * A space is a named meeting place; a node is one process's membership in it.  There is no daemon: a space is a
 * directory, $FERRY_DIR/NAME (default base: /tmp/ferry-UID, or /tmp/ferry-group-GID for a space opened for a group),
 * that holds one listening socket per node and one small file per open end.  Memory travels between processes as
 * descriptors, never as names.
 *
 * A space called nats://HOST[:PORT][,HOST...]/NAME spans machines: all programs that name it so, anywhere, are in it.
 * They meet at a NATS server (2.9 or newer, with JetStream; `ferry engine` starts one), by port 4222 where none is
 * named. nats+tls:// does the same encrypted, with servers that prove who they are.  Nodes on one machine that have the
 * base directory in common still use shared memory, in the directory NAME@HOST:PORT there.  What differs between
 * machines stands in the header of each object.
 */
#ifndef FERRY_SPACE_H
#define FERRY_SPACE_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A node: this process's membership in one space. Usable by any number of threads at once. */
typedef struct ferry ferry_t;

/** Options of ferry_open; all zero is a good default. */
typedef struct ferry_options {
    size_t size; /**< sizeof(ferry_options_t), or 0 for the same */
    const char
        *directory;     /**< base directory of the spaces; NULL: $FERRY_DIR, else derived from the user or group id */
    const char *name;   /**< what `ferry ls` calls this node; NULL: the program's name */
    const char *group;  /**< name or number of a group whose members are admitted; NULL: this user only */
    uint32_t max_peers; /**< connections accepted from other nodes; 0: 4096 */
    uint32_t max_links_per_peer;  /**< links one peer may open; 0: 16384 */
    uint64_t max_memory_per_peer; /**< bytes of a peer's memory this node maps; 0: 64 GiB; too little: see ferry_recv */

    /* networked spaces only; NULL: the environment variable named, else none. What a string says is copied. */
    const char *credentials; /**< file with a NATS user's credentials (JWT and seed); $FERRY_CREDENTIALS */
    const char *user;        /**< $FERRY_USER */
    const char *password;    /**< $FERRY_PASSWORD */
    const char *token;       /**< instead of user and password; $FERRY_TOKEN */
    const char
        *tls_ca; /**< file with the certificates trusted to sign the servers'; $FERRY_TLS_CA, else the system's */
    const char *tls_cert; /**< file with this program's own certificate, where servers ask for one; $FERRY_TLS_CERT */
    const char *tls_key;  /**< file with its key; $FERRY_TLS_KEY */
} ferry_options_t;

/**
 * Joins the space `space` (1 to 63 of the characters A-Z a-z 0-9 . _ -, not starting with a dot; or the URL of one that
 * spans machines), creating it when it does not exist. Opening one process's space twice gives two nodes.
 *
 * Thread-safe. The node belongs to the caller, who ends it with ferry_close.
 *
 * Errors: -EINVAL bad name or option, or what $FERRY_HOST_PROFILE names is no profile (route.h); -EPERM the directory
 * belongs to somebody else, is a symbolic link or is open to others; -EACCES the directory cannot be written, or the
 * umask would take its own rights away from who makes it; -ENOENT no such group; -ENOSYS the kernel lacks a needed
 * feature (the sentence names it); -EMFILE, -ENFILE no descriptors left; -EAGAIN no more threads; -ENOMEM; -ENOSPC the
 * directory's disk is full. In a space that spans machines also: -EINVAL the URL has no host, no space or a password in
 * it, or a file named by an option does not exist; -ENOPKG the library libnats.so.3.4 is not installed; -ECONNREFUSED
 * no server answers there; -ETIMEDOUT nor does one within 5 s, or one that does leaves the handshake unfinished, four
 * times in a row, or for 8 s; -EACCES it does not accept the credentials; -EKEYREJECTED one of the two insists on TLS
 * and the other has none, or the server does not prove who it is; -ECHILD a process that this one was forked by has
 * used such a space: the library's threads are not in the child, which must exec first; -EIO the connection fails
 * otherwise.
 */
FERRY_API int ferry_open(const char *space, const ferry_options_t *options, ferry_t **node);

/**
 * Leaves the space and frees the node; NULL is allowed. Ends, clients and services still open are closed as by their
 * own close call with FERRY_NOW: of a service, the handlers that run are waited for. What other nodes were told of
 * messages sent is given up to 2 s to leave as long as they read it, a second when they do not (stopped?). Must not
 * run while another thread of the program's is inside a call on the same node (use ferry_shutdown first).
 *
 * Returns 0, or the number of handles that were still open (ferry_last_error names them), or -ECHILD in a forked child
 * (the child's copy is freed, its parent is not disturbed), or -EDEADLK called by a handler of one of its services.
 */
FERRY_API int ferry_close(ferry_t *node);

/**
 * Makes every waiting call on this node return -ESHUTDOWN, now and from now on. Async-signal-safe, callable from any
 * thread. Returns 0.
 */
FERRY_API int ferry_shutdown(ferry_t *node);

/**
 * What is doubtful about how this node is connected, as a sentence; "" when nothing is. Two things are, so far: a
 * connection to a server on another machine that is not encrypted, so that others on the way can read and change what
 * it carries; and a node of another version of Ferry in the space, on this machine or on another one, which this one
 * does not see. The second is found out when the two meet: mostly as an end is opened.
 */
FERRY_API const char *ferry_warning(const ferry_t *node);

/** Directory of the node's space, absolute; belongs to the node. */
FERRY_API const char *ferry_directory(const ferry_t *node);

/** Random number that identifies the node among all nodes; never 0. */
FERRY_API uint64_t ferry_node_id(const ferry_t *node);

#ifdef __cplusplus
}
#endif
#endif
