/* SPDX-License-Identifier: MIT */
#include "platform/tcp.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define ESTABLISHED 1 /* as netinet/tcp.h has it, which cannot be included beside linux/tcp.h */

static bool option(int fd, int level, int name) {
    int value = 0;
    socklen_t len = sizeof value;

    return getsockopt(fd, level, name, &value, &len) == 0 && value != 0;
}

static bool forgets(int fd) {
    struct linger l = {0};
    socklen_t len = sizeof l;

    return getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &len) == 0 && l.l_onoff && l.l_linger == 0;
}

static bool is_tcp(int fd) {
    int protocol = 0;
    socklen_t len = sizeof protocol;

    return getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) == 0 && protocol == IPPROTO_TCP;
}

/* 0: it is not known. */
static uint16_t peer_port(int fd) {
    union {
        struct sockaddr any;
        struct sockaddr_in ip;
        struct sockaddr_in6 ip6;
    } peer = {.any.sa_family = AF_UNSPEC};
    socklen_t len = sizeof peer;

    if (getpeername(fd, &peer.any, &len) < 0) {
        return 0;
    }
    return ntohs(peer.any.sa_family == AF_INET6 ? peer.ip6.sin6_port : peer.ip.sin_port);
}

bool fi_tcp_look(int fd, fi_tcp_t *t) {
    struct tcp_info info = {0};
    socklen_t len = sizeof info;

    if (!is_tcp(fd) || getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 || info.tcpi_state != ESTABLISHED ||
        len < offsetof(struct tcp_info, tcpi_bytes_sent) + sizeof info.tcpi_bytes_sent) {
        return false;
    }
    int flags = fcntl(fd, F_GETFL);
    int kept = fcntl(fd, F_GETFD);
    *t = (fi_tcp_t){.blocks = flags >= 0 && !(flags & O_NONBLOCK),
                    .execs = kept >= 0 && !(kept & FD_CLOEXEC),
                    .prompt = option(fd, IPPROTO_TCP, TCP_NODELAY),
                    .reuses = option(fd, SOL_SOCKET, SO_REUSEADDR),
                    .resets = forgets(fd),
                    .port = peer_port(fd),
                    .sent = (int64_t)info.tcpi_bytes_sent,
                    .rest = info.tcpi_last_data_sent * 1000000ll};
    return true;
}

void fi_descriptors_each(void (*each)(int fd, void *arg), void *arg) {
    DIR *all = opendir("/proc/self/fd");
    struct dirent *one;

    while (all && (one = readdir(all))) {
        if (one->d_name[0] != '.') {
            each(atoi(one->d_name), arg);
        }
    }
    if (all) {
        closedir(all);
    }
}

/* Looked at twice: what is no socket must not be duplicated, since closing the copy would take a file's locks away. */
bool fi_tcp_hang_up(int fd, bool (*is)(const fi_tcp_t *t, void *arg), void *arg) {
    fi_tcp_t t;

    if (!fi_tcp_look(fd, &t) || !is(&t, arg)) {
        return false;
    }
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    bool ends = own >= 0 && fi_tcp_look(own, &t);
    if (ends) {
        t.execs = true; /* the copy's flag is its own */
        ends = is(&t, arg) && shutdown(own, SHUT_RDWR) == 0;
    }
    if (own >= 0) {
        close(own);
    }
    return ends;
}
