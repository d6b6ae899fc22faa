/* SPDX-License-Identifier: MIT
 *
 * net_tokens.c - fencing tokens on durable channels: behind the first message with a newer token the server stores none
 * with an older one.
 */
#include <string.h>
#include <unistd.h>

#include "stranger.h"

#define WRITERS 3u
#define ROUNDS 25u
#define BURST 40u
#define CLOSINGS 30u
#define OTHERS 400u

static const ferry_contract_t durable = {.size = sizeof durable, .durable = FERRY_DURABLE};
static const ferry_receiver_options_t takes_durable = {.size = sizeof takes_durable, .contract = &durable};

typedef struct stage {
    engine_t *engine;
    atomic_uint tokens; /* given out */
    atomic_uint accepted;
} stage_t;

static stage_t *stage_new(void) {
    engine_t *engine = engine_start();
    stage_t *s = share(sizeof *s);

    s->engine = engine;
    return s;
}

static ferry_t *on(const stage_t *s, const char *machine) {
    engine_machine(s->engine, machine);
    return open_node(engine_space(s->engine));
}

static uint64_t refused_by(ferry_sender_t *tx) {
    ferry_sender_stats_t stats = {.size = sizeof stats};

    check_is(ferry_sender_stats(tx, &stats), 0);
    return stats.refused;
}

static void check_next(ferry_receiver_t *rx, uint64_t number) {
    ferry_msg_t *m = receive(rx);

    check_is(number_in(m), number);
    release(m);
}

static void an_older_token_is_refused(ferry_kind_t kind) {
    stage_t *s = stage_new();
    ferry_t *a = on(s, "a");
    ferry_t *b = on(s, "b");
    ferry_sender_t *older = open_sender(a, "jobs", kind, &durable);
    ferry_sender_t *newer = open_sender(b, "jobs", kind, &durable);
    ferry_receiver_t *rx = open_receiver(b, "jobs", kind, &takes_durable);
    uint64_t undelivered = 0;

    send_number(older, 1); /* without a token */
    check_is(ferry_sender_set_token(older, 5), 0);
    send_number(older, 2);
    check_is(ferry_sender_flush(older, PATIENCE), 0);
    check_is(ferry_sender_set_token(newer, 6), 0);
    send_number(older, 3); /* nothing is stored with the newer one yet: so this stands before */
    check_is(ferry_sender_flush(older, PATIENCE), 0);
    send_number(newer, 4);
    check_is(ferry_sender_flush(newer, PATIENCE), 0);
    check_is(refused_by(older), 0);
    for (uint64_t i = 0; i < 3; i++) {
        uint64_t number = 100 + i;
        int r = ferry_send(older, &number, sizeof number, PATIENCE);
        check(r == 0 || r == -ESTALE);
    }
    check_error(ferry_sender_flush(older, PATIENCE), -ESTALE, "a newer one, 6");
    check(refused_by(older) > 0);
    engine_restart(s->engine);
    check_error(ferry_sender_set_token(older, 4), -ESTALE, "newer than 4");
    check_error(ferry_sender_flush(older, PATIENCE), -ESTALE, "with token 5");
    send_number(newer, 5);
    check_is(ferry_sender_flush(newer, PATIENCE), 0);
    check_is(ferry_sender_set_token(older, 7), 0);
    send_number(older, 6);
    check_is(ferry_sender_flush(older, PATIENCE), 0);
    check_is(ferry_sender_set_token(older, 0), 0);
    send_number(older, 7);
    for (uint64_t i = 1; i <= 7; i++) {
        check_next(rx, i);
    }
    uint64_t refused = refused_by(older);
    check_is(ferry_sender_close(older, PATIENCE, &undelivered), 0);
    check_is(undelivered, refused);
    close_sender(newer);
    close_receiver(rx);
    close_node(a);
    close_node(b);
    engine_stop(s->engine);
}

