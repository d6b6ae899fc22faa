/* SPDX-License-Identifier: MIT
 *
 * net_plain.c - topics that clients of the NATS server have part in which know nothing of Ferry. Here one speaks its
 * protocol by hand; tests/tools/net_foreign.sh has a real one.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine.h"

#define FLOOD 30000u
#define MAX_PAYLOAD (1u << 20)
#define LARGE 700000u
#define ROUNDS 300u

/* ---- the other client ---- */

static void say(int fd, const char *text) {
    size_t len = strlen(text);

    check_is(write(fd, text, len), (ssize_t)len);
}

/* Until the server has taken all that was said before. */
static void settle(int fd) {
    char answer[8192];
    size_t n = 0;

    say(fd, "PING\r\n");
    do {
        ssize_t got = read(fd, answer + n, sizeof answer - 1 - n);
        check(got > 0);
        n += (size_t)got;
        answer[n] = '\0';
    } while (!strstr(answer, "PONG\r\n"));
}

static int foreign_start(const engine_t *e) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    a.sin_port = htons((uint16_t)atoi(strrchr(engine_url(e), ':') + 1));
    check_is(connect(fd, (const struct sockaddr *)&a, sizeof a), 0);
    say(fd, "CONNECT {\"verbose\":false,\"headers\":true}\r\n");
    settle(fd);
    return fd;
}

/* `type`: a header Ferry-Type, or NULL. */
static void publish(int fd, const char *subject, const char *type, const char *text) {
    char headers[128];
    char line[512];

    if (type) {
        int n = snprintf(headers, sizeof headers, "NATS/1.0\r\nFerry-Type: %s\r\n\r\n", type);
        snprintf(line, sizeof line, "HPUB %s %d %d\r\n%s%s\r\n", subject, n, n + (int)strlen(text), headers, text);
    } else {
        snprintf(line, sizeof line, "PUB %s %d\r\n%s\r\n", subject, (int)strlen(text), text);
    }
    say(fd, line);
}

/* ---- tests ---- */

static ferry_receiver_t *open_plain_receiver(ferry_t *node, const char *topic, const ferry_contract_t *c) {
    const ferry_receiver_options_t o = {.size = sizeof o, .contract = c, .plain = 1};

    return open_receiver(node, topic, FERRY_TOPIC, &o);
}

static void what_does_not_fit_the_contract_is_lost_and_counted(void) {
    const ferry_contract_t c = {.size = sizeof c, .type_name = "pose", .type_size = 8};
    const char *subject = "ferry.test.topic.arm~poses";
    engine_t *e = engine_start();
    engine_machine(e, "a");
    ferry_t *node = open_node(engine_space(e));
    ferry_receiver_t *rx = open_plain_receiver(node, "arm.poses", &c);
    int foreign = foreign_start(e);

    publish(foreign, subject, NULL, "untyped.");
    publish(foreign, subject, NULL, "short");
    publish(foreign, subject, "frame", "another.");
    publish(foreign, subject, "pose", "as it is");
    ferry_msg_t *m = receive(rx);
    ferry_msg_info_t info = info_of(m);
    check(memcmp(ferry_msg_data(m), "untyped.", 8) == 0);
    check(info.sender_node == UINT64_MAX && info.sender == 0 && info.sequence == 1 && info.lost_before == 0);
    release(m);
    m = receive(rx);
    info = info_of(m);
    check(memcmp(ferry_msg_data(m), "as it is", 8) == 0);
    check_is(info.sequence, 4);
    check_is(info.lost_before, 2);
    release(m);
    close(foreign);
    close_receiver(rx);
    close_node(node);
    engine_stop(e);
}

