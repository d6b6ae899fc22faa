/* SPDX-License-Identifier: MIT
 *
 * doctor_net.c - what a space that spans machines needs of its server. The first check talks to the server as any
 * client would, without the library, and without credentials: it begins by saying what it is.
 */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "doctor.h"
#include "units.h"

static const int64_t patience = INT64_C(2000000000);
static const uint64_t usual_payload = 1024 * 1024;
enum { INFO_MAX = 32 * 1024, HOST_MAX_LEN = 256, SERVERS = 16 };

typedef struct greeting {
    char info[INFO_MAX]; /* JSON */
    int64_t ns;          /* that it took to connect and be greeted */
} greeting_t;

/* --- reaching it ------------------------------------------------------------------------------------------------- */

/* "host:port" of server `i` of the space's URL, a port where none is named. False: there are not so many. */
static bool server_of(const char *space, size_t i, char *host, char *port) {
    const char *at = strstr(space, "://") + 3;
    size_t len;

    for (; i > 0; i--) {
        at += strcspn(at, ",/");
        if (*at++ != ',')
            return false;
    }
    len = strcspn(at, ",/");
    const char *colon = memrchr(at, ':', len);
    const char *bracket = memchr(at, ']', len);
    if (colon != NULL && bracket != NULL && colon < bracket)
        colon = NULL; /* of an address in brackets */
    size_t host_len = colon != NULL ? (size_t)(colon - at) : len;
    snprintf(port, 16, "%.*s", colon != NULL ? (int)(len - host_len - 1) : 4, colon != NULL ? colon + 1 : "4222");
    if (at[0] == '[' && host_len >= 2) {
        at++;
        host_len -= 2;
    }
    snprintf(host, HOST_MAX_LEN, "%.*s", (int)host_len, at);
    return len > 0;
}

static bool await(int fd, short events, int64_t end) {
    struct pollfd item = {.fd = fd, .events = events};
    int64_t left = end - now_ns();

    return left > 0 && poll(&item, 1, poll_timeout(left)) == 1;
}

/* Reads the line "INFO {...}". */
static bool read_greeting(int fd, int64_t end, greeting_t *g) {
    size_t len = 0;

    while (len + 1 < sizeof g->info && await(fd, POLLIN, end)) {
        ssize_t n = recv(fd, g->info + len, sizeof g->info - 1 - len, 0);
        if (n <= 0)
            return false;
        len += (size_t)n;
        g->info[len] = '\0';
        if (strchr(g->info, '\n') != NULL)
            return strncmp(g->info, "INFO {", 6) == 0;
    }
    return false;
}

static bool connect_to(const struct addrinfo *to, int64_t end, greeting_t *g) {
    int64_t begin = now_ns();
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error = 0;
    socklen_t len = sizeof error;

    if (fd < 0)
        return false;
    bool there = connect(fd, to->ai_addr, to->ai_addrlen) == 0 || errno == EINPROGRESS;
    there = there && await(fd, POLLOUT, end) && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0 &&
            read_greeting(fd, end, g);
    g->ns = now_ns() - begin;
    close(fd);
    return there;
}

static bool greet(const char *host, const char *port, greeting_t *g) {
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    bool there = false;

    if (getaddrinfo(host, port, &hints, &found) != 0)
        return false;
    for (const struct addrinfo *a = found; a != NULL && !there; a = a->ai_next)
        there = connect_to(a, now_ns() + patience, g);
    freeaddrinfo(found);
    return there;
}

/* What follows `"key":`, or NULL. */
static const char *value_of(const greeting_t *g, const char *key) {
    char quoted[40];

    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *at = strstr(g->info, quoted);
    return at != NULL ? at + strlen(quoted) : NULL;
}

static bool says(const greeting_t *g, const char *key) {
    const char *value = value_of(g, key);
    return value != NULL && strncmp(value, "true", 4) == 0;
}

/* --- the server -------------------------------------------------------------------------------------------------- */

/* What the checks after the first one build upon. */
static struct {
    bool reached;
    greeting_t greeting;
    ferry_t *node;
} net;

