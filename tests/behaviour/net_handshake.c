/* SPDX-License-Identifier: MIT
 *
 * net_handshake.c - servers that greet who opens a networked space, and then answer late, or not as they should.
 */
#include "calls.h"
#include "cells.h"
#include "lines.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- stand-ins ---- */

#define GREETING_WITH(more)                                                                                            \
    "INFO "                                                                                                            \
    "{\"server_id\":\"S\",\"version\":\"2.9.10\",\"proto\":1,\"host\":\"127.0.0.1\",\"port\":1,\"headers\":true," more \
    "\"max_payload\":1048576} \r\n"
#define GREETING GREETING_WITH("")

/* A server that says one thing to who comes, and another one, or nothing, to what that says, and hangs up. */
typedef struct standin {
    const char *scheme, *greeting, *answer;
    bool silent; /* it does not hang up, either */
    int error;   /* of ferry_open, and what its sentence says */
    const char *words;
    char space[64];
    int listener;
    atomic_uint accepted;
} standin_t;

static void stand_in(void *arg) {
    standin_t *s = arg;
    char heard[4096];
    for (;;) {
        int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
        check(fd >= 0);
        atomic_fetch_add(&s->accepted, 1);
        (void)!send(fd, s->greeting, strlen(s->greeting), MSG_NOSIGNAL);
        if (recv(fd, heard, sizeof heard, 0) > 0)
            (void)!send(fd, s->answer, strlen(s->answer), MSG_NOSIGNAL);
        if (!s->silent)
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

/* Finds a port, and fills it in. */
static int listener_at(struct sockaddr_in *address) {
    socklen_t len = sizeof *address;
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(listener >= 0 && bind(listener, (struct sockaddr *)address, len) == 0);
    check(listen(listener, 8) == 0 && getsockname(listener, (struct sockaddr *)address, &len) == 0);
    return listener;
}

static void listen_here(standin_t *s) {
    struct sockaddr_in address;
    s->listener = listener_at(&address);
    snprintf(s->space, sizeof s->space, "%s://127.0.0.1:%d/test", s->scheme, ntohs(address.sin_port));
}

static standin_t *standin_that(const char *scheme, const char *greeting) {
    standin_t *s = share(sizeof *s);
    s->scheme = scheme;
    s->greeting = greeting;
    return s;
}

/* Returns how many connections that took. */
static unsigned open_in_vain(const char *greeting, const char *answer, int error, const char *words) {
    standin_t *s = standin_that("nats", greeting);
    s->answer = answer;
    s->error = error;
    s->words = words;
    listen_here(s);
    pid_t server = child_start(stand_in, s);
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

/* ---- servers that greet, and then are silent for ever ---- */

#define SILENCE (60 * SECOND)
#define GIVEN_UP (12 * SECOND)  /* after 5 s, or 8, says the manual; the rest is for a machine that stands still */
#define MADE_AGAIN (4 * SECOND) /* after 1 s */
#define IN_TIME (1500 * MILLISECOND)
#define LEFT (8 * SECOND) /* after 1 s, or 2; after 12 if no connection is given up */

/* As libnats has them. */
static int connection_like_its(const struct sockaddr_in *there) {
    struct linger forgets = {.l_onoff = 1};
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    check(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0);
    check(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0);
    check(setsockopt(fd, SOL_SOCKET, SO_LINGER, &forgets, sizeof forgets) == 0);
    check(connect(fd, (const struct sockaddr *)there, sizeof *there) == 0);
    check(fcntl(fd, F_SETFL, O_NONBLOCK) == 0 && write(fd, "hello", 5) == 5);
    return fd;
}

/* The program's own connection to somebody else, who is silent, too, is left alone. */
static void fail_to_open_beside_another(void *arg) {
    struct sockaddr_in elsewhere;
    char byte;
    int listener = listener_at(&elsewhere);
    int own = connection_like_its(&elsewhere);
    fail_to_open(arg);
    check(recv(own, &byte, 1, 0) < 0 && errno == EAGAIN);
    close(own);
    close(listener);
}

static void open_beside_silence(void *arg) {
    standin_t *s = arg;
    s->answer = "";
    s->silent = true;
    s->error = -ETIMEDOUT;
    s->words = "does not finish the handshake within 5 s";
    listen_here(s);
    pid_t server = child_start(stand_in, s);
    int64_t before = monotonic();
    child_join(child_start(fail_to_open_beside_another, s));
    check(monotonic() - before < GIVEN_UP);
    child_kill(server);
    close(s->listener);
}

/* The library makes its connections anew, which the server greets. */
static bool is_silent(void *arg) {
    const relay_t *line = arg;
    return relay_accepted(line) > 3;
}

static ferry_t *fall_silent(lines_t *s, const char *machine, relay_t *line, ferry_cell_t **cell) {
    ferry_t *node = lines_node(s, machine, line);
    *cell = open_cell(node, "number", NULL);
    relay_answer_late(line, 2, SILENCE);
    relay_cut(line);
    await_that(is_silent, line, "the connections are not made anew");
    return node;
}

static void go_on_after_silence(void *arg) {
    lines_t *s = arg;
    ferry_cell_t *cell;
    ferry_t *node = fall_silent(s, "goes on", s->near, &cell);
    int64_t before = monotonic();
    check_is(ferry_cell_wait(cell, 0, 200 * MILLISECOND), -ETIMEDOUT);
    check(monotonic() - before < MADE_AGAIN);
    while (ferry_cell_put(cell, "1", 1, NULL) < 0)
        check(monotonic() - before < MADE_AGAIN);
    close_cell(cell);
    close_node(node);
}

static void close_beside_silence(void *arg) {
    lines_t *s = arg;
    ferry_cell_t *cell;
    ferry_t *node = fall_silent(s, "closes", s->far, &cell);
    int64_t before = monotonic();
    close_cell(cell);
    close_node(node);
    check(monotonic() - before < MADE_AGAIN);
}

/* It takes a second to see that its connections are stale. */
static void lock_until_the_loss_is_noticed(ferry_mutex_t *mutex) {
    int64_t limit = monotonic() + PATIENCE;
    do {
        check_is(ferry_mutex_lock(mutex, 200 * MILLISECOND), -ETIMEDOUT);
        check(monotonic() < limit);
    } while (!strstr(ferry_last_error(), "no connection to a server"));
}

/* It does not even greet whoever connects again; libnats waits for that with each connection's lock held. */
static void lock_and_close_beside_a_frozen_server(void *arg) {
    static const ferry_contract_t durable = {.size = sizeof durable, .durable = FERRY_DURABLE};
    engine_t *engine = arg;
    ferry_t *node = open_node(engine_space(engine));
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, &durable);
    ferry_mutex_t *mutex;
    check_is(ferry_mutex_open(node, "one", NULL, &mutex), 0);
    send_number(tx, 1);
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    engine_freeze(engine);
    lock_until_the_loss_is_noticed(mutex);
    int64_t before = monotonic();
    check_error(ferry_mutex_lock(mutex, 200 * MILLISECOND), -ETIMEDOUT, "no connection to a server");
    check(monotonic() - before < 2000 * MILLISECOND);
    before = monotonic();
    close_sender(tx);
    check_is(ferry_mutex_close(mutex), 0);
    close_node(node);
    check(monotonic() - before < LEFT);
    engine_thaw(engine);
}

static bool are_six(void *arg) {
    return relay_accepted(arg) == 6;
}

/* One of its connections waits for a server that has greeted it, and is made anew before the other one is: so each
 * waits at another time, and whoever wants to close both would wait for the one, and then for the other. */
static bool whoever_leaves_connects_no_more(void) {
    engine_t *engine = engine_start();
    relay_t *line = relay_start(engine);
    engine_machine(engine, "leaves");
    ferry_t *node = open_node(relay_space(line));
    relay_answer_late(line, 1, SILENCE);
    relay_cut(line);
    await_that(is_silent, line, "the connections are not made anew");
    nap(SECOND);
    relay_hold(line, true);
    await_that(are_six, line, "it is not noticed that they say nothing more");
    close_node(node);
    bool holds = relay_accepted(line) == 6;
    relay_hold(line, false);
    relay_stop(line);
    engine_stop(engine);
    return holds;
}

static void leave_beside_silence(void *unused) {
    (void)unused;
    check_in_some_process(whoever_leaves_connects_no_more, "who leaves a silent server does not ask it again");
}

/* ---- calls, while the server says nothing to either side ---- */

enum { EXPIRED, HELD, KEPT, TAKEN_BACK, ONE_WAY, CALLS };

typedef struct bank {
    lines_t *lines; /* of the caller and of the server */
    server_t *server;
    atomic_uint open, replied; /* the handler of HELD may go on, and has */
    atomic_uint ran[CALLS];
} bank_t;

static int run(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    bank_t *bank = arg;
    uint64_t number = number_at(data, size);
    atomic_fetch_add(&bank->ran[number], 1);
    if (number == HELD)
        await(&bank->open, 1);
    reply_number(rq, number);
    atomic_fetch_add(&bank->replied, number == HELD);
    return 0;
}

static void serve_bank(void *arg) {
    bank_t *bank = arg;
    ferry_t *node = lines_node(bank->lines, "bank", bank->lines->far);
    serve(node, bank->server);
    close_node(node);
}

static bank_t *new_bank(void) {
    const method_t method = {.name = "run", .handler = run};
    bank_t *bank = share(sizeof *bank);
    bank->lines = lines_new();
    bank->server = new_server("bank", 2, &method, 1, bank);
    return bank;
}

/* Nor does it wait for a second whether another service than Ferry's has that name. */
static void look_for_servers_in_vain(ferry_t *node) {
    const uint64_t number = ONE_WAY;
    ferry_client_t *client = open_client(node, "bank", 0);
    int64_t before = monotonic();
    check_error(ferry_call_one_way(client, "run", &number, sizeof number, 200 * MILLISECOND), -ETIME, "");
    check_error(ferry_client_wait(client, 1, 200 * MILLISECOND), -ETIMEDOUT, "");
    check(monotonic() - before < IN_TIME);
    close_client(client);
}

/* Each call ends in time, also the one in which the loss is noticed, and those after it. */
static void call_until_the_loss_is_noticed(ferry_client_t *client) {
    const uint64_t number = EXPIRED;
    int64_t limit = monotonic() + PATIENCE;
    do {
        int64_t before = monotonic();
        check_is(ferry_call(client, "run", &number, sizeof number, 200 * MILLISECOND, NULL), -ETIMEDOUT);
        check(monotonic() - before < IN_TIME && before < limit);
    } while (!strstr(ferry_last_error(), "no connection") || !strstr(ferry_last_error(), "not run"));
}

/* What is started then is sent by itself later; what is cancelled, or answered, waits for nothing. */
static void start_and_cancel(bank_t *bank, ferry_client_t *client, ferry_call_t **kept) {
    const uint64_t number = ONE_WAY;
    int64_t before = monotonic();
    *kept = start_call(client, "run", KEPT);
    ferry_call_t *call = start_call(client, "run", TAKEN_BACK);
    check_is(ferry_call_cancel(call), 0);
    release_call(call);
    check_error(ferry_call_one_way(client, "run", &number, sizeof number, 200 * MILLISECOND), -ETIME,
                "no connection to a server not sent");
    atomic_store(&bank->open, 1);
    await(&bank->replied, 1);
    check(monotonic() - before < IN_TIME);
}

static void call_until_the_server_is_back(bank_t *bank) {
    const uint64_t number = EXPIRED;
    int64_t limit = monotonic() + PATIENCE;
    ferry_t *node = open_node(engine_space(bank->lines->engine));
    ferry_client_t *client = open_client(node, "bank", 0);
    relay_hold(bank->lines->far, false);
    while (ferry_call(client, "run", &number, sizeof number, 200 * MILLISECOND, NULL) < 0)
        check(monotonic() < limit);
    close_client(client);
    close_node(node);
}

static void check_what_has_run(const bank_t *bank) {
    check_is(atomic_load(&bank->ran[KEPT]), 1);
    check_is(atomic_load(&bank->ran[HELD]), 1);
    check_is(atomic_load(&bank->ran[TAKEN_BACK]) + atomic_load(&bank->ran[ONE_WAY]), 0);
}

static void call_beside_silence(void *arg) {
    bank_t *bank = arg;
    pid_t server = child_start(serve_bank, bank);
    await(&bank->server->serving, 1);
    ferry_t *node = lines_node(bank->lines, "calls", bank->lines->near);
    ferry_client_t *client = open_client(node, "bank", 2);
    ferry_call_t *kept, *held = start_call(client, "run", HELD);
    await(&bank->ran[HELD], 1);
    relay_hold(bank->lines->near, true);
    relay_hold(bank->lines->far, true);
    look_for_servers_in_vain(node);
    call_until_the_loss_is_noticed(client);
    start_and_cancel(bank, client, &kept);
    call_until_the_server_is_back(bank);
    relay_hold(bank->lines->near, false);
    await(&bank->ran[KEPT], 1);
    check_is(finish_call(kept), KEPT);
    int answer = ferry_call_wait(held, PATIENCE, NULL); /* it was given before those were back who wait for it */
    check(answer == 0 || answer == -ECONNRESET);
    release_call(held);
    check_what_has_run(bank);
    close_client(client);
    close_node(node);
    stop_server(bank->server);
    child_join(server);
}

typedef struct silent {
    lines_t *lines;
    relay_t *third;
} silent_t;

static void open_after_silence(void *arg) {
    const silent_t *s = arg;
    relay_answer_late(s->third, 1, SILENCE);
    ferry_t *node = lines_node(s->lines, "opens", s->third);
    check(relay_accepted(s->third) > 2); /* two are made */
    close_node(node);
}

/* All at once, since each waits for seconds. */
static void a_server_that_falls_silent_after_its_greeting_is_given_up(void) {
    silent_t *s = share(sizeof *s);
    s->lines = lines_new();
    s->third = relay_start(s->lines->engine);
    engine_t *frozen = engine_start();
    bank_t *bank = new_bank();
    const pid_t all[] = {
        child_start(open_beside_silence, standin_that("nats", GREETING)),
        child_start(open_beside_silence, standin_that("nats+tls", GREETING_WITH("\"tls_required\":true,"))),
        child_start(open_after_silence, s),
        child_start(go_on_after_silence, s->lines),
        child_start(close_beside_silence, s->lines),
        child_start(lock_and_close_beside_a_frozen_server, frozen),
        child_start(call_beside_silence, bank),
        child_start(leave_beside_silence, NULL),
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        child_join(all[i]);
    relay_stop(s->third);
    engine_stop(frozen);
    lines_end(bank->lines);
    lines_end(s->lines);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(a_server_that_always_hangs_up_is_asked_four_times),
        TEST(a_server_that_asks_before_it_answers_is_asked_four_times),
        TEST(a_server_for_which_it_was_too_late_is_asked_four_times),
        TEST(who_speaks_something_else_is_told_at_once),
        TEST(who_greets_and_then_speaks_something_else_is_told_at_once),
        TEST(a_refusal_is_told_at_once),
        TEST(a_server_that_falls_silent_after_its_greeting_is_given_up),
    };
    return run_suite("net_handshake", tests, sizeof tests / sizeof tests[0], argc, argv);
}
