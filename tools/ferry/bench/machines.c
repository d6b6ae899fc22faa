/* SPDX-License-Identifier: MIT
 *
 * ferry bench latency, throughput, rpc and lock --between machines: slices of the bare client library and of plain TCP,
 * and slices of Ferry, in turn, between a near and a far side.
 */
#include "bench/machines.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/clock.h"
#include "bench/parts.h"
#include "bench/payload.h"
#include "say.h"
#include "stop.h"

typedef struct figures {
    double p50_ns, p99_ns, p999_ns;
    double per_s;
} figures_t;

typedef struct result {
    bench_quality_t quality;
    figures_t of[BENCH_MEANS];
    size_t trips;
    uint64_t lost;
} result_t;

typedef struct side {
    bench_side_t *me;
    bench_meeting_t *meeting;
    void *joined[BENCH_MEANS];
    uint64_t count[BENCH_MEANS]; /* far: trips or messages so far */
    uint64_t last[BENCH_MEANS];  /* near: of a stream */
} side_t;

/* --- what the means use ------------------------------------------------------------------------------------------- */

void *bench_keep(bench_side_t *me, const void *joined, size_t size) {
    void *kept = malloc(size);

    if (kept == NULL)
        bench_fail(me, "there is no memory left");
    return memcpy(kept, joined, size);
}

bool bench_hear(bench_heard_t *heard, const void *data, size_t size) {
    uint64_t id = 0;

    if (size != heard->me->settings->size || !bench_payload_check(data, size, &id))
        bench_fail(heard->me, "a message of %zu bytes arrived damaged", size);
    uint64_t count = id & BENCH_ID_COUNT;
    if (count <= heard->last)
        bench_fail(heard->me, "message %llu came after message %llu", (unsigned long long)count,
                   (unsigned long long)heard->last);
    heard->lost += count - heard->last - 1;
    heard->last = count;
    if (heard->received++ == 0) {
        heard->first_ns = bench_now_ns();
        heard->at_first = 1;
    }
    if ((id & BENCH_ID_LAST) == 0)
        return false;
    heard->last_ns = bench_now_ns();
    return true;
}

void bench_check_answer(bench_side_t *me, const void *data, size_t size, uint64_t id) {
    uint64_t is = 0;

    if (size != me->settings->size || !bench_payload_check(data, size, &is))
        bench_fail(me, "an answer of %zu bytes arrived damaged", size);
    if (is != (id | BENCH_ID_REPLY))
        bench_fail(me, "the answer to message %llu belongs to another one", (unsigned long long)(id & BENCH_ID_COUNT));
}

uint64_t bench_make_answer(bench_side_t *me, const void *data, size_t size, unsigned char *answer) {
    uint64_t id = 0;

    if (size != me->settings->size || !bench_payload_check(data, size, &id))
        bench_fail(me, "a message of %zu bytes arrived damaged", size);
    bench_payload_fill(answer, size, id | BENCH_ID_REPLY);
    return id;
}

/* --- slices ------------------------------------------------------------------------------------------------------- */

static void lead_trips(side_t *side, bench_means_t means, const bench_slice_t *slice) {
    bench_meeting_t *meeting = side->meeting;
    const bench_dealing_t *dealing = meeting->dealing[means];
    uint32_t *sample = meeting->sample[means] + meeting->count[means];
    bench_trips_t trips = {.sample = sample, .room = meeting->room - meeting->count[means]};
    double ticks_per_ns = side->me->ticks_per_ns;
    bool goes_on;

    bench_trips_begin(&trips, (uint64_t)((double)slice->ns * ticks_per_ns));
    do {
        dealing->trip(side->joined[means], ++side->count[means]);
        goes_on = bench_trips_add(&trips);
        if (dealing->after != NULL) {
            dealing->after(side->joined[means]);
            trips.last = bench_ticks();
        }
    } while (goes_on);
    dealing->trip(side->joined[means], ++side->count[means] | BENCH_ID_LAST);
    if (dealing->after != NULL)
        dealing->after(side->joined[means]);
    if (slice->number == 0)
        return;
    bench_series_add(&meeting->series[means], bench_percentile(sample, trips.count, 500) / ticks_per_ns);
    meeting->count[means] += trips.count;
}

