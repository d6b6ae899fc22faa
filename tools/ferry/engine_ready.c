/* SPDX-License-Identifier: MIT
 *
 * engine_ready.c - whether the server serves. Where it listens it tells in a file of its own; there it must greet us
 * (INFO), and answer if we may speak (PING). Then its monitor must say that JetStream is ready, which in a cluster it
 * is when the servers have agreed on a leader. A configuration from elsewhere may have no monitor; then the log tells.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "engine.h"
#include "say.h"
#include "stop.h"
#include "units.h"

enum { ANSWER = 32768 };

static const int64_t told_after_ns = INT64_C(3) * 1000 * 1000 * 1000;

/* What is known of the server so far. */
typedef struct probe {
    engine_info_t info;
    engine_address_t monitor;     /* port 0: it has none */
    char base[ENGINE_SECRET + 2]; /* of the monitor's paths */
    bool listens, greeted;
} probe_t;

/* --- where it listens -------------------------------------------------------------------------------------------- */

/* "KEY":["nats://127.0.0.1:4222", ...]: the address that is best from here, or false. */
static bool find_address(const char *text, const char *key, engine_address_t *address) {
    static const char scheme[] = "://";
    const char *at = strstr(text, key);
    const char *end = at != NULL ? strstr(at, "\"]") : NULL;
    char word[ENGINE_HOST + 16];
    bool found = false;

    while (end != NULL && (at = strstr(at, scheme)) != NULL && at < end) {
        engine_address_t one;
        at += sizeof scheme - 1;
        snprintf(word, sizeof word, "%.*s", (int)strcspn(at, "\""), at);
        if (!engine_parse_address(word, &one) || one.port == 0)
            continue;
        if (!found || (engine_is_loopback(one.host) && !engine_is_loopback(address->host)))
            *address = one;
        found = true;
    }
    return found;
}

static bool find_addresses(const engine_t *e, probe_t *p) {
    char name[64];
    char text[8192];

    snprintf(name, sizeof name, "nats-server_%d.ports", (int)e->pid);
    FILE *file = fopen(name, "re");
    size_t n = file != NULL ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file != NULL)
        fclose(file);
    text[n] = '\0';
    if (!find_address(text, "\"nats\":[", &p->info.address) || strchr(text, '}') == NULL)
        return false;
    /* The name that was given, not what it stands for: a certificate is for the name. */
    if (e->config == NULL && !engine_is_wildcard(e->listens[0].host))
        snprintf(p->info.address.host, sizeof p->info.address.host, "%s", e->listens[0].host);
    (void)find_address(text, "\"monitoring\":[", &p->monitor);
    return true;
}

/* As engine_config.c has written it; in others' configurations it seldom stands. */
static void find_base(const engine_t *e, probe_t *p) {
    FILE *file = fopen(e->file, "re");
    char line[512];

    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, ENGINE_MONITOR "\"%65[/A-Za-z0-9_-]", p->base) == 1)
            break;
    }
    if (file != NULL)
        fclose(file);
}

/* --- a conversation ---------------------------------------------------------------------------------------------- */

static int connect_to(const engine_address_t *address) {
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    const struct timeval patience = {.tv_usec = 500 * 1000};
    struct addrinfo *found = NULL;
    char port[16];

    snprintf(port, sizeof port, "%u", address->port);
    if (getaddrinfo(address->host, port, &hints, &found) != 0)
        return -1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    }
    if (fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) < 0) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

/* Reads until `is_enough`. False: it did not come to that within half a second of silence. */
static bool hear(int fd, char *text, bool (*is_enough)(const char *text)) {
    size_t len = 0;

    text[0] = '\0';
    while (!is_enough(text)) {
        ssize_t n = recv(fd, text + len, ANSWER - 1 - len, 0);
        if (n <= 0)
            return false;
        len += (size_t)n;
        text[len] = '\0';
    }
    return true;
}

static bool is_line(const char *text) {
    return strchr(text, '\n') != NULL;
}

static bool is_answered(const char *text) {
    return strstr(text, "PONG") != NULL || strstr(text, "-ERR") != NULL;
}

static bool is_set(const char *info, const char *key) {
    char text[64];

    snprintf(text, sizeof text, "\"%s\":true", key);
    return strstr(info, text) != NULL;
}

