/* SPDX-License-Identifier: MIT
 *
 * ferry bench buffer: producers put items into a bounded buffer that stands in a region, consumers take them out.
 *
 * Every item differs, is read whole and checked. Items of one producer come in order, and when it ends every item has
 * been taken exactly once.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "bench/clock.h"
#include "bench/items.h"
#include "bench/object.h"
#include "bench/parts.h"
#include "bench/payload.h"
#include "say.h"

enum { BURST = 64, WAYS = BENCH_LIMIT + 1 };

/* What one side did with one of the buffers; on lines of its own. */
typedef struct tally {
    _Alignas(128) uint64_t items; /* put or taken, all */
    uint64_t sum;                 /* of their numbers */
    uint64_t in_slice;            /* taken in the latest slice */
    uint64_t rated;               /* taken in slices that count */
    int64_t from_ns, to_ns;       /* when the latest slice was */
} tally_t;

typedef struct shared {
    unsigned consumers, producers;
    bench_items_t *items;                 /* the counterpart; told before the fork, as these numbers are */
    _Alignas(128) _Atomic unsigned ended; /* producers, in this slice */
    bench_series_t alone_per_s, per_s[WAYS];
    tally_t tally[WAYS][BENCH_MAX_PARTIES];
} shared_t;

typedef struct side {
    bench_side_t *me;
    shared_t *shared;
    ferry_region_t *region;
    void *buffer[WAYS];
    unsigned char *item;
    size_t size;
    uint64_t count;                       /* items put, into either buffer */
    uint64_t last[BENCH_MAX_PARTIES + 1]; /* taken of each producer, from either buffer */
} side_t;

/* --- the calls --------------------------------------------------------------------------------------------------- */

static int buffer_put(void *buffer, const void *data, size_t size) {
    return ferry_buffer_put(buffer, data, size, BENCH_PATIENCE);
}

static int buffer_get(void *buffer, void *to, size_t size) {
    size_t len = 0;
    int failed = ferry_buffer_get(buffer, to, size, BENCH_PATIENCE, &len);

    return failed == 0 && len != size ? -EBADMSG : failed;
}

static const struct {
    bench_item_put_fn *put;
    bench_item_get_fn *get;
} calls[WAYS] = {[BENCH_FERRY] = {buffer_put, buffer_get}, [BENCH_LIMIT] = {bench_items_put, bench_items_get}};

static void put(side_t *side, bench_way_t way, uint64_t flag) {
    tally_t *tally = &side->shared->tally[way][side->me->index];
    uint64_t id = bench_id(side->me->index, ++side->count) | flag;

    bench_payload_fill(side->item, side->size, id);
    int failed = calls[way].put(side->buffer[way], side->item, side->size);
    if (failed != 0)
        bench_object_failed(side->me, way, failed);
    tally->items++;
    tally->sum += id;
}

/* False: it says that the slice has ended. */
static bool get(side_t *side, bench_way_t way) {
    tally_t *tally = &side->shared->tally[way][side->me->index];
    uint64_t id;
    int failed = calls[way].get(side->buffer[way], side->item, side->size);

    if (failed != 0)
        bench_object_failed(side->me, way, failed);
    if (!bench_payload_check(side->item, side->size, &id) || bench_id_sender(id) >= BENCH_MAX_PARTIES)
        bench_fail(side->me, "an item came out of %s buffer damaged",
                   way == BENCH_FERRY ? "Ferry's" : "the C library's");
    uint64_t *last = &side->last[bench_id_sender(id)];
    if ((id & BENCH_ID_COUNT) <= *last)
        bench_fail(side->me, "item %llu of producer %u came after item %llu", (unsigned long long)(id & BENCH_ID_COUNT),
                   bench_id_sender(id), (unsigned long long)*last);
    *last = id & BENCH_ID_COUNT;
    tally->items++;
    tally->sum += id;
    return (id & BENCH_ID_LAST) == 0;
}

/* --- slices ------------------------------------------------------------------------------------------------------ */

/* The last producer to end tells every consumer: what it puts comes out after all that was put before. */
static void produce(side_t *side, bench_way_t way, int64_t until_ns) {
    shared_t *shared = side->shared;

    do {
        for (unsigned i = 0; i < BURST; i++)
            put(side, way, 0);
    } while (bench_now_ns() < until_ns);
    if (atomic_fetch_add(&shared->ended, 1) + 1 < shared->producers)
        return;
    atomic_store(&shared->ended, 0);
    for (unsigned i = 0; i < shared->consumers; i++)
        put(side, way, BENCH_ID_LAST);
}

static void consume(side_t *side, bench_way_t way, const bench_slice_t *slice) {
    tally_t *tally = &side->shared->tally[way][side->me->index];
    uint64_t before = tally->items;

    tally->from_ns = bench_now_ns();
    while (get(side, way)) {
    }
    tally->to_ns = bench_now_ns();
    tally->in_slice = tally->items - before;
    if (slice->number > 0)
        tally->rated += tally->in_slice;
}

