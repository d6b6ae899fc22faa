/* SPDX-License-Identifier: MIT
 *
 * platform/socket.h - local sockets that carry packets and descriptors.
 *
 * All are SOCK_SEQPACKET, close-on-exec and non-blocking: no call here waits for a peer.  A packet arrives whole or not
 * at all.  Names are given as a directory and a name in it, and go through /proc/self/fd, so that the length of the
 * directory's path does not matter (a socket's address has room for 107 bytes); /proc must be mounted.
 *
 * Descriptors from a peer are closed on every error path, whatever it sent.
 */
#ifndef FI_PLATFORM_SOCKET_H
#define FI_PLATFORM_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/** Most descriptors in one packet; few may be in flight per user, so packets carry few. */
#define FI_SOCKET_MAX_FDS 16

/** Longest name of a socket in its directory, in bytes. */
#define FI_SOCKET_MAX_NAME 64

/** Put before a name while the thing is being made. See fi_space_sweep_unborn. */
#define FI_UNBORN_PREFIX ".tmp-"

/**
 * Listens at `name` in the directory `dirfd`: bound under FI_UNBORN_PREFIX + name, listening, its mode and group set,
 * then renamed, so that a name that can be seen is one that answers. `gid` is (gid_t)-1 for "leave it".
 * In a space, use fi_space_listen, which holds the lock.
 *
 * Errors: -ENOENT the directory was removed; -EEXIST the name is taken; -EACCES, -EROFS, -ENOSPC the directory cannot
 * be written; -EMFILE, -ENFILE; -ENOMEM; -ENOSYS /proc is not mounted.
 */
int fi_socket_listen(int dirfd, const char *name, mode_t mode, gid_t gid, int *fd);

/**
 * Connects to `name` in the directory `dirfd`.
 *
 * Errors: -ECONNREFUSED nobody listens there any more: its node is dead; -ENOENT no such name; -EAGAIN alive, but its
 * queue of newcomers is full: try again; -EACCES not admitted; -EPROTO something else bears that name; -EMFILE,
 * -ENFILE; -ENOMEM; -ENOSYS /proc is not mounted.
 */
int fi_socket_connect(int dirfd, const char *name, int *fd);

/**
 * The process that listens at `name`, for when connecting answers -EAGAIN and does not tell. 0: not to be seen, since it
 * is another user's, or in another PID or network namespace. Reads all of /proc.
 */
pid_t fi_socket_listener(const char *name);

/** Takes the next newcomer. Errors: -EAGAIN none is waiting; -EMFILE, -ENFILE; -ENOMEM. */
int fi_socket_accept(int listen_fd, int *fd);

/**
 * Sends one packet of `len` bytes (not 0) with `nfds` descriptors, which stay the caller's.
 *
 * Errors: -EAGAIN no room: wait for POLLOUT; -EPIPE the peer has left; -EMSGSIZE; -ETOOMANYREFS too many descriptors
 * are in flight: try again later; -ENOMEM (also for ENOBUFS). Never raises SIGPIPE.
 */
int fi_socket_send(int fd, const void *data, size_t len, const int *fds, unsigned nfds);

/**
 * Receives one packet: its size to `*len`, its descriptors (close-on-exec, the caller's) to `fds` and their number to
 * `*nfds`. `maxfds` is at most FI_SOCKET_MAX_FDS. Returns 1; 0 when the peer has left and everything was read (an
 * empty packet counts as leaving).
 *
 * Errors: -EAGAIN nothing there; -EPROTO larger than `cap` or more descriptors than `maxfds`; -EMFILE this process had
 * no descriptors left to receive with. The packet of the last two is gone, and all its descriptors are closed.
 */
int fi_socket_recv(int fd, void *buf, size_t cap, size_t *len, int *fds, unsigned maxfds, unsigned *nfds);

/**
 * Reads the next packet without taking it, as far as it fits. `*burdened`: there are descriptors with it.
 * 1; 0: there is none, or it could not be read: fi_socket_recv tells.
 */
int fi_socket_peek(int fd, void *buf, size_t cap, size_t *len, bool *burdened);

/** Can this process have `count` more descriptors at this moment? */
bool fi_descriptors_left(unsigned count);

/** Who is at the other end, as the kernel saw it when it connected (or listened). `*pid` is 0 when not visible here. */
int fi_socket_peer(int fd, pid_t *pid, uid_t *uid, gid_t *gid);

/**
 * A pidfd of the process at the other end, the caller's to close; also when it has closed its end since.
 * Errors: -ESRCH it has ended; -ENOSYS it is not visible from here, and the kernel is older than Linux 6.5; -EMFILE.
 */
int fi_socket_peer_pidfd(int fd);

/** Has the other end been closed, by its process or with it? What it sent before may still be there to be read. */
bool fi_socket_is_hung_up(int fd);

/** Is the process at the other end in `gid`, with its primary or another group? */
bool fi_socket_peer_in_group(int fd, gid_t gid);

#endif
