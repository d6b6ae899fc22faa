/* SPDX-License-Identifier: MIT
 *
 * readers.c - unequal readers of one topic: some want everything, some only the newest; none of the latter holds the
 * sender back, and each is told exactly what it lost.
 */
#include <string.h>
#include <sys/resource.h>

#include "harness.h"

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

static void check_complete(const account_t *account, uint64_t sent, ferry_receiver_t *rx) {
    check_is(account->last, sent);
    check_is(account->came + account->lost, sent);
    check_is(receiver_stats(rx).lost, account->lost);
}

static void expect_nothing(ferry_receiver_t *rx) {
    ferry_msg_t *m = NULL;
    check_error(ferry_recv(rx, FERRY_NOW, &m), -EAGAIN, "");
}

static void send_numbers(ferry_sender_t *tx, uint64_t from, uint64_t to) {
    for (uint64_t i = from; i < to; i++)
        send_number(tx, i);
}

/* ---- only the newest ---- */

static void a_receiver_of_the_newest_gets_it_and_is_told_what_it_passed_over(void) {
    ferry_receiver_options_t options = {.newest = FERRY_NEWEST_ONLY};
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, NULL);
    ferry_receiver_t *rx = open_receiver(node, "t", FERRY_TOPIC, &options);
    account_t account = {0};
    uint64_t sent = 0;
    for (uint64_t burst = 1; burst < 3000; burst += burst / 2 + 1) {
        send_numbers(tx, sent, sent + burst);
        sent += burst;
        ferry_msg_t *m = receive(rx);
        check_is(number_in(m), sent - 1);
        take_into(&account, m);
        release(m);
        expect_nothing(rx);
    }
    check_complete(&account, sent, rx);
    close_receiver(rx);
    close_sender(tx);
    close_node(node);
}

static void the_newest_of_each_sender_comes(void) {
    ferry_receiver_options_t options = {.newest = FERRY_NEWEST_ONLY};
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "t", FERRY_TOPIC, &options);
    ferry_sender_t *a = open_sender(node, "t", FERRY_TOPIC, NULL);
    ferry_sender_t *b = open_sender(node, "t", FERRY_TOPIC, NULL);
    send_numbers(a, 0, 10);
    send_numbers(b, 100, 110);
    check_is(receive_number(rx) + receive_number(rx), 9 + 109);
    expect_nothing(rx);
    close_receiver(rx);
    close_sender(a);
    close_sender(b);
    close_node(node);
}

static void what_the_newest_replaced_is_lost_when_the_sender_has_gone_too(void) {
    ferry_receiver_options_t options = {.newest = FERRY_NEWEST_ONLY};
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, NULL);
    ferry_receiver_t *rx = open_receiver(node, "t", FERRY_TOPIC, &options);
    ferry_msg_t *m = NULL;
    send_numbers(tx, 0, 500);
    close_sender(tx);
    check_is(receive_number(rx), 499);
    check_error(ferry_recv(rx, PATIENCE, &m), -EPIPE, "");
    check_is(receiver_stats(rx).lost, 499);
    close_receiver(rx);
    close_node(node);
}

/* ---- depth ---- */

/* One round of sending and taking all; true when as many of the newest came as the depth says. */
static bool keeps(ferry_sender_t *tx, ferry_receiver_t *rx, account_t *account, uint32_t depth, uint64_t sent) {
    uint64_t end = account->last + sent;
    uint64_t kept = depth < sent ? depth : sent;
    uint64_t before = account->came;
    uint64_t first = 0;
    send_numbers(tx, account->last, end);
    while (account->last < end) {
        ferry_msg_t *m = receive(rx);
        take_into(account, m);
        first = account->came == before + 1 ? number_in(m) : first;
        release(m);
    }
    check(account->came - before <= kept);
    return account->came - before == kept && first == end - kept;
}

