/* SPDX-License-Identifier: MIT
 *
 * late_ring.c - a topic's sender goes on in a larger ring, since a reader holds a message, while another one that may
 * lose messages is stopped with its whole process.
 */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "objects.h"

#define SOME 3000u  /* more than a first ring holds */
#define MANY 20000u /* for which it goes on four times, where always one is held */
#define LARGE 9000u /* goes by pointer */
#define TAGS 7u
#define RARE 1000u /* tags from here on have one message each */

typedef struct scene {
    atomic_uint linked;
    atomic_uint all_sent;
    pid_t reader;
    uint64_t count;
    uint64_t rare[8]; /* numbers of messages with tags of their own; 0: no more */
    ferry_receiver_options_t options;
    ferry_contract_t contract;
} scene_t;

static size_t size_of(uint64_t number) {
    return number % 500 == 7 ? LARGE : 50;
}

static uint64_t tag_of(const scene_t *s, uint64_t number) {
    for (unsigned i = 0; i < sizeof s->rare / sizeof *s->rare && s->rare[i]; i++)
        if (s->rare[i] == number)
            return RARE + i;
    return number % TAGS;
}

static void send_one(const scene_t *s, ferry_sender_t *tx, uint64_t number) {
    ferry_msg_t *m = NULL;
    void *data = NULL;
    check_is(ferry_msg_new(tx, size_of(number), PATIENCE, &data, &m), 0);
    fill(data, size_of(number), number);
    check_is(ferry_msg_set_tag(m, tag_of(s, number)), 0);
    check_is(ferry_send_msg(tx, m, PATIENCE), 0);
    release(m);
}

/* Numbers are those of the messages, which begin with 1. */
static uint64_t check_one(const scene_t *s, ferry_msg_t *m) {
    uint64_t number = info_of(m).sequence;
    check_is(ferry_msg_size(m), size_of(number));
    check(filled(ferry_msg_data(m), size_of(number), number));
    check_is(info_of(m).tag, tag_of(s, number));
    return number;
}

/* What each of the unequal readers must have got, at least. */
static void check_what_came(const scene_t *s, const uint64_t *newest, uint64_t last, uint64_t came) {
    if (s->options.newest == FERRY_NEWEST_PER_TAG) {
        for (uint64_t tag = 0; tag < TAGS; tag++)
            check(newest[tag] + TAGS > s->count - sizeof s->rare / sizeof *s->rare);
        for (unsigned i = 0; i < sizeof s->rare / sizeof *s->rare && s->rare[i]; i++)
            check_is(newest[TAGS + i], s->rare[i]);
    }
    check_is(last, s->count);
    if (s->options.newest == FERRY_NEWEST_ONLY)
        check_is(came, 1);
    if (s->options.depth)
        check_is(came, s->options.depth);
}

static void read_late(void *arg) {
    const scene_t *s = arg;
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "t", FERRY_TOPIC, &s->options);
    uint64_t newest[TAGS + sizeof s->rare / sizeof *s->rare] = {0};
    uint64_t came = 0;
    uint64_t lost = 0;
    uint64_t last = 0;
    ferry_msg_t *m = NULL;
    int answer;
    await(&s->linked, 1);
    check_is(raise(SIGSTOP), 0);
    while ((answer = ferry_recv(rx, PATIENCE, &m)) == 0) {
        uint64_t number = check_one(s, m);
        uint64_t tag = info_of(m).tag;
        check(s->options.newest == FERRY_NEWEST_PER_TAG || number > last);
        newest[tag < RARE ? tag : TAGS + tag - RARE] = number;
        came++;
        lost += info_of(m).lost_before;
        last = number > last ? number : last;
        release(m);
        if (last == s->count && s->options.newest != FERRY_NEWEST_PER_TAG)
            check_is(came + lost, s->count);
    }
    check_is(answer, -EPIPE);
    check_is(came + receiver_stats(rx).lost, s->count);
    check_what_came(s, newest, last, came);
    close_receiver(rx);
    close_node(node);
}

static void await_standstill(pid_t pid) {
    int status = 0;
    check_is(waitpid(pid, &status, WUNTRACED), pid);
    check(WIFSTOPPED(status));
}

/* Always one is held; another one when the sender may have gone on in the next ring. */
static void flow_past_one_that_is_held(const scene_t *s, ferry_sender_t *tx, ferry_receiver_t *strict) {
    ferry_msg_t *held = NULL;
    uint64_t hold_next = 1;
    for (uint64_t i = 1; i <= s->count; i++) {
        send_one(s, tx, i);
        ferry_msg_t *m = receive(strict);
        check_is(check_one(s, m), i);
        if (i == hold_next) {
            if (held)
                release(held);
            held = m;
            hold_next = 3 * i + 100;
        } else {
            release(m);
        }
    }
    release(held);
}

static void be_late(scene_t *s) {
    s->reader = child_start(read_late, s);
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, &s->contract);
    ferry_receiver_t *strict = open_receiver(node, "t", FERRY_TOPIC, NULL);
    check_is(ferry_sender_wait(tx, 2, PATIENCE), 2);
    s->linked = 1;
    await_standstill(s->reader);
    flow_past_one_that_is_held(s, tx, strict);
    check_is(kill(s->reader, SIGCONT), 0);
    close_receiver(strict);
    close_sender(tx);
    close_node(node);
    child_join(s->reader);
}

static void be_late_with(ferry_receiver_options_t options, uint32_t retain) {
    scene_t *s = share(sizeof *s);
    s->options = options;
    s->count = SOME;
    s->contract.retain = retain;
    be_late(s);
}