/* Who closes with much under way waits until what is refused is released, too: it would be counted twice. */
static void what_is_refused_while_its_sender_closes_is_counted_once(void) {
    stage_t *s = stage_new();
    ferry_t *a = on(s, "a");
    ferry_t *b = on(s, "b");
    ferry_sender_t *newer = open_sender(b, "jobs", FERRY_QUEUE, &durable);

    for (uint64_t token = 1; token < 2 * CLOSINGS; token += 2) {
        ferry_sender_t *older = open_sender(a, "jobs", FERRY_QUEUE, &durable);
        uint64_t sent = 0, undelivered = 0;
        check_is(ferry_sender_set_token(older, token), 0);
        check_is(ferry_sender_set_token(newer, token + 1), 0);
        send_number(newer, token);
        check_is(ferry_sender_flush(newer, PATIENCE), 0);
        while (sent < 20000 && ferry_send(older, &sent, sizeof sent, PATIENCE) == 0) {
            sent++;
        }
        check_is(ferry_sender_close(older, PATIENCE, &undelivered), 0);
        check_is(undelivered, sent);
    }
    close_sender(newer);
    close_node(a);
    close_node(b);
    engine_stop(s->engine);
}

static void an_older_token_is_refused_by_a_queue(void) {
    an_older_token_is_refused(FERRY_QUEUE);
}

static void an_older_token_is_refused_by_a_topic(void) {
    an_older_token_is_refused(FERRY_TOPIC);
}

/* Sends with tokens that grow, and goes on for a while after somebody else has a newer one. */
static void write_with_tokens(void *arg) {
    stage_t *s = arg;
    ferry_t *node = on(s, "writer");
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, &durable);

    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint64_t token = atomic_fetch_add(&s->tokens, 1) + 1;
        int r = ferry_sender_set_token(tx, token);
        for (uint32_t i = 0; r == 0 && i < BURST; i++) {
            uint64_t number = token << 32 | i;
            r = ferry_send(tx, &number, sizeof number, PATIENCE);
        }
        check(r == 0 || r == -ESTALE);
        if (r == 0 && round % 2 == 0) {
            r = ferry_sender_flush(tx, PATIENCE);
            check(r == 0 || r == -ESTALE);
        }
    }
    ferry_sender_stats_t stats = {.size = sizeof stats};
    uint64_t undelivered = 0;
    check_is(ferry_sender_stats(tx, &stats), 0);
    uint64_t sent = stats.messages;
    check_is(ferry_sender_close(tx, PATIENCE, &undelivered), 0);
    atomic_fetch_add(&s->accepted, (unsigned)(sent - undelivered));
    close_node(node);
}

/* Somebody who has no token is in between, all the time. */
static void write_without(void *arg) {
    stage_t *s = arg;
    ferry_t *node = on(s, "other");
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, &durable);
    for (unsigned i = 0; i < OTHERS; i++) {
        send_number(tx, 0);
        nap(MILLISECOND / 4);
    }
    close_sender(tx);
    close_node(node);
}

/* Nor does a message stand before an earlier one of its sender. */
static void no_older_token_follows_a_newer_one(void) {
    stage_t *s = stage_new();
    pid_t writers[WRITERS];
    uint64_t newest = 0;
    uint64_t last = 0;
    unsigned with_token = 0;

    for (uint32_t i = 0; i < WRITERS; i++) {
        writers[i] = child_start(write_with_tokens, s);
    }
    pid_t other = child_start(write_without, s);
    for (uint32_t i = 0; i < WRITERS; i++) {
        child_join(writers[i]);
    }
    child_join(other);
    unsigned accepted = atomic_load(&s->accepted);
    ferry_t *node = on(s, "reader");
    ferry_receiver_t *rx = open_receiver(node, "jobs", FERRY_QUEUE, &takes_durable);
    for (unsigned i = 0; i < accepted + OTHERS; i++) {
        ferry_msg_t *m = receive(rx);
        uint64_t number = number_in(m); /* token, and which with that one */
        check(info_of(m).sequence > last);
        last = info_of(m).sequence;
        check(number == 0 || number > newest);
        newest = number ? number : newest;
        with_token += number != 0;
        release(m);
    }
    ferry_msg_t *none;
    check_error(ferry_recv(rx, FERRY_NOW, &none), -EAGAIN, "");
    check_is(with_token, accepted);
    check(accepted > 0);
    close_receiver(rx);
    close_node(node);
    engine_stop(s->engine);
}