static void take_info(const char *text, engine_info_t *info) {
    const char *version = strstr(text, "\"version\":\"");
    const char *most = strstr(text, "\"max_payload\":");
    unsigned long long payload = 0;

    if (version == NULL || sscanf(version, "\"version\":\"%31[0-9A-Za-z.+-]", info->version) != 1)
        snprintf(info->version, sizeof info->version, "?");
    if (most != NULL)
        (void)sscanf(most, "\"max_payload\":%llu", &payload);
    info->max_payload = payload;
    info->tls = is_set(text, "tls_required");
    info->auth = is_set(text, "auth_required");
    info->clustered = strstr(text, "\"cluster\":") != NULL;
}

/* Whether it answers a client. */
static bool answers(const engine_t *e, int fd, char *text) {
    char question[512];
    int n = snprintf(question, sizeof question,
                     "CONNECT {\"verbose\":false,\"pedantic\":false,\"name\":\"ferry engine\",\"lang\":\"c\","
                     "\"version\":\"%s\",\"protocol\":0,\"user\":\"%s\",\"pass\":\"%s\"}\r\nPING\r\n",
                     ferry_version(), e->user != NULL ? e->user : "", e->password);

    return send(fd, question, (size_t)n, MSG_NOSIGNAL) == n && hear(fd, text, is_answered) &&
           strstr(text, "PONG") != NULL;
}

/* Once: with TLS, which is not ours to speak, each time would leave a complaint in the log. */
static bool greets(const engine_t *e, probe_t *p, char *text) {
    int fd = connect_to(&p->info.address);
    bool good = fd >= 0 && hear(fd, text, is_line);

    if (good) {
        take_info(text, &p->info);
        bool may_speak = !p->info.tls && (!p->info.auth || e->password[0] != '\0');
        good = !may_speak || answers(e, fd, text);
    }
    if (fd >= 0)
        close(fd);
    return good;
}

static bool is_healthy(const probe_t *p, char *text) {
    char question[256];
    int n = snprintf(question, sizeof question, "GET %s/healthz?js-server-only=true HTTP/1.0\r\n\r\n", p->base);
    int fd = connect_to(&p->monitor);
    bool good = fd >= 0 && send(fd, question, (size_t)n, MSG_NOSIGNAL) == n && hear(fd, text, is_line) &&
                strncmp(text, "HTTP/1.0 200", 12) == 0;

    if (fd >= 0)
        close(fd);
    return good;
}

static bool serves(const engine_t *e, probe_t *p, char *text) {
    p->listens = p->listens || find_addresses(e, p);
    p->greeted = p->greeted || (p->listens && greets(e, p, text));
    if (!p->greeted)
        return false;
    return p->monitor.port != 0 ? is_healthy(p, text) : engine_log_line(e, "Server is ready", text, ANSWER);
}

/* --- the wait ---------------------------------------------------------------------------------------------------- */

/* Waits. 0, or an exit status. */
static int wait_for(engine_t *e, probe_t *p, char *text) {
    int64_t started = now_ns();
    int64_t nap = 2 * 1000 * 1000;
    bool told = e->common.quiet;

    while (!serves(e, p, text)) {
        int64_t passed = now_ns() - started;
        if (stop_signal() != 0)
            return STATUS_FAILED;
        if (engine_has_ended(e))
            return engine_ended(e);
        if (e->timeout >= 0 && passed >= e->timeout) {
            say("timed out: the server is not ready; what it said is in %s/engine.log", e->directory);
            return STATUS_TIMED_OUT;
        }
        if (!told && passed > told_after_ns) {
            say(p->info.clustered ? "the server waits for the others of its cluster; more than half of them must run"
                                  : "the server is still reading what it has stored");
            told = true;
        }
        nanosleep(&(struct timespec){.tv_nsec = (long)nap}, NULL);
        nap = nap < 50 * 1000 * 1000 ? nap * 2 : nap;
    }
    return 0;
}

int engine_wait_ready(engine_t *e) {
    probe_t p = {0};
    char *text = malloc(ANSWER);

    if (text == NULL) {
        say("no memory for the server's answers");
        return STATUS_FAILED;
    }
    find_base(e, &p);
    int status = wait_for(e, &p, text);
    free(text);
    if (status == 0)
        e->info = p.info;
    return status;
}
