/* SPDX-License-Identifier: MIT
 *
 * ferry bench cell: a value is got while nobody puts (get), put while nobody gets (put), got while another side puts
 * as fast as it can (beside), and two sides answer each other through two cells (seen).
 */
#include <stdlib.h>

#include "bench/contest.h"
#include "bench/pair.h"
#include "bench/parts.h"
#include "bench/values.h"

/* --- Ferry's calls ----------------------------------------------------------------------------------------------- */

static int cell_put(void *cell, const void *from, size_t size) {
    return ferry_cell_put(cell, from, size, NULL);
}

static int cell_get(void *cell, void *to, size_t size, uint64_t *version) {
    size_t len = 0;
    int failed = ferry_cell_get(cell, to, size, &len, version);

    return failed == 0 && len != size ? -EBADMSG : failed;
}

static int cell_puts(void *value, uint64_t *words, unsigned count, bench_waits_t *waits) {
    (void)words;
    return bench_value_puts(cell_put, value, count, waits);
}

static int cell_gets(void *value, uint64_t *words, unsigned count, bench_waits_t *waits) {
    (void)words;
    return bench_value_gets(cell_get, cell_put, value, count, waits);
}

static int cell_tell(void *value) {
    return bench_value_put(cell_put, value, NULL);
}

static int cell_hear(void *value) {
    bench_value_t *v = value;
    int failed = ferry_cell_wait(v->value, v->version, BENCH_PATIENCE);

    return failed == 0 ? bench_value_get(cell_get, v, NULL) : failed;
}

/* --- values ------------------------------------------------------------------------------------------------------ */

static size_t whole_lines(size_t bytes) {
    return (bytes + 127) / 128 * 128;
}

/* Room for a sequence lock or a plain copy, and before it for what tells of it. */
static size_t shared_bytes(size_t size) {
    return sizeof(bench_value_t) + 2 * whole_lines(size) + whole_lines(sizeof(bench_seqlock_t) + size);
}

/* Lays a value out in memory that is zero: the buffers to put from and to get into, and then the value itself. */
static bench_value_t *lay_out(void *memory, size_t size) {
    unsigned char *at = (unsigned char *)memory + sizeof(bench_value_t);
    bench_value_t *v = memory;

    *v = (bench_value_t){.size = size, .put = at, .got = at + whole_lines(size)};
    v->value = v->got + whole_lines(size);
    return v;
}

static bench_value_t *new_value(bench_side_t *me) {
    size_t bytes = shared_bytes(me->settings->size);
    void *memory = aligned_alloc(128, bytes);

    if (memory == NULL)
        bench_fail(me, "there is no memory left");
    return lay_out(memset(memory, 0, bytes), me->settings->size);
}

static void *open_cell(bench_side_t *me, const char *name) {
    const ferry_cell_options_t options = {.max_bytes = me->settings->size, .wait = me->settings->wait};
    bench_value_t *v = new_value(me);
    ferry_cell_t *cell = NULL;

    if (ferry_cell_open(bench_node(me), name, &options, &cell) < 0)
        bench_fail(me, "cannot open a cell: %s", ferry_last_error());
    v->value = cell;
    return v;
}

static int close_cell(void *value) {
    bench_value_t *v = value;
    int failed = ferry_cell_close(v->value);

    free(v);
    return failed;
}

/* --- get, put, beside -------------------------------------------------------------------------------------------- */

/* Who takes part, and in what. */
typedef struct work {
    const char *name;
    unsigned sides[BENCH_ROLES];
    bench_turns_fn *turns[2][BENCH_ROLES];
    bench_put_fn *limit_put;
} work_t;

static const work_t alone_get = {"get", {1}, {{cell_gets}, {bench_copy_gets}}, bench_copy_put};
static const work_t alone_put = {"put", {1}, {{cell_puts}, {bench_seqlock_puts}}, bench_seqlock_put};
static const work_t beside = {
    "beside", {1, 1}, {{cell_gets, cell_puts}, {bench_seqlock_gets, bench_seqlock_puts}}, bench_seqlock_put};

typedef struct job {
    const bench_settings_t *settings;
    const work_t *work;
    bench_value_t *limit; /* the sides share what it tells of */
} job_t;

/* The last side puts: a first value now, so that there is one to get. */
static void *join(bench_side_t *me, void *shared, bench_way_t way) {
    const job_t *job = shared;
    bool last = me->index + 1 == job->work->sides[0] + job->work->sides[1];
    bench_value_t *v = way == BENCH_FERRY ? open_cell(me, "cell") : new_value(me);

    if (way == BENCH_LIMIT)
        v->value = job->limit->value;
    v->puts_too = last;
    int failed = last ? bench_value_put(way == BENCH_FERRY ? cell_put : job->work->limit_put, v, NULL) : 0;
    if (failed != 0)
        bench_object_failed(me, way, failed);
    return v;
}

