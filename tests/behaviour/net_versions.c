/* SPDX-License-Identifier: MIT
 *
 * net_versions.c - two versions of Ferry in one space: each is told of the other, and neither disturbs the other.
 *
 * The other version is a stranger that speaks to the server itself: all that it shares with this one is where a frame,
 * or a card, says which version it is of.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stranger.h"

#define OTHER 250u
#define MESSAGES 200u

enum { HELLO = 1, BYE = 3, SEEK = 4, HAVE = 5, GONE = 7, OPEN = 8, DATA = 17 };

/* As every version begins. */
typedef struct frame {
    uint32_t magic;
    uint8_t version, type;
    uint16_t kind;
    uint64_t node;
    char rest[400];
} frame_t;

typedef struct card {
    uint64_t node;
    uint32_t version, pid;
    char name[104], host[64];
} card_t;

typedef struct stage {
    engine_t *engine;
    atomic_uint ready;
    atomic_uint silent; /* the stranger does not say who it is */
    atomic_uint go;     /* it speaks to the nodes */
    atomic_uint said;
    atomic_uint enough;
    uint64_t nodes[2];
} stage_t;

/* ---- the stranger ---- */

/* Answers who asks who is there, and the server's pings; both only as far as whole lines come. */
static void answer(stage_t *s, int fd, int patience_ms) {
    char bytes[4096], reply[200];
    const struct timeval time = {.tv_usec = patience_ms * 1000};
    check(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time) == 0);
    ssize_t n = recv(fd, bytes, sizeof bytes - 1, 0);
    if (n <= 0)
        return;
    bytes[n] = '\0';
    if (strstr(bytes, "PONG"))
        atomic_store(&s->ready, 1);
    if (strstr(bytes, "PING"))
        stranger_say(fd, "PONG\r\n", 6);
    for (const char *at = bytes; !atomic_load(&s->silent) && (at = strstr(at, "MSG ferry.test.who 1 ")) != NULL; at++) {
        const card_t card = {.node = 77, .version = OTHER, .pid = 4711, .name = "newer\nprogram", .host = "elsewhere"};
        if (sscanf(at, "MSG ferry.test.who 1 %199s", reply) == 1 && strchr(reply, '.'))
            stranger_publish(fd, reply, &card, sizeof card);
    }
}

/* As itself; then in the names of those who are there, whom nobody shall believe gone, or receiving, for it. */
static void disturb(const stage_t *s, int fd) {
    static const uint8_t types[] = {HELLO, SEEK, HAVE, OPEN, DATA, GONE, BYE};
    frame_t frame = {.magic = 0x52524546u, .version = OTHER, .kind = FERRY_QUEUE};
    memset(frame.rest, 'x', sizeof frame.rest);
    for (size_t i = 0; i < sizeof types; i++) {
        for (int k = 0; k < 3; k++) {
            frame.type = types[i];
            frame.node = k < 2 ? s->nodes[k] : 77;
            stranger_publish(fd, "ferry.test.all", &frame, sizeof frame);
            stranger_tell(fd, s->nodes[k % 2], &frame, sizeof frame);
        }
    }
}

static void be_a_stranger(void *arg) {
    stage_t *s = arg;
    int fd = stranger_new(s->engine, "SUB ferry.test.who 1\r\nPING\r\n");
    while (!atomic_load(&s->enough)) {
        answer(s, fd, 2);
        if (atomic_load(&s->go)) {
            disturb(s, fd);
            atomic_store(&s->said, 1);
        }
    }
    close(fd);
}

/* ---- tests ---- */

static stage_t *stage_new(pid_t *stranger) {
    engine_t *engine = engine_start();
    stage_t *s = share(sizeof *s);
    s->engine = engine;
    *stranger = child_start(be_a_stranger, s);
    return s;
}

static ferry_t *on(stage_t *s, const char *machine) {
    engine_machine(s->engine, machine);
    return open_node(engine_space(s->engine));
}

static void stage_end(stage_t *s, pid_t stranger) {
    atomic_store(&s->enough, 1);
    child_join(stranger);
    engine_stop(s->engine);
}

static void who_comes_is_told_of_another_version(void) {
    pid_t stranger;
    stage_t *s = stage_new(&stranger);
    await(&s->ready, 1);
    ferry_t *node = on(s, "a");
    for (int i = 0; i < 50 && ferry_warning(node)[0] == '\0'; i++) { /* it waits for answers, but not for long */
        close_node(node);
        node = on(s, "a");
    }
    const char *warning = ferry_warning(node);
    check(strstr(warning, "another version of Ferry") != NULL);
    check(strstr(warning, "\"newer?program\" on \"elsewhere\" speaks version 250") != NULL);
    close_node(node);
    stage_end(s, stranger);
}

static bool is_warned(void *node) {
    return strstr(ferry_warning(node), "version 250") != NULL;
}

static void who_is_there_is_told_and_not_disturbed(void) {
    pid_t stranger;
    stage_t *s = stage_new(&stranger);
    atomic_store(&s->silent, 1);
    await(&s->ready, 1);
    ferry_t *a = on(s, "a"), *b = on(s, "b");
    s->nodes[0] = ferry_node_id(a);
    s->nodes[1] = ferry_node_id(b);
    ferry_receiver_t *rx = open_receiver(b, "numbers", FERRY_QUEUE, NULL);
    ferry_sender_t *tx = open_sender(a, "numbers", FERRY_QUEUE, NULL);
    check(!is_warned(a) && !is_warned(b));
    atomic_store(&s->go, 1);
    await(&s->said, 1);
    for (uint64_t i = 0; i < MESSAGES; i++) {
        send_number(tx, i);
        check_is(receive_number(rx), i);
    }
    await_that(is_warned, a, "it is not told of the other version");
    await_that(is_warned, b, "it is not told of the other version");
    close_sender(tx);
    close_receiver(rx);
    close_node(a);
    close_node(b);
    stage_end(s, stranger);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(who_comes_is_told_of_another_version),
        TEST(who_is_there_is_told_and_not_disturbed),
    };
    return run_suite("net_versions", tests, sizeof tests / sizeof tests[0], argc, argv);
}