/* The ring grows to what it asks for while the first rounds go on. */
static void keeps_so_many(uint32_t depth, uint64_t sent) {
    ferry_receiver_options_t options = {.depth = depth};
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, NULL);
    ferry_receiver_t *rx = open_receiver(node, "t", FERRY_TOPIC, &options);
    account_t account = {0};
    int64_t end = monotonic() + PATIENCE;
    while (!keeps(tx, rx, &account, depth, sent))
        check(monotonic() < end);
    check_complete(&account, account.last, rx);
    close_receiver(rx);
    close_sender(tx);
    close_node(node);
}

static void a_receiver_keeps_as_many_of_the_newest_as_its_depth_says(void) {
    keeps_so_many(3, 2000);
    keeps_so_many(100, 5000);
    keeps_so_many(1000, 999);
}

static void a_depth_that_a_first_ring_could_not_hold_gets_a_larger_one(void) {
    keeps_so_many(6000, 40000);
}

static void history_is_cut_to_the_depth(void) {
    ferry_contract_t contract = {.retain = 50};
    ferry_receiver_options_t options = {.depth = 4};
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, &contract);
    send_numbers(tx, 0, 80);
    ferry_receiver_t *rx = open_receiver(node, "t", FERRY_TOPIC, &options);
    for (uint64_t i = 76; i < 80; i++)
        check_is(receive_number(rx), i);
    expect_nothing(rx);
    check_is(receiver_stats(rx).lost, 46);
    close_receiver(rx);
    close_sender(tx);
    close_node(node);
}

static void wishes_that_make_no_sense_are_refused(void) {
    ferry_receiver_options_t both = {.depth = 2, .newest = FERRY_NEWEST_ONLY};
    ferry_receiver_options_t unknown = {.newest = (ferry_newest_t)7};
    ferry_receiver_options_t newest = {.newest = FERRY_NEWEST_ONLY};
    ferry_receiver_options_t depth = {.depth = 1};
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = NULL;
    check_error(ferry_receiver_open(node, "t", FERRY_TOPIC, &both, &rx), -EINVAL, "newest depth one");
    check_error(ferry_receiver_open(node, "t", FERRY_TOPIC, &unknown, &rx), -EINVAL, "newest 7");
    check_error(ferry_receiver_open(node, "q", FERRY_QUEUE, &newest, &rx), -EINVAL, "newest topics");
    check_error(ferry_receiver_open(node, "q", FERRY_QUEUE, &depth, &rx), -EINVAL, "depth topics");
    check_error(ferry_receiver_open(node, "t", FERRY_TOPIC, &(ferry_receiver_options_t){.may_lose = 7}, &rx), -EINVAL,
                "may_lose 0 or 1 7");
    close_node(node);
}

/* ---- a slow viewer beside a complete recorder ---- */

static void beside_a_recorder(const ferry_contract_t *contract, size_t size, unsigned count,
                              const ferry_receiver_options_t *viewing) {
    static unsigned char bytes[70000];
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, contract);
    ferry_receiver_t *viewer = open_receiver(node, "t", FERRY_TOPIC, viewing);
    ferry_receiver_t *recorder = open_receiver(node, "t", FERRY_TOPIC, NULL);
    account_t account = {0};
    for (unsigned i = 0; i < count; i++) {
        fill(bytes, size, i);
        check_is(ferry_send(tx, bytes, size, FERRY_NOW), 0); /* the viewer does nothing */
        ferry_msg_t *m = receive(recorder);
        check(filled(ferry_msg_data(m), size, i));
        release(m);
    }
    check_is(receiver_stats(recorder).lost, 0);
    while (account.last < count) {
        ferry_msg_t *m = receive(viewer);
        take_into(&account, m);
        check(filled(ferry_msg_data(m), size, account.last - 1));
        release(m);
    }
    check(account.lost > 0);
    check_complete(&account, count, viewer);
    close_receiver(viewer);
    close_receiver(recorder);
    close_sender(tx);
    close_node(node);
}

static void a_viewer_that_does_nothing_takes_no_quota_from_a_recorder(void) {
    const ferry_contract_t contract = {.quota = 1 << 20};
    beside_a_recorder(&contract, 70000, 200, &(ferry_receiver_options_t){.may_lose = 1});
    beside_a_recorder(&contract, 70000, 200, &(ferry_receiver_options_t){.depth = 2});
    beside_a_recorder(&contract, 3000, 2000, &(ferry_receiver_options_t){.newest = FERRY_NEWEST_ONLY});
}

