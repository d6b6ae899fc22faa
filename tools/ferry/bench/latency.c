/* SPDX-License-Identifier: MIT
 *
 * ferry bench latency: round trips of one message over two queues, ping and pong.
 *
 * The limit is the round trip of a bare cache line, or of a bare futex where the sides block or share a core. Beside
 * the bare line stands one that is looked at through a read-only page, as every reader of Ferry's looks at a ring.
 * After the traffic both sides wait for two seconds for a message that does not come, and the processor time that this
 * takes is told. With both sides on one core a third one computes there, to show what is left to others.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/clock.h"
#include "bench/limits.h"
#include "bench/parts.h"
#include "bench/payload.h"
#include "bench/sides.h"
#include "say.h"

enum { PING = 0, PONG = 1, BYSTANDER = 2 };

static const int64_t idle_ns = 2000000000;
static const int64_t compute_ns = 200000000;

typedef struct result {
    bench_quality_t quality;
    double p50_ns, p99_ns, p999_ns;
    double limit_ns;
    double view_ns;
    double idle_cpu_ms;
    double compute_share;       /* of the processor, beside Ferry's round trips */
    double compute_share_limit; /* beside the bare ones */
    double compute_share_idle;  /* beside two sides that wait */
    double beside_p50_ns;       /* Ferry's round trips beside the one that computes */
    double beside_limit_ns;     /* the bare ones */
    size_t rounds;
} result_t;

typedef struct shared {
    bool shared_core; /* these are told before the fork */
    bool by_futex;
    uint32_t *limit_sample, *sample;
    size_t limit_room, room;
    bench_line_t line;
    bench_line_t *seen; /* another one, and a read-only view of it */
    const bench_line_t *view;
    bench_futex_t futex;
    bench_series_t limit_ns, view_ns;
    double p50_ns, p99_ns, p999_ns;
    size_t rounds;
    double idle_cpu_ms[2];
    double compute_idle;
    bench_series_t compute_limit, compute_ferry;
    bench_series_t beside_limit_ns, beside_ns;
} shared_t;

typedef struct side {
    bench_side_t *me;
    shared_t *shared;
    ferry_sender_t *tx;
    ferry_receiver_t *rx;
    unsigned char *buffer;
    size_t size;
    uint64_t count; /* of exchanges */
    bool beside;    /* the bystander computes; nothing is kept of the round trips */
    bench_trips_t trips;
} side_t;

static bool limit_is_futex(const bench_settings_t *s) {
    return s->wait == FERRY_WAIT_BLOCK || bench_is_shared_core(s);
}

/* --- round trips ------------------------------------------------------------------------------------------------- */

static void put(side_t *side, uint64_t id) {
    bench_payload_fill(side->buffer, side->size, id);
    int failed = ferry_send(side->tx, side->buffer, side->size, BENCH_PATIENCE);
    if (failed < 0)
        bench_fail(side->me, "ferry_send answered %s: %s", strerror(-failed), ferry_last_error());
}

static void exchange(side_t *side, uint64_t flag) {
    uint64_t id = ++side->count | flag;

    put(side, id);
    uint64_t answer = bench_take(side->me, side->rx);
    if (answer != (id | BENCH_ID_REPLY))
        bench_fail(side->me, "the answer to message %llu belongs to another one", (unsigned long long)side->count);
}

static void ferry_ping(side_t *side, bench_trips_t *trips) {
    do {
        exchange(side, 0);
    } while (bench_trips_add(trips));
    exchange(side, BENCH_ID_LAST);
}

static void ferry_pong(side_t *side) {
    uint64_t id;

    do {
        id = bench_take(side->me, side->rx);
        put(side, id | BENCH_ID_REPLY);
        side->count++;
        if ((id & BENCH_ID_COUNT) != side->count)
            bench_fail(side->me, "message %llu came where %llu was due", (unsigned long long)(id & BENCH_ID_COUNT),
                       (unsigned long long)side->count);
    } while ((id & BENCH_ID_LAST) == 0);
}

/* --- slices ------------------------------------------------------------------------------------------------------ */

static uint64_t ticks_of(const side_t *side, const bench_slice_t *slice) {
    return (uint64_t)((double)slice->ns * side->me->ticks_per_ns);
}

