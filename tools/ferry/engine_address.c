/* SPDX-License-Identifier: MIT
 *
 * engine_address.c - hosts and ports: as users write them, as the kernel gives them, and who has one already.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine.h"
#include "say.h"

enum { USUAL_PORT = 4222 };

/* --- as users write them ----------------------------------------------------------------------------------------- */

static bool parse_port(const char *text, unsigned *port) {
    char *end;

    if (strcmp(text, "-1") == 0) { /* as nats-server writes it */
        *port = 0;
        return true;
    }
    unsigned long n = strtoul(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || n > 65535)
        return false;
    *port = (unsigned)n;
    return true;
}

static bool is_v6(const char *host) {
    struct in6_addr address;
    char text[ENGINE_HOST];

    snprintf(text, sizeof text, "%.*s", (int)strcspn(host, "%"), host);
    return inet_pton(AF_INET6, text, &address) == 1;
}

/* What stands between quotes in a configuration, in a certificate and in a URL, and is harmless in each. */
static bool is_host(const char *host) {
    for (const char *c = host; *c != '\0'; c++) {
        if (!isalnum((unsigned char)*c) && strchr(".-_:%", *c) == NULL)
            return false;
    }
    return host[0] != '\0' && host[0] != '-' && (strpbrk(host, ":%") == NULL || is_v6(host));
}

bool engine_parse_address(const char *text, engine_address_t *address) {
    const char *host = text;
    const char *port = NULL;
    size_t len = strlen(text);

    *address = (engine_address_t){.host = "127.0.0.1", .port = USUAL_PORT};
    if (parse_port(text, &address->port))
        return true;
    if (strspn(text, "0123456789") == len)
        return false; /* a port that is too large, rather than a host */
    if (text[0] == '[') {
        const char *bracket = strchr(text, ']');
        if (bracket == NULL || (bracket[1] != '\0' && bracket[1] != ':'))
            return false;
        host = text + 1;
        len = (size_t)(bracket - host);
        port = bracket[1] == ':' ? bracket + 2 : NULL;
    } else {
        const char *colon = strchr(text, ':');
        bool several = colon != NULL && strchr(colon + 1, ':') != NULL; /* IPv6, without a port */
        len = colon != NULL && !several ? (size_t)(colon - text) : len;
        port = colon != NULL && !several ? colon + 1 : NULL;
    }
    if (len >= sizeof address->host || (port != NULL && !parse_port(port, &address->port)))
        return false;
    memcpy(address->host, host, len);
    address->host[len] = '\0';
    return is_host(address->host);
}

const char *engine_show_address(const engine_address_t *address, char *text) {
    bool v6 = strchr(address->host, ':') != NULL;

    snprintf(text, ENGINE_HOST + 16, "%s%s%s:%u", v6 ? "[" : "", address->host, v6 ? "]" : "", address->port);
    return text;
}

bool engine_is_loopback(const char *host) {
    return strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0;
}

bool engine_is_wildcard(const char *host) {
    return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

/* --- as the kernel gives them ------------------------------------------------------------------------------------ */

static unsigned port_of(int fd) {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } a;
    socklen_t len = sizeof a;

    if (getsockname(fd, &a.any, &len) < 0)
        return 0;
    return ntohs(a.any.sa_family == AF_INET6 ? a.v6.sin6_port : a.v4.sin_port);
}

unsigned engine_route_port(unsigned port) {
    enum { ABOVE = 2000 }; /* as is the custom: 4222 for clients, 6222 for servers */

    return port + ABOVE <= 65535 ? port + ABOVE : port - ABOVE;
}