static void a_viewer_that_does_nothing_takes_no_capacity_from_a_recorder(void) {
    const ferry_contract_t contract = {.capacity = 1};
    beside_a_recorder(&contract, 60, 3000, &(ferry_receiver_options_t){.depth = 2});
    beside_a_recorder(&contract, 5000, 300, &(ferry_receiver_options_t){.depth = 2});
}

/* ---- the newest with each tag ---- */

static const ferry_receiver_options_t per_tag = {.newest = FERRY_NEWEST_PER_TAG};

/* A message says which of its tag's messages it is, and whatever else fits. */
static void publish(ferry_sender_t *tx, uint64_t tag, uint64_t value, size_t size) {
    void *data;
    ferry_msg_t *m;
    check_is(ferry_msg_new(tx, size, PATIENCE, &data, &m), 0);
    fill(data, size, tag + value);
    memcpy(data, &value, sizeof value);
    check_is(ferry_msg_set_tag(m, tag), 0);
    check_is(ferry_send_msg(tx, m, PATIENCE), 0);
    release(m);
}

static uint64_t value_of(const ferry_msg_t *m, size_t size) {
    static __thread unsigned char whole[5000];
    uint64_t value;
    check_is(ferry_msg_size(m), size);
    memcpy(&value, ferry_msg_data(m), sizeof value);
    fill(whole, size, info_of(m).tag + value);
    check(memcmp(whole + sizeof value, (const char *)ferry_msg_data(m) + sizeof value, size - sizeof value) == 0);
    return value;
}

static void every_tag_keeps_its_turn_and_comes_with_its_newest(void) {
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, NULL);
    ferry_receiver_t *rx = open_receiver(node, "t", FERRY_TOPIC, &per_tag);
    const uint64_t tags[] = {7, 8, 7, 9, 7, 8};
    const uint64_t in_turn[][3] = {
        {7, 4, 2}, {8, 5, 0}, {9, 3, 0}}; /* tag, value, lost_before; 8 was superseded once */
    uint64_t lost = 0;
    for (uint64_t i = 0; i < 6; i++)
        publish(tx, tags[i], i, 100);
    for (unsigned i = 0; i < 3; i++) {
        ferry_msg_t *m = receive(rx);
        check_is(info_of(m).tag, in_turn[i][0]);
        check_is(value_of(m, 100), in_turn[i][1]);
        lost += info_of(m).lost_before;
        release(m);
    }
    check_is(lost, 3);
    expect_nothing(rx);
    publish(tx, 8, 6, 100);
    ferry_msg_t *m = receive(rx);
    check_is(value_of(m, 100), 6);
    check_is(info_of(m).lost_before, 0);
    release(m);
    close_receiver(rx);
    close_sender(tx);
    close_node(node);
}

#define SYMBOLS 5000

/* Takes all there is; each tag may come once, and its value must be the newest. */
static void take_book(ferry_receiver_t *rx, const uint64_t *newest, unsigned symbols, size_t size, bool to_the_end) {
    static unsigned char seen[SYMBOLS];
    ferry_msg_t *m = NULL;
    unsigned count = 0;
    memset(seen, 0, sizeof seen);
    while (count < symbols && ferry_recv(rx, PATIENCE, &m) == 0) {
        uint64_t tag = info_of(m).tag;
        check(tag < symbols && !seen[tag]);
        seen[tag] = 1;
        check_is(value_of(m, size), newest[tag]);
        release(m);
        count++;
    }
    check_is(count, symbols);
    check_is(ferry_recv(rx, to_the_end ? PATIENCE : FERRY_NOW, &m), to_the_end ? -EPIPE : -EAGAIN);
}

/* All symbols at first, then a few busy ones again and again: the quiet ones leave the ring long before they are
 * read. */
static void trade(ferry_sender_t *tx, uint64_t *newest, unsigned symbols, size_t size) {
    for (unsigned i = 0; i < symbols; i++)
        publish(tx, i, ++newest[i], size);
    for (unsigned i = 0; i < 30000; i++)
        publish(tx, i % 7, ++newest[i % 7], size);
}

