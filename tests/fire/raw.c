/* SPDX-License-Identifier: MIT
 *
 * raw.c - see raw.h: connections, frames, memory.
 */
#include "raw.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- connections ---- */

bool raw_connect(raw_t *raw, uint64_t node) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    char path[512], name[20];
    int ends[2];
    *raw = (raw_t){.fd = -1, .pidfd = -1, .bell_rd = -1, .bell_wr = -1};
    snprintf(path, sizeof path, "%s/test", getenv("FERRY_DIR"));
    int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    check(dir >= 0);
    name_of_node(node, name);
    snprintf(to.sun_path, sizeof to.sun_path, "/proc/self/fd/%d/n-%s", dir, name);
    raw->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    check(raw->fd >= 0);
    int failed = connect(raw->fd, (struct sockaddr *)&to, sizeof to);
    close(dir);
    if (failed) {
        close(raw->fd);
        raw->fd = -1;
        return false;
    }
    check(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    raw->bell_rd = ends[0];
    raw->bell_wr = ends[1];
    raw->pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    check(raw->pidfd >= 0);
    raw->id = 0xbad0000000000000u | (uint64_t)clock_ns();
    return true;
}

void raw_hello(raw_t *raw, uint64_t id, int pidfd, int bell) {
    fi_frame_t f = raw_frame(FI_HELLO, 0, 0);
    f.a = id;
    f.b = (uint64_t)getpid();
    f.flags = FI_HELLO_ASYMMETRIC;
    strcpy(f.text, "raw");
    raw_send(raw, &f, (int[]){pidfd, bell}, 2);
}

bool raw_try_to_meet(raw_t *raw, uint64_t node) {
    raw_mail_t mail;
    check(raw_connect(raw, node));
    raw_hello(raw, raw->id, raw->pidfd, raw->bell_wr);
    int r = raw_receive(raw, &mail, PATIENCE);
    if (r == 0) {
        raw_vanish(raw);
        return false;
    }
    check(r == 1 && mail.frame.type == FI_HELLO && mail.frame.a == node);
    raw_drop(&mail);
    return true;
}

/* Who has not said in two seconds who it is, is shut out; where this thread stands still, that is too short. */
void raw_meet(raw_t *raw, uint64_t node) {
    int64_t end = clock_ns() + PATIENCE;
    while (!raw_try_to_meet(raw, node))
        check(clock_ns() < end);
}

void raw_close(raw_t *raw) {
    for (unsigned i = 0; i < raw->ctl_count; i++)
        __atomic_store_n(&raw->ctls[i]->left, FI_CTL_HOLDS_NOTHING, __ATOMIC_RELEASE);
    raw_vanish(raw);
}

void raw_vanish(raw_t *raw) {
    raw->ctl_count = 0;
    int *fds[] = {&raw->fd, &raw->pidfd, &raw->bell_rd, &raw->bell_wr};
    for (unsigned i = 0; i < 4; i++) {
        if (*fds[i] >= 0)
            close(*fds[i]);
        *fds[i] = -1;
    }
}

/* ---- frames ---- */

fi_frame_t raw_frame(unsigned type, uint64_t tx, uint64_t rx) {
    return (fi_frame_t){.magic = FI_WIRE_MAGIC, .type = (uint16_t)type, .tx = tx, .rx = rx};
}

bool raw_send_now(raw_t *raw, const void *data, size_t size, const int *fds, unsigned count) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(64 * sizeof(int))];
    } control;
    union {
        const void *from;
        void *to;
    } drop_const = {data};
    struct iovec part = {drop_const.to, size};
    struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};
    check(count <= 64);
    if (count > 0) {
        memset(&control, 0, sizeof control);
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(c), fds, count * sizeof(int));
    }
    return sendmsg(raw->fd, &msg, MSG_NOSIGNAL) >= 0;
}

bool raw_send_bytes(raw_t *raw, const void *data, size_t size, const int *fds, unsigned count) {
    int64_t end = clock_ns() + PATIENCE;
    while (!raw_send_now(raw, data, size, fds, count)) {
        if (errno != EAGAIN && errno != ETOOMANYREFS && errno != ENOBUFS)
            return false;
        check(clock_ns() < end);
        struct pollfd item = {.fd = raw->fd, .events = POLLOUT};
        poll(&item, 1, 5);
    }
    return true;
}

bool raw_send(raw_t *raw, const fi_frame_t *frame, const int *fds, unsigned count) {
    return raw_send_bytes(raw, frame, sizeof *frame, fds, count);
}