/* Consumers' rates of a slice are added up over the time from the first one's beginning to the last one's end. */
static void keep_rate(shared_t *shared, bench_way_t way) {
    const tally_t *tally = shared->tally[way];
    int64_t from_ns = tally[0].from_ns;
    int64_t to_ns = tally[0].to_ns;
    uint64_t items = 0;

    for (unsigned i = 0; i < shared->consumers; i++) {
        items += tally[i].in_slice;
        from_ns = tally[i].from_ns < from_ns ? tally[i].from_ns : from_ns;
        to_ns = tally[i].to_ns > to_ns ? tally[i].to_ns : to_ns;
    }
    bench_series_add(&shared->per_s[way], (double)items * 1e9 / (double)(to_ns - from_ns));
}

static void run_way(side_t *side, bench_way_t way, const bench_slice_t *slice) {
    if (side->me->index < side->shared->consumers)
        consume(side, way, slice);
    else
        produce(side, way, slice->until_ns);
    bench_meet(side->me);
    if (side->me->index == 0 && slice->number > 0)
        keep_rate(side->shared, way);
}

/* What moves only when the machine does: the first side puts and takes by itself, and all others sleep. */
static void alone(side_t *side, const bench_slice_t *slice) {
    tally_t *tally = &side->shared->tally[BENCH_LIMIT][0];
    const tally_t kept = *tally;
    int64_t from_ns = bench_now_ns();
    uint64_t items = 0;

    do {
        for (unsigned i = 0; i < BURST; i++, items++) {
            put(side, BENCH_LIMIT, 0);
            get(side, BENCH_LIMIT);
        }
    } while (bench_now_ns() < from_ns + slice->ns / 8);
    if (slice->number > 0)
        bench_series_add(&side->shared->alone_per_s, (double)items * 1e9 / (double)(bench_now_ns() - from_ns));
    *tally = kept;
}

static void limit_slice(void *arg, const bench_slice_t *slice) {
    side_t *side = arg;
    bench_slice_t rest = *slice;

    if (side->me->index == 0)
        alone(side, slice);
    bench_meet(side->me);
    rest.until_ns += slice->ns / 8;
    run_way(side, BENCH_LIMIT, &rest);
}

static void ferry_slice(void *arg, const bench_slice_t *slice) {
    run_way(arg, BENCH_FERRY, slice);
}

/* --- sides ------------------------------------------------------------------------------------------------------- */

static void open_buffer(side_t *side) {
    const bench_settings_t *s = side->me->settings;
    const ferry_region_options_t options = {.type_name = "buffer", .type_size = sizeof(ferry_ref_t), .wait = s->wait};
    const ferry_sync_options_t waits = bench_object_options(side->me);
    uint64_t bytes = (UINT64_C(1) << 20) + (uint64_t)s->slots * (s->size + 64);
    ferry_buffer_t *buffer = NULL;

    if (ferry_region_open(bench_node(side->me), "items", bytes, &options, &side->region) < 0)
        bench_fail(side->me, "cannot open a region: %s", ferry_last_error());
    ferry_ref_t *place = ferry_region_root(side->region);
    if (ferry_buffer_open(side->region, place, s->slots, s->size, &waits, &buffer) < 0)
        bench_fail(side->me, "cannot open a buffer: %s", ferry_last_error());
    side->buffer[BENCH_FERRY] = buffer;
}

static void close_buffer(side_t *side) {
    int64_t left = ferry_buffer_count(side->buffer[BENCH_FERRY]);

    if (left != 0)
        bench_fail(side->me, "when all was taken, ferry_buffer_count answered %lld", (long long)left);
    bench_meet(side->me);
    int failed = ferry_buffer_close(side->buffer[BENCH_FERRY]);
    if (failed == 0)
        failed = ferry_region_close(side->region);
    if (failed != 0)
        bench_object_failed(side->me, BENCH_FERRY, failed);
}

static void run_side(bench_side_t *me) {
    side_t side = {.me = me, .shared = me->shared, .size = me->settings->size};

    side.item = bench_buffer(me, side.size);
    side.buffer[BENCH_LIMIT] = side.shared->items;
    open_buffer(&side);
    bench_alternate(me, me->settings->measure_ns, limit_slice, ferry_slice, &side);
    close_buffer(&side);
    free(side.item);
}

/* --- the run ----------------------------------------------------------------------------------------------------- */

typedef struct result {
    bench_quality_t quality;
    double per_s[WAYS];
    double smallest_share[WAYS]; /* of what was taken, by one consumer */
} result_t;