/* nats-server 2.9 crashes when it is asked for a message of a stream that it is just making for somebody else. */
static void only_a_stream_that_has_one_is_asked_for_a_message(void) {
    char text[STRANGER_TEXT];
    stage_t *s = stage_new();
    ferry_t *node = on(s, "a");
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, &durable);
    int stranger = stranger_new(s->engine, "SUB $JS.API.STREAM.MSG.GET.> 1\r\n");
    (void)stranger_hears(stranger, text);
    check_is(ferry_sender_set_token(tx, 5), 0);
    check(!strstr(stranger_hears(stranger, text), "last_by_subj"));
    check_is(ferry_sender_set_token(tx, 6), 0);
    check(strstr(stranger_hears(stranger, text), "last_by_subj"));
    close(stranger);
    close_sender(tx);
    close_node(node);
    engine_stop(s->engine);
}

static bool many_are_raised_quickly(void) {
    stage_t *s = stage_new();
    ferry_t *node = on(s, "a");
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, &durable);
    int64_t begin = monotonic();
    for (uint64_t token = 1; token <= 20; token++) {
        check_is(ferry_sender_set_token(tx, token), 0);
    }
    int64_t took = monotonic() - begin;
    close_sender(tx);
    close_node(node);
    engine_stop(s->engine);
    return took < 200 * MILLISECOND;
}

static void questions_that_are_answered_follow_without_a_pause(void) {
    check_in_some_process(many_are_raised_quickly, "twenty tokens were raised within 200 ms");
}

/* A server of several that assigns streams, and has not heard of this one yet, says that there is no fence. It stands
 * at 2, in base64. */
static void a_fence_that_is_said_not_to_be_there_is_looked_for(void) {
    static const char *const asked[] = {"$JS.API.STREAM.MSG.GET.FERRY=test=qf=jobs", NULL};
    static const char *const answers[] = {"{\"error\":{\"code\":404,\"err_code\":10059}}",
                                          "{\"message\":{\"seq\":2,\"data\":\"AQAAAAAAAAACAAAAAAAAAA==\"}}", NULL};
    stage_t *s = share(sizeof *s);
    s->engine = stranger_engine(asked);
    pid_t stranger = stranger_answers(s->engine, answers);
    ferry_t *node = on(s, "a");
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, &durable);

    check_is(ferry_sender_set_token(tx, 1), 0);
    send_number(tx, 1);
    (void)ferry_sender_flush(tx, PATIENCE);
    check_is(refused_by(tx), 1);
    ferry_sender_close(tx, FERRY_NOW, NULL);
    close_node(node);
    child_join(stranger);
    engine_stop(s->engine);
}

static void tokens_are_for_durable_channels(void) {
    stage_t *s = stage_new();
    ferry_t *node = on(s, "a");
    ferry_sender_t *tx = open_sender(node, "fast", FERRY_QUEUE, NULL);
    check_error(ferry_sender_set_token(tx, 1), -ENOTSUP, "is not durable");
    close_sender(tx);
    close_node(node);
    engine_stop(s->engine);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(an_older_token_is_refused_by_a_queue),
        TEST(an_older_token_is_refused_by_a_topic),
        TEST(what_is_refused_while_its_sender_closes_is_counted_once),
        TEST(no_older_token_follows_a_newer_one),
        TEST(only_a_stream_that_has_one_is_asked_for_a_message),
        TEST(questions_that_are_answered_follow_without_a_pause),
        TEST(a_fence_that_is_said_not_to_be_there_is_looked_for),
        TEST(tokens_are_for_durable_channels),
    };
    return run_suite("net_tokens", tests, sizeof tests / sizeof tests[0], argc, argv);
}