static void a_stopped_reader_that_may_lose_keeps_nobody_from_a_larger_ring(void) {
    be_late_with((ferry_receiver_options_t){.may_lose = 1}, 0);
    be_late_with((ferry_receiver_options_t){.depth = 100}, 0);
    be_late_with((ferry_receiver_options_t){.newest = FERRY_NEWEST_ONLY}, 0);
    be_late_with((ferry_receiver_options_t){.newest = FERRY_NEWEST_PER_TAG}, 0);
    be_late_with((ferry_receiver_options_t){.may_lose = 1}, 10);
}

/* So often that the reader cannot be told of all rings; what is sent seldom stands in different ones. */
static void be_late_by_many(ferry_receiver_options_t options) {
    static const uint64_t rare[] = {60, 2000, 3000, 6000, 9000, 15000, MANY - 100};
    scene_t *s = share(sizeof *s);
    s->options = options;
    s->count = MANY;
    memcpy(s->rare, rare, sizeof rare);
    be_late(s);
}

static void who_is_late_by_many_rings_hears_what_it_lost(void) {
    be_late_by_many((ferry_receiver_options_t){.may_lose = 1});
    be_late_by_many((ferry_receiver_options_t){.newest = FERRY_NEWEST_ONLY});
}

static void of_many_rings_that_are_gone_the_newest_of_each_tag_stays(void) {
    be_late_by_many((ferry_receiver_options_t){.newest = FERRY_NEWEST_PER_TAG});
}

/* ---- stopped and woken again and again ---- */

#define READERS 5u
#define HELD 1u

static const ferry_receiver_options_t wishes[READERS] = {
    {.may_lose = 1}, {.depth = 3}, {.newest = FERRY_NEWEST_ONLY}, {.newest = FERRY_NEWEST_PER_TAG}, {.may_lose = 1}};

/* Reads all that comes, and holds one of it now and then. */
static void read_in_fits(void *arg) {
    const scene_t *s = arg;
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "t", FERRY_TOPIC, &s->options);
    uint64_t came = 0;
    ferry_msg_t *held = NULL;
    ferry_msg_t *m = NULL;
    int answer;
    while ((answer = ferry_recv(rx, PATIENCE, &m)) == 0) {
        (void)check_one(s, m);
        if (came++ % 1000 == 0) {
            if (held)
                (void)check_one(s, held);
            release(held);
            held = m;
        } else {
            release(m);
        }
    }
    check_is(answer, -EPIPE);
    if (held)
        (void)check_one(s, held);
    release(held);
    check_is(came + receiver_stats(rx).lost, s->count);
    close_receiver(rx);
    close_node(node);
}

typedef struct crowd {
    scene_t *scenes[READERS];
    pid_t readers[READERS];
    bool stopped[READERS];
} crowd_t;

static void stop_or_wake(crowd_t *c, unsigned i, bool stop) {
    check_is(kill(c->readers[i], stop ? SIGSTOP : SIGCONT), 0);
    c->stopped[i] = stop;
}

/* A strict reader that holds some, for longer and longer. */
static void flow(crowd_t *c, ferry_sender_t *tx, ferry_receiver_t *strict, uint64_t count) {
    ferry_msg_t *held[HELD] = {NULL};
    uint64_t seed = 11;
    for (uint64_t i = 1; i <= count; i++) {
        send_one(c->scenes[0], tx, i);
        ferry_msg_t *m = receive(strict);
        check_is(check_one(c->scenes[0], m), i);
        unsigned at = random_below(&seed, i < 100 ? 10 : (unsigned)i / 4);
        if (at < HELD) {
            release(held[at]);
            held[at] = m;
        } else {
            release(m);
        }
        if (random_below(&seed, 150) == 0) {
            unsigned reader = random_below(&seed, READERS);
            stop_or_wake(c, reader, !c->stopped[reader]);
        }
    }
    for (unsigned k = 0; k < HELD; k++)
        release(held[k]);
}

static void who_is_stopped_again_and_again_stops_nobody(void) {
    crowd_t c = {.stopped = {false}};
    for (unsigned i = 0; i < READERS; i++) {
        c.scenes[i] = share(sizeof *c.scenes[i]);
        c.scenes[i]->options = wishes[i];
        c.scenes[i]->count = MANY;
        c.readers[i] = child_start(read_in_fits, c.scenes[i]);
    }
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, NULL);
    ferry_receiver_t *strict = open_receiver(node, "t", FERRY_TOPIC, NULL);
    check_is(ferry_sender_wait(tx, READERS + 1, PATIENCE), READERS + 1);
    flow(&c, tx, strict, MANY);
    for (unsigned i = 0; i < READERS; i++)
        stop_or_wake(&c, i, false);
    close_receiver(strict);
    close_sender(tx);
    close_node(node);
    for (unsigned i = 0; i < READERS; i++)
        child_join(c.readers[i]);
}

int main(int argc, char **argv) {
    static const test_t tests[] = {
        TEST(a_stopped_reader_that_may_lose_keeps_nobody_from_a_larger_ring),
        TEST(who_is_late_by_many_rings_hears_what_it_lost),
        TEST(of_many_rings_that_are_gone_the_newest_of_each_tag_stays),
        TEST(who_is_stopped_again_and_again_stops_nobody),
    };
    return run_suite("late_ring", tests, sizeof tests / sizeof *tests, argc, argv);
}
