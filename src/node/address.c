/* SPDX-License-Identifier: MIT */
#include "node/address.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "node/space.h"

#define DEFAULT_PORT 4222ul
#define HOST_MAX 255u

static bool is_host_byte(char c) {
    return isalnum((unsigned char)c) || strchr(".-_:[]%", c) != NULL;
}

/* Hosts as users write their own machine. */
static bool is_loopback(const char *host) {
    return strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 || strcmp(host, "[::1]") == 0;
}

/* "host", "host:port" or "[v6]:port" of `len` bytes. */
static int take_server(fi_address_t *a, const char *text, size_t len) {
    char host[HOST_MAX + 1];
    unsigned long port = DEFAULT_PORT;

    if (len == 0 || len > HOST_MAX) {
        return fi_fail(-EINVAL, "a networked space has no host here; write nats://HOST[:PORT]/SPACE");
    }
    memcpy(host, text, len);
    host[len] = '\0';
    for (size_t i = 0; i < len; i++) {
        if (!is_host_byte(host[i])) {
            return fi_fail(-EINVAL, "\"%s\" is not a host; write nats://HOST[:PORT]/SPACE", host);
        }
    }
    char *bracket = strrchr(host, ']');
    char *colon = strrchr(bracket ? bracket : host, ':');
    if (colon) {
        char *end;
        port = strtoul(colon + 1, &end, 10);
        if (!isdigit((unsigned char)colon[1]) || *end || port == 0 || port > 65535) {
            return fi_fail(-EINVAL, "the port \"%s\" is not a number from 1 to 65535", colon + 1);
        }
        *colon = '\0';
    }
    if (!host[0] || (strchr(host, ':') && host[0] != '[')) {
        return fi_fail(-EINVAL, "\"%s\" is not a host; write an IPv6 address in brackets: [::1]", host);
    }
    if (a->server_count == FI_ADDRESS_SERVERS) {
        return fi_fail(-EINVAL, "more than %u servers are named; a few of a cluster are enough", FI_ADDRESS_SERVERS);
    }
    a->local &= is_loopback(host);
    snprintf(a->servers[a->server_count++], sizeof a->servers[0], "nats://%s:%lu", host, port);
    return 0;
}

static int take_servers(fi_address_t *a, const char *text, const char *end) {
    while (true) {
        const char *comma = memchr(text, ',', (size_t)(end - text));
        int r = take_server(a, text, (size_t)((comma ? comma : end) - text));
        if (r < 0 || !comma) {
            return r;
        }
        text = comma + 1;
    }
}

static void name_directory(fi_address_t *a) {
    const char *first = a->servers[0];

    for (unsigned i = 1; i < a->server_count; i++) {
        first = strcmp(a->servers[i], first) < 0 ? a->servers[i] : first;
    }
    snprintf(a->directory, sizeof a->directory, "%s@%.*s", a->space, (int)(FI_DIRECTORY_MAX - sizeof a->space - 1),
             first + strlen("nats://"));
}

static int take_networked(fi_address_t *a, const char *rest) {
    const char *slash = strchr(rest, '/');

    if (memchr(rest, '@', slash ? (size_t)(slash - rest) : strlen(rest))) {
        return fi_fail(-EINVAL, "a space's name must not hold a password, which others could see: set FERRY_USER and "
                                "FERRY_PASSWORD, or FERRY_CREDENTIALS, or the options of ferry_open");
    }
    if (!slash || !slash[1]) {
        return fi_fail(-EINVAL, "\"nats://%.*s\" names no space; write nats://HOST[:PORT]/SPACE", (int)HOST_MAX, rest);
    }
    int r = fi_space_check_name(slash + 1);
    if (r == 0) {
        snprintf(a->space, sizeof a->space, "%s", slash + 1);
        r = take_servers(a, rest, slash);
    }
    if (r == 0) {
        name_directory(a);
    }
    return r;
}

int fi_address_parse(const char *name, fi_address_t *a) {
    static const char plain[] = "nats://";
    static const char tls[] = "nats+tls://";

    *a = (fi_address_t){.local = true};
    if (name && strncmp(name, tls, sizeof tls - 1) == 0) {
        a->networked = a->tls = true;
        return take_networked(a, name + sizeof tls - 1);
    }
    if (name && strncmp(name, plain, sizeof plain - 1) == 0) {
        a->networked = true;
        return take_networked(a, name + sizeof plain - 1);
    }
    int r = fi_space_check_name(name);
    if (r == 0) {
        snprintf(a->space, sizeof a->space, "%s", name);
        snprintf(a->directory, sizeof a->directory, "%s", name);
    }
    return r;
}
