/* SPDX-License-Identifier: MIT
 *
 * net_stuck.c - a line, or a server, that takes nothing any more, while much is to be sent: whoever writes waits in the
 * middle of it, and nobody else shall.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lines.h"

#define SENDERS 8
#define EACH 8
#define LARGE ((size_t)1 << 20)

static void receive_all(void *arg) {
    lines_t *s = arg;
    ferry_t *node = lines_node(s, "receiver", s->far);
    ferry_receiver_t *rx = open_receiver(node, "large", FERRY_QUEUE, NULL);
    static unsigned seen[SENDERS];
    atomic_store(&s->ready, 1);
    for (unsigned i = 0; i < SENDERS * EACH; i++) {
        ferry_msg_t *m = receive(rx);
        check_is(ferry_msg_size(m), LARGE);
        const unsigned char *bytes = ferry_msg_data(m);
        check(bytes[0] < SENDERS && bytes[1] == seen[bytes[0]]); /* in each one's order, once */
        seen[bytes[0]]++;
        release(m);
        atomic_store(&s->received, i + 1);
    }
    close_receiver(rx);
    close_node(node);
}

static void send_from_each(ferry_sender_t *tx[SENDERS], unsigned char from, unsigned char to) {
    static unsigned char bytes[LARGE];
    for (unsigned char i = 0; i < SENDERS; i++)
        for (unsigned char k = from; k < to; k++) {
            bytes[0] = i;
            bytes[1] = k;
            check_is(ferry_send(tx[i], bytes, LARGE, PATIENCE), 0);
        }
}

static bool is_dialled_anew(void *arg) {
    const lines_t *s = arg;
    return relay_accepted(s->near) > 2;
}

static void a_stuck_line_holds_up_only_what_goes_over_it_and_is_given_up(void) {
    lines_t *s = lines_new();
    pid_t receiver = child_start(receive_all, s);
    await(&s->ready, 1);
    ferry_t *node = lines_node(s, "sender", s->near);
    ferry_sender_t *tx[SENDERS], *more;
    for (int i = 0; i < SENDERS; i++)
        tx[i] = open_sender(node, "large", FERRY_QUEUE, NULL);
    send_from_each(tx, 0, EACH / 2); /* which widens their windows */
    await(&s->received, SENDERS * EACH / 2);
    check_is(relay_accepted(s->near), 2);
    relay_hold(s->near, true);
    send_from_each(tx, EACH / 2, EACH); /* more than the buffers of the sockets take */
    check_error(ferry_sender_flush(tx[0], 100 * MILLISECOND), -ETIMEDOUT, "");
    more = open_sender(node, "more", FERRY_QUEUE, NULL); /* asks the others, for its time and no longer */
    await_that(is_dialled_anew, s, "the line has not been given up");
    relay_hold(s->near, false);
    for (int i = 0; i < SENDERS; i++)
        close_sender(tx[i]);
    close_sender(more);
    child_join(receiver);
    close_node(node);
    lines_end(s);
}

/* Its own connections find out that they are stale only when nobody is in the middle of writing. */
static void who_leaves_a_server_that_takes_nothing_is_not_held_up(void) {
    static const unsigned char bytes[LARGE / 2];
    const ferry_contract_t durable = {.size = sizeof durable, .durable = FERRY_DURABLE, .quota = 64 * sizeof bytes};
    engine_t *engine = engine_start();
    ferry_t *node = open_node(engine_space(engine));
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, &durable);
    check_is(ferry_send(tx, bytes, sizeof bytes, PATIENCE), 0);
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    engine_freeze(engine);
    for (int i = 0; i < 32; i++) /* more than the sockets take */
        check_is(ferry_send(tx, bytes, sizeof bytes, PATIENCE), 0);
    nap(100 * MILLISECOND);
    int64_t before = monotonic();
    check_is(ferry_sender_close(tx, FERRY_NOW, NULL), 0);
    close_node(node);
    check(monotonic() - before < 3000 * MILLISECOND); /* a write waits for four seconds */
    engine_thaw(engine);
    engine_stop(engine);
}

/* Starts a server that speaks TLS, and trusts it from now on. */
static engine_t *engine_start_with_tls(void) {
    static char key[256], cert[256], command[1024];
    const char *arguments[] = {"--tls", "--tlscert", cert, "--tlskey", key, NULL};
    snprintf(key, sizeof key, "%s/.key.pem", getenv("FERRY_DIR"));
    snprintf(cert, sizeof cert, "%s/.cert.pem", getenv("FERRY_DIR"));
    snprintf(command, sizeof command,
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout '%s' -out '%s' -days 2 "
             "-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 2>/dev/null",
             key, cert);
    check_is(system(command), 0);
    setenv("FERRY_TLS_CA", cert, 1);
    engine_t *engine = engine_start_with(arguments);
    check(unlink(key) == 0); /* the server has read it */
    return engine;
}

static bool is_made_anew(void *arg) {
    return relay_accepted(arg) > 3;
}

/* Who asks for more of it waits; and the bridge has other things to do. */
static void a_record_of_which_the_rest_does_not_come_holds_up_nobody(void) {
    const ferry_contract_t durable = {.size = sizeof durable, .durable = FERRY_DURABLE};
    char space[128];
    engine_t *engine = engine_start_with_tls();
    relay_t *line = relay_start(engine);
    snprintf(space, sizeof space, "nats+tls%s", strchr(relay_space(line), ':'));
    engine_machine(engine, "a");
    ferry_t *node = open_node(space);
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, &durable);
    send_number(tx, 0);
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    check_is(relay_accepted(line), 3); /* the last is that on which it was sent */
    relay_stop_after(line, 7);
    await_that(is_made_anew, line, "nobody has noticed that nothing more comes");
    send_number(tx, 1);
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    check_is(ferry_sender_close(tx, FERRY_NOW, NULL), 0);
    close_node(node);
    check(unlink(getenv("FERRY_TLS_CA")) == 0);
    relay_stop(line);
    engine_stop(engine);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(a_stuck_line_holds_up_only_what_goes_over_it_and_is_given_up),
        TEST(who_leaves_a_server_that_takes_nothing_is_not_held_up),
        TEST(a_record_of_which_the_rest_does_not_come_holds_up_nobody),
    };
    return run_suite("net_stuck", tests, sizeof tests / sizeof tests[0], argc, argv);
}