/* What was put was taken: as many, and the same ones. */
static bool is_complete(const shared_t *shared, bench_way_t way) {
    const tally_t *tally = shared->tally[way];
    tally_t put = {0};
    tally_t taken = {0};

    for (unsigned i = 0; i < shared->consumers + shared->producers; i++) {
        tally_t *to = i < shared->consumers ? &taken : &put;
        to->items += tally[i].items;
        to->sum += tally[i].sum;
    }
    if (put.items == taken.items && put.sum == taken.sum)
        return true;
    say("buffer: %llu items were put into %s buffer, and %llu taken out%s", (unsigned long long)put.items,
        way == BENCH_FERRY ? "Ferry's" : "the C library's", (unsigned long long)taken.items,
        put.items == taken.items ? ", but not the same ones" : "");
    return false;
}

static double smallest_share(const shared_t *shared, bench_way_t way) {
    uint64_t least = UINT64_MAX;
    uint64_t total = 0;

    for (unsigned i = 0; i < shared->consumers; i++) {
        uint64_t rated = shared->tally[way][i].rated;
        least = rated < least ? rated : least;
        total += rated;
    }
    return (double)least / (double)total;
}

static int tell(const shared_t *shared, result_t *result) {
    for (unsigned way = 0; way < WAYS; way++) {
        if (!is_complete(shared, way))
            return 1;
        result->per_s[way] = bench_series_median(&shared->per_s[way]);
        result->smallest_share[way] = smallest_share(shared, way);
    }
    result->quality.spread = bench_series_spread(&shared->alone_per_s);
    return 0;
}

static int once(const void *arg, void *out) {
    const bench_settings_t *s = arg;
    size_t bytes = sizeof(bench_items_t) + (size_t)s->slots * s->size;
    shared_t *shared = bench_share(sizeof *shared);
    bench_items_t *items = bench_share(bytes);
    int failed = 1;

    if (shared != NULL && items != NULL) {
        bench_items_make(items, s->slots, s->size);
        shared->items = items;
        shared->producers = s->parties / 2;
        shared->consumers = s->parties - shared->producers;
        bench_job_t job = {.settings = s, .run = run_side, .sides = s->parties, .shared = shared};
        job.takers = shared->consumers;
        job.expected_ns = 2 * bench_alternate_ns(s->measure_ns);
        failed = bench_sides_run(&job);
        if (failed == 0)
            failed = tell(shared, out);
    }
    bench_unshare(items, bytes);
    bench_unshare(shared, sizeof *shared);
    return failed;
}

/* --- the report -------------------------------------------------------------------------------------------------- */

static void target(bench_report_t *report, const bench_row_t *row, const bench_settings_t *s) {
    int cpus[BENCH_MAX_PARTIES];

    if (s->pin == BENCH_PIN_TOGETHER)
        return;
    if (bench_processors(cpus, s->parties) < s->parties)
        bench_report_target(report, row, "ratio", false, 1);
    else if (s->parties == 2)
        bench_report_target(report, row, "ratio", false, 0.5);
}

static int measure(const bench_settings_t *s, bench_report_t *report) {
    result_t r;
    bench_row_t row = {0};

    if (bench_repeat("buffer", once, s, &r, sizeof r) != 0)
        return 1;
    bench_object_row(&row, "buffer", NULL, s);
    bench_row_add(&row, "producers", "producers", BENCH_NUMBER, s->parties / 2);
    bench_row_add(&row, "consumers", "consumers", BENCH_NUMBER, s->parties - s->parties / 2);
    bench_row_add(&row, "size", "size", BENCH_BYTES, (double)s->size);
    bench_row_add(&row, "slots", "slots", BENCH_NUMBER, s->slots);
    bench_row_add(&row, "items_per_s", "items", BENCH_PER_SECOND, r.per_s[BENCH_FERRY]);
    bench_row_add(&row, "smallest_share", "least share", BENCH_RATIO, r.smallest_share[BENCH_FERRY]);
    bench_row_text(&row, "limit_name", NULL, "a ring with pthread_mutex_t and pthread_cond_t, process-shared");
    bench_row_add(&row, "limit_items_per_s", "libc", BENCH_PER_SECOND, r.per_s[BENCH_LIMIT]);
    bench_row_add(&row, "limit_smallest_share", "least share", BENCH_RATIO, r.smallest_share[BENCH_LIMIT]);
    bench_row_add(&row, "ratio", "ratio", BENCH_RATIO, r.per_s[BENCH_FERRY] / r.per_s[BENCH_LIMIT]);
    bench_row_quality(&row, &r.quality);
    bench_report_row(report, &row);
    target(report, &row, s);
    return 0;
}

int bench_bounded(const bench_settings_t *settings, bench_report_t *report) {
    bench_settings_t s = *settings;

    if (s.parties != 0)
        return measure(&s, report);
    s.parties = 2;
    if (measure(&s, report) != 0)
        return 1;
    s.parties = 8; /* more than most machines have processors */
    return measure(&s, report);
}
