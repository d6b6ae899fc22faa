/* SPDX-License-Identifier: MIT
 *
 * topic.c - topics: each message to every receiver; what late and slow receivers get.
 */
#include "harness.h"

#include <string.h>
#include <unistd.h>

#define TALK 4000
#define SPEAKERS_MAX 4

typedef struct talk {
    unsigned speakers;
    unsigned listeners;
    ferry_wait_t wait;
    atomic_uint ready;
    atomic_uint next_speaker;
    atomic_uint opened; /* speakers: before the first one ends, all must be there, or the talk is over */
    atomic_uint heard;
} talk_t;

typedef struct word {
    uint32_t speaker;
    uint32_t place;
    unsigned char bytes[2992];
} word_t;

static size_t word_size(uint32_t place) {
    return place % 50 == 49 ? sizeof(word_t) : 8 + place % 90;
}

static void speak(ferry_t *node, void *arg) {
    talk_t *talk = arg;
    word_t word = {.speaker = atomic_fetch_add(&talk->next_speaker, 1)};
    ferry_contract_t contract = {.wait = talk->wait, .capacity = 200};
    ferry_sender_t *tx = open_sender(node, "talk", FERRY_TOPIC, &contract);
    atomic_fetch_add(&talk->opened, 1);
    await(&talk->opened, talk->speakers);
    await(&talk->ready, talk->listeners);
    check_is(ferry_sender_wait(tx, talk->listeners, PATIENCE), talk->listeners);
    for (word.place = 0; word.place < TALK; word.place++) {
        size_t size = word_size(word.place);
        fill(word.bytes, size - 8, word.place);
        check_is(ferry_send(tx, &word, size, PATIENCE), 0);
    }
    close_sender(tx);
}

static void listen_to_all(ferry_t *node, void *arg) {
    talk_t *talk = arg;
    word_t word;
    uint32_t next[SPEAKERS_MAX] = {0};
    ferry_receiver_options_t options = {.wait = talk->wait};
    ferry_receiver_t *rx = open_receiver(node, "talk", FERRY_TOPIC, &options);
    atomic_fetch_add(&talk->ready, 1);
    for (unsigned i = 0; i < talk->speakers * TALK; i++) {
        ferry_msg_t *m = receive(rx);
        size_t size = ferry_msg_size(m);
        check(size >= 8 && size <= sizeof word);
        memcpy(&word, ferry_msg_data(m), size);
        check(word.speaker < talk->speakers);
        check_is(word.place, next[word.speaker]++);
        check_is(size, word_size(word.place));
        check(filled(word.bytes, size - 8, word.place));
        check_is(info_of(m).lost_before, 0);
        release(m);
    }
    ferry_msg_t *m = NULL;
    check_error(ferry_recv(rx, PATIENCE, &m), -EPIPE, "");
    check_is(receiver_stats(rx).lost, 0);
    close_receiver(rx);
    atomic_fetch_add(&talk->heard, 1);
}

static void run_talk(where_t where, unsigned speakers, unsigned listeners, ferry_wait_t wait) {
    talk_t *talk = share(sizeof *talk);
    talk->speakers = speakers;
    talk->listeners = listeners;
    talk->wait = wait;
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < listeners; i++)
        crew_add(crew, listen_to_all, talk);
    for (unsigned i = 0; i < speakers; i++)
        crew_add(crew, speak, talk);
    crew_end(crew);
    check_is(talk->heard, listeners);
}

static void every_receiver_gets_every_message_of_one_sender(where_t where) {
    run_talk(where, 1, 4, FERRY_WAIT_ADAPTIVE);
}

static void every_receiver_gets_every_message_of_every_sender(where_t where) {
    run_talk(where, 3, 3, FERRY_WAIT_ADAPTIVE);
}

static void every_receiver_gets_every_message_when_all_sleep(where_t where) {
    run_talk(where, 2, 2, FERRY_WAIT_BLOCK);
}

/* ---- late receivers ---- */

static void send_numbers(ferry_sender_t *tx, uint64_t from, uint64_t to) {
    for (uint64_t i = from; i < to; i++)
        send_number(tx, i);
}

