/* SPDX-License-Identifier: MIT
 *
 * platform/socket.c - see socket.h, and unix(7).
 */
#include "platform/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/error.h"

#define BACKLOG 512
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* since Linux 6.5 */
#endif

static int new_socket(int *fd) {
    int s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s < 0)
        return fi_fail_errno(errno, "cannot make a local socket (see ulimit -n)");
    *fd = s;
    return 0;
}

static int address_of(int dirfd, const char *prefix, const char *name, struct sockaddr_un *to) {
    memset(to, 0, sizeof *to);
    to->sun_family = AF_UNIX;
    int n = snprintf(to->sun_path, sizeof to->sun_path, "/proc/self/fd/%d/%s%s", dirfd, prefix, name);
    if (n < 0 || (size_t)n >= sizeof to->sun_path)
        return fi_fail(-ENAMETOOLONG, "the socket name \"%s\" is longer than %d bytes", name, FI_SOCKET_MAX_NAME);
    return 0;
}

/* ENOENT has two meanings for such a path: the name is missing, or /proc is. */
static bool proc_is_missing(void) {
    return access("/proc/self/fd", F_OK) != 0;
}

static int fail_without_proc(void) {
    return fi_fail(-ENOSYS, "/proc is not mounted here; Ferry reaches sockets through /proc/self/fd: mount it");
}

/*
 * Sets mode and group on exactly the socket that we bound: in a group's directory, its owner could have put something
 * else in the place of the name meanwhile, and a call by name would then change that.
 */
static int set_access(int dirfd, const char *unborn, mode_t mode, gid_t gid) {
    int pin = openat(dirfd, unborn, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (pin < 0)
        return fi_fail_errno(errno, "cannot open the socket just made");
    struct stat st;
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", pin);
    int rc = 0;
    if (fstat(pin, &st) != 0 || !S_ISSOCK(st.st_mode) || st.st_uid != geteuid())
        rc = fi_fail(-EPERM, "the socket just made was replaced by somebody else in this directory");
    else if (gid != (gid_t)-1 && st.st_gid != gid && chown(path, (uid_t)-1, gid) != 0)
        rc = fi_fail_errno(errno, "cannot give the socket to group %lu; you must be its member", (unsigned long)gid);
    else if (chmod(path, mode) != 0)
        rc = fi_fail_errno(errno, "cannot set the mode of the socket");
    close(pin);
    return rc;
}

/* From a socket bound as `unborn` to one that listens as `name`. */
static int be_born(int s, int dirfd, const char *unborn, const char *name, mode_t mode, gid_t gid) {
    int rc = set_access(dirfd, unborn, mode, gid);
    if (rc != 0)
        return rc;
    if (listen(s, BACKLOG) != 0)
        return fi_fail_errno(errno, "cannot listen on a local socket");
    if (renameat2(dirfd, unborn, dirfd, name, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno == EINVAL && faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) != 0 &&
        renameat(dirfd, unborn, dirfd, name) == 0) /* a file system that cannot check in the same step */
        return 0;
    return fi_fail_errno(errno, "cannot give the socket its name \"%s\"", name);
}

int fi_socket_listen(int dirfd, const char *name, mode_t mode, gid_t gid, int *fd) {
    struct sockaddr_un address;
    char unborn[FI_SOCKET_MAX_NAME + sizeof FI_UNBORN_PREFIX];
    fi_assert(strlen(name) <= FI_SOCKET_MAX_NAME);
    snprintf(unborn, sizeof unborn, "%s%s", FI_UNBORN_PREFIX, name);
    int s = -1;
    int rc = address_of(dirfd, FI_UNBORN_PREFIX, name, &address);
    if (rc == 0)
        rc = new_socket(&s);
    if (rc != 0)
        return rc;
    if (bind(s, (const struct sockaddr *)&address, sizeof address) != 0) {
        int why = errno == EADDRINUSE ? EEXIST : errno;
        rc = why == ENOENT && proc_is_missing() ? fail_without_proc()
                                                : fi_fail_errno(why, "cannot make the socket \"%s\"", name);
    } else {
        rc = be_born(s, dirfd, unborn, name, mode, gid);
        if (rc != 0)
            (void)unlinkat(dirfd, unborn, 0);
    }
    if (rc != 0)
        close(s);
    else
        *fd = s;
    return rc;
}

static int fail_connect(int why, const char *name) {
    switch (why) {
    case ECONNREFUSED:
        return fi_fail(-ECONNREFUSED, "nobody listens at \"%s\" any more: its node has died", name);
    case ENOENT:
        return proc_is_missing() ? fail_without_proc() : fi_fail(-ENOENT, "there is no node \"%s\"", name);
    case EAGAIN:
        return fi_fail(-EAGAIN, "the node \"%s\" has too many newcomers waiting; try again", name);
    case EPROTOTYPE:
    case ENOTSOCK:
    case ELOOP:
        return fi_fail(-EPROTO, "the name \"%s\" does not belong to a node's socket", name);
    default:
        return fi_fail_errno(why, "cannot connect to the node \"%s\"", name);
    }
}

int fi_socket_connect(int dirfd, const char *name, int *fd) {
    struct sockaddr_un address;
    int s = -1;
    int rc = address_of(dirfd, "", name, &address);
    if (rc == 0)
        rc = new_socket(&s);
    if (rc != 0)
        return rc;
    int failed;
    do
        failed = connect(s, (const struct sockaddr *)&address, sizeof address);
    while (failed != 0 && errno == EINTR);
    if (failed != 0) {
        rc = fail_connect(errno, name);
        close(s);
        return rc;
    }
    *fd = s;
    return 0;
}

int fi_socket_accept(int listen_fd, int *fd) {
    int s;
    do
        s = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    while (s < 0 && errno == EINTR);
    if (s < 0 && (errno == EAGAIN || errno == ECONNABORTED))
        return fi_fail_static(-EAGAIN, "no newcomer is waiting");
    if (s < 0)
        return fi_fail_errno(errno, "cannot accept a newcomer (see ulimit -n)");
    *fd = s;
    return 0;
}

/* Room for one control message of descriptors, aligned as the kernel wants it. */
typedef union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(FI_SOCKET_MAX_FDS * sizeof(int))];
} control_t;

