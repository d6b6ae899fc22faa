/* SPDX-License-Identifier: MIT
 *
 * Ferry's queues, one each way, beside other ways to carry messages.
 */
#include <stdlib.h>

#include "bench/peers.h"

typedef struct end {
    bench_side_t *me;
    size_t size;
    ferry_sender_t *tx;
    ferry_receiver_t *rx;
} end_t;

static void *open_ends(const bench_wire_place_t *place) {
    static const char *const names[2] = {"to-0", "to-1"};
    bench_side_t *me = place->host;
    end_t *e = malloc(sizeof *e);
    int depth = bench_wire_depth(place->size);
    /* So many small ones may be more than a link holds by itself. */
    const ferry_contract_t contract = {.capacity = depth < BENCH_WIRE_MESSAGES ? (uint32_t)depth : 0};

    if (e == NULL)
        return NULL;
    *e = (end_t){.me = me, .size = place->size, .rx = bench_receiver(me, names[place->side], FERRY_QUEUE)};
    e->tx = bench_sender(me, names[1 - place->side], FERRY_QUEUE, &contract);
    return e;
}

static int join(void *end) {
    const end_t *e = end;

    bench_await(e->me, e->tx, 1);
    return 0;
}

static void *room(void *end) {
    const end_t *e = end;
    void *data = NULL;

    return ferry_claim(e->tx, e->size, BENCH_PATIENCE, &data) < 0 ? NULL : data;
}

static int commit(void *end) {
    const end_t *e = end;

    return ferry_commit(e->tx, e->size) < 0;
}

static int take(void *end, bench_got_fn *got, void *arg) {
    const end_t *e = end;
    ferry_msg_t *m = NULL;

    if (ferry_recv(e->rx, BENCH_PATIENCE, &m) < 0)
        return -1;
    int failed = got(arg, ferry_msg_data(m), ferry_msg_size(m));
    ferry_msg_release(m);
    return failed;
}

static void close_ends(void *end) {
    end_t *e = end;

    bench_close(e->me, e->tx, e->rx);
    free(e);
}

const bench_wire_t bench_wire_ferry = {open_ends, join, room, commit, take, close_ends};