static void judge_version(finding_t *f) {
    const char *version = value_of(&net.greeting, "version");
    unsigned major = 0;
    unsigned minor = 0;

    if (version == NULL || sscanf(version, "\"%u.%u", &major, &minor) != 2) {
        f->verdict = VERDICT_WARN;
        advise(f, "it does not say which version it is: is it a nats-server?");
    } else if (major < 2 || (major == 2 && minor < 9)) {
        f->verdict = VERDICT_FAIL;
        advise(f, "Ferry needs nats-server 2.9 or newer: install one");
    }
}

void check_server(const common_t *common, finding_t *f) {
    const char *space = common_space(common);
    char host[HOST_MAX_LEN], port[16], took[UNITS_TEXT];
    char missing[200] = "";
    greeting_t g;
    size_t count = 0;
    size_t there = 0;

    net.reached = false;
    for (; count < SERVERS && server_of(space, count, host, port); count++) {
        if (greet(host, port, &g)) {
            if (there++ == 0)
                net.greeting = g;
        } else {
            size_t used = strlen(missing);
            snprintf(missing + used, sizeof missing - used, "%s%.80s:%s", used > 0 ? ", " : "", host, port);
        }
    }
    net.reached = there > 0;
    if (!net.reached) {
        find(f, VERDICT_FAIL, "no NATS server answers at %s", missing);
        advise(f, "start one there (ferry engine), or check the address, and that no firewall is between");
        return;
    }
    const char *version = value_of(&net.greeting, "version");
    int len = version != NULL && version[0] == '"' ? (int)strcspn(version + 1, "\"") : 0;
    find(f, there < count ? VERDICT_WARN : VERDICT_OK, "nats-server %.*s answers in %s%s%s", len < 20 ? len : 20,
         version != NULL ? version + 1 : "", show_duration((double)net.greeting.ns, took),
         there < count ? ", but none at " : "", missing);
    if (there < count)
        advise(f, "the space goes on with the others; start those that are missing");
    judge_version(f);
}

void check_encryption(const common_t *common, finding_t *f) {
    const char *space = common_space(common);
    bool tls = strncmp(space, "nats+tls://", 11) == 0;

    if (!net.reached) {
        find(f, VERDICT_FAIL, "not looked at, since no server answers");
    } else if (tls && !says(&net.greeting, "tls_required") && !says(&net.greeting, "tls_available")) {
        find(f, VERDICT_FAIL, "the server does not offer TLS, but the space is named nats+tls://");
        advise(f, "give the server certificates (ferry engine --tls makes some), or write nats://");
    } else if (!tls && says(&net.greeting, "tls_required")) {
        find(f, VERDICT_FAIL, "the server insists on TLS");
        advise(f, "write nats+tls:// instead of nats://");
    } else {
        find(f, VERDICT_OK, tls ? "TLS" : "none, as the URL says");
    }
}

void check_login(const common_t *common, finding_t *f) {
    ferry_options_t options = common_options(common, "ferry-doctor");
    char took[UNITS_TEXT];
    int64_t begin = now_ns();
    int result = net.reached ? ferry_open(common_space(common), &options, &net.node) : -ENOTCONN;

    if (!net.reached) {
        find(f, VERDICT_FAIL, "not tried, since no server answers");
        return;
    }
    if (result < 0) {
        find(f, VERDICT_FAIL, "%.300s", ferry_last_error());
        advise(f, result == -EACCES ? "ask who runs the server for a user, and set FERRY_USER and FERRY_PASSWORD, or "
                                      "FERRY_CREDENTIALS"
                  : result == -EKEYREJECTED ? "set FERRY_TLS_CA to the file of those who sign the server's certificate"
                                            : "mend what this sentence says");
        return;
    }
    const char *warning = ferry_warning(net.node);
    bool others = strstr(warning, "another version of Ferry") != NULL;
    find(f, warning[0] != '\0' ? VERDICT_WARN : VERDICT_OK, "the space was joined in %s%s",
         show_duration((double)(now_ns() - begin), took),
         others               ? ", where another version of Ferry is, too"
         : warning[0] != '\0' ? ", by a connection to another machine that is not encrypted"
                              : "");
    if (others)
        advise(f, "%.300s", warning);
    else if (warning[0] != '\0')
        advise(f, "others on the way can read and change what it carries: write nats+tls:// (ferry engine --tls)");
}