static void lead_stream(side_t *side, bench_means_t means, const bench_slice_t *slice) {
    const bench_dealing_t *dealing = side->meeting->dealing[means];
    unsigned burst = side->me->settings->size <= 4096 ? 64 : 1;

    bench_meet(side->me); /* the near side is about to take */
    int64_t until = bench_now_ns() + slice->ns;
    do {
        for (unsigned i = 0; i < burst; i++)
            dealing->give(side->joined[means], ++side->count[means]);
    } while (bench_now_ns() < until);
    dealing->give(side->joined[means], ++side->count[means] | BENCH_ID_LAST);
    if (dealing->flush != NULL)
        dealing->flush(side->joined[means]);
}

static void follow_stream(side_t *side, bench_means_t means, const bench_slice_t *slice) {
    bench_meeting_t *meeting = side->meeting;
    bench_heard_t heard = {.me = side->me, .last = side->last[means]};

    meeting->dealing[means]->take(side->joined[means], &heard);
    side->last[means] = heard.last;
    if (means != BENCH_BY_NATS && heard.lost > 0)
        bench_fail(side->me, "%llu messages did not arrive", (unsigned long long)heard.lost);
    meeting->lost += heard.lost;
    if (slice->number > 0)
        bench_series_add(&meeting->series[means],
                         (double)(heard.received - heard.at_first) * 1e9 / (double)(heard.last_ns - heard.first_ns));
}

static void run_means(side_t *side, bench_means_t means, const bench_slice_t *slice) {
    const bench_meeting_t *meeting = side->meeting;
    const bench_dealing_t *dealing = meeting->dealing[means];
    bool leads = side->me->index == BENCH_FAR;

    if (dealing == NULL)
        return;
    bench_meet(side->me);
    if (meeting->streams)
        (leads ? lead_stream : follow_stream)(side, means, slice);
    else if (leads)
        lead_trips(side, means, slice);
    else if (dealing->follow != NULL)
        dealing->follow(side->joined[means]);
    bench_meet(side->me);
}

static void limit_slice(void *arg, const bench_slice_t *slice) {
    run_means(arg, BENCH_BY_NATS, slice);
    run_means(arg, BENCH_BY_TCP, slice);
}

static void ferry_slice(void *arg, const bench_slice_t *slice) {
    run_means(arg, BENCH_BY_FERRY, slice);
}

/* --- sides -------------------------------------------------------------------------------------------------------- */

static void run_side(bench_side_t *me) {
    bench_meeting_t *meeting = me->shared;
    side_t side = {.me = me, .meeting = meeting};

    for (bench_means_t means = 0; means < BENCH_MEANS; means++) {
        const bench_dealing_t *dealing = meeting->dealing[means];
        for (unsigned i = 0; i < BENCH_MACHINES_SIDES; i++) {
            bench_meet(me);
            if (dealing != NULL && i == me->index)
                side.joined[means] = dealing->join(me);
        }
        bench_meet(me);
        if (dealing != NULL && dealing->ready != NULL)
            dealing->ready(side.joined[means]);
    }
    bench_alternate(me, me->settings->measure_ns, limit_slice, ferry_slice, &side);
    for (bench_means_t means = 0; means < BENCH_MEANS; means++) {
        if (meeting->dealing[means] != NULL)
            meeting->dealing[means]->leave(side.joined[means]);
        bench_meet(me);
    }
}

/* --- the run ------------------------------------------------------------------------------------------------------ */

static figures_t figures_of(bench_meeting_t *meeting, bench_means_t means, double ticks_per_ns) {
    const uint32_t *sample = meeting->sample[means];
    size_t n = meeting->count[means];
    double sum = 0;

    if (meeting->dealing[means] == NULL)
        return (figures_t){NAN, NAN, NAN, NAN};
    if (meeting->streams)
        return (figures_t){NAN, NAN, NAN, bench_series_median(&meeting->series[means])};
    for (size_t i = 0; i < n; i++)
        sum += sample[i];
    return (figures_t){.p50_ns = bench_percentile(sample, n, 500) / ticks_per_ns,
                       .p99_ns = bench_percentile(sample, n, 990) / ticks_per_ns,
                       .p999_ns = bench_percentile(sample, n, 999) / ticks_per_ns,
                       .per_s = (double)n * 1e9 * ticks_per_ns / sum};
}

static void tell(bench_meeting_t *meeting, result_t *result) {
    bench_means_t limit = meeting->dealing[BENCH_BY_NATS] != NULL ? BENCH_BY_NATS : BENCH_BY_TCP;
    double ticks_per_ns = bench_ticks_per_ns();

    result->quality.spread = bench_series_spread(&meeting->series[limit]);
    for (bench_means_t means = 0; means < BENCH_MEANS; means++)
        result->of[means] = figures_of(meeting, means, ticks_per_ns);
    result->trips = meeting->count[BENCH_BY_FERRY];
    result->lost = meeting->lost;
}