static void expect_silence(ferry_receiver_t *rx) {
    ferry_msg_t *m = NULL;
    check_error(ferry_recv(rx, 20 * MILLISECOND, &m), -ETIMEDOUT, "");
}

typedef struct late {
    atomic_uint may_join;
    atomic_uint joined;
} late_t;

static void join_late(ferry_t *node, void *arg) {
    late_t *late = arg;
    await(&late->may_join, 1);
    ferry_receiver_t *rx = open_receiver(node, "history", FERRY_TOPIC, NULL);
    for (uint64_t i = 7; i < 10; i++)
        check_is(receive_number(rx), i);
    atomic_store(&late->joined, 1);
    for (uint64_t i = 10; i < 15; i++)
        check_is(receive_number(rx), i);
    close_receiver(rx);
}

static void a_late_receiver_gets_the_retained_messages_and_then_all_new_ones(where_t where) {
    late_t *late = share(sizeof *late);
    ferry_contract_t contract = {.retain = 3};
    crew_t *crew = crew_begin(where);
    crew_add(crew, join_late, late);
    ferry_sender_t *tx = open_sender(crew_node(crew), "history", FERRY_TOPIC, &contract);
    send_numbers(tx, 0, 10);
    atomic_store(&late->may_join, 1);
    await(&late->joined, 1);
    send_numbers(tx, 10, 15);
    crew_join(crew, 0);
    drop_sender(tx);
    crew_end(crew);
}

static void retained_messages_follow_those_that_receivers_already_had(void) {
    ferry_t *node = open_node("test");
    ferry_contract_t contract = {.retain = 2};
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, &contract);
    ferry_receiver_t *early = open_receiver(node, "t", FERRY_TOPIC, NULL);
    send_numbers(tx, 0, 6);
    for (uint64_t i = 0; i < 6; i++)
        check_is(receive_number(early), i);
    ferry_receiver_t *late = open_receiver(node, "t", FERRY_TOPIC, NULL);
    send_number(tx, 6);
    for (uint64_t i = 4; i < 7; i++) {
        ferry_msg_t *m = receive(late);
        check_is(number_in(m), i);
        check_is(info_of(m).sequence, i + 1);
        check_is(info_of(m).lost_before, 0);
        release(m);
    }
    check_is(receive_number(early), 6);
    expect_silence(early);
    expect_silence(late);
    close_receiver(early);
    close_receiver(late);
    drop_sender(tx);
    close_node(node);
}

static void a_receiver_that_wants_no_history_gets_none(void) {
    ferry_t *node = open_node("test");
    ferry_contract_t contract = {.retain = 5};
    ferry_receiver_options_t options = {.no_history = 1};
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, &contract);
    send_numbers(tx, 0, 5);
    ferry_receiver_t *rx = open_receiver(node, "t", FERRY_TOPIC, &options);
    send_number(tx, 5);
    check_is(receive_number(rx), 5);
    close_receiver(rx);
    drop_sender(tx);
    close_node(node);
}

#define BEYOND_THE_RING 20000u

/* 1: a message, which is this one. */
static unsigned takes(ferry_receiver_t *rx, uint64_t number, int64_t timeout) {
    ferry_msg_t *m = NULL;
    int r = ferry_recv(rx, timeout, &m);
    if (r == -EAGAIN)
        return 0;
    check_is(r, 0);
    check_is(number_in(m), number);
    check_is(info_of(m).lost_before, 0);
    release(m);
    return 1;
}

/* A reader that stands still, and one that comes meanwhile: what waits for the first one was sent before the other
 * came. */
static void come_behind_a_slow_reader(uint32_t retain, const ferry_receiver_options_t *options, uint32_t history) {
    ferry_t *node = open_node("test"), *other = open_node("test");
    ferry_contract_t contract = {.retain = retain};
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, &contract);
    ferry_receiver_t *slow = open_receiver(node, "t", FERRY_TOPIC, NULL);
    send_numbers(tx, 0, BEYOND_THE_RING);
    ferry_receiver_t *late = open_receiver(other, "t", FERRY_TOPIC, options);
    send_numbers(tx, BEYOND_THE_RING, BEYOND_THE_RING + 2);
    uint64_t next = BEYOND_THE_RING - history;
    for (uint64_t i = 0; i < BEYOND_THE_RING + 2; i++) {
        check_is(receive_number(slow), i);
        next += takes(late, next, FERRY_NOW);
    }
    while (next < BEYOND_THE_RING + 2)
        check_is(takes(late, next++, PATIENCE), 1);
    expect_silence(late);
    expect_silence(slow);
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    close_receiver(late);
    close_receiver(slow);
    close_sender(tx);
    close_node(other);
    close_node(node);
}

