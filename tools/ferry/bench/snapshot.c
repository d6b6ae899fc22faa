/* SPDX-License-Identifier: MIT
 *
 * ferry bench snapshot: a writer changes some of a published region, says so, and publishes; a reader in another
 * process views each version it gets, and releases it. The limit is a memcpy of the whole, by the same writer, of the
 * same contents.
 *
 * The reader looks at some of each version. In a run of its own it verifies all of it, and goes on reading while the
 * limit is measured, so that the memory is as busy then.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/clock.h"
#include "bench/contents.h"
#include "bench/object.h"
#include "bench/parts.h"
#include "say.h"

enum { READER, WRITER };
enum { TIMES = 1024, SAMPLES = 1 << 20, LARGE = 1 << 30 };

/* When a version was about to be published. Written again TIMES versions later, which shows in `version`. */
typedef struct published {
    _Atomic uint64_t version;
    _Atomic int64_t at_ns;
} published_t;

typedef struct shared {
    bench_series_t limit_ns, publish_ns, touch_ns;
    ferry_region_writer_stats_t before, after; /* the slices that count */
    double seen_ns;
    double viewed;                       /* versions */
    _Alignas(128) _Atomic uint64_t last; /* version of this slice; 0: more will come */
    published_t published[TIMES];
} shared_t;

typedef struct writer {
    bench_side_t *me;
    shared_t *shared;
    ferry_region_writer_t *region;
    size_t size;
    bench_contents_t contents; /* the region's */
    bench_contents_t plain;    /* the limit's */
    unsigned char *copy;       /* and where it copies them to */
} writer_t;

typedef struct reader {
    bench_side_t *me;
    shared_t *shared;
    ferry_region_reader_t *region;
    bench_contents_t contents;
    bool verifies;
    uint64_t version; /* seen last */
    uint64_t viewed;
    uint32_t *sample; /* nanoseconds until a version was seen */
    size_t samples;
} reader_t;

static void must(bench_side_t *me, const char *what, int result) {
    if (result < 0)
        bench_fail(me, "%s answered %s: %s", what, strerror(-result), ferry_last_error());
}

/* Changing all of a large region, and making its first buffer, takes seconds. */
static int64_t patience(const bench_settings_t *s) {
    return BENCH_PATIENCE + 20 * (int64_t)s->size;
}

static bench_contents_t contents_of(const bench_settings_t *s) {
    return bench_contents(s->size, s->scatter == BENCH_SCATTER_ITEM ? BENCH_UNIT_ITEM : BENCH_UNIT_PAGE, s->dirty);
}

/* --- the writer -------------------------------------------------------------------------------------------------- */

/* Says what the next version changes: the header, and each unit by itself, or all that follows. */
static void touch(writer_t *w) {
    const bench_contents_t *c = &w->contents;
    int failed = ferry_region_touch(w->region, c->data, BENCH_UNIT_ITEM);

    if (c->changed == c->units)
        failed |= ferry_region_touch(w->region, bench_unit_at(c, 0), c->units * c->unit);
    for (uint64_t i = 0; i < c->changed && c->changed < c->units; i++)
        failed |= ferry_region_touch(w->region, bench_unit_at(c, c->order[i]), c->unit);
    must(w->me, "ferry_region_touch", failed);
}

static void publish(writer_t *w) {
    published_t *published = &w->shared->published[w->contents.version % TIMES];
    uint64_t version = 0;

    atomic_store(&published->version, 0);
    atomic_store(&published->at_ns, bench_now_ns());
    atomic_store(&published->version, w->contents.version);
    must(w->me, "ferry_region_publish", ferry_region_publish(w->region, patience(w->me->settings), &version));
    if (version != w->contents.version)
        bench_fail(w->me, "version %llu was published as version %llu", (unsigned long long)w->contents.version,
                   (unsigned long long)version);
}