/* What to measure, as bench_repeat hands it on. */
typedef struct task {
    bench_part_t part;
    const bench_settings_t *settings;
} task_t;

static bool prepare(bench_meeting_t *meeting, const task_t *task) {
    meeting->dealing[BENCH_BY_FERRY] = bench_by_ferry(task->part, task->settings->durable);
    meeting->dealing[BENCH_BY_NATS] = bench_by_nats(task->part, task->settings->durable);
    meeting->dealing[BENCH_BY_TCP] = bench_by_tcp();
    meeting->streams = task->part == BENCH_THROUGHPUT;
    meeting->room = meeting->streams ? 1 : (size_t)(task->settings->measure_ns / 2000) + BENCH_SLICES;
    for (bench_means_t means = 0; means < BENCH_MEANS; means++) {
        meeting->sample[means] = bench_share(meeting->room * sizeof(uint32_t));
        if (meeting->sample[means] == NULL)
            return false;
    }
    return true;
}

static int once(const void *arg, void *out) {
    const task_t *task = arg;
    bench_meeting_t *meeting = bench_share(sizeof *meeting);
    int failed = 1;

    if (meeting == NULL)
        return 1;
    if (prepare(meeting, task)) {
        bench_job_t job = {.settings = task->settings,
                           .run = run_side,
                           .sides = BENCH_MACHINES_SIDES,
                           .takers = 1,
                           .in_processes = true,
                           .shared = meeting};
        job.expected_ns = 2 * bench_alternate_ns(task->settings->measure_ns);
        failed = bench_sides_run(&job);
        if (failed == 0)
            tell(meeting, out);
    }
    for (bench_means_t means = 0; means < BENCH_MEANS; means++)
        bench_unshare(meeting->sample[means], meeting->room * sizeof(uint32_t));
    bench_unshare(meeting, sizeof *meeting);
    return failed;
}

/* --- the report --------------------------------------------------------------------------------------------------- */

static const char *name_of(bench_part_t part) {
    return part == BENCH_LATENCY      ? "latency"
           : part == BENCH_THROUGHPUT ? "throughput"
           : part == BENCH_RPC        ? "rpc"
                                      : "lock";
}

static const char *limit_of(const task_t *task) {
    return task->settings->durable          ? "raw JetStream, published asynchronously, fetched and acknowledged"
           : task->part == BENCH_THROUGHPUT ? "raw libnats, published and subscribed to"
           : task->part == BENCH_LOCK       ? "raw libnats, published and acknowledged"
                                            : "raw libnats, request and reply";
}

static void begin_row(bench_row_t *row, const task_t *task) {
    const bench_settings_t *s = task->settings;

    bench_row_text(row, "bench", "bench", name_of(task->part));
    bench_row_text(row, "between", "between", bench_between_word(s->between));
    bench_row_text(row, "link", "link", s->place->link);
    if (task->part == BENCH_THROUGHPUT)
        bench_row_text(row, "kind", "kind", s->durable ? "durable" : "queue");
    bench_row_text(row, "wait", "wait", bench_wait_word(s->wait));
    bench_row_add(row, "size", task->part == BENCH_LOCK ? NULL : "size", BENCH_BYTES, (double)s->size);
}

static void rates_row(bench_row_t *row, const task_t *task, const result_t *r) {
    const figures_t *of = r->of;

    bench_row_add(row, "msgs_per_s", "messages", BENCH_PER_SECOND, of[BENCH_BY_FERRY].per_s);
    bench_row_add(row, "bytes_per_s", "bytes/s", BENCH_BYTES, of[BENCH_BY_FERRY].per_s * (double)task->settings->size);
    bench_row_text(row, "limit_name", NULL, limit_of(task));
    bench_row_add(row, "limit_msgs_per_s", "raw libnats", BENCH_PER_SECOND, of[BENCH_BY_NATS].per_s);
    bench_row_add(row, "limit_lost", "lost", BENCH_NUMBER, (double)r->lost);
    bench_row_add(row, "ratio_nats", "ratio", BENCH_RATIO, of[BENCH_BY_FERRY].per_s / of[BENCH_BY_NATS].per_s);
    bench_row_add(row, "tcp_msgs_per_s", "plain TCP", BENCH_PER_SECOND, of[BENCH_BY_TCP].per_s);
    bench_row_add(row, "ratio_tcp", "ratio", BENCH_RATIO, of[BENCH_BY_FERRY].per_s / of[BENCH_BY_TCP].per_s);
}

