/* SPDX-License-Identifier: MIT */
#include "node/ask.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/plain.h"
#include "node/space.h"
#include "node/version.h"
#include "platform/patience.h"
#include "platform/socket.h"

/* What others call themselves is for people to read, but for the rest of a path, which is opened. */
static void make_plain(fi_frame_t *f) {
    f->text[sizeof f->text - 1] = 0;
    f->contract.type_name[sizeof f->contract.type_name - 1] = 0;
    if (f->type != FI_LOOK_BESIDE) {
        fi_make_plain(f->text, sizeof f->text);
        fi_make_plain(f->contract.type_name, sizeof f->contract.type_name);
    }
}

/* False: nothing has come, and all patience is used up. */
static bool wait_for_more(int fd, fi_patience_t *patience) {
    struct pollfd item = {.fd = fd, .events = POLLIN};
    bool goes_on = true;

    while (goes_on) {
        int64_t slice = fi_patience_slice(patience) - patience->since;
        bool came = poll(&item, 1, (int)((fi_later(slice, 0) + 999999) / 1000000)) > 0;
        goes_on = fi_patience_goes_on(patience); /* who lets a frame come now and then does not get more of it */
        if (came) {
            return true;
        }
    }
    return false;
}

static int next_frame(int fd, fi_patience_t *patience, fi_frame_t *f) {
    int fds[FI_SOCKET_MAX_FDS];
    unsigned count = 0;

    for (;;) {
        size_t len = 0;
        int r = fi_socket_recv(fd, f, sizeof *f, &len, fds, FI_SOCKET_MAX_FDS, &count);
        while (count > 0) {
            close(fds[--count]);
        }
        if (fi_frame_is_of_other_version(f, len)) {
            return FI_ASK_OTHER_VERSION; /* of any size */
        }
        if (r == 1) {
            make_plain(f);
            return len == sizeof *f && f->magic == FI_WIRE_MAGIC ? 1 : -EPROTO;
        }
        if (r != -EAGAIN) {
            return r == 0 ? -EPIPE : r;
        }
        if (!wait_for_more(fd, patience)) {
            return -ETIMEDOUT;
        }
    }
}

int fi_ask_on(int fd, const fi_frame_t *question, int64_t patience, bool (*each)(const fi_frame_t *f, void *arg),
              void *arg) {
    fi_patience_t p = {.left = patience};
    fi_frame_t f;
    bool more = fi_socket_send(fd, question, sizeof *question, NULL, 0) == 0;
    int r = more;

    while (more && (r = next_frame(fd, &p, &f)) == 1) {
        more = each(&f, arg);
    }
    return r > 0 ? r : 0;
}

void fi_ask_who(int dirfd, uint64_t node, pid_t *pid, uid_t *uid) {
    char name[FI_NODE_NAME_MAX];
    struct stat st;

    fi_space_node_name(node, name);
    *pid = fi_socket_listener(name);
    *uid = fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_uid : 0;
}

int fi_ask(int dirfd, uint64_t node, const fi_frame_t *question, int64_t patience, pid_t *pid, uid_t *uid,
           bool (*each)(const fi_frame_t *f, void *arg), void *arg) {
    char name[FI_NODE_NAME_MAX];
    gid_t gid;
    int fd;

    fi_space_node_name(node, name);
    int r = fi_socket_connect(dirfd, name, &fd);
    if (r == -EAGAIN) {
        fi_ask_who(dirfd, node, pid, uid);
        return 0;
    }
    if (r < 0) {
        return r;
    }
    if (fi_socket_peer(fd, pid, uid, &gid) < 0) {
        *pid = 0;
        *uid = 0;
    }
    r = fi_ask_on(fd, question, patience, each, arg);
    close(fd);
    return r;
}