static void a_late_receiver_gets_nothing_that_still_waits_for_a_slow_one(void) {
    come_behind_a_slow_reader(0, NULL, 0);
    come_behind_a_slow_reader(3, &(ferry_receiver_options_t){.no_history = 1}, 0);
    come_behind_a_slow_reader(0, &(ferry_receiver_options_t){.may_lose = 1}, 0);
}

static void of_what_waits_for_a_slow_one_a_late_receiver_gets_what_is_retained(void) {
    come_behind_a_slow_reader(3, NULL, 3);
    come_behind_a_slow_reader(1000, NULL, 1000);
}

static void fewer_messages_than_retained_are_all_history(void) {
    ferry_t *node = open_node("test");
    ferry_contract_t contract = {.retain = 100};
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, &contract);
    send_numbers(tx, 0, 2);
    ferry_receiver_t *rx = open_receiver(node, "t", FERRY_TOPIC, NULL);
    check_is(receive_number(rx), 0);
    check_is(receive_number(rx), 1);
    expect_silence(rx);
    close_receiver(rx);
    drop_sender(tx);
    close_node(node);
}

static void large_retained_messages_come_unchanged(void) {
    enum { LARGE = 300000 };
    static unsigned char bytes[LARGE];
    ferry_t *node = open_node("test");
    ferry_contract_t contract = {.retain = 2};
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, &contract);
    for (unsigned i = 0; i < 6; i++) {
        fill(bytes, LARGE, i);
        check_is(ferry_send(tx, bytes, LARGE, PATIENCE), 0);
    }
    check_is(sender_stats(tx).pool_blocks, 2);
    ferry_receiver_t *rx = open_receiver(node, "t", FERRY_TOPIC, NULL);
    for (unsigned i = 4; i < 6; i++) {
        ferry_msg_t *m = receive(rx);
        check_is(ferry_msg_size(m), LARGE);
        check(filled(ferry_msg_data(m), LARGE, i));
        release(m);
    }
    close_receiver(rx);
    drop_sender(tx);
    close_node(node);
}

#define PICTURE 20000u

static void send_pictures(ferry_sender_t *tx, ferry_receiver_t *reader, unsigned count) {
    static unsigned char bytes[PICTURE];

    for (unsigned i = 0; i < count; i++) {
        fill(bytes, PICTURE, i);
        check_is(ferry_send(tx, bytes, PICTURE, PATIENCE), 0);
        if (reader)
            release(receive(reader));
    }
}

/* Nobody but those who may come late wants what fills the quota: so they get less, and the newest. */
static void history_gives_way_when_it_fills_the_quota(void) {
    ferry_t *node = open_node("test");
    ferry_contract_t contract = {.retain = 100, .quota = 1 << 20};
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, &contract);
    send_pictures(tx, NULL, 120);
    ferry_receiver_t *early = open_receiver(node, "t", FERRY_TOPIC, NULL);
    uint64_t kept = sender_stats(tx).pool_blocks;
    check(kept > 40 && kept < 60);
    ferry_msg_t *held = receive(early); /* the oldest that is left stays in the way of those behind it */
    check(filled(ferry_msg_data(held), PICTURE, (unsigned)(120 - kept)));
    for (uint64_t i = 1; i < kept; i++)
        release(receive(early));
    send_pictures(tx, early, 200);
    check(filled(ferry_msg_data(held), PICTURE, (unsigned)(120 - kept)));
    ferry_receiver_t *late = open_receiver(node, "t", FERRY_TOPIC, NULL);
    for (uint64_t i = 200 - (kept - 1); i < 200; i++) {
        ferry_msg_t *m = receive(late);
        check(filled(ferry_msg_data(m), PICTURE, (unsigned)i));
        release(m);
    }
    check_is(ferry_recv(late, FERRY_NOW, &held), -EAGAIN);
    close_receiver(late);
    check(ferry_receiver_close(early) == 1); /* it held one */
    drop_sender(tx);
    close_node(node);
}