static void trips_row(bench_row_t *row, const task_t *task, const result_t *r) {
    const figures_t *ferry = &r->of[BENCH_BY_FERRY];
    const figures_t *nats = &r->of[BENCH_BY_NATS];
    const figures_t *tcp = &r->of[BENCH_BY_TCP];

    bench_row_add(row, "p50_ns", "p50", BENCH_NS, ferry->p50_ns);
    bench_row_add(row, "p99_ns", "p99", BENCH_NS, ferry->p99_ns);
    bench_row_add(row, "p999_ns", "p99.9", BENCH_NS, ferry->p999_ns);
    bench_row_add(row, task->part == BENCH_RPC ? "calls_per_s" : "ops_per_s", "rate", BENCH_PER_SECOND, ferry->per_s);
    bench_row_text(row, "limit_name", NULL, limit_of(task));
    bench_row_add(row, "limit_ns", "raw libnats", BENCH_NS, nats->p50_ns);
    bench_row_add(row, "limit_p99_ns", "p99", BENCH_NS, nats->p99_ns);
    bench_row_add(row, "limit_p999_ns", "p99.9", BENCH_NS, nats->p999_ns);
    bench_row_add(row, "ratio_nats", "ratio", BENCH_RATIO, ferry->p50_ns / nats->p50_ns);
    bench_row_add(row, "tcp_ns", "plain TCP", BENCH_NS, tcp->p50_ns);
    bench_row_add(row, "ratio_tcp", "ratio", BENCH_RATIO, ferry->p50_ns / tcp->p50_ns);
    bench_row_add(row, "rounds", NULL, BENCH_NUMBER, (double)r->trips);
}

static void set_target(const task_t *task, const bench_row_t *row, bench_report_t *report) {
    size_t size = task->settings->size;

    if (task->part == BENCH_THROUGHPUT)
        bench_report_target(report, row, "ratio_nats", false, size < 65536 || task->settings->durable ? 0.9 : 0.95);
    if (task->part == BENCH_RPC)
        bench_report_target(report, row, "ratio_nats", true, 1.15);
    if (task->part == BENCH_LOCK)
        bench_report_target(report, row, "ratio_nats", true, 1.2);
}

static int measure(const task_t *task, bench_report_t *report) {
    result_t r;
    bench_row_t row = {0};

    if (bench_repeat(name_of(task->part), once, task, &r, sizeof r) != 0)
        return 1;
    begin_row(&row, task);
    if (task->part == BENCH_THROUGHPUT)
        rates_row(&row, task, &r);
    else
        trips_row(&row, task, &r);
    bench_row_quality(&row, &r.quality);
    bench_report_row(report, &row);
    if (!isnan(r.of[BENCH_BY_NATS].per_s))
        set_target(task, &row, report);
    return 0;
}

/* --- the command -------------------------------------------------------------------------------------------------- */

/* A queue is measured with small messages and large ones, all else with small ones, if no size is said. */
static int measure_all(bench_part_t part, bench_settings_t *s, bench_report_t *report) {
    static const size_t sizes[] = {64, 1024, 65536, 1 << 20};
    size_t most =
        s->durable ? 3 : sizeof sizes / sizeof sizes[0]; /* a server's largest message is 1 MiB, with its head */
    size_t n = part == BENCH_THROUGHPUT && s->size == 0 ? most : 1;
    const task_t task = {.part = part, .settings = s};
    int failed = 0;

    for (size_t i = 0; i < n && failed == 0 && stop_signal() == 0; i++) {
        if (n > 1 || s->size == 0)
            s->size = sizes[i];
        failed = measure(&task, report);
    }
    return failed;
}

int bench_machines(bench_part_t part, const bench_settings_t *settings, bench_report_t *report) {
    bench_settings_t s = *settings;
    char directory[PATH_MAX];
    bench_place_t place;

    /* The server's directory becomes the working one. */
    if (s.directory != NULL && realpath(s.directory, directory) != NULL)
        s.directory = directory;
    if (!bench_place_open(&place, &s))
        return 1;
    if (bench_by_nats(part, s.durable) == NULL)
        say("the raw client library is not measured: this command was built without it, or it is not installed");
    s.place = &place;
    s.pin = BENCH_PIN_NONE; /* the server is not to be pinned, and stands between the sides */
    int failed = measure_all(part, &s, report);
    bench_place_close(&place);
    return stop_or(failed);
}
