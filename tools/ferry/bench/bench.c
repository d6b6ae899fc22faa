/* SPDX-License-Identifier: MIT */
#include "bench/bench.h"

#include "bench/parts.h"
#include "tool.h"

static int measure(bench_part_t part, const bench_settings_t *settings, bench_report_t *report) {
    if (settings->between == BENCH_MACHINES)
        return bench_machines(part, settings, report);
    switch (part) {
    case BENCH_LATENCY:
        return bench_latency(settings, report);
    case BENCH_THROUGHPUT:
        return bench_throughput(settings, report);
    case BENCH_LARGE:
        return bench_large(settings, report);
    case BENCH_SENDERS:
        return bench_senders(settings, report);
    case BENCH_FAIRNESS:
        return bench_fairness(settings, report);
    case BENCH_LOCK:
        return bench_lock(settings, report);
    case BENCH_RWLOCK:
        return bench_rwlock(settings, report);
    case BENCH_SEMAPHORE:
        return bench_semaphore(settings, report);
    case BENCH_EVENT:
        return bench_event(settings, report);
    case BENCH_BARRIER:
        return bench_barrier(settings, report);
    case BENCH_REGION:
        return bench_region(settings, report);
    case BENCH_CELL:
        return bench_cell(settings, report);
    case BENCH_BUFFER:
        return bench_bounded(settings, report);
    case BENCH_SNAPSHOT:
        return bench_snapshot(settings, report);
    case BENCH_RPC:
        return bench_rpc(settings, report);
    case BENCH_PEERS:
        return bench_peers(settings, report);
    case BENCH_ALL:
        return bench_everything(settings, report);
    }
    return 1;
}

int ferry_tool_bench(int argc, char **argv) {
    bench_settings_t settings;
    bench_part_t part;
    int status;

    if (!bench_settings_read(argc, argv, &settings, &part, &status))
        return status;
    /* What follows from the host's figures shall be the same from the first message to the last. */
    ferry_host_t host;
    (void)ferry_host(NULL, FERRY_HOST_MEASURE, &host, NULL);
    bench_report_t report = {.json = settings.json};
    int failed = measure(part, &settings, &report);
    bench_report_end(&report);
    return finish_output(failed != 0 ? STATUS_FAILED : STATUS_OK);
}