static void book(const ferry_contract_t *contract, size_t size, bool sender_goes) {
    static uint64_t newest[SYMBOLS];
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, contract);
    ferry_receiver_t *rx = open_receiver(node, "t", FERRY_TOPIC, &per_tag);
    memset(newest, 0, sizeof newest);
    trade(tx, newest, SYMBOLS, size);
    if (!sender_goes) {
        take_book(rx, newest, SYMBOLS, size, false);
        check_is(receiver_stats(rx).lost, sender_stats(tx).messages - receiver_stats(rx).messages);
        trade(tx, newest, SYMBOLS, size);
    }
    close_sender(tx);
    take_book(rx, newest, SYMBOLS, size, true);
    close_receiver(rx);
    close_node(node);
}

static void a_reader_that_sleeps_finds_the_newest_of_each_of_5000_symbols(void) {
    book(NULL, 64, false);
}

static void it_does_so_when_the_sender_has_gone(void) {
    book(&(ferry_contract_t){.hold = FERRY_HOLD_NEVER, .timestamps = 1}, 200, true);
}

static void what_is_kept_for_it_counts_against_the_quota_and_goes_first(void) {
    const ferry_contract_t contract = {.quota = 256 << 10};
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, &contract);
    ferry_receiver_t *rx = open_receiver(node, "t", FERRY_TOPIC, &per_tag);
    uint64_t last = 0;
    for (uint64_t i = 0; i < 4000; i++)
        publish(tx, i, i, 400);
    check(sender_stats(tx).memory <= contract.quota);
    while (last < 3999) { /* the memory of some may still be on its way */
        ferry_msg_t *m = receive(rx);
        last = value_of(m, 400);
        check_is(last, info_of(m).tag);
        release(m);
    }
    ferry_receiver_stats_t stats = receiver_stats(rx);
    check(stats.lost > 0 && stats.messages > 10);
    check_is(stats.lost + stats.messages, 4000);
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
}

static void a_second_reader_by_tag_gets_what_came_after_it(void) {
    static uint64_t newest[SYMBOLS];
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, NULL);
    ferry_receiver_t *first = open_receiver(node, "t", FERRY_TOPIC, &per_tag);
    memset(newest, 0, sizeof newest);
    trade(tx, newest, 1000, 64);
    ferry_receiver_t *second = open_receiver(node, "t", FERRY_TOPIC, &per_tag);
    expect_nothing(second);
    trade(tx, newest, 500, 64);
    take_book(second, newest, 500, 64, false);
    take_book(first, newest, 1000, 64, false);
    close_receiver(first);
    close_receiver(second);
    close_sender(tx);
    close_node(node);
}

/* A received message is sent on as a copy, which stands in the ring if it is small. */
static void small_tagged_messages_are_kept_too(void) {
    static uint64_t newest[300];
    ferry_t *node = open_node("test");
    ferry_sender_t *first = open_sender(node, "first", FERRY_TOPIC, NULL);
    ferry_receiver_t *between = open_receiver(node, "first", FERRY_TOPIC, NULL);
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, NULL);
    ferry_receiver_t *rx = open_receiver(node, "t", FERRY_TOPIC, &per_tag);
    for (uint64_t i = 0; i < 20000; i++) {
        uint64_t tag = i < 300 ? i : i % 5;
        publish(first, tag, ++newest[tag], 80);
        ferry_msg_t *m = receive(between);
        check_is(ferry_send_msg(tx, m, PATIENCE), 0);
        release(m);
    }
    take_book(rx, newest, 300, 80, false);
    close_receiver(rx);
    close_receiver(between);
    close_sender(tx);
    close_sender(first);
    close_node(node);
}

#define TICKS (UNDER_SANITIZER ? 20000 : 100000)
#define STOCKS 600u

typedef struct exchange {
    atomic_uint joined;
    uint64_t newest[STOCKS];
} exchange_t;

static size_t tick_size(uint64_t tag) {
    return tag % 50 == 7 ? 5000 : 40 + tag % 100;
}

