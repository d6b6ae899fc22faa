/* SPDX-License-Identifier: MIT
 *
 * net_room.c - when a durable channel's sender that waits for room is woken: its server stores its messages, and
 * answers slowly, or not all of it, or not in order.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "relay.h"
#include "stranger.h"

/* A wait is looked through by itself after 50 ms, and each time twice as long after: at 353, and then at 758. In between
 * only a wake-up ends a sleep. */
#define ASLEEP (400 * MILLISECOND)
#define TOO_LATE (500 * MILLISECOND)
#define SOON (250 * MILLISECOND)
#define QUOTA ((uint64_t)256 << 10)
#define BYTES 1500 /* does not stand in the ring: each release is room for another one */

static const ferry_contract_t durable = {.durable = FERRY_DURABLE, .quota = QUOTA};

typedef struct stage {
    engine_t *engine;
    relay_t *line;
    ferry_t *node;
    ferry_sender_t *tx;
    uint64_t answers; /* bytes of them, after which nothing comes any more; 0: all come */
    int64_t since;    /* something came */
} stage_t;

static stage_t stage_open(ferry_kind_t kind, const char *stream) {
    char text[STRANGER_TEXT];
    stage_t s = {.engine = engine_start()};
    if (stream) {
        int stranger = stranger_new(s.engine, "");
        stranger_publish(stranger, "$JS.API.STREAM.CREATE.FERRY=test=q=jobs", stream, strlen(stream));
        (void)stranger_hears(stranger, text);
        close(stranger);
    }
    s.line = relay_start(s.engine);
    engine_machine(s.engine, "a");
    s.node = open_node(relay_space(s.line));
    s.tx = open_sender(s.node, "jobs", kind, &durable);
    return s;
}

static void stage_close(stage_t *s) {
    close_node(s->node);
    relay_stop(s->line);
    engine_stop(s->engine);
}

/* Once the sender sleeps, the line carries something again. */
static void *let_through(void *arg) {
    stage_t *s = arg;
    nap(ASLEEP);
    if (s->answers > 0)
        relay_stop_after(s->line, s->answers);
    s->since = monotonic();
    relay_hold(s->line, false);
    return NULL;
}

/* Until it stays full: while its ring grows, it may seem so. */
static void fill_up(const stage_t *s) {
    static const unsigned char bytes[BYTES];

    for (int failed = 0; failed < 3;) {
        int r = ferry_send(s->tx, bytes, sizeof bytes, 20 * MILLISECOND);
        check(r == 0 || r == -ETIMEDOUT || r == -EDQUOT);
        failed = r == 0 ? 0 : failed + 1;
    }
}

/* Has the sender that sleeps at its quota got on soon after the line carried something again? */
static bool gets_on_soon(stage_t *s) {
    static const unsigned char bytes[BYTES];
    pthread_t thread;
    int64_t begin = monotonic();
    check_is(pthread_create(&thread, NULL, let_through, s), 0);
    check_is(ferry_send(s->tx, bytes, sizeof bytes, PATIENCE), 0);
    int64_t now = monotonic();
    check_is(pthread_join(thread, NULL), 0);
    return s->since - begin < TOO_LATE && now > s->since && now - s->since < SOON;
}

/* Of more than a hundred that are under way some ten are answered, and then no more. */
static bool little_is_enough(void) {
    stage_t s = stage_open(FERRY_TOPIC, NULL);
    s.answers = 1200;
    relay_hold(s.line, true);
    fill_up(&s);
    bool soon = gets_on_soon(&s);
    (void)drop_sender(s.tx);
    stage_close(&s);
    return soon;
}

static void a_sender_gets_on_when_little_of_much_is_stored(void) {
    check_in_some_process(little_is_enough, "a sender is woken when a little is stored");
}

/* The first never is, since it is larger than somebody lets the stream's be. */
static bool others_are_enough(void) {
    static const char stream[] = "{\"name\":\"FERRY=test=q=jobs\",\"subjects\":[\"ferry.test.q.jobs.*\"],"
                                 "\"retention\":\"workqueue\",\"storage\":\"file\",\"num_replicas\":1,"
                                 "\"max_msg_size\":3000}";
    static const unsigned char large[2 * 3000];
    stage_t s = stage_open(FERRY_QUEUE, stream);
    relay_hold(s.line, true);
    check_is(ferry_send(s.tx, large, sizeof large, PATIENCE), 0);
    fill_up(&s);
    bool soon = gets_on_soon(&s);
    check(drop_sender(s.tx) > 0);
    stage_close(&s);
    return soon;
}

static void a_sender_gets_on_when_others_than_its_first_are_stored(void) {
    check_in_some_process(others_are_enough, "a sender is woken when others than its first are stored");
}

/* Who waits for the last answer is not made to wait for more. */
static void a_flush_ends_with_the_last_answer(void) {
    stage_t s = stage_open(FERRY_TOPIC, NULL);
    unsigned quick = 0;
    for (int i = 0; i < 300 && quick < 10; i++) {
        for (uint64_t k = 0; k < 20; k++)
            send_number(s.tx, k);
        int64_t begin = monotonic();
        check_is(ferry_sender_flush(s.tx, PATIENCE), 0);
        quick += monotonic() - begin < 5 * MILLISECOND;
    }
    check_is(quick, 10);
    close_sender(s.tx);
    stage_close(&s);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(a_sender_gets_on_when_little_of_much_is_stored),
        TEST(a_sender_gets_on_when_others_than_its_first_are_stored),
        TEST(a_flush_ends_with_the_last_answer),
    };
    return run_suite("net_room", tests, sizeof tests / sizeof tests[0], argc, argv);
}
