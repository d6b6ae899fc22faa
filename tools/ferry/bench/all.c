/* SPDX-License-Identifier: MIT
 *
 * ferry bench all: the standard set. Progress goes to standard error.
 */
#include <stdio.h>
#include <unistd.h>

#include "bench/parts.h"
#include "say.h"

typedef int part_fn(const bench_settings_t *settings, bench_report_t *report);

typedef struct step {
    const char *what;
    part_fn *run;
    bench_settings_t settings;
} step_t;

static const step_t steps[] = {
    {"latency between processes, spin", bench_latency, {.wait = FERRY_WAIT_SPIN}},
    {"latency between processes, adaptive", bench_latency, {.wait = FERRY_WAIT_ADAPTIVE}},
    {"latency between processes, block", bench_latency, {.wait = FERRY_WAIT_BLOCK}},
    {"latency between threads, spin", bench_latency, {.between = BENCH_THREADS, .wait = FERRY_WAIT_SPIN}},
    {"latency between threads, adaptive", bench_latency, {.between = BENCH_THREADS}},
    {"latency between threads, block", bench_latency, {.between = BENCH_THREADS, .wait = FERRY_WAIT_BLOCK}},
    {"latency on one core", bench_latency, {.pin = BENCH_PIN_TOGETHER}},
    {"throughput, 64 bytes", bench_throughput, {.size = 64}},
    {"throughput, 64 bytes, claimed", bench_throughput, {.size = 64, .api = BENCH_CLAIM}},
    {"throughput, 1 KiB", bench_throughput, {.size = 1024}},
    {"throughput, 1 KiB, claimed", bench_throughput, {.size = 1024, .api = BENCH_CLAIM}},
    {"throughput, 4 KiB", bench_throughput, {.size = 4096}},
    {"throughput, four senders", bench_throughput, {.size = 64, .senders = 4}},
    {"throughput, eight senders", bench_throughput, {.size = 64, .senders = 8}},
    {"throughput, eight senders, not pinned", bench_throughput, {.senders = 8, .pin = BENCH_PIN_NONE}},
    {"throughput between threads", bench_throughput, {.between = BENCH_THREADS}},
    {"throughput between threads, claimed", bench_throughput, {.between = BENCH_THREADS, .api = BENCH_CLAIM}},
    {"throughput, a topic with one subscriber", bench_throughput, {.kind = FERRY_TOPIC}},
    {"throughput, a topic with eight subscribers", bench_throughput, {.kind = FERRY_TOPIC, .receivers = 8}},
    {"large messages", bench_large, {.wait = FERRY_WAIT_ADAPTIVE}},
    {"many senders", bench_senders, {.count = 1000}},
    {"fairness", bench_fairness, {.wait = FERRY_WAIT_ADAPTIVE}},
    {"a mutex, alone", bench_lock, {.parties = 1}},
    {"a mutex, two sides", bench_lock, {.parties = 2}},
    {"a mutex, four sides", bench_lock, {.parties = 4}},
    {"a mutex, two threads", bench_lock, {.parties = 2, .between = BENCH_THREADS}},
    {"a reader-writer lock", bench_rwlock, {.parties = 0}},
    {"semaphores, two sides", bench_semaphore, {.parties = 2}},
    {"semaphores, block", bench_semaphore, {.parties = 2, .wait = FERRY_WAIT_BLOCK, .work = BENCH_WORK_PING_PONG}},
    {"a semaphore, alone", bench_semaphore, {.parties = 1}},
    {"events", bench_event, {.parties = 2}},
    {"events, block", bench_event, {.parties = 2, .wait = FERRY_WAIT_BLOCK}},
    {"a barrier, two sides", bench_barrier, {.parties = 2}},
    {"a barrier, two sides, block", bench_barrier, {.parties = 2, .wait = FERRY_WAIT_BLOCK}},
    {"a barrier, four sides", bench_barrier, {.parties = 4}},
    {"an allocator, alone", bench_region, {.parties = 1, .live = 1000}},
    {"an allocator, two sides", bench_region, {.parties = 2, .live = 1000}},
    {"cells", bench_cell, {.size = 64, .wait = FERRY_WAIT_SPIN, .parties = 2}},
    {"a bounded buffer, two sides", bench_bounded, {.size = 64, .slots = 256, .parties = 2}},
    {"a bounded buffer, eight sides", bench_bounded, {.size = 64, .slots = 256, .parties = 8}},
    {"versions of a published region", bench_snapshot, {.parties = 2}},
    {"calls, spin", bench_rpc, {.servers = 1, .wait = FERRY_WAIT_SPIN}},
    {"calls", bench_rpc, {.servers = 1, .peers = true}},
    {"calls, block", bench_rpc, {.servers = 1, .wait = FERRY_WAIT_BLOCK}},
    {"calls, sixteen at once", bench_rpc, {.servers = 1, .outstanding = 16}},
    {"calls with 1 MiB", bench_rpc, {.servers = 1, .method = BENCH_METHOD_TAKE, .size = 1 << 20}},
    {"calls of a hundred clients", bench_rpc, {.servers = 1, .clients = 100}},
    {"calls between threads, spin", bench_rpc, {.servers = 1, .between = BENCH_THREADS, .wait = FERRY_WAIT_SPIN}},
    {"calls between threads, block", bench_rpc, {.servers = 1, .between = BENCH_THREADS, .wait = FERRY_WAIT_BLOCK}},
    {"calls between threads, sixteen at once", bench_rpc, {.servers = 1, .between = BENCH_THREADS, .outstanding = 16}},
};

enum { STEPS = sizeof steps / sizeof steps[0] };

static void show_progress(const bench_settings_t *settings, size_t i) {
    char line[100];

    snprintf(line, sizeof line, "[%zu/%d] %s", i + 1, STEPS, steps[i].what);
    if (settings->quiet)
        return;
    if (isatty(STDERR_FILENO))
        say_passing(line);
    else
        say("%s", line);
}

int bench_everything(const bench_settings_t *settings, bench_report_t *report) {
    int failed = 0;

    for (size_t i = 0; i < STEPS; i++) {
        bench_settings_t s = steps[i].settings;
        s.measure_ns = s.parties == 0 ? 1000000000 : 500000000; /* objects are quickly measured */
        s.kind = s.kind == 0 ? FERRY_QUEUE : s.kind;
        s.senders = s.senders == 0 ? 1 : s.senders;
        s.receivers = s.receivers == 0 ? 1 : s.receivers;
        s.directory = settings->directory;
        if (s.servers != 0) { /* it makes calls: one client makes them one at a time, with 64 bytes */
            s.size = s.size == 0 ? 64 : s.size;
            s.outstanding = s.outstanding == 0 ? 1 : s.outstanding;
            s.clients = s.clients == 0 ? 1 : s.clients;
        }
        show_progress(settings, i);
        failed |= steps[i].run(&s, report); /* what went wrong was said; the other figures are worth having */
    }
    say_wipe();
    return failed;
}
