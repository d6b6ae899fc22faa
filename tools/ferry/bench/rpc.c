/* SPDX-License-Identifier: MIT
 *
 * ferry bench rpc: calls, beside two plain messages there and back. A call is worth its name if it costs little more.
 */
#include <math.h>
#include <sys/resource.h>

#include "bench/calls.h"
#include "bench/parts.h"
#include "say.h"

/* --- the report -------------------------------------------------------------------------------------------------- */

static void row_of_peers(bench_row_t *row, const bench_calls_result_t *r) {
    static const struct {
        const char *ns, *times, *title;
    } named[BENCH_TALKS] = {
        [BENCH_TALK_SOCKET] = {"socket_ns", "times_socket", "socket"},
        [BENCH_TALK_GRPC] = {"grpc_ns", "times_grpc", "gRPC"},
        [BENCH_TALK_CAPNP] = {"capnp_ns", "times_capnp", "Cap'n Proto"},
    };

    for (bench_talk_t talk = BENCH_TALK_SOCKET; talk < BENCH_TALKS; talk++) {
        if (!r->has[talk])
            continue;
        bench_row_add(row, named[talk].ns, named[talk].title, BENCH_NS, r->of[talk].p50_ns);
        bench_row_add(row, named[talk].times, "times", BENCH_RATIO, r->of[BENCH_TALK_CALLS].per_s / r->of[talk].per_s);
    }
}

static void row_of(bench_row_t *row, const bench_settings_t *s, const bench_calls_result_t *r) {
    const bench_talked_t *ferry = &r->of[BENCH_TALK_CALLS];
    const bench_talked_t *messages = &r->of[BENCH_TALK_MESSAGES];
    bench_settings_t with_sides = *s;

    with_sides.parties = r->sides;
    bench_object_row(row, "rpc", NULL, &with_sides);
    bench_row_text(row, "method", "method", bench_method_word(s->method));
    bench_row_add(row, "size", "size", BENCH_BYTES, (double)s->size);
    bench_row_add(row, "outstanding", "at once", BENCH_NUMBER, s->outstanding);
    bench_row_add(row, "clients", "clients", BENCH_NUMBER, s->clients);
    bench_row_add(row, "servers", "servers", BENCH_NUMBER, s->servers);
    bench_row_add(row, "p50_ns", "p50", BENCH_NS, ferry->p50_ns);
    bench_row_add(row, "p99_ns", "p99", BENCH_NS, ferry->p99_ns);
    bench_row_add(row, "p999_ns", "p99.9", BENCH_NS, ferry->p999_ns);
    bench_row_add(row, "calls_per_s", "calls", BENCH_PER_SECOND, ferry->per_s);
    bench_row_add(row, "ns_per_call", "a call", BENCH_NS, 1e9 / ferry->per_s);
    bench_row_text(row, "limit_name", NULL, "message round trip");
    bench_row_add(row, "limit_ns", "messages", BENCH_NS, messages->p50_ns);
    bench_row_add(row, "limit_per_s", "rate", BENCH_PER_SECOND, messages->per_s);
    bench_row_add(row, "ratio", "ratio", BENCH_RATIO, ferry->p50_ns / messages->p50_ns);
    bench_row_text(row, "bare_name", NULL, r->by_futex ? "futex round trip" : "cache-line round trip");
    bench_row_add(row, "bare_ns", r->by_futex ? "futex" : "cache line", BENCH_NS, r->of[BENCH_TALK_BARE].p50_ns);
    if (!isnan(r->idle_cpu_ms)) {
        bench_row_add(row, "idle_cpu_ms", "idle ms", BENCH_NUMBER, r->idle_cpu_ms);
        bench_row_add(row, "waiting_cpu_ms", "waiting ms", BENCH_NUMBER, r->waiting_cpu_ms);
    }
    row_of_peers(row, r);
    bench_row_add(row, "calls", NULL, BENCH_NUMBER, ferry->trips);
    bench_row_quality(row, &r->quality);
}

/* What was asked for: for small arguments, and sides on cores of their own. */
static void targets(const bench_settings_t *s, const bench_calls_result_t *r, const bench_row_t *row,
                    bench_report_t *report) {
    bool adaptive = s->wait == FERRY_WAIT_ADAPTIVE;
    bool in_processes = s->between == BENCH_PROCESSES;

    if (s->clients > 1 || s->servers > 1 || s->pin != BENCH_PIN_APART || bench_is_shared_core(s))
        return;
    if (s->method == BENCH_METHOD_TAKE) {
        bench_report_target(report, row, "ratio", true, 1.2);
        return;
    }
    if (s->size == 64 && s->outstanding == 1 && !adaptive)
        bench_report_target(report, row, "ratio", true, s->wait == FERRY_WAIT_SPIN ? 1.5 : 1.2);
    if (s->size == 64 && s->outstanding == 1 && adaptive && in_processes)
        bench_report_target(report, row, "calls_per_s", false, 3e6);
    if (s->size == 64 && s->outstanding == 16 && adaptive)
        bench_report_target(report, row, "calls_per_s", false, 8e6);
    if (!isnan(r->idle_cpu_ms))
        bench_report_target(report, row, "idle_cpu_ms", true, 1);
    if (r->has[BENCH_TALK_GRPC])
        bench_report_target(report, row, "times_grpc", false, 50);
    if (r->has[BENCH_TALK_CAPNP])
        bench_report_target(report, row, "times_capnp", false, 50);
}

static int measure(const bench_settings_t *s, bench_report_t *report) {
    bench_calls_result_t r;
    bench_row_t row = {0};

    if (bench_repeat("rpc", bench_calls_once, s, &r, sizeof r) != 0)
        return 1;
    row_of(&row, s, &r);
    bench_report_row(report, &row);
    targets(s, &r, &row, report);
    return 0;
}

/* --- the usual set ----------------------------------------------------------------------------------------------- */

/* 0 is one, and 64 bytes. */
static const bench_settings_t usual[] = {
    {.wait = FERRY_WAIT_SPIN},
    {.wait = FERRY_WAIT_ADAPTIVE},
    {.wait = FERRY_WAIT_BLOCK},
    {.outstanding = 16},
    {.method = BENCH_METHOD_TAKE, .size = 1 << 20},
    {.clients = 10},
    {.clients = 100},
    {.clients = 1000},
};

static int measure_usual(const bench_settings_t *settings, bench_report_t *report) {
    int failed = 0;

    for (size_t i = 0; i < sizeof usual / sizeof usual[0] && failed == 0; i++) {
        bench_settings_t s = *settings;
        s.wait = usual[i].wait;
        s.method = usual[i].method;
        s.size = usual[i].size != 0 ? usual[i].size : 64;
        s.outstanding = usual[i].outstanding != 0 ? usual[i].outstanding : 1;
        s.clients = usual[i].clients != 0 ? usual[i].clients : 1;
        s.servers = 1;
        failed = measure(&s, report);
    }
    return failed;
}

/* Each client needs some descriptors, on both sides; all that the process may have are its to use. */
static void allow_descriptors(void) {
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int bench_rpc(const bench_settings_t *settings, bench_report_t *report) {
    bench_settings_t s = *settings;

    allow_descriptors();
    if (s.outstanding != 0)
        return measure(&s, report);
    int failed = measure_usual(&s, report);
    if (failed == 0 && s.both_betweens) {
        s.between = BENCH_THREADS;
        failed = measure_usual(&s, report);
    }
    return failed;
}