static void leave(bench_side_t *me, void *value, bench_way_t way) {
    int failed = 0;

    if (way == BENCH_FERRY)
        failed = close_cell(value);
    else
        free(value);
    if (failed != 0)
        bench_object_failed(me, way, failed);
}

static int contest_once(const void *arg, void *out) {
    job_t job = *(const job_t *)arg;
    size_t bytes = shared_bytes(job.settings->size);
    void *memory = bench_share(bytes);

    if (memory == NULL)
        return 1;
    job.limit = lay_out(memory, job.settings->size);
    bench_contest_t contest = {
        .name = "cell",
        .settings = job.settings,
        .sides = {job.work->sides[BENCH_READERS], job.work->sides[BENCH_WRITERS]},
        .counted = BENCH_ROLES,
        .join = join,
        .leave = leave,
        .shared = &job,
    };
    memcpy(contest.turns, job.work->turns, sizeof job.work->turns);
    int failed = bench_contest_run(&contest, out);
    bench_unshare(memory, bytes);
    return failed;
}

/* --- seen -------------------------------------------------------------------------------------------------------- */

/* Nothing may have been put that nobody has waited for. */
static int is_left(const void *value) {
    const bench_value_t *v = value;
    uint64_t version = 0;
    int failed = ferry_cell_version(v->value, 0, &version);

    return failed != 0 ? failed : version != v->version;
}

static int seen_once(const void *arg, void *out) {
    const bench_settings_t *s = ((const job_t *)arg)->settings;
    size_t bytes = shared_bytes(s->size);
    void *memory[2] = {bench_share(bytes), bench_share(bytes)};
    int failed = 1;

    if (memory[0] != NULL && memory[1] != NULL) {
        const bench_pair_t pair = {
            .name = "cell",
            .tell = {cell_tell, bench_seqlock_tell},
            .hear = {cell_hear, bench_seqlock_hear},
            .open = open_cell,
            .is_left = is_left,
            .close = close_cell,
            .counterpart = {lay_out(memory[0], s->size), lay_out(memory[1], s->size)},
        };
        failed = bench_pair_run(&pair, s, out);
    }
    bench_unshare(memory[0], bytes);
    bench_unshare(memory[1], bytes);
    return failed;
}

/* --- the report -------------------------------------------------------------------------------------------------- */

static const char plain_copy[] = "plain copy";
static const char sequence_lock[] = "sequence lock";

static void begin_row(bench_row_t *row, const char *work, const bench_settings_t *s) {
    bench_object_row(row, "cell", work, s);
    bench_row_add(row, "size", "size", BENCH_BYTES, (double)s->size);
}

static void row_of_get(bench_row_t *row, const bench_contest_result_t *r) {
    const bench_standing_t *ferry = &r->of[BENCH_FERRY][BENCH_READERS];
    const bench_standing_t *limit = &r->of[BENCH_LIMIT][BENCH_READERS];

    bench_row_add(row, "gets_per_s", "gets", BENCH_PER_SECOND, ferry->per_s);
    bench_row_add(row, "get_ns", "a get", BENCH_NS, 1e9 / ferry->per_s);
    bench_row_add(row, "longest_get_ns", "longest", BENCH_NS, ferry->longest_ns);
    bench_row_text(row, "limit_name", NULL, plain_copy);
    bench_row_add(row, "limit_ns", "a copy", BENCH_NS, 1e9 / limit->per_s);
    bench_row_add(row, "get_ratio", "ratio", BENCH_RATIO, limit->per_s / ferry->per_s);
}

static void row_of_put(bench_row_t *row, const bench_contest_result_t *r) {
    const bench_standing_t *ferry = &r->of[BENCH_FERRY][BENCH_READERS];
    const bench_standing_t *limit = &r->of[BENCH_LIMIT][BENCH_READERS];

    bench_row_add(row, "puts_per_s", "puts", BENCH_PER_SECOND, ferry->per_s);
    bench_row_add(row, "put_ns", "a put", BENCH_NS, 1e9 / ferry->per_s);
    bench_row_add(row, "longest_put_ns", "longest", BENCH_NS, ferry->longest_ns);
    bench_row_text(row, "limit_name", NULL, sequence_lock);
    bench_row_add(row, "limit_ns", "seq. lock", BENCH_NS, 1e9 / limit->per_s);
    bench_row_add(row, "put_ratio", "ratio", BENCH_RATIO, limit->per_s / ferry->per_s);
}