static void without_history_a_receiver_gets_what_is_sent_after_it_came(void) {
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, NULL);
    send_numbers(tx, 0, 3000); /* nobody listens: nobody is waited for, nothing is kept */
    check_is(sender_stats(tx).unreleased, 0);
    check_is(sender_stats(tx).messages, 3000);
    ferry_receiver_t *rx = open_receiver(node, "t", FERRY_TOPIC, NULL);
    send_number(tx, 3000);
    ferry_msg_t *m = receive(rx);
    check_is(number_in(m), 3000);
    check_is(info_of(m).sequence, 3001);
    check_is(info_of(m).lost_before, 0);
    release(m);
    close_receiver(rx);
    close_sender(tx);
    close_node(node);
}

static void joining_and_leaving_receivers_do_not_disturb_the_others(void) {
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, NULL);
    ferry_receiver_t *stays = open_receiver(node, "t", FERRY_TOPIC, NULL);
    for (uint64_t i = 0; i < 200; i++) {
        ferry_receiver_t *visitor = open_receiver(node, "t", FERRY_TOPIC, NULL);
        send_number(tx, i);
        check_is(receive_number(visitor), i);
        check_is(receive_number(stays), i);
        close_receiver(visitor);
    }
    close_sender(tx);
    close_receiver(stays);
    close_node(node);
}

/* ---- slow receivers ---- */

static void a_full_topic_waits_for_its_slowest_receiver(void) {
    ferry_t *node = open_node("test");
    ferry_contract_t contract = {.capacity = 8};
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, &contract);
    ferry_receiver_t *fast = open_receiver(node, "t", FERRY_TOPIC, NULL);
    ferry_receiver_t *slow = open_receiver(node, "t", FERRY_TOPIC, NULL);
    uint64_t number = 0;
    while (number < 8) {
        send_number(tx, number);
        check_is(receive_number(fast), number++);
    }
    check_error(ferry_send(tx, &number, sizeof number, FERRY_NOW), -EAGAIN, "");
    check_error(ferry_send(tx, &number, sizeof number, 5 * MILLISECOND), -ETIMEDOUT, "");
    check_is(receive_number(slow), 0);
    send_number(tx, number);
    for (uint64_t i = 1; i <= 8; i++)
        check_is(receive_number(slow), i);
    check_is(receive_number(fast), 8);
    expect_silence(fast);
    close_receiver(fast);
    close_receiver(slow);
    close_sender(tx);
    close_node(node);
}

/* Adds up what came and what was lost; the two together are everything, in order. */
typedef struct account {
    uint64_t last; /* sequence */
    uint64_t came;
    uint64_t lost;
} account_t;

static void take_into(account_t *account, const ferry_msg_t *m) {
    ferry_msg_info_t info = info_of(m);
    check_is(info.sequence, account->last + info.lost_before + 1);
    account->last = info.sequence;
    account->lost += info.lost_before;
    account->came++;
}

static void a_receiver_that_holds_nobody_back_is_told_exactly_what_it_lost(void) {
    enum { SENT = 5000 };
    ferry_t *node = open_node("test");
    ferry_contract_t contract = {.hold = FERRY_HOLD_NEVER, .capacity = 64};
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, &contract);
    ferry_receiver_t *rx = open_receiver(node, "t", FERRY_TOPIC, NULL);
    account_t account = {0};
    for (uint64_t i = 0; i < SENT; i++)
        check_is(ferry_send(tx, &i, sizeof i, FERRY_NOW), 0);
    while (account.last < SENT) {
        ferry_msg_t *m = receive(rx);
        check_is(number_in(m) + 1, info_of(m).sequence);
        take_into(&account, m);
        release(m);
    }
    check(account.lost > 0 && account.came > 0);
    check_is(account.came + account.lost, SENT);
    check_is(receiver_stats(rx).lost, account.lost);
    expect_silence(rx);
    close_receiver(rx);
    close_sender(tx);
    close_node(node);
}

