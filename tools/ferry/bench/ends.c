/* SPDX-License-Identifier: MIT
 *
 * The sides' ends, and slices: what every benchmark does in the same way.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench/clock.h"
#include "bench/payload.h"
#include "bench/sides.h"
#include "say.h"

ferry_sender_t *bench_sender(bench_side_t *me, const char *channel, ferry_kind_t kind,
                             const ferry_contract_t *contract) {
    ferry_contract_t asked = contract != NULL ? *contract : (ferry_contract_t){0};
    ferry_sender_t *tx = NULL;

    asked.wait = me->settings->wait;
    if (ferry_sender_open(bench_node(me), channel, kind, &asked, &tx) < 0)
        bench_fail(me, "cannot open a sender on %s: %s", channel, ferry_last_error());
    return tx;
}

ferry_receiver_t *bench_receiver(bench_side_t *me, const char *channel, ferry_kind_t kind) {
    ferry_receiver_options_t options = {.wait = me->settings->wait};
    ferry_receiver_t *rx = NULL;

    if (ferry_receiver_open(bench_node(me), channel, kind, &options, &rx) < 0)
        bench_fail(me, "cannot open a receiver on %s: %s", channel, ferry_last_error());
    return rx;
}

void bench_await(bench_side_t *me, ferry_sender_t *tx, unsigned receivers) {
    int linked = ferry_sender_wait(tx, receivers, BENCH_PATIENCE);

    if (linked < 0)
        bench_fail(me, "the receivers did not come: ferry_sender_wait answered %s: %s", strerror(-linked),
                   ferry_last_error());
}

uint64_t bench_take(bench_side_t *me, ferry_receiver_t *rx) {
    ferry_msg_t *m;
    uint64_t id;
    int failed = ferry_recv(rx, BENCH_PATIENCE, &m);

    if (failed < 0)
        bench_fail(me, "a message did not come: ferry_recv answered %s: %s", strerror(-failed), ferry_last_error());
    if (!bench_payload_check(ferry_msg_data(m), ferry_msg_size(m), &id))
        bench_fail(me, "a message of %zu bytes arrived damaged", ferry_msg_size(m));
    ferry_msg_release(m);
    return id;
}

void bench_close(bench_side_t *me, ferry_sender_t *tx, ferry_receiver_t *rx) {
    uint64_t undelivered = 0;
    int failed = tx != NULL ? ferry_sender_close(tx, BENCH_PATIENCE, &undelivered) : 0;

    if (failed < 0 || undelivered > 0)
        bench_fail(me, "closing a sender answered %s and left %llu messages: %s", strerror(-failed),
                   (unsigned long long)undelivered, ferry_last_error());
    failed = rx != NULL ? ferry_receiver_close(rx) : 0;
    if (failed != 0)
        bench_fail(me, "closing a receiver answered %d, where nothing was held: %s", failed, ferry_last_error());
}

unsigned char *bench_buffer(bench_side_t *me, size_t size) {
    size_t whole = (size + 63) / 64 * 64;
    unsigned char *buffer = aligned_alloc(64, whole);

    if (buffer == NULL)
        bench_fail(me, "there is no memory for a message of %zu bytes", size);
    memset(buffer, 0, whole);
    return buffer;
}

/* --- slices ------------------------------------------------------------------------------------------------------ */

/* Of the limit, and as much of Ferry; but no more than is measured. */
static int64_t warm_up_ns(int64_t total_ns) {
    static const int64_t most_ns = 150000000;

    return total_ns < most_ns ? total_ns : most_ns;
}

void bench_alternate(bench_side_t *me, int64_t total_ns, bench_slice_fn *limit, bench_slice_fn *ferry, void *side) {
    for (unsigned i = 0; i < 2 * (BENCH_SLICES + 1); i++) {
        bench_slice_t slice = {.number = i / 2, .ns = i < 2 ? warm_up_ns(total_ns) : total_ns / BENCH_SLICES};
        bench_meet(me);
        slice.until_ns = bench_now_ns() + slice.ns;
        (i % 2 == 0 ? limit : ferry)(side, &slice);
    }
    bench_meet(me);
}

int64_t bench_alternate_ns(int64_t total_ns) {
    return 2 * (total_ns + warm_up_ns(total_ns));
}

/* --- shared memory ----------------------------------------------------------------------------------------------- */

void *bench_share(size_t bytes) {
    /* Touched now, since a page fault in a measured loop would cost more than what is measured. */
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (memory == MAP_FAILED) {
        say("cannot get %zu bytes of memory: %s", bytes, strerror(errno));
        return NULL;
    }
    return memory;
}

void bench_unshare(void *memory, size_t bytes) {
    if (memory != NULL)
        munmap(memory, bytes);
}