static int fail_send(int why) {
    switch (why) {
    case EAGAIN:
        return fi_fail_static(-EAGAIN, "the peer's socket is full");
    case EPIPE:
    case ECONNRESET:
    case ENOTCONN:
        return fi_fail_static(-EPIPE, "the peer has left");
    case ENOBUFS:
        return fi_fail_errno(ENOMEM, "cannot send to a peer");
    case ETOOMANYREFS:
        return fi_fail(-ETOOMANYREFS, "too many descriptors of this user are on their way between processes; try again "
                                      "when some have arrived, or raise ulimit -n");
    default:
        return fi_fail_errno(why, "cannot send to a peer");
    }
}

int fi_socket_send(int fd, const void *data, size_t len, const int *fds, unsigned nfds) {
    fi_assert(len != 0 && nfds <= FI_SOCKET_MAX_FDS);
    union {
        const void *from;
        void *to;
    } drop_const = {.from = data};
    struct iovec part = {.iov_base = drop_const.to, .iov_len = len};
    struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};
    control_t control;
    if (nfds != 0) {
        memset(&control, 0, sizeof control);
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
    }
    ssize_t n;
    do
        n = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n < 0 ? fail_send(errno) : 0;
}

/* Collects the descriptors that came with a packet; `got` has room for every one that fits into a control_t. */
static unsigned take_descriptors(struct msghdr *msg, int *got) {
    unsigned count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t bytes = c->cmsg_len - CMSG_LEN(0);
        memcpy(got + count, CMSG_DATA(c), bytes);
        count += (unsigned)(bytes / sizeof(int));
    }
    return count;
}

static void close_all(const int *fds, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        close(fds[i]);
}

/* What is wrong with a packet that arrived, if anything. */
static int check_packet(const struct msghdr *msg, unsigned count, unsigned maxfds) {
    if ((msg->msg_flags & MSG_TRUNC) != 0)
        return fi_fail(-EPROTO, "a peer sent a packet larger than any that is expected");
    /* Cut although there was room: it is our own table of descriptors that is full. */
    if ((msg->msg_flags & MSG_CTRUNC) != 0 && count < maxfds)
        return fi_fail_errno(EMFILE, "cannot receive a descriptor from a peer (see ulimit -n)");
    if ((msg->msg_flags & MSG_CTRUNC) != 0 || count > maxfds)
        return fi_fail(-EPROTO, "a peer sent more descriptors than the %u that are expected", maxfds);
    return 0;
}