static void keep_compute(bench_series_t *series, const bench_slice_t *slice, double share) {
    if (slice->number > 0)
        bench_series_add(series, share);
}

static void keep_median(const side_t *side, const bench_slice_t *slice, const bench_trips_t *trips,
                        bench_series_t *series) {
    if (slice->number > 0)
        bench_series_add(series, bench_percentile(trips->sample, trips->count, 500) / side->me->ticks_per_ns);
}

static void futex_slice(side_t *side, const bench_slice_t *slice) {
    shared_t *shared = side->shared;
    bool between_threads = side->me->settings->between == BENCH_THREADS;
    bench_trips_t trips = {.sample = shared->limit_sample, .room = shared->limit_room};

    if (side->me->index == PONG) {
        bench_futex_pong(&shared->futex, between_threads);
        return;
    }
    bench_trips_begin(&trips, ticks_of(side, slice));
    bench_futex_ping(&shared->futex, between_threads, &trips);
    keep_median(side, slice, &trips, side->beside ? &shared->beside_limit_ns : &shared->limit_ns);
}

static void line_slice(side_t *side, const bench_slice_t *slice, bench_line_t *line, const bench_line_t *view,
                       bench_series_t *series) {
    bench_trips_t trips = {.sample = side->shared->limit_sample, .room = side->shared->limit_room};

    if (side->me->index == PONG) {
        bench_line_pong(line, view);
        return;
    }
    bench_trips_begin(&trips, ticks_of(side, slice) / 2);
    bench_line_ping(line, view, &trips);
    keep_median(side, slice, &trips, series);
}

static void limit_slice(void *arg, const bench_slice_t *slice) {
    side_t *side = arg;
    shared_t *shared = side->shared;

    if (side->me->index == BYSTANDER) {
        if (side->beside)
            keep_compute(&shared->compute_limit, slice, bench_compute(slice->ns));
    } else if (shared->by_futex) {
        futex_slice(side, slice);
    } else {
        line_slice(side, slice, &shared->line, &shared->line, &shared->limit_ns);
        line_slice(side, slice, shared->seen, shared->view, &shared->view_ns);
    }
}

static void ferry_slice(void *arg, const bench_slice_t *slice) {
    side_t *side = arg;
    shared_t *shared = side->shared;
    bench_trips_t unkept = {.sample = shared->limit_sample, .room = shared->limit_room};
    bool keep = slice->number > 0 && !side->beside;

    if (side->me->index == BYSTANDER) {
        if (side->beside)
            keep_compute(&shared->compute_ferry, slice, bench_compute(slice->ns));
    } else if (side->me->index == PONG) {
        ferry_pong(side);
    } else {
        bench_trips_t *trips = keep ? &side->trips : &unkept;
        if (keep)
            trips->room = shared->room / BENCH_SLICES * slice->number;
        bench_trips_begin(trips, ticks_of(side, slice));
        ferry_ping(side, trips);
        if (side->beside)
            keep_median(side, slice, trips, &shared->beside_ns);
    }
}

/* --- waiting for nothing ----------------------------------------------------------------------------------------- */

static void wait_in_vain(side_t *side, int64_t ns) {
    ferry_msg_t *m;
    int answer = ferry_recv(side->rx, ns, &m);

    if (answer != -ETIMEDOUT)
        bench_fail(side->me, "ferry_recv answered %d where nothing was sent and -ETIMEDOUT was due", answer);
}

/* Every thread of the process counts, so between threads one side counts for both. */
static void idle(side_t *side) {
    unsigned index = side->me->index;
    bool counts = side->me->settings->between == BENCH_PROCESSES || index == PING;

    bench_meet(side->me);
    if (index != BYSTANDER) {
        double before = bench_cpu_ms();
        wait_in_vain(side, idle_ns);
        side->shared->idle_cpu_ms[index] = counts ? bench_cpu_ms() - before : 0;
    }
    bench_meet(side->me); /* nobody leaves while another one still waits */
}

