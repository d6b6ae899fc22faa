/* SPDX-License-Identifier: MIT
 *
 * net_handshake.c - servers that greet who opens a networked space, and then answer late, or not as they should.
 */
#include "lines.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static bool was_opened_by_way_of_a_late_answer(void) {
    lines_t *s = lines_new();
    relay_answer_late(s->near, 1, 7 * SECOND); /* the library waits for 5 s, says so to nobody, and reads on */
    ferry_t *node = lines_node(s, "a", s->near);
    bool again = relay_accepted(s->near) > 2; /* two are made */
    ferry_sender_t *tx = open_sender(node, "numbers", FERRY_QUEUE, NULL);
    close_sender(tx);
    close_node(node);
    lines_end(s);
    return again;
}

/* The connection's whole handshake has 5 s: where the machine stands still, they may pass before the server greets. */
static void a_server_that_answers_late_is_asked_again(void) {
    check_in_some_process(was_opened_by_way_of_a_late_answer, "a server that answers late is asked again");
}

/* ---- stand-ins ---- */

#define GREETING                                                                                                       \
    "INFO {\"server_id\":\"S\",\"version\":\"2.9.10\",\"proto\":1,\"host\":\"127.0.0.1\",\"port\":1,\"headers\":true," \
    "\"max_payload\":1048576} \r\n"

/* A server that says one thing to who comes, and another one, or nothing, to what that says, and hangs up. */
typedef struct standin {
    const char *greeting, *answer;
    int error; /* of ferry_open, and what its sentence says */
    const char *words;
    char space[64];
    int listener;
    atomic_uint accepted;
} standin_t;

static void serve(void *arg) {
    standin_t *s = arg;
    char heard[4096];
    for (;;) {
        int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
        check(fd >= 0);
        atomic_fetch_add(&s->accepted, 1);
        (void)!send(fd, s->greeting, strlen(s->greeting), MSG_NOSIGNAL);
        if (recv(fd, heard, sizeof heard, 0) > 0)
            (void)!send(fd, s->answer, strlen(s->answer), MSG_NOSIGNAL);
        (void)shutdown(fd, SHUT_WR); /* to close it would take back what was said, if there is more to be heard */
        while (recv(fd, heard, sizeof heard, 0) > 0) {
        }
        close(fd);
    }
}

/* In a process of its own: the library's threads stay. */
static void fail_to_open(void *arg) {
    const standin_t *s = arg;
    ferry_t *node;
    check_error(ferry_open(s->space, NULL, &node), s->error, s->words);
}

static void listen_here(standin_t *s) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(s->listener >= 0 && bind(s->listener, (struct sockaddr *)&address, len) == 0);
    check(listen(s->listener, 8) == 0 && getsockname(s->listener, (struct sockaddr *)&address, &len) == 0);
    snprintf(s->space, sizeof s->space, "nats://127.0.0.1:%d/test", ntohs(address.sin_port));
}

/* Returns how many connections that took. */
static unsigned open_in_vain(const char *greeting, const char *answer, int error, const char *words) {
    standin_t *s = share(sizeof *s);
    s->greeting = greeting;
    s->answer = answer;
    s->error = error;
    s->words = words;
    listen_here(s);
    pid_t server = child_start(serve, s);
    child_join(child_start(fail_to_open, s));
    child_kill(server);
    close(s->listener);
    return atomic_load(&s->accepted);
}

static void a_server_that_always_hangs_up_is_asked_four_times(void) {
    check_is(open_in_vain(GREETING, "", -ETIMEDOUT, "does not finish the handshake"), 4);
}

static void a_server_that_asks_before_it_answers_is_asked_four_times(void) {
    check_is(open_in_vain(GREETING, "PING\r\nPONG\r\n", -ETIMEDOUT, "does not finish the handshake"), 4);
}

static void a_server_for_which_it_was_too_late_is_asked_four_times(void) {
    check_is(open_in_vain(GREETING, "-ERR 'Authentication Timeout'\r\n", -ETIMEDOUT, "does not finish the handshake"),
             4);
}

static void who_speaks_something_else_is_told_at_once(void) {
    check_is(open_in_vain("HTTP/1.1 400 Bad Request\r\n\r\n", "", -EIO, "Unexpected protocol"), 1);
}

static void who_greets_and_then_speaks_something_else_is_told_at_once(void) {
    check_is(open_in_vain(GREETING, "HTTP/1.1 400 Bad Request\r\n\r\n", -EIO, "Expected 'PONG', got 'HTTP"), 1);
}

static void a_refusal_is_told_at_once(void) {
    check_is(open_in_vain(GREETING, "-ERR 'Authorization Violation'\r\n", -EACCES, "refuses these credentials"), 1);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(a_server_that_answers_late_is_asked_again),
        TEST(a_server_that_always_hangs_up_is_asked_four_times),
        TEST(a_server_that_asks_before_it_answers_is_asked_four_times),
        TEST(a_server_for_which_it_was_too_late_is_asked_four_times),
        TEST(who_speaks_something_else_is_told_at_once),
        TEST(who_greets_and_then_speaks_something_else_is_told_at_once),
        TEST(a_refusal_is_told_at_once),
    };
    return run_suite("net_handshake", tests, sizeof tests / sizeof tests[0], argc, argv);
}