/* Publishes until `until_ns`, and so often at least. */
static void publish_slice(writer_t *w, const bench_slice_t *slice, unsigned least) {
    int64_t touch_ns = 0;
    int64_t publish_ns = 0;
    unsigned n = 0;

    do {
        bench_contents_change(&w->contents);
        int64_t from_ns = bench_now_ns();
        touch(w);
        int64_t touched_ns = bench_now_ns();
        publish(w);
        publish_ns += bench_now_ns() - touched_ns;
        touch_ns += touched_ns - from_ns;
        n++;
    } while (bench_now_ns() < slice->until_ns || n < least);
    if (slice->number > 0) {
        bench_series_add(&w->shared->touch_ns, (double)touch_ns / n);
        bench_series_add(&w->shared->publish_ns, (double)publish_ns / n);
    }
}

/* One more version, after which the reader ends its slice. */
static void publish_last(writer_t *w) {
    bench_contents_change(&w->contents);
    touch(w);
    atomic_store(&w->shared->last, w->contents.version);
    publish(w);
}

static void copy_slice(void *arg, const bench_slice_t *slice) {
    writer_t *w = arg;
    int64_t copy_ns = 0;
    unsigned n = 0;

    do {
        bench_contents_change(&w->plain);
        int64_t from_ns = bench_now_ns();
        memcpy(w->copy, w->plain.data, w->size);
        copy_ns += bench_now_ns() - from_ns;
        n++;
    } while (bench_now_ns() < slice->until_ns);
    if (!bench_contents_verify(&w->plain, w->copy, w->plain.version))
        bench_fail(w->me, "memcpy has made a wrong copy");
    if (slice->number > 0)
        bench_series_add(&w->shared->limit_ns, (double)copy_ns / n);
}

static void write_slice(void *arg, const bench_slice_t *slice) {
    writer_t *w = arg;

    if (slice->number == 1)
        ferry_region_writer_stats(w->region, &w->shared->before);
    publish_slice(w, slice, 1);
    publish_last(w);
}

static void open_writer(writer_t *w) {
    const ferry_region_writer_options_t options = {.type_name = "units", .wait = w->me->settings->wait};

    must(w->me, "ferry_region_writer_open",
         ferry_region_writer_open(bench_node(w->me), "snapshot", w->size, &options, &w->region));
    w->contents = contents_of(w->me->settings);
    w->plain = w->contents;
    w->copy = bench_buffer(w->me, w->size);
    if (!bench_contents_make(&w->contents, ferry_region_writer_data(w->region)) ||
        !bench_contents_make(&w->plain, bench_buffer(w->me, w->size)))
        bench_fail(w->me, "there is no memory left");
    must(w->me, "ferry_region_touch", ferry_region_touch(w->region, w->contents.data, w->size));
}

static void run_writer(bench_side_t *me) {
    writer_t w = {.me = me, .shared = me->shared, .size = me->settings->size};
    const bench_slice_t none = {0};

    open_writer(&w);
    bench_meet(me);
    publish_slice(&w, &none, 4); /* so often that all buffers which will be needed are there */
    publish_last(&w);
    bench_alternate(me, me->settings->measure_ns, copy_slice, write_slice, &w);
    ferry_region_writer_stats(w.region, &w.shared->after);
    must(me, "ferry_region_writer_close", ferry_region_writer_close(w.region));
    free(w.copy);
    free(w.plain.data);
    free(w.plain.order);
    free(w.contents.order);
}

/* --- the reader -------------------------------------------------------------------------------------------------- */

static void check(reader_t *r, const ferry_region_view_t *view) {
    const unsigned char *data = ferry_view_data(view);
    uint64_t version = ferry_view_version(view);
    bool good = r->verifies ? bench_contents_verify(&r->contents, data, version)
                            : bench_contents_look(&r->contents, data, version);

    if (!good || ferry_view_size(view) != r->me->settings->size)
        bench_fail(r->me, "a view of version %llu has other bytes than were published", (unsigned long long)version);
}

/* How long it took from the call that published until here, if that can still be told. */
static void note(reader_t *r) {
    const published_t *published = &r->shared->published[r->version % TIMES];
    int64_t now_ns = bench_now_ns();
    int64_t ns = now_ns - atomic_load(&published->at_ns);

    if (atomic_load(&published->version) == r->version && r->samples < SAMPLES)
        r->sample[r->samples++] = ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
}

