/* SPDX-License-Identifier: MIT
 *
 * queue.c - the same with a queue of Ferry.
 *
 * There is nothing to lock and nothing to count: an item lies in its producer's memory until a consumer has it, the
 * producer waits while that has no place, and the end of all producers is told as -EPIPE.  If a consumer were killed,
 * its item would go to another one.
 */
#include "bounded_buffer.h"

#include <errno.h>

struct end {
    ferry_sender_t *tx;   /**< NULL: a consumer */
    ferry_receiver_t *rx; /**< NULL: a producer */
};

static end_t the_end; /* a member is a process and has one */

static int open_end(end_t **end, ferry_t *node, const job_t *job, bool producer) {
    /* As many places as the ring has, but each producer has its own part of them. */
    uint32_t places = job->slots / job->producers > 0 ? job->slots / job->producers : 1;
    ferry_contract_t contract = {.type_name = "item", .type_size = sizeof(item_t), .capacity = places};
    ferry_receiver_options_t options = {.contract = &contract};
    int r = producer ? ferry_sender_open(node, "items", FERRY_QUEUE, &contract, &the_end.tx)
                     : ferry_receiver_open(node, "items", FERRY_QUEUE, &options, &the_end.rx);
    *end = &the_end;
    return r < 0 ? crew_failed("opening the queue") : 0;
}

static int put(end_t *e, const item_t *item) {
    return ferry_send(e->tx, item, sizeof(*item), CREW_PATIENCE) < 0 ? crew_failed("sending an item") : 0;
}

static int take(end_t *e, item_t *item) {
    size_t size;
    int r = ferry_recv_into(e->rx, item, sizeof(*item), CREW_PATIENCE, &size);
    if (r == -EPIPE) {
        return 1;
    }
    return r < 0 ? crew_failed("receiving an item") : 0;
}

static int close_end(end_t *e) {
    /* The sender waits until all of its items have arrived. Whichever of the two is NULL was never opened. */
    if (ferry_sender_close(e->tx, CREW_PATIENCE, NULL) < 0 || ferry_receiver_close(e->rx) < 0) {
        return crew_failed("closing the queue");
    }
    return 0;
}

const way_t queue = {.name = "queue", .open = open_end, .put = put, .take = take, .close = close_end};