static void beside(side_t *side) {
    shared_t *shared = side->shared;
    bool computes = side->me->index == BYSTANDER;

    bench_meet(side->me);
    if (computes)
        shared->compute_idle = bench_compute(compute_ns);
    else
        wait_in_vain(side, compute_ns);
    side->beside = true; /* the next slice begins with a meeting */
    bench_alternate(side->me, BENCH_SLICES * compute_ns, limit_slice, ferry_slice, side);
}

static void figures(side_t *side) {
    shared_t *shared = side->shared;
    const bench_trips_t *trips = &side->trips;
    double ns = 1 / side->me->ticks_per_ns;

    shared->rounds = trips->count;
    shared->p50_ns = bench_percentile(trips->sample, trips->count, 500) * ns;
    shared->p99_ns = bench_percentile(trips->sample, trips->count, 990) * ns;
    shared->p999_ns = bench_percentile(trips->sample, trips->count, 999) * ns;
}

static void run_side(bench_side_t *me) {
    shared_t *shared = me->shared;
    bool pings = me->index == PING;
    side_t side = {.me = me, .shared = shared, .size = me->settings->size};

    side.trips = (bench_trips_t){.sample = shared->sample};
    if (me->index != BYSTANDER) {
        side.buffer = bench_buffer(me, side.size);
        side.rx = bench_receiver(me, pings ? "pong" : "ping", FERRY_QUEUE);
        side.tx = bench_sender(me, pings ? "ping" : "pong", FERRY_QUEUE, NULL);
        bench_await(me, side.tx, 1);
    }
    bench_alternate(me, me->settings->measure_ns, limit_slice, ferry_slice, &side);
    idle(&side);
    if (shared->shared_core)
        beside(&side);
    if (pings)
        figures(&side);
    if (me->index != BYSTANDER)
        bench_close(me, side.tx, side.rx);
    free(side.buffer);
}

/* --- the run ----------------------------------------------------------------------------------------------------- */

static void tell(const shared_t *shared, result_t *result) {
    result->quality.spread = bench_series_spread(&shared->limit_ns);
    result->limit_ns = bench_series_median(&shared->limit_ns);
    result->view_ns = bench_series_median(&shared->view_ns);
    result->p50_ns = shared->p50_ns;
    result->p99_ns = shared->p99_ns;
    result->p999_ns = shared->p999_ns;
    result->rounds = shared->rounds;
    result->idle_cpu_ms = shared->idle_cpu_ms[PING] + shared->idle_cpu_ms[PONG];
    result->compute_share = bench_series_median(&shared->compute_ferry);
    result->compute_share_limit = bench_series_median(&shared->compute_limit);
    result->beside_p50_ns = bench_series_median(&shared->beside_ns);
    result->beside_limit_ns = bench_series_median(&shared->beside_limit_ns);
    result->compute_share_idle = shared->compute_idle;
}