static void row_of_beside(bench_row_t *row, const bench_contest_result_t *r) {
    const bench_standing_t *ferry = r->of[BENCH_FERRY];
    const bench_standing_t *limit = r->of[BENCH_LIMIT];

    bench_row_add(row, "gets_per_s", "gets", BENCH_PER_SECOND, ferry[BENCH_READERS].per_s);
    bench_row_add(row, "p999_get_ns", "p99.9", BENCH_NS, ferry[BENCH_READERS].p999_ns);
    bench_row_add(row, "longest_get_ns", "longest", BENCH_NS, ferry[BENCH_READERS].longest_ns);
    bench_row_add(row, "puts_per_s", "puts", BENCH_PER_SECOND, ferry[BENCH_WRITERS].per_s);
    bench_row_add(row, "longest_put_ns", "longest", BENCH_NS, ferry[BENCH_WRITERS].longest_ns);
    bench_row_text(row, "limit_name", NULL, sequence_lock);
    bench_row_add(row, "limit_gets_per_s", "seq. lock", BENCH_PER_SECOND, limit[BENCH_READERS].per_s);
    bench_row_add(row, "limit_longest_get_ns", "longest", BENCH_NS, limit[BENCH_READERS].longest_ns);
    bench_row_add(row, "limit_puts_per_s", "puts", BENCH_PER_SECOND, limit[BENCH_WRITERS].per_s);
    bench_row_add(row, "ratio", "ratio", BENCH_RATIO, limit[BENCH_READERS].per_s / ferry[BENCH_READERS].per_s);
}

/* In a round two values are put and seen, one after the other: from put to seen it takes half of it. */
static void row_of_seen(bench_row_t *row, const bench_relay_result_t *r) {
    const bench_pace_t *ferry = &r->of[BENCH_FERRY];
    const bench_pace_t *bare = &r->of[BENCH_BARE];

    bench_row_add(row, "rounds_per_s", "rounds", BENCH_PER_SECOND, ferry->per_s);
    bench_row_add(row, "seen_ns", "seen after", BENCH_NS, ferry->p50_ns / 2);
    bench_row_add(row, "p50_ns", "a round", BENCH_NS, ferry->p50_ns);
    bench_row_add(row, "p999_ns", "p99.9", BENCH_NS, ferry->p999_ns);
    bench_row_add(row, "longest_round_ns", "longest", BENCH_NS, ferry->longest_ns);
    bench_row_add(row, "seqlock_p50_ns", "seq. lock", BENCH_NS, r->of[BENCH_LIMIT].p50_ns);
    bench_row_text(row, "limit_name", NULL, r->by_futex ? "futex round trip" : "cache-line round trip");
    bench_row_add(row, "limit_ns", r->by_futex ? "futex" : "cache line", BENCH_NS, bare->p50_ns);
    bench_row_add(row, "seen_ratio", "ratio", BENCH_RATIO, ferry->p50_ns / 2 / bare->p50_ns);
    bench_row_add(row, "round_ratio", "of a round", BENCH_RATIO, ferry->p50_ns / bare->p50_ns);
}

typedef void contest_row_fn(bench_row_t *row, const bench_contest_result_t *r);

static int contest(const bench_settings_t *settings, const work_t *work, contest_row_fn *row_of,
                   bench_report_t *report) {
    bench_settings_t s = *settings;
    const job_t job = {.settings = &s, .work = work};
    bench_contest_result_t r;
    bench_row_t row = {0};

    s.parties = work->sides[BENCH_READERS] + work->sides[BENCH_WRITERS];
    if (bench_repeat("cell", contest_once, &job, &r, sizeof r) != 0)
        return 1;
    begin_row(&row, work->name, &s);
    row_of(&row, &r);
    bench_row_quality(&row, &r.quality);
    bench_report_row(report, &row);
    if (work == &alone_get && s.size <= 64)
        bench_report_target(report, &row, "get_ratio", true, 2);
    return 0;
}

static int seen(const bench_settings_t *settings, bench_report_t *report) {
    bench_settings_t s = *settings;
    const job_t job = {.settings = &s};
    bench_relay_result_t r;
    bench_row_t row = {0};

    s.parties = 2;
    if (bench_repeat("cell", seen_once, &job, &r, sizeof r) != 0)
        return 1;
    begin_row(&row, "seen", &s);
    row_of_seen(&row, &r);
    bench_row_quality(&row, &r.quality);
    bench_report_row(report, &row);
    if (s.size <= 64 && s.wait != FERRY_WAIT_BLOCK && s.pin == BENCH_PIN_APART && !r.by_futex)
        bench_report_target(report, &row, "seen_ratio", true, 2);
    return 0;
}

int bench_cell(const bench_settings_t *settings, bench_report_t *report) {
    int failed = contest(settings, &alone_get, row_of_get, report);

    failed |= contest(settings, &alone_put, row_of_put, report);
    failed |= contest(settings, &beside, row_of_beside, report);
    return failed | seen(settings, report);
}