static void view_next(reader_t *r, bool noted) {
    ferry_region_view_t *view = NULL;

    must(r->me, "ferry_region_wait", ferry_region_wait(r->region, r->version, patience(r->me->settings)));
    must(r->me, "ferry_region_view", ferry_region_view(r->region, BENCH_PATIENCE, &view));
    if (ferry_view_version(view) <= r->version)
        bench_fail(r->me, "version %llu came after version %llu", (unsigned long long)ferry_view_version(view),
                   (unsigned long long)r->version);
    r->version = ferry_view_version(view);
    if (noted) {
        note(r);
        r->viewed++;
    }
    check(r, view);
    must(r->me, "ferry_view_release", ferry_view_release(view));
}

static void read_slice(void *arg, const bench_slice_t *slice) {
    reader_t *r = arg;
    uint64_t last;

    do {
        view_next(r, slice->number > 0);
        last = atomic_load(&r->shared->last);
    } while (last == 0 || r->version < last);
    atomic_store(&r->shared->last, 0);
}

static void reread_slice(void *arg, const bench_slice_t *slice) {
    reader_t *r = arg;
    ferry_region_view_t *view = NULL;

    if (!r->verifies)
        return;
    must(r->me, "ferry_region_view", ferry_region_view(r->region, BENCH_PATIENCE, &view));
    do
        check(r, view);
    while (bench_now_ns() < slice->until_ns);
    must(r->me, "ferry_view_release", ferry_view_release(view));
}

static void run_reader(bench_side_t *me) {
    const ferry_region_reader_options_t options = {
        .type_name = "units", .bytes = me->settings->size, .wait = me->settings->wait};
    reader_t r = {.me = me, .shared = me->shared, .verifies = me->settings->verify};
    const bench_slice_t none = {0};

    r.contents = contents_of(me->settings);
    r.sample = calloc(SAMPLES, sizeof *r.sample);
    if (r.sample == NULL)
        bench_fail(me, "there is no memory left");
    must(me, "ferry_region_reader_open", ferry_region_reader_open(bench_node(me), "snapshot", &options, &r.region));
    bench_meet(me);
    read_slice(&r, &none);
    bench_alternate(me, me->settings->measure_ns, reread_slice, read_slice, &r);
    r.shared->seen_ns = bench_percentile(r.sample, r.samples, 500);
    r.shared->viewed = (double)r.viewed;
    must(me, "ferry_region_reader_close", ferry_region_reader_close(r.region));
    free(r.sample);
}

static void run_side(bench_side_t *me) {
    if (me->index == READER)
        run_reader(me);
    else
        run_writer(me);
}

/* --- the run ----------------------------------------------------------------------------------------------------- */

typedef struct result {
    bench_quality_t quality;
    double limit_ns, publish_ns, touch_ns;
    double copied; /* bytes, for each version */
    double versions, viewed, seen_ns;
    ferry_region_writer_stats_t stats;
} result_t;

static void tell(const shared_t *shared, result_t *result) {
    uint64_t versions = shared->after.version - shared->before.version;

    result->limit_ns = bench_series_median(&shared->limit_ns);
    result->publish_ns = bench_series_median(&shared->publish_ns);
    result->touch_ns = bench_series_median(&shared->touch_ns);
    result->copied = (double)(shared->after.copied_bytes - shared->before.copied_bytes) / (double)versions;
    result->versions = (double)versions;
    result->viewed = shared->viewed;
    result->seen_ns = shared->seen_ns;
    result->stats = shared->after;
    result->quality.spread = bench_series_spread(&shared->limit_ns);
}

static int once(const void *arg, void *out) {
    const bench_settings_t *s = arg;
    shared_t *shared = bench_share(sizeof *shared);

    if (shared == NULL)
        return 1;
    bench_job_t job = {.settings = s, .run = run_side, .sides = 2, .takers = 1, .shared = shared};
    job.expected_ns = 4 * bench_alternate_ns(s->measure_ns) + (int64_t)s->size * 20;
    int failed = bench_sides_run(&job);
    if (failed == 0)
        tell(shared, out);
    bench_unshare(shared, sizeof *shared);
    return failed;
}

/* --- the report -------------------------------------------------------------------------------------------------- */