/* One line of shared memory, mapped a second time for reading only. */
static bool map_view(shared_t *shared) {
    size_t bytes = sizeof *shared->seen;
    int fd = memfd_create("bench-line", MFD_CLOEXEC);

    if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0) {
        say("cannot make a line of memory to be mapped twice: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return false;
    }
    void *seen = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    void *view = mmap(NULL, bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    close(fd);
    shared->seen = seen == MAP_FAILED ? NULL : seen;
    shared->view = view == MAP_FAILED ? NULL : view;
    if (shared->seen == NULL || shared->view == NULL)
        say("cannot map a line of memory twice: %s", strerror(errno));
    return shared->seen != NULL && shared->view != NULL;
}

static void unmap_view(const shared_t *shared) {
    union {
        const void *from;
        void *to;
    } drop_const = {shared->view};

    if (shared->seen != NULL)
        munmap(shared->seen, sizeof *shared->seen);
    if (shared->view != NULL)
        munmap(drop_const.to, sizeof *shared->view);
}

static int once(const void *arg, void *out) {
    const bench_settings_t *s = arg;
    size_t room = (size_t)(s->measure_ns / 50) + 1000; /* no round trip takes less than 50 ns */
    const size_t most = (size_t)64 << 20;
    int failed = 1;

    if (room > most)
        room = most;
    size_t limit_room = room / BENCH_SLICES > 4 << 20 ? room / BENCH_SLICES : 4 << 20;
    shared_t *shared = bench_share(sizeof *shared);
    uint32_t *sample = bench_share(room * sizeof *sample);
    uint32_t *limit_sample = bench_share(limit_room * sizeof *limit_sample);
    if (shared != NULL && sample != NULL && limit_sample != NULL && map_view(shared)) {
        shared->shared_core = bench_is_shared_core(s);
        shared->by_futex = limit_is_futex(s);
        shared->sample = sample;
        shared->room = room;
        shared->limit_sample = limit_sample;
        shared->limit_room = limit_room;
        bench_job_t job = {.settings = s, .run = run_side, .takers = 1, .shared = shared};
        job.sides = shared->shared_core ? 3 : 2;
        job.expected_ns = bench_alternate_ns(s->measure_ns) + idle_ns + bench_alternate_ns(BENCH_SLICES * compute_ns);
        failed = bench_sides_run(&job);
        if (failed == 0)
            tell(shared, out);
    }
    if (shared != NULL)
        unmap_view(shared);
    bench_unshare(shared, sizeof *shared);
    bench_unshare(sample, room * sizeof *sample);
    bench_unshare(limit_sample, limit_room * sizeof *limit_sample);
    return failed;
}

static void report_latency(const bench_settings_t *s, const result_t *r, bench_report_t *report) {
    bench_row_t row = {0};

    bench_row_text(&row, "bench", "bench", "latency");
    bench_row_text(&row, "between", "between", bench_between_word(s->between));
    bench_row_text(&row, "wait", "wait", bench_wait_word(s->wait));
    bench_row_text(&row, "cores", "cores", bench_pin_word(s->pin));
    bench_row_add(&row, "size", "size", BENCH_BYTES, (double)s->size);
    bench_row_add(&row, "p50_ns", "p50", BENCH_NS, r->p50_ns);
    bench_row_add(&row, "p99_ns", "p99", BENCH_NS, r->p99_ns);
    bench_row_add(&row, "p999_ns", "p99.9", BENCH_NS, r->p999_ns);
    bench_row_text(&row, "limit_name", NULL, limit_is_futex(s) ? "futex round trip" : "cache-line round trip");
    bench_row_add(&row, "limit_ns", "limit", BENCH_NS, r->limit_ns);
    bench_row_add(&row, "ratio", "ratio", BENCH_RATIO, r->p50_ns / r->limit_ns);
    if (!limit_is_futex(s))
        bench_row_add(&row, "view_ns", "read-only", BENCH_NS, r->view_ns);
    bench_row_add(&row, "idle_cpu_ms", "idle ms", BENCH_NUMBER, r->idle_cpu_ms);
    if (bench_is_shared_core(s)) {
        bench_row_add(&row, "compute_share", "others get", BENCH_RATIO, r->compute_share);
        bench_row_add(&row, "compute_share_limit", "beside futex", BENCH_RATIO, r->compute_share_limit);
        bench_row_add(&row, "compute_share_idle", "when idle", BENCH_RATIO, r->compute_share_idle);
        bench_row_add(&row, "beside_p50_ns", "p50 then", BENCH_NS, r->beside_p50_ns);
        bench_row_add(&row, "beside_limit_ns", "limit then", BENCH_NS, r->beside_limit_ns);
    }
    bench_row_add(&row, "rounds", NULL, BENCH_NUMBER, (double)r->rounds);
    bench_row_quality(&row, &r->quality);
    bench_report_row(report, &row);
    if (s->size == 64 && s->pin == BENCH_PIN_APART && !bench_is_shared_core(s))
        bench_report_target(report, &row, "ratio", true,
                            s->wait == FERRY_WAIT_SPIN    ? 1.25
                            : s->wait == FERRY_WAIT_BLOCK ? 1.15
                                                          : 1.5);
    if (s->wait != FERRY_WAIT_SPIN)
        bench_report_target(report, &row, "idle_cpu_ms", true, 1);
}

int bench_latency(const bench_settings_t *settings, bench_report_t *report) {
    bench_settings_t s = *settings;
    result_t result;

    if (s.size == 0)
        s.size = 64;
    if (bench_repeat("latency", once, &s, &result, sizeof result) != 0)
        return 1;
    report_latency(&s, &result, report);
    return 0;
}