static void tick(ferry_t *node, void *arg) {
    exchange_t *x = arg;
    ferry_contract_t contract = {.quota = 8 << 20};
    ferry_sender_t *tx = open_sender(node, "ticks", FERRY_TOPIC, &contract);
    await(&x->joined, 2);
    check_is(ferry_sender_wait(tx, 2, PATIENCE), 2);
    for (uint64_t i = 0, dice = 1; i < TICKS; i++) {
        dice = dice * 6364136223846793005u + 1442695040888963407u;
        uint64_t tag = (dice >> 33) % (dice >> 60 ? 20 : STOCKS); /* most of it is about a few */
        publish(tx, tag, ++x->newest[tag], tick_size(tag));
    }
    close_sender(tx);
}

static void follow_ticks(ferry_t *node, void *arg) {
    exchange_t *x = arg;
    bool slow = atomic_load(&x->joined) == 0;
    static __thread uint64_t last[STOCKS];
    ferry_msg_t *m = NULL;
    ferry_receiver_t *rx = open_receiver(node, "ticks", FERRY_TOPIC, &per_tag);
    atomic_fetch_add(&x->joined, 1);
    int answer;
    for (unsigned i = 0; (answer = ferry_recv(rx, PATIENCE, &m)) == 0; i++) {
        uint64_t tag = info_of(m).tag;
        check(tag < STOCKS);
        uint64_t value = value_of(m, tick_size(tag));
        check(value > last[tag]); /* in order for each tag */
        last[tag] = value;
        release(m);
        if (slow && i % 64 == 0)
            nap(MILLISECOND);
    }
    check_is(answer, -EPIPE);
    for (unsigned i = 0; i < STOCKS; i++)
        check_is(last[i], x->newest[i]);
    ferry_receiver_stats_t stats = receiver_stats(rx);
    check_is(stats.messages + stats.lost, TICKS);
    close_receiver(rx);
}

static void readers_by_tag_of_a_writer_at_full_speed_end_with_the_newest_of_all(where_t where) {
    exchange_t *x = share(sizeof *x);
    crew_t *crew = crew_begin(where);
    crew_add(crew, follow_ticks, x);
    crew_add(crew, follow_ticks, x);
    crew_add(crew, tick, x);
    crew_end(crew);
}

/* ---- a thousand ---- */

#define CROWD (UNDER_SANITIZER ? 100u : 1000u)

static bool may_have_descriptors(rlim_t count) {
    struct rlimit limit;
    check_is(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_cur < count && limit.rlim_max >= count ? count : limit.rlim_cur;
    check_is(setrlimit(RLIMIT_NOFILE, &limit), 0);
    return limit.rlim_cur >= count;
}

static void a_thousand_subscribers_join_and_leave_while_a_topic_flows(void) {
    static ferry_receiver_t *rx[1000];
    static uint64_t next[1000];
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, NULL);
    unsigned count = may_have_descriptors(8 * CROWD) ? CROWD : 100;
    uint64_t sent = 0;
    for (unsigned i = 0; i < count; i++) {
        rx[i] = open_receiver(node, "t", FERRY_TOPIC, NULL);
        next[i] = sent;
        if (i % 10 == 9)
            send_number(tx, sent++);
    }
    for (unsigned i = 0; i < count; i += 50) { /* some leave, and others come in their place */
        close_receiver(rx[i]);
        send_number(tx, sent++);
        rx[i] = open_receiver(node, "t", FERRY_TOPIC, NULL);
        next[i] = sent;
        if (i % 200 == 0) /* nobody may be too far behind */
            for (unsigned k = 0; k < count; k++)
                while (next[k] < sent)
                    check_is(receive_number(rx[k]), next[k]++);
    }
    for (unsigned k = 0; k < count; k++) {
        while (next[k] < sent)
            check_is(receive_number(rx[k]), next[k]++);
        close_receiver(rx[k]);
    }
    close_sender(tx);
    close_node(node);
}

/* ---- at full speed ---- */

#define RUSH (UNDER_SANITIZER ? 20000 : 60000)
#define RUSH_LARGE 9000