/* Binds a socket to the port, 0: to any. Returns it, or a negative errno. */
static int bind_to(const char *host, unsigned port) {
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    char text[16];

    snprintf(text, sizeof text, "%u", port);
    if (getaddrinfo(host, text, &hints, &found) != 0)
        return -EADDRNOTAVAIL;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int error = fd >= 0 && bind(fd, found->ai_addr, found->ai_addrlen) == 0 ? 0 : errno;
    freeaddrinfo(found);
    if (error == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -error;
}

/* While the sockets of all nodes are open, no two get the same port. */
int engine_free_ports(engine_address_t *addresses, unsigned n) {
    enum { TRIES = 200 };
    int fds[2 * ENGINE_NODES];
    unsigned held = 0;
    unsigned done = 0;
    int error = 0;

    for (unsigned i = 0; i < TRIES && done < n && error == 0; i++) {
        engine_address_t *a = &addresses[done];
        int own = a->port == 0 ? bind_to(a->host, 0) : -1;
        int routes = own >= 0 ? bind_to(a->host, engine_route_port(port_of(own))) : -1;
        if (a->port == 0 && own < 0)
            error = -own;
        if (own >= 0 && routes >= 0) {
            a->port = port_of(own);
            fds[held++] = own;
            fds[held++] = routes;
        } else if (own >= 0) {
            close(own);
        }
        done += a->port != 0;
    }
    while (held > 0)
        close(fds[--held]);
    if (done == n)
        return 0;
    say("no port of %s can be had: %s", addresses[done].host, strerror(error != 0 ? error : EADDRINUSE));
    return STATUS_FAILED;
}

/* --- who has one already ----------------------------------------------------------------------------------------- */

/* The inode of a socket that listens on the port, from one of the kernel's tables; 0: none. */
static uint64_t listener_in(const char *table, unsigned port) {
    enum { LISTENS = 0x0a };
    FILE *file = fopen(table, "re");
    char line[512];
    uint64_t found = 0;

    while (file != NULL && found == 0 && fgets(line, sizeof line, file) != NULL) {
        unsigned local;
        unsigned state;
        uint64_t inode;
        if (sscanf(line, " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*d %*d %" SCNu64, &local, &state,
                   &inode) == 3 &&
            local == port && state == LISTENS)
            found = inode;
    }
    if (file != NULL)
        fclose(file);
    return found;
}

static bool process_has(const char *pid, const char *socket_name) {
    char path[300];
    char target[64];
    bool has = false;

    snprintf(path, sizeof path, "/proc/%s/fd", pid);
    DIR *fds = opendir(path);
    if (fds == NULL)
        return false; /* another user's, or gone */
    for (struct dirent *d = readdir(fds); d != NULL && !has; d = readdir(fds)) {
        ssize_t n = readlinkat(dirfd(fds), d->d_name, target, sizeof target - 1);
        target[n > 0 ? n : 0] = '\0';
        has = strcmp(target, socket_name) == 0;
    }
    closedir(fds);
    return has;
}

static void describe(const char *pid, char *text, size_t cap) {
    char path[300];
    char name[64] = "?";

    snprintf(path, sizeof path, "/proc/%s/comm", pid);
    FILE *file = fopen(path, "re");
    if (file != NULL && fgets(name, sizeof name, file) != NULL)
        name[strcspn(name, "\n")] = '\0';
    if (file != NULL)
        fclose(file);
    make_plain(name);
    snprintf(text, cap, "process %s (%s)", pid, name);
}

void engine_who_listens(unsigned port, char *text, size_t cap) {
    uint64_t inode = listener_in("/proc/net/tcp", port);
    char socket_name[48];
    DIR *processes;

    text[0] = '\0';
    if (inode == 0)
        inode = listener_in("/proc/net/tcp6", port);
    if (inode == 0 || (processes = opendir("/proc")) == NULL)
        return;
    snprintf(socket_name, sizeof socket_name, "socket:[%" PRIu64 "]", inode);
    for (struct dirent *d = readdir(processes); d != NULL && text[0] == '\0'; d = readdir(processes)) {
        if (isdigit((unsigned char)d->d_name[0]) && process_has(d->d_name, socket_name))
            describe(d->d_name, text, cap);
    }
    closedir(processes);
}