static void row_of(bench_row_t *row, const bench_settings_t *s, const result_t *r) {
    double ns = r->touch_ns + r->publish_ns;

    bench_row_text(row, "bench", "bench", "snapshot");
    bench_row_text(row, "between", "between", bench_between_word(s->between));
    bench_row_text(row, "wait", NULL, bench_wait_word(s->wait));
    bench_row_add(row, "processes", NULL, BENCH_NUMBER, s->parties);
    bench_row_add(row, "size", "size", BENCH_BYTES, (double)s->size);
    bench_row_add(row, "dirty", "dirty", BENCH_RATIO, s->dirty);
    bench_row_text(row, "scatter", "scatter", bench_scatter_word(s->scatter));
    bench_row_text(row, "reader", "reader", s->verify ? "verifies" : "looks");
    bench_row_add(row, "publish_ns", "a version", BENCH_NS, ns);
    bench_row_add(row, "touch_ns", "touching", BENCH_NS, r->touch_ns);
    bench_row_add(row, "copied_bytes", "copied", BENCH_BYTES, r->copied);
    bench_row_text(row, "limit_name", NULL, "memcpy of the whole");
    bench_row_add(row, "limit_ns", "memcpy", BENCH_NS, r->limit_ns);
    bench_row_add(row, "ratio", "ratio", BENCH_RATIO, r->limit_ns / ns);
    bench_row_add(row, "seen_ns", "seen after", BENCH_NS, r->seen_ns);
    bench_row_add(row, "versions", "versions", BENCH_NUMBER, r->versions);
    bench_row_add(row, "viewed", "viewed", BENCH_NUMBER, r->viewed);
    bench_row_add(row, "buffers", NULL, BENCH_NUMBER, r->stats.buffers);
    bench_row_add(row, "memory_bytes", NULL, BENCH_BYTES, (double)r->stats.memory);
    bench_row_add(row, "waits", NULL, BENCH_NUMBER, r->stats.waits);
    bench_row_quality(row, &r->quality);
}

/* Bytes that a run needs: the region and the limit's contents, the copy, and as many buffers as the quota allows. */
static uint64_t needed(uint64_t size) {
    return 7 * size;
}

/* 0: the kernel does not tell. */
static uint64_t available(void) {
    FILE *file = fopen("/proc/meminfo", "re");
    char line[128];
    unsigned long long kib = 0;

    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
            break;
    }
    if (file != NULL)
        fclose(file);
    return kib * 1024;
}

static int measure(const bench_settings_t *settings, size_t size, double dirty, bool verify, bench_report_t *report) {
    bench_settings_t s = *settings;
    result_t r;
    bench_row_t row = {0};

    s.parties = 2;
    s.size = size;
    s.dirty = dirty;
    s.verify = verify;
    if (bench_repeat("snapshot", once, &s, &r, sizeof r) != 0)
        return 1;
    row_of(&row, &s, &r);
    bench_report_row(report, &row);
    if (dirty <= 0.01 || dirty >= 1)
        bench_report_target(report, &row, "ratio", false, dirty >= 1 ? 0.9 : 12);
    return 0;
}

static int measure_size(const bench_settings_t *s, size_t size, bench_report_t *report) {
    uint64_t has = available();

    if (has != 0 && needed(size) > has) {
        say("snapshot: %llu MiB need %llu MiB of memory, but %llu MiB are free", (unsigned long long)size >> 20,
            (unsigned long long)needed(size) >> 20, (unsigned long long)has >> 20);
        return 1;
    }
    if (s->dirty != 0) {
        int failed = measure(s, size, s->dirty, false, report);
        return failed | measure(s, size, s->dirty, true, report);
    }
    int failed = measure(s, size, 0.01, false, report);
    if (failed == 0 && size < LARGE)
        failed = measure(s, size, 0.01, true, report);
    return failed == 0 ? measure(s, size, 1, false, report) : failed;
}

int bench_snapshot(const bench_settings_t *settings, bench_report_t *report) {
    if (settings->size != 0)
        return measure_size(settings, settings->size, report);
    int failed = measure_size(settings, (size_t)64 << 20, report);
    if (needed(LARGE) <= available() && failed == 0)
        failed = measure_size(settings, LARGE, report);
    return failed;
}