typedef struct crowd {
    atomic_uint joined;
    atomic_uint next;
} crowd_t;

static size_t rush_size(uint64_t i) {
    return i % 16 == 15 ? RUSH_LARGE : 16 + i % 100;
}

static void rush(ferry_t *node, void *arg) {
    crowd_t *crowd = arg;
    static __thread unsigned char bytes[RUSH_LARGE];
    ferry_contract_t contract = {.quota = 4 << 20};
    ferry_sender_t *tx = open_sender(node, "rush", FERRY_TOPIC, &contract);
    await(&crowd->joined, 4);
    check_is(ferry_sender_wait(tx, 4, PATIENCE), 4);
    for (uint64_t i = 0; i < RUSH; i++) {
        fill(bytes, rush_size(i), i);
        check_is(ferry_send(tx, bytes, rush_size(i), PATIENCE), 0);
    }
    close_sender(tx);
}

static void watch_rush(ferry_t *node, void *arg) {
    crowd_t *crowd = arg;
    unsigned which = atomic_fetch_add(&crowd->next, 1);
    const ferry_receiver_options_t wishes[] = {
        {.wait = FERRY_WAIT_ADAPTIVE}, {.newest = FERRY_NEWEST_ONLY}, {.depth = 40}, {.may_lose = 1}};
    account_t account = {0};
    ferry_msg_t *m = NULL, *kept = NULL;
    uint64_t kept_number = 0;
    ferry_receiver_t *rx = open_receiver(node, "rush", FERRY_TOPIC, &wishes[which]);
    atomic_fetch_add(&crowd->joined, 1);
    int answer;
    while ((answer = ferry_recv(rx, PATIENCE, &m)) == 0) {
        take_into(&account, m);
        uint64_t number = account.last - 1;
        check_is(ferry_msg_size(m), rush_size(number));
        check(filled(ferry_msg_data(m), rush_size(number), number));
        if (which > 0 && account.came % 97 == 0) { /* hold one for a while: it must stay as it was sent */
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
    check(which > 0 || account.lost == 0);
    check_complete(&account, RUSH, rx);
    close_receiver(rx);
}

static void no_reader_sees_torn_bytes_of_a_writer_at_full_speed(where_t where) {
    crowd_t *crowd = share(sizeof *crowd);
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < 4; i++)
        crew_add(crew, watch_rush, crowd);
    crew_add(crew, rush, crowd);
    crew_end(crew);
}

int main(int argc, char **argv) {
    static const test_t tests[] = {
        TEST(a_receiver_of_the_newest_gets_it_and_is_told_what_it_passed_over),
        TEST(the_newest_of_each_sender_comes),
        TEST(what_the_newest_replaced_is_lost_when_the_sender_has_gone_too),
        TEST(a_receiver_keeps_as_many_of_the_newest_as_its_depth_says),
        TEST(a_depth_that_a_first_ring_could_not_hold_gets_a_larger_one),
        TEST(history_is_cut_to_the_depth),
        TEST(wishes_that_make_no_sense_are_refused),
        TEST(a_viewer_that_does_nothing_takes_no_quota_from_a_recorder),
        TEST(a_viewer_that_does_nothing_takes_no_capacity_from_a_recorder),
        TEST(every_tag_keeps_its_turn_and_comes_with_its_newest),
        TEST(a_reader_that_sleeps_finds_the_newest_of_each_of_5000_symbols),
        TEST(it_does_so_when_the_sender_has_gone),
        TEST(what_is_kept_for_it_counts_against_the_quota_and_goes_first),
        TEST(a_second_reader_by_tag_gets_what_came_after_it),
        TEST(small_tagged_messages_are_kept_too),
        TEST_BOTH(readers_by_tag_of_a_writer_at_full_speed_end_with_the_newest_of_all),
        TEST(a_thousand_subscribers_join_and_leave_while_a_topic_flows),
        TEST_BOTH(no_reader_sees_torn_bytes_of_a_writer_at_full_speed),
    };
    return run_suite("readers", tests, sizeof tests / sizeof *tests, argc, argv);
}