void raw_drop(raw_mail_t *mail) {
    while (mail->count > 0)
        close(mail->fds[--mail->count]);
}

static void take_descriptors(struct msghdr *msg, raw_mail_t *mail) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            mail->count = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
            memcpy(mail->fds, CMSG_DATA(c), mail->count * sizeof(int));
        }
}

int raw_receive(raw_t *raw, raw_mail_t *mail, int64_t timeout) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(RAW_FDS * sizeof(int))];
    } control;
    struct iovec part = {&mail->frame, sizeof mail->frame};
    struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes};
    int64_t end = clock_ns() + timeout;
    mail->count = 0;
    for (;;) {
        msg.msg_controllen = sizeof control;
        ssize_t n = recvmsg(raw->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n > 0) {
            take_descriptors(&msg, mail);
            return 1;
        }
        if (n == 0 || (errno != EAGAIN && errno != EINTR))
            return 0;
        int64_t left = end - clock_ns();
        if (left <= 0)
            return -1;
        struct pollfd item = {.fd = raw->fd, .events = POLLIN};
        poll(&item, 1, (int)(left / MILLISECOND) + 1);
    }
}

void raw_await(raw_t *raw, unsigned type, raw_mail_t *mail) {
    for (;;) {
        int r = raw_receive(raw, mail, PATIENCE);
        if (r != 1)
            fprintf(stderr, "# no frame %u came, but %s\n", type, r == 0 ? "the end" : "nothing");
        check(r == 1);
        if (mail->frame.type == type)
            return;
        raw_drop(mail);
    }
}

bool raw_hung_up(raw_t *raw, int64_t timeout) {
    raw_mail_t mail;
    int64_t end = clock_ns() + timeout;
    for (;;) {
        int64_t left = end - clock_ns();
        int r = raw_receive(raw, &mail, left > 0 ? left : 0);
        if (r <= 0)
            return r == 0;
        raw_drop(&mail);
    }
}

/* ---- memory ---- */

int raw_memory(size_t bytes, bool full, int seals, void **map) {
    int fd = memfd_create("ferry-raw", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    check(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0);
    void *at = bytes ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : NULL;
    check(at != MAP_FAILED);
    if (full && bytes)
        memset(at, 0, bytes);
    if (full)
        check(bytes == 0 || fallocate(fd, 0, 0, (off_t)bytes) == 0);
    check(seals == 0 || fcntl(fd, F_ADD_SEALS, seals) == 0);
    if (map)
        *map = at;
    else if (at)
        munmap(at, bytes);
    return fd;
}

int raw_ring(uint32_t lines, struct fi_ring_head **head) {
    void *map;
    int fd = raw_memory(fi_ring_bytes(lines), true, RAW_SEALS, &map);
    struct fi_ring_head *h = map;
    h->ident = (struct fi_ident){FI_RING_MAGIC, FI_LAYOUT_VERSION, FI_LAYOUT_FINGERPRINT, lines, 0, {0}};
    h->shared.oldest = h->shared.reserve = lines;
    *head = h;
    return fd;
}

int raw_page(const struct fi_page_place_copy *place, struct fi_receiver_page_copy **page) {
    void *map;
    int fd = raw_memory(RAW_PAGE_MEMORY, true, RAW_SEALS, &map);
    memcpy(map, place, sizeof *place);
    *page = (struct fi_receiver_page_copy *)((struct fi_page_place_copy *)map + 1);
    return fd;
}

void raw_page_drop(struct fi_receiver_page_copy *page) {
    check(munmap((struct fi_page_place_copy *)(void *)page - 1, RAW_PAGE_MEMORY) == 0);
}

int raw_good_page(struct fi_receiver_page_copy **page) {
    return raw_page(&(struct fi_page_place_copy){RAW_PAGE_MAGIC, sizeof(struct fi_page_place_copy), {0}}, page);
}

int raw_ctl(uint32_t lines, uint64_t start, struct fi_ctl_head **head) {
    void *map;
    int fd = raw_memory(fi_ctl_bytes(lines, false), true, RAW_SEALS, &map);
    struct fi_ctl_head *h = map;
    h->ident = (struct fi_ident){FI_CTL_MAGIC, FI_LAYOUT_VERSION, FI_LAYOUT_FINGERPRINT, lines, 0, {0}};
    h->cursor = h->taken = start;
    *head = h;
    return fd;
}