/* False, with a finding: the space could not be joined. */
static bool is_joined(finding_t *f) {
    if (net.node == NULL)
        find(f, VERDICT_FAIL, "not tried, since the space cannot be joined");
    return net.node != NULL;
}

void check_connection(const common_t *common, finding_t *f) {
    ferry_options_t options = common_options(common, "ferry-doctor");
    const ferry_look_engine_t *e = NULL;
    ferry_look_t *look = NULL;
    char took[UNITS_TEXT], most[UNITS_TEXT];

    if (!is_joined(f))
        return;
    if (ferry_look(common_space(common), &options, &look) < 0 || (e = ferry_look_engine(look, 0)) == NULL) {
        find(f, VERDICT_WARN, "%.300s", ferry_last_error());
        ferry_look_close(look);
        return;
    }
    size_t nodes = ferry_look_nodes(look); /* with this one */
    find(f, VERDICT_OK, "%s to the server and back, messages of up to %s, %zu other node%s",
         show_duration((double)e->round_trip_ns, took), show_bytes((double)e->max_payload, most),
         nodes > 0 ? nodes - 1 : 0, nodes == 2 ? "" : "s");
    if (e->max_payload < usual_payload) {
        f->verdict = VERDICT_WARN;
        advise(f, "larger messages go in pieces, which costs time: set the server's max_payload to 1 MiB or more");
    }
    ferry_look_close(look);
}

/* --- permissions ------------------------------------------------------------------------------------------------- */

void check_channels(const common_t *common, finding_t *f) {
    ferry_sender_t *tx = NULL;
    ferry_receiver_t *rx = NULL;

    (void)common;
    if (!is_joined(f))
        return;
    int result = ferry_receiver_open(net.node, "doctor", FERRY_TOPIC, NULL, &rx);
    if (result >= 0)
        result = ferry_sender_open(net.node, "doctor", FERRY_TOPIC, NULL, &tx);
    if (result < 0) {
        find(f, VERDICT_FAIL, "%.300s", ferry_last_error());
        advise(f, "let this user publish and subscribe to ferry.>, or to ferry.SPACE.> of this space");
    } else {
        find(f, VERDICT_OK, "queues and topics may be opened");
    }
    ferry_sender_close(tx, FERRY_NOW, NULL);
    ferry_receiver_close(rx);
}

void check_calls(const common_t *common, finding_t *f) {
    ferry_client_t *client = NULL;
    ferry_msg_t *reply = NULL;

    (void)common;
    if (!is_joined(f))
        return;
    int result = ferry_client_open(net.node, "doctor-asks-nobody", NULL, &client);
    if (result >= 0)
        result = ferry_call(client, "anything", NULL, 0, patience, &reply);
    if (result == -ENOENT || result == 0) { /* nobody serves that: so it was asked */
        find(f, VERDICT_OK, "services may be called");
    } else {
        find(f, VERDICT_FAIL, "%.300s", ferry_last_error());
        advise(f, "let this user publish to ferry.SPACE.svc.> and subscribe to _INBOX.>");
    }
    ferry_msg_release(reply);
    ferry_client_close(client, FERRY_NOW, NULL);
}

void check_storage(const common_t *common, finding_t *f) {
    ferry_mutex_t *mutex = NULL;
    char name[40];
    char sentence[301];

    (void)common;
    if (!is_joined(f))
        return;
    snprintf(name, sizeof name, "doctor-%d", (int)getpid());
    int result = ferry_mutex_open(net.node, name, NULL, &mutex);
    if (result >= 0)
        result = ferry_mutex_lock(mutex, patience);
    snprintf(sentence, sizeof sentence, "%.300s", ferry_last_error());
    if (result >= 0) {
        ferry_mutex_unlock(mutex);
        find(f, VERDICT_OK, "a lock was taken: JetStream is on, and may be used");
    } else {
        find(f, VERDICT_FAIL, "%s", sentence);
        advise(f, result == -ENOTSUP  ? "locks and cells need JetStream: start the server with -js (ferry engine does)"
                  : result == -EACCES ? "let this user publish to $JS.API.> and ferry.>, and subscribe to _INBOX.>"
                                      : "look into the server's log");
    }
    ferry_mutex_close(mutex);
}

void doctor_net_done(void) {
    ferry_close(net.node);
    net.node = NULL;
}