#define RUSH 30000
#define RUSH_LARGE 9000

static size_t rush_size(uint64_t i) {
    return i % 16 == 15 ? RUSH_LARGE : 16 + i % 100;
}

static void rush(ferry_t *node, void *arg) {
    late_t *late = arg;
    static __thread unsigned char bytes[RUSH_LARGE];
    ferry_contract_t contract = {.hold = FERRY_HOLD_NEVER, .capacity = 128, .quota = 4 << 20};
    ferry_sender_t *tx = open_sender(node, "rush", FERRY_TOPIC, &contract);
    await(&late->joined, 2);
    check_is(ferry_sender_wait(tx, 2, PATIENCE), 2);
    for (uint64_t i = 0; i < RUSH; i++) {
        fill(bytes, rush_size(i), i);
        check_is(ferry_send(tx, bytes, rush_size(i), PATIENCE), 0);
    }
    close_sender(tx);
}

static void watch_rush(ferry_t *node, void *arg) {
    late_t *late = arg;
    account_t account = {0};
    ferry_msg_t *m = NULL, *kept = NULL;
    uint64_t kept_number = 0;
    ferry_receiver_t *rx = open_receiver(node, "rush", FERRY_TOPIC, NULL);
    atomic_fetch_add(&late->joined, 1);
    int answer;
    while ((answer = ferry_recv(rx, PATIENCE, &m)) == 0) {
        take_into(&account, m);
        uint64_t number = account.last - 1;
        check_is(ferry_msg_size(m), rush_size(number));
        check(filled(ferry_msg_data(m), rush_size(number), number));
        if (account.came % 97 == 0) { /* hold one for a while: it must stay as it was sent */
            check(!kept || filled(ferry_msg_data(kept), rush_size(kept_number), kept_number));
            release(kept);
            kept = m;
            kept_number = number;
        } else {
            release(m);
        }
    }
    check_is(answer, -EPIPE);
    check(!kept || filled(ferry_msg_data(kept), rush_size(kept_number), kept_number));
    release(kept);
    check_is(account.last, RUSH);
    check_is(account.came + account.lost, RUSH);
    check_is(receiver_stats(rx).lost, account.lost);
    close_receiver(rx);
}

static void receivers_that_are_overtaken_never_read_torn_bytes(where_t where) {
    late_t *late = share(sizeof *late);
    crew_t *crew = crew_begin(where);
    crew_add(crew, watch_rush, late);
    crew_add(crew, watch_rush, late);
    crew_add(crew, rush, late);
    crew_end(crew);
}

static void one_receiver_may_lose_while_another_gets_everything(void) {
    enum { SENT = 3000 };
    ferry_t *node = open_node("test");
    ferry_contract_t contract = {.capacity = 32};
    ferry_receiver_options_t lossy = {.may_lose = 1};
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, &contract);
    ferry_receiver_t *viewer = open_receiver(node, "t", FERRY_TOPIC, &lossy);
    ferry_receiver_t *recorder = open_receiver(node, "t", FERRY_TOPIC, NULL);
    for (uint64_t i = 0; i < SENT; i++) {
        send_number(tx, i);
        check_is(receive_number(recorder), i);
    }
    account_t account = {0};
    while (account.last < SENT) {
        ferry_msg_t *m = receive(viewer);
        take_into(&account, m);
        release(m);
    }
    check(account.lost > 0);
    check_is(account.came + account.lost, SENT);
    check_is(receiver_stats(recorder).lost, 0);
    close_receiver(viewer);
    close_receiver(recorder);
    close_sender(tx);
    close_node(node);
}

