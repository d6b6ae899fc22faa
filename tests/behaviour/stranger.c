/* SPDX-License-Identifier: MIT */
#include "stranger.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void stranger_say(int fd, const void *bytes, size_t len) {
    check(send(fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len);
}

void stranger_publish(int fd, const char *subject, const void *bytes, size_t len) {
    char text[1000];
    size_t head = (size_t)snprintf(text, sizeof text, "PUB %s %zu\r\n", subject, len);
    check(head + len + 2 <= sizeof text);
    memcpy(text + head, bytes, len);
    memcpy(text + head + len, "\r\n", 2);
    stranger_say(fd, text, head + len + 2);
}

void stranger_tell(int fd, uint64_t node, const void *bytes, size_t len) {
    char subject[100];
    snprintf(subject, sizeof subject, "ferry.test.n.%016llx", (unsigned long long)node);
    stranger_publish(fd, subject, bytes, len);
}

const char *stranger_hears(int fd, char text[STRANGER_TEXT]) {
    size_t len = 0;
    stranger_say(fd, "PING\r\n", 6);
    do {
        ssize_t got = recv(fd, text + len, STRANGER_TEXT - 1 - len, 0);
        check(got > 0);
        len += (size_t)got;
        text[len] = '\0';
    } while (!strstr(text, "PONG\r\n"));
    return text;
}

int stranger_new(const engine_t *engine, const char *more) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    int port;
    check(sscanf(engine_url(engine), "nats://127.0.0.1:%d", &port) == 1);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    const char hello[] = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n";
    stranger_say(fd, hello, sizeof hello - 1);
    stranger_say(fd, more, strlen(more));
    return fd;
}

/* ---- in the server's place ---- */

engine_t *stranger_engine(const char *const *asked) {
    char config[300];
    snprintf(config, sizeof config, "%s/.config", getenv("FERRY_DIR"));
    FILE *f = fopen(config, "we");
    check(f != NULL);
    fputs("mappings = {\n", f);
    for (; *asked; asked++)
        fprintf(f, "\"%s\": misled\n", *asked);
    fputs("}\n", f);
    check(fclose(f) == 0);
    const char *const arguments[] = {"-c", config, NULL};
    engine_t *engine = engine_start_with(arguments);
    check(unlink(config) == 0);
    return engine;
}

typedef struct misleading {
    const engine_t *engine;
    const char *const *answers;
    atomic_uint ready;
} misleading_t;

static void mislead(void *arg) {
    misleading_t *m = arg;
    char text[STRANGER_TEXT];
    int fd = stranger_new(m->engine, "SUB misled 1\r\n");
    (void)stranger_hears(fd, text);
    atomic_store(&m->ready, 1);
    for (; *m->answers; m->answers++) {
        char reply[200];
        while (sscanf(stranger_hears(fd, text), "MSG misled 1 %199s", reply) != 1)
            nap(MILLISECOND);
        stranger_publish(fd, reply, *m->answers, strlen(*m->answers));
    }
    close(fd);
}

pid_t stranger_answers(const engine_t *engine, const char *const *answers) {
    misleading_t *m = share(sizeof *m);
    m->engine = engine;
    m->answers = answers;
    pid_t pid = child_start(mislead, m);
    await(&m->ready, 1);
    return pid;
}
