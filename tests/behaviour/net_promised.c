/* SPDX-License-Identifier: MIT
 *
 * net_promised.c - a topic's sender elsewhere that is linked late: what its receivers are told of what it has sent
 * until then.
 *
 * The sender's node is a stranger's: so its word comes just when the test wants it to.
 */
#include <string.h>
#include <unistd.h>

#include "stranger.h"

enum { VERSION = 3, SEEK = 4, OPEN = 8, LIVE = 11, DATA = 17 }; /* as src/net/frame.h has it */
enum { LATER = 0, JUST_OPENED = 1, TX = 7, NODE = 0x7777 };

typedef struct frame {
    uint32_t magic;
    uint8_t version, type;
    uint16_t kind;
    uint64_t node, tx, token, a, b, c;
    uint32_t flags, asker;
    union {
        struct {
            char contract[96], channel[104];
        } names;
        struct {
            uint32_t size;
            uint16_t attempt, described;
            uint64_t seq, number;
        } record;
    } rest;
} frame_t;

typedef struct stage {
    engine_t *engine;
    int stranger;
    ferry_t *node;
    ferry_receiver_t *rx;
} stage_t;

static stage_t stage_new(void) {
    const ferry_receiver_options_t stays = {.size = sizeof stays, .senders = UINT32_MAX};
    stage_t s = {.engine = engine_start()};
    engine_machine(s.engine, "receiver");
    s.node = open_node(engine_space(s.engine));
    s.rx = open_receiver(s.node, "news", FERRY_TOPIC, &stays);
    s.stranger = stranger_new(s.engine, "");
    return s;
}

static void stage_end(stage_t *s) {
    close(s->stranger);
    close_receiver(s->rx);
    close_node(s->node);
    engine_stop(s->engine);
}

static void tell(const stage_t *s, frame_t f, size_t len) {
    f.magic = 0x52524546u;
    f.version = VERSION;
    f.kind = FERRY_TOPIC;
    f.node = NODE;
    f.tx = TX;
    stranger_tell(s->stranger, ferry_node_id(s->node), &f, len);
}

static void seek(const stage_t *s, uint32_t asker) {
    tell(s, (frame_t){.type = SEEK, .asker = asker, .rest.names.channel = "news"}, sizeof(frame_t));
}

/* Its way is made, behind so many messages, and the next one comes. */
static void begin(const stage_t *s, uint64_t behind) {
    uint64_t token = 1 + behind;
    tell(s, (frame_t){.type = OPEN, .token = token, .a = behind, .rest.names.channel = "news"}, sizeof(frame_t));
    tell(s, (frame_t){.type = LIVE, .token = token, .a = 1, .rest.names.channel = "news"}, sizeof(frame_t));
    tell(s,
         (frame_t){.type = DATA, .token = token, .a = 1, .rest.record = {8, 1, 0, .seq = behind + 1, .number = behind}},
         offsetof(frame_t, rest) + sizeof((frame_t *)NULL)->rest.record);
}

static uint64_t lost_before(const stage_t *s, uint64_t number) {
    ferry_msg_t *m = receive(s->rx);
    check_is(number_in(m), number);
    uint64_t lost = info_of(m).lost_before;
    release(m);
    return lost;
}

static void who_was_there_when_it_was_opened_is_told_what_it_has_missed(void) {
    ferry_receiver_stats_t stats = {.size = sizeof stats};
    stage_t s = stage_new();
    seek(&s, JUST_OPENED);
    begin(&s, 10);
    check_is(lost_before(&s, 10), 10);
    check_is(ferry_receiver_stats(s.rx, &stats), 0);
    check_is(stats.lost, 10);
    stage_end(&s);
}

static void of_one_that_was_open_before_nothing_is_told(void) {
    stage_t s = stage_new();
    seek(&s, LATER);
    begin(&s, 10);
    check_is(lost_before(&s, 10), 0);
    stage_end(&s);
}

/* Questions to all may come after what is sent to one node. */
static void a_question_that_comes_late_makes_nothing_missed_twice(void) {
    stage_t s = stage_new();
    begin(&s, 0);
    seek(&s, JUST_OPENED);
    check_is(lost_before(&s, 0), 0);
    begin(&s, 5);
    check_is(lost_before(&s, 5), 4);
    seek(&s, JUST_OPENED);
    begin(&s, 8);
    check_is(lost_before(&s, 8), 2);
    stage_end(&s);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(who_was_there_when_it_was_opened_is_told_what_it_has_missed),
        TEST(of_one_that_was_open_before_nothing_is_told),
        TEST(a_question_that_comes_late_makes_nothing_missed_twice),
    };
    return run_suite("net_promised", tests, sizeof tests / sizeof tests[0], argc, argv);
}