static void a_message_held_by_a_lossy_receiver_stays_as_it_was_sent(void) {
    enum { LARGE = 20000 };
    static unsigned char bytes[LARGE];
    ferry_t *node = open_node("test");
    ferry_contract_t contract = {.hold = FERRY_HOLD_NEVER, .capacity = 16, .quota = 2 << 20};
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, &contract);
    ferry_receiver_t *rx = open_receiver(node, "t", FERRY_TOPIC, NULL);
    fill(bytes, LARGE, 1000000);
    check_is(ferry_send(tx, bytes, LARGE, FERRY_NOW), 0);
    check_is(ferry_send(tx, bytes, 50, FERRY_NOW), 0);
    ferry_msg_t *large = receive(rx);
    ferry_msg_t *small = receive(rx);
    for (unsigned i = 0; i < 2000; i++) {
        fill(bytes, LARGE, i);
        check_is(ferry_send(tx, bytes, i % 2 ? LARGE : 50, FERRY_NOW), 0);
    }
    check(filled(ferry_msg_data(large), LARGE, 1000000));
    check(filled(ferry_msg_data(small), 50, 1000000));
    release(large);
    release(small);
    close_receiver(rx);
    drop_sender(tx);
    close_node(node);
}

/* The place where it stands holds another message's bytes by now, which point into memory that was given up. */
static void a_receiver_that_was_overtaken_is_told_that_something_is_there(void) {
    enum { ROUNDS = 20, LARGEST = 20000 };
    static unsigned char bytes[LARGEST];
    const ferry_contract_t contract = {.hold = FERRY_HOLD_NEVER, .quota = 2 << 20};
    ferry_t *node = open_node("test");
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned random = round * 77 + 1, sent = 2000 + round * 13;
        ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, &contract);
        ferry_receiver_t *rx = open_receiver(node, "t", FERRY_TOPIC, NULL);
        ferry_pollitem_t item = {.receiver = rx, .events = FERRY_POLL_IN};
        for (unsigned i = 0; i < sent; i++) {
            random = random * 1103515245 + 12345;
            bool large = (random >> 16) % 4 == 0;
            check_is(ferry_send(tx, bytes, large ? 2500 + (random >> 8) % 17000 : 8 + (random >> 8) % 60, PATIENCE), 0);
            if (i == 200 || i == 300)
                release(receive(rx));
        }
        check_is(ferry_poll(&item, 1, PATIENCE), 1);
        drop_sender(tx);
        uint64_t last = 0;
        ferry_msg_t *m;
        int r;
        while ((r = ferry_recv(rx, PATIENCE, &m)) == 0) {
            last = info_of(m).sequence;
            release(m);
        }
        check_is(r, -EPIPE);
        check_is(last, sent);
        check_is(receiver_stats(rx).messages + receiver_stats(rx).lost, sent);
        close_receiver(rx);
    }
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST_BOTH(every_receiver_gets_every_message_of_one_sender),
        TEST_BOTH(every_receiver_gets_every_message_of_every_sender),
        TEST_BOTH(every_receiver_gets_every_message_when_all_sleep),
        TEST_BOTH(a_late_receiver_gets_the_retained_messages_and_then_all_new_ones),
        TEST(retained_messages_follow_those_that_receivers_already_had),
        TEST(a_receiver_that_wants_no_history_gets_none),
        TEST(a_late_receiver_gets_nothing_that_still_waits_for_a_slow_one),
        TEST(of_what_waits_for_a_slow_one_a_late_receiver_gets_what_is_retained),
        TEST(fewer_messages_than_retained_are_all_history),
        TEST(large_retained_messages_come_unchanged),
        TEST(history_gives_way_when_it_fills_the_quota),
        TEST(without_history_a_receiver_gets_what_is_sent_after_it_came),
        TEST(joining_and_leaving_receivers_do_not_disturb_the_others),
        TEST(a_full_topic_waits_for_its_slowest_receiver),
        TEST(a_receiver_that_holds_nobody_back_is_told_exactly_what_it_lost),
        TEST_BOTH(receivers_that_are_overtaken_never_read_torn_bytes),
        TEST(a_receiver_that_was_overtaken_is_told_that_something_is_there),
        TEST(one_receiver_may_lose_while_another_gets_everything),
        TEST(a_message_held_by_a_lossy_receiver_stays_as_it_was_sent),
    };
    return run_suite("topic", tests, sizeof tests / sizeof tests[0], argc, argv);
}
