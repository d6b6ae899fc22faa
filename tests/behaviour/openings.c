/* SPDX-License-Identifier: MIT
 *
 * openings.c - the first messages of many tags, while what is kept of them moves from table to table.
 */
#include <string.h>

#include "harness.h"

#define ROUNDS (UNDER_SANITIZER ? 30u : 150u)
#define TAGS 4500u /* more than the first two rings hold: what is kept is moved five times */

typedef struct market {
    atomic_uint round; /* that may begin */
} market_t;

static void quote(ferry_sender_t *tx, uint64_t tag) {
    ferry_msg_t *m = NULL;
    void *data;
    check_is(ferry_msg_new(tx, sizeof tag, PATIENCE, &data, &m), 0);
    memcpy(data, &tag, sizeof tag);
    check_is(ferry_msg_set_tag(m, tag), 0);
    check_is(ferry_send_msg(tx, m, PATIENCE), 0);
    release(m);
}

/* Each tag once, as fast as it goes. */
static void open_markets(ferry_t *node, void *arg) {
    market_t *market = arg;
    for (unsigned round = 1; round <= ROUNDS; round++) {
        await(&market->round, round);
        ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, NULL);
        check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
        for (uint64_t tag = 0; tag < TAGS; tag++)
            quote(tx, tag);
        close_sender(tx);
    }
}

static void take_each_once(ferry_receiver_t *rx) {
    static bool has[TAGS];
    ferry_msg_t *m = NULL;
    unsigned count = 0;
    int r;
    memset(has, 0, sizeof has);
    while ((r = ferry_recv(rx, PATIENCE, &m)) == 0) {
        uint64_t tag = number_in(m);
        check(tag < TAGS && !has[tag]);
        has[tag] = true;
        count++;
        release(m);
    }
    check_is(r, -EPIPE);
    check_is(count, TAGS);
}

static void a_reader_that_lags_misses_no_tag_of_many_new_ones(where_t where) {
    market_t *market = share(sizeof *market);
    crew_t *crew = crew_begin(where);
    crew_add(crew, open_markets, market);
    ferry_receiver_options_t options = {.newest = FERRY_NEWEST_PER_TAG};
    for (unsigned round = 1; round <= ROUNDS; round++) {
        ferry_receiver_t *rx = open_receiver(crew_node(crew), "t", FERRY_TOPIC, &options);
        atomic_store(&market->round, round);
        take_each_once(rx);
        close_receiver(rx);
    }
    crew_join(crew, 0);
    crew_end(crew);
}

int main(int argc, char **argv) {
    static const test_t tests[] = {
        TEST_BOTH(a_reader_that_lags_misses_no_tag_of_many_new_ones),
    };
    return run_suite("openings", tests, sizeof tests / sizeof *tests, argc, argv);
}