/* Nobody takes what comes: what has no room is lost, and the rest is whole and in order. */
static void what_finds_no_room_is_lost_and_counted(void) {
    engine_t *e = engine_start();
    engine_machine(e, "a");
    ferry_t *node = open_node(engine_space(e));
    ferry_receiver_t *rx = open_plain_receiver(node, "flood", NULL);
    int foreign = foreign_start(e);
    uint64_t lost = 0;
    uint64_t last = 0;
    char text[16];

    for (unsigned i = 1; i <= FLOOD; i++) {
        snprintf(text, sizeof text, "%u", i);
        publish(foreign, "ferry.test.topic.flood", NULL, text);
    }
    settle(foreign);
    while (last < FLOOD) {
        ferry_msg_t *m;
        int r = ferry_recv(rx, FERRY_NOW, &m);
        if (r < 0) { /* the last ones may be among the lost */
            publish(foreign, "ferry.test.topic.flood", NULL, "0");
            m = receive(rx);
        }
        ferry_msg_info_t info = info_of(m);
        check_is(info.sequence, last + 1 + info.lost_before);
        snprintf(text, sizeof text, "%u", info.sequence > FLOOD ? 0u : (unsigned)info.sequence);
        check(ferry_msg_size(m) == strlen(text) && memcmp(ferry_msg_data(m), text, strlen(text)) == 0);
        last = info.sequence;
        lost += info.lost_before;
        release(m);
    }
    ferry_receiver_stats_t stats = {.size = sizeof stats};
    check_is(ferry_receiver_stats(rx, &stats), 0);
    check(lost > 0);
    check_is(stats.lost, lost);
    close(foreign);
    close_receiver(rx);
    close_node(node);
    engine_stop(e);
}

static void it_is_said_what_cannot_be_plain(void) {
    const ferry_contract_t plain = {.size = sizeof plain, .plain = 1};
    const ferry_contract_t durable = {.size = sizeof durable, .plain = 1, .durable = FERRY_DURABLE};
    const ferry_receiver_options_t tap = {.size = sizeof tap, .plain = 1, .tap = 1};
    static char large[MAX_PAYLOAD];
    engine_t *e = engine_start();
    engine_machine(e, "a");
    ferry_t *node = open_node(engine_space(e));
    ferry_sender_t *tx;
    ferry_receiver_t *rx;

    check_error(ferry_sender_open(node, "jobs", FERRY_QUEUE, &plain, &tx), -EINVAL, "is a queue");
    check_error(ferry_sender_open(node, "kept", FERRY_TOPIC, &durable, &tx), -ENOTSUP, "is durable");
    check_error(ferry_receiver_open(node, "news", FERRY_TOPIC, &tap, &rx), -EINVAL, "a tap");
    tx = open_sender(node, "news", FERRY_TOPIC, &plain);
    check_error(ferry_send(tx, large, sizeof large, PATIENCE), -EMSGSIZE, "is plain");
    check_is(ferry_send(tx, large, sizeof large - 512, PATIENCE), 0);
    ferry_sender_stats_t stats = {.size = sizeof stats};
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    check_is(ferry_sender_stats(tx, &stats), 0);
    check_is(stats.unpublished, 0);
    engine_kill(e);
    for (int i = 0; i < 2000 && stats.unpublished == 0; i++) { /* first the library keeps some for later */
        check_is(ferry_send(tx, large, sizeof large - 512, PATIENCE), 0);
        check_is(ferry_sender_flush(tx, PATIENCE), 0);
        nap(1000000);
        check_is(ferry_sender_stats(tx, &stats), 0);
    }
    check(stats.unpublished > 0);
    engine_restart(e);
    close_sender(tx);
    close_node(node);
    engine_stop(e);
}

/* Publishes large messages until it is killed. */
static void publish_on(void *arg) {
    static char line[LARGE + 64];
    int fd = foreign_start(arg);
    size_t len = (size_t)snprintf(line, sizeof line, "PUB ferry.test.topic.news %u\r\n", LARGE) + LARGE;

    memcpy(line + len, "\r\n", 2);
    for (;;) {
        check_is(write(fd, line, len + 2), (ssize_t)len + 2);
    }
}

/* The library must not be left with a subscription that is freed while it takes in a message for it. */
static void receivers_close_while_messages_come(void) {
    engine_t *e = engine_start();
    pid_t publisher = child_start(publish_on, e);
    engine_machine(e, "a");
    ferry_t *node = open_node(engine_space(e));

    for (unsigned i = 0; i < ROUNDS; i++) {
        ferry_receiver_t *rx = open_plain_receiver(node, "news", NULL);
        ferry_msg_t *m = receive(rx);
        check_is(ferry_msg_size(m), LARGE);
        release(m);
        close_receiver(rx);
    }
    child_kill(publisher);
    close_node(node);
    engine_stop(e);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(what_does_not_fit_the_contract_is_lost_and_counted),
        TEST(what_finds_no_room_is_lost_and_counted),
        TEST(it_is_said_what_cannot_be_plain),
        TEST(receivers_close_while_messages_come),
    };
    return run_suite("net_plain", tests, sizeof tests / sizeof tests[0], argc, argv);
}
