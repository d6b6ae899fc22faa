/* SPDX-License-Identifier: MIT
 *
 * order_book.c - prices of 5,000 symbols to an archive that wants every one, and to a screen that is far too slow.
 *
 * One topic serves both.  The screen asks for the newest price of each symbol (FERRY_NEWEST_PER_TAG; a price's tag is
 * its symbol): whenever it looks, it finds one message for each symbol that has moved since, however long that is.  It
 * never holds the exchange up.  The archive gets everything, and may hold it up.  At the end the screen's book must be
 * the exchange's, and what it lost and what it saw must be all there was.
 */
#include <errno.h>
#include <ferry/ferry.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SYMBOLS 5000u
#define TRADES 200000u
#define READERS 2u

typedef struct trade {
    uint64_t number; /* from 1 */
    uint32_t symbol;
    uint32_t cents;
} trade_t;

static const int64_t minute = (int64_t)60 * 1000 * 1000 * 1000;
static const ferry_contract_t prices = {.type_name = "trade", .type_size = sizeof(trade_t)};

static int failed(const char *what) {
    fprintf(stderr, "order-book: %s: %s\n", what, ferry_last_error());
    return -1;
}

/** Every symbol opens; then trade goes on in a few of them for the most part. */
static trade_t trade_number(uint64_t number) {
    uint64_t dice = number * 0x9e3779b97f4a7c15u;
    uint32_t busy = dice >> 61 != 0 ? 50 : SYMBOLS;
    return (trade_t){.number = number,
                     .symbol = (uint32_t)(number <= SYMBOLS ? number - 1 : (dice >> 20) % busy),
                     .cents = (uint32_t)(dice >> 40) % 100000};
}

static int publish(ferry_sender_t *tx, const trade_t *trade) {
    ferry_msg_t *m;
    void *data;
    if (ferry_msg_new(tx, sizeof *trade, minute, &data, &m) < 0) {
        return failed("the exchange: memory for a price");
    }
    memcpy(data, trade, sizeof *trade);
    ferry_msg_set_tag(m, trade->symbol);
    int r = ferry_send_msg(tx, m, minute);
    ferry_msg_release(m);
    return r < 0 ? failed("the exchange: sending a price") : 0;
}

static int exchange(ferry_t *node) {
    ferry_sender_t *tx;
    if (ferry_sender_open(node, "prices", FERRY_TOPIC, &prices, &tx) < 0 ||
        ferry_sender_wait(tx, READERS, minute) < 0) {
        return failed("the exchange: waiting for its readers");
    }
    for (uint64_t number = 1; number <= TRADES; number++) {
        trade_t trade = trade_number(number);
        if (publish(tx, &trade) < 0) {
            return -1;
        }
    }
    printf("exchange: %u trades in %u symbols\n", TRADES, SYMBOLS);
    fflush(stdout);
    return ferry_sender_close(tx, minute, NULL) < 0 ? failed("the exchange: closing") : 0;
}

/** Writes every trade down, in order. */
static int archive(ferry_t *node) {
    ferry_receiver_options_t options = {.contract = &prices};
    ferry_receiver_t *rx;
    uint64_t last = 0;
    trade_t trade;
    size_t len;
    int r;
    if (ferry_receiver_open(node, "prices", FERRY_TOPIC, &options, &rx) < 0) {
        return failed("the archive: opening");
    }
    while ((r = ferry_recv_into(rx, &trade, sizeof trade, minute, &len)) == 0 && trade.number == last + 1) {
        last = trade.number;
    }
    ferry_receiver_close(rx);
    printf("archive: has %" PRIu64 " trades\n", last);
    return r == -EPIPE && last == TRADES ? 0 : failed("the archive: a trade is missing");
}

/** Is every symbol's price the last one of all? */
static int is_the_exchanges(const trade_t *book) {
    trade_t *last = calloc(SYMBOLS, sizeof *last);
    for (uint64_t number = 1; last && number <= TRADES; number++) {
        trade_t trade = trade_number(number);
        last[trade.symbol] = trade;
    }
    int same = last && memcmp(last, book, SYMBOLS * sizeof *book) == 0;
    free(last);
    return same;
}

/** Draws at most a hundred prices in a millisecond. */
static int screen(ferry_t *node) {
    static trade_t book[SYMBOLS];
    ferry_receiver_options_t options = {.contract = &prices, .newest = FERRY_NEWEST_PER_TAG};
    ferry_receiver_stats_t stats = {0};
    ferry_receiver_t *rx;
    trade_t trade;
    size_t len;
    int r;
    if (ferry_receiver_open(node, "prices", FERRY_TOPIC, &options, &rx) < 0) {
        return failed("the screen: opening");
    }
    for (unsigned drawn = 1; (r = ferry_recv_into(rx, &trade, sizeof trade, minute, &len)) == 0; drawn++) {
        book[trade.symbol] = trade; /* its newest: prices of one symbol never come out of order */
        if (drawn % 100 == 0) {
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        }
    }
    ferry_receiver_stats(rx, &stats);
    ferry_receiver_close(rx);
    int same = is_the_exchanges(book);
    printf("screen: drew %" PRIu64 ", was spared %" PRIu64 ", its book is %sthe exchange's\n", stats.messages,
           stats.lost, same ? "" : "NOT ");
    return r == -EPIPE && same && stats.messages + stats.lost == TRADES ? 0 : -1;
}

static int run(unsigned number) {
    static int (*const parts[])(ferry_t *) = {exchange, archive, screen};
    ferry_t *node;
    if (ferry_open("demo", NULL, &node) < 0) {
        return failed("opening the space");
    }
    int r = parts[number](node);
    ferry_close(node);
    fflush(stdout);
    return r;
}

int main(void) {
    pid_t parent = getpid();
    pid_t children[READERS + 1];
    int result = 0;
    for (unsigned i = 0; i <= READERS; i++) {
        children[i] = fork(); /* first fork, then open: a node belongs to one process */
        if (children[i] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            _exit(getppid() == parent && run(i) == 0 ? 0 : 1);
        }
        if (children[i] < 0) {
            perror("order-book: fork");
            return 1;
        }
    }
    for (unsigned left = READERS + 1; left > 0; left--) {
        int status = 0;
        pid_t pid = waitpid(-1, &status, 0);
        for (unsigned i = 0; i <= READERS; i++) {
            children[i] = children[i] == pid ? 0 : children[i];
            if (status != 0 && children[i] > 0) {
                kill(children[i], SIGTERM); /* it may wait for the one that failed */
            }
        }
        result = status != 0 ? 1 : result;
    }
    return result;
}
