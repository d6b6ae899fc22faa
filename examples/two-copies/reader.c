/* SPDX-License-Identifier: MIT
 *
 * reader.c - the process that receives: it does what it is told and reports what it sees.
 */
#include "two_copies.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

typedef struct reading {
    ferry_receiver_t *pages, *orders;
    ferry_sender_t *seen;
    ferry_msg_t *page; /**< the message that is held */
    char first;        /**< its version when it was taken */
    order_t next;      /**< an order that arrived while watching; 0: none */
} reading_t;

static int next_order(reading_t *r, int64_t timeout) {
    uint32_t order;
    size_t size;
    int err = ferry_recv_into(r->orders, &order, sizeof(order), timeout, &size);
    if (err == 0) {
        r->next = (order_t)order;
    }
    return err;
}

static void look(reading_t *r, seen_t *seen) {
    seen->version = page_version(ferry_msg_data(r->page));
    seen->readings++;
    seen->broken += seen->version != r->first;
}

static int answer(reading_t *r, const seen_t *seen) {
    return ferry_send(r->seen, seen, sizeof(*seen), PATIENCE) < 0 ? failed("the reader: answering") : 0;
}

static int take(reading_t *r, seen_t *seen) {
    if (ferry_recv(r->pages, PATIENCE, &r->page) < 0) {
        return failed("the reader: receiving the message");
    }
    r->first = page_version(ferry_msg_data(r->page));
    look(r, seen);
    return place_of(r->page, &seen->place);
}

/** Reads until the next order is there. Answers at once too: the editor starts to write when it hears so. */
static int watch(reading_t *r, seen_t *seen) {
    look(r, seen);
    if (answer(r, seen) < 0) {
        return -1;
    }
    int err;
    while ((err = next_order(r, FERRY_NOW)) == -EAGAIN) {
        look(r, seen);
    }
    return err == 0 ? 0 : failed("the reader: waiting for an order");
}

/** Does all orders up to the end. */
static int obey(reading_t *r) {
    for (;;) {
        seen_t seen = {0};
        if (next_order(r, PATIENCE) < 0) {
            return failed("the reader: waiting for an order");
        }
        if (r->next == ORDER_END) {
            return 0;
        }
        if (r->next == ORDER_TAKE && take(r, &seen) < 0) {
            return -1;
        }
        if (r->next == ORDER_WATCH && watch(r, &seen) < 0) {
            return -1; /* what comes after watching is an order to look: its answer has the readings of both */
        }
        if (r->next == ORDER_LOOK || r->next == ORDER_RELEASE) {
            look(r, &seen);
            if (place_of(r->page, &seen.place) < 0) {
                return -1;
            }
        }
        if (r->next == ORDER_RELEASE) {
            ferry_msg_release(r->page);
            r->page = NULL;
        }
        if (answer(r, &seen) < 0) {
            return -1;
        }
    }
}

int reader(const char *space) {
    ferry_t *node;
    reading_t r = {0};
    ferry_options_t options = {.name = "reader"};
    if (ferry_open(space, &options, &node) < 0) {
        failed("the reader: opening the space");
        return 1;
    }
    int err = 0;
    if (ferry_receiver_open(node, "orders", FERRY_QUEUE, NULL, &r.orders) < 0 ||
        ferry_receiver_open(node, "pages", FERRY_QUEUE, NULL, &r.pages) < 0 ||
        ferry_sender_open(node, "seen", FERRY_QUEUE, NULL, &r.seen) < 0) {
        err = failed("the reader: opening its ends");
    }
    if (err == 0) {
        err = obey(&r);
    }
    if (err == 0) {
        ferry_sender_close(r.seen, PATIENCE, NULL);
        ferry_receiver_close(r.pages);
        ferry_receiver_close(r.orders);
    }
    ferry_close(node);
    return err == 0 ? 0 : 1;
}