/*
 * A peer that closed its socket without reading everything leaves ECONNRESET as an error to be reported once, in front
 * of packets that are still to be read.
 */
static ssize_t receive(int fd, struct msghdr *msg) {
    size_t control_room = msg->msg_controllen;
    ssize_t n = -1;
    for (int i = 0; i < 64; i++) {
        msg->msg_controllen = control_room;
        msg->msg_flags = 0;
        n = recvmsg(fd, msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n >= 0 || (errno != EINTR && errno != ECONNRESET))
            break;
    }
    return n;
}

int fi_socket_recv(int fd, void *buf, size_t cap, size_t *len, int *fds, unsigned maxfds, unsigned *nfds) {
    fi_assert(maxfds <= FI_SOCKET_MAX_FDS);
    control_t control;
    int got[sizeof control / sizeof(int)];
    struct iovec part = {.iov_base = buf, .iov_len = cap};
    struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};
    msg.msg_control = maxfds == 0 ? NULL : control.bytes;
    msg.msg_controllen = maxfds == 0 ? 0 : CMSG_LEN(maxfds * sizeof(int));
    ssize_t n = receive(fd, &msg);
    if (n < 0 && errno == EAGAIN)
        return fi_fail_static(-EAGAIN, "no packet is waiting");
    if (n < 0 && errno == ECONNRESET)
        return 0;
    if (n < 0)
        return fi_fail_errno(errno, "cannot receive from a peer");
    unsigned count = take_descriptors(&msg, got);
    *len = (size_t)n; /* the bytes are good even when the descriptors found no room */
    *nfds = 0;
    int rc = n == 0 ? 0 : check_packet(&msg, count, maxfds);
    if (n == 0 || rc != 0) {
        close_all(got, count);
        return rc;
    }
    if (count != 0)
        memcpy(fds, got, count * sizeof(int));
    *nfds = count;
    return 1;
}

/* Without room for descriptors the kernel tells that there are some, and makes none. */
int fi_socket_peek(int fd, void *buf, size_t cap, size_t *len, bool *burdened) {
    struct iovec part = {.iov_base = buf, .iov_len = cap};
    struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t n = recvmsg(fd, &msg, MSG_PEEK | MSG_DONTWAIT);
    *len = n < 0 ? 0 : (size_t)n;
    *burdened = n > 0 && (msg.msg_flags & MSG_CTRUNC) != 0;
    return n > 0;
}

bool fi_descriptors_left(unsigned count) {
    int fds[FI_SOCKET_MAX_FDS];
    unsigned made = 0;
    fi_assert(count <= FI_SOCKET_MAX_FDS);
    while (made < count && (fds[made] = eventfd(0, EFD_CLOEXEC)) >= 0)
        made++;
    close_all(fds, made);
    return made == count;
}

int fi_socket_peer(int fd, pid_t *pid, uid_t *uid, gid_t *gid) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        return fi_fail_errno(errno, "cannot ask who a peer is");
    *pid = peer.pid;
    *uid = peer.uid;
    *gid = peer.gid;
    return 0;
}

int fi_socket_peer_pidfd(int fd) {
    int pidfd;
    struct ucred peer;
    socklen_t size = sizeof pidfd, bytes = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) == 0)
        return pidfd;
    if (errno != ENOPROTOOPT)
        return errno == EINVAL ? -ESRCH : -errno;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) != 0 || peer.pid == 0)
        return -ENOSYS;
    long opened = syscall(SYS_pidfd_open, peer.pid, 0U);
    return opened < 0 ? -errno : (int)opened;
}

bool fi_socket_is_hung_up(int fd) {
    struct pollfd item = {.fd = fd};
    return poll(&item, 1, 0) == 1 && (item.revents & POLLHUP) != 0;
}

bool fi_socket_peer_in_group(int fd, gid_t gid) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.gid == gid)
        return true;
    socklen_t bytes = 0; /* asked with no room, the kernel tells how much it needs */
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &bytes) == 0 || errno != ERANGE || bytes == 0)
        return false;
    gid_t *groups = malloc(bytes);
    bool found = false;
    if (groups != NULL && getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &bytes) == 0)
        for (size_t i = 0; i < bytes / sizeof *groups && !found; i++)
            found = groups[i] == gid;
    free(groups);
    return found;
}
