/* SPDX-License-Identifier: MIT
 *
 * ferry bench peers: Ferry and other ways to carry messages between two processes, all in turn.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/daemon.h"
#include "bench/module.h"
#include "bench/parts.h"
#include "bench/peers.h"
#include "say.h"

enum { SIZES = 4, FIGURES = 1 + SIZES };

static const size_t sizes[SIZES] = {64, 1024, 65536, 1048576};
static const int64_t whole_ns = 1000000000; /* with less there is one round only, which says little, soon */

/* What is compared. */
typedef struct way {
    const char *name;
    const char *waits; /* how, if one can choose */
    const char *setup; /* what has to be there before two processes can talk */
    const bench_wire_t *wire;
    const char *module;
    const char *package; /* that the module needs */
    const char *daemon;  /* a program that must run meanwhile */
    const char *ready;   /* what it writes when it does */
    ferry_wait_t wait;
    size_t most; /* bytes of a message; 0: any number */
} way_t;

#define ICEORYX "iceoryx and libiceoryx-binding-c-dev"

static const way_t ways[] = {
    {.name = "Ferry", .waits = "adaptive", .setup = "nothing", .wire = &bench_wire_ferry, .wait = FERRY_WAIT_ADAPTIVE},
    {.name = "Ferry", .waits = "spin", .setup = "nothing", .wire = &bench_wire_ferry, .wait = FERRY_WAIT_SPIN},
    {.name = "Ferry", .waits = "block", .setup = "nothing", .wire = &bench_wire_ferry, .wait = FERRY_WAIT_BLOCK},
    {.name = "pipe", .waits = "block", .setup = "two named pipes", .wire = &bench_wire_pipe},
    {.name = "UNIX socket", .waits = "block", .setup = "a socket's name", .wire = &bench_wire_socket},
    {.name = "POSIX queue", .waits = "block", .setup = "two names", .wire = &bench_wire_mqueue, .most = 8192},
    {.name = "ZeroMQ", .waits = "block", .setup = "a socket's name", .module = "zeromq.so", .package = "libzmq3-dev"},
    {.name = "nng", .waits = "block", .setup = "a socket's name", .module = "nng.so", .package = "libnng-dev"},
    {.name = "UCX",
     .waits = "spin",
     .setup = "addresses exchanged",
     .module = "ucx.so",
     .package = "libucx-dev",
     .wait = FERRY_WAIT_SPIN},
    {.name = "UCX",
     .waits = "block",
     .setup = "addresses exchanged",
     .module = "ucx.so",
     .package = "libucx-dev",
     .wait = FERRY_WAIT_BLOCK},
    {.name = "iceoryx",
     .waits = "spin",
     .setup = "a daemon",
     .module = "iceoryx.so",
     .package = ICEORYX,
     .daemon = "iox-roudi",
     .ready = "RouDi is ready",
     .wait = FERRY_WAIT_SPIN},
    {.name = "iceoryx",
     .waits = "block",
     .setup = "a daemon",
     .module = "iceoryx.so",
     .package = ICEORYX,
     .daemon = "iox-roudi",
     .ready = "RouDi is ready",
     .wait = FERRY_WAIT_BLOCK},
};

enum { WAYS = sizeof ways / sizeof ways[0] };

/* What is known of one way: of each round. */
typedef struct known {
    bool absent;
    bool failed;
    bench_series_t p50_ns, p99_ns, p999_ns, per_s[SIZES];
    double idle_cpu_ms;
} known_t;

typedef struct work {
    const bench_settings_t *settings;
    bench_peer_run_t *run;
    int64_t idle_ns;
    unsigned rounds;
    bench_daemon_t daemon;
    bool no_daemon;
    known_t known[WAYS];
    char machine[80], date[40];
} work_t;

/* --- measuring --------------------------------------------------------------------------------------------------- */

static bool measure(work_t *w, size_t way, bench_peer_work_t work, size_t size, int64_t ns) {
    bench_settings_t s = *w->settings;
    bench_peer_run_t *run = w->run;

    if (w->known[way].absent || w->known[way].failed)
        return false;
    s.wait = ways[way].wait;
    s.size = size;
    run->wire = ways[way].wire;
    run->module = ways[way].module;
    run->work = work;
    run->size = size;
    run->ns = ns;
    if (bench_peer_measure(&s, run) == 0)
        return true;
    say("%s could not be measured, and is left out", ways[way].name);
    w->known[way].failed = true;
    return false;
}

static void measure_trips(work_t *w, size_t way) {
    known_t *known = &w->known[way];

    if (!measure(w, way, BENCH_PEER_TRIPS, sizes[0], w->settings->measure_ns / w->rounds))
        return;
    bench_series_add(&known->p50_ns, w->run->p50_ns);
    bench_series_add(&known->p99_ns, w->run->p99_ns);
    bench_series_add(&known->p999_ns, w->run->p999_ns);
}

static void measure_flow(work_t *w, size_t way, unsigned i) {
    bool can = ways[way].most == 0 || sizes[i] <= ways[way].most;

    if (can && measure(w, way, BENCH_PEER_FLOW, sizes[i], w->settings->measure_ns / w->rounds))
        bench_series_add(&w->known[way].per_s[i], w->run->msgs_per_s);
}

static void show_progress(const work_t *w, unsigned step, const char *what) {
    char line[100];

    snprintf(line, sizeof line, "[%u/%u] %s", step + 1, w->rounds * FIGURES + 1, what);
    if (w->settings->quiet)
        return;
    if (isatty(STDERR_FILENO))
        say_passing(line);
    else
        say("%s", line);
}

static void measure_round(work_t *w, unsigned round) {
    static const char *const words[FIGURES] = {"round trips of 64 bytes", "64 bytes, one way", "1 KiB, one way",
                                               "64 KiB, one way", "1 MiB, one way"};

    for (unsigned figure = 0; figure < FIGURES; figure++) {
        show_progress(w, round * FIGURES + figure, words[figure]);
        for (size_t way = 0; way < WAYS; way++) {
            if (figure == 0)
                measure_trips(w, way);
            else
                measure_flow(w, way, figure - 1);
        }
    }
}

static void measure_all(work_t *w) {
    for (unsigned round = 0; round < w->rounds; round++)
        measure_round(w, round);
    show_progress(w, w->rounds * FIGURES, "waiting for nothing");
    for (size_t way = 0; way < WAYS; way++) {
        if (measure(w, way, BENCH_PEER_IDLE, sizes[0], w->idle_ns))
            w->known[way].idle_cpu_ms = w->run->idle_cpu_ms;
    }
}

/* --- what came of it --------------------------------------------------------------------------------------------- */

/* The processor's name, in words that need no care in JSON. */
static void name_machine(work_t *w) {
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "re");
    const char *name = "unknown processor";
    int cpus[256];

    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && colon != NULL && colon[1] == ' ') {
            name = colon + 2;
            break;
        }
    }
    size_t len = strcspn(name, "\n");
    while (len > 0 && name[len - 1] == ' ')
        len--;
    snprintf(w->machine, sizeof w->machine, "%.*s, %u processors", (int)(len < 50 ? len : 50), name,
             bench_processors(cpus, 256));
    if (file != NULL)
        fclose(file);
    for (char *p = w->machine; *p != '\0'; p++) {
        if (*p < ' ' || *p > '~' || *p == '"' || *p == '\\')
            *p = ' ';
    }
}

static void add_common(bench_row_t *row, const work_t *w, const way_t *way) {
    bench_row_text(row, "bench", "bench", "peers");
    bench_row_text(row, "peer", "       peer", way->name);
    bench_row_text(row, "wait", "waits", way->waits);
    bench_row_text(row, "between", NULL, "processes");
    bench_row_text(row, "cores", NULL, bench_pin_word(w->settings->pin));
    bench_row_text(row, "machine", NULL, w->machine);
    bench_row_text(row, "date", NULL, w->date);
}

static void report_way(const work_t *w, size_t i, bench_report_t *report) {
    static const char *const names[SIZES] = {"msgs_per_s_64", "msgs_per_s_1024", "msgs_per_s_65536",
                                             "msgs_per_s_1048576"};
    static const char *const titles[SIZES] = {"64 B", "1 KiB", "64 KiB", "1 MiB"};
    const known_t *known = &w->known[i];
    bench_row_t row = {0};

    add_common(&row, w, &ways[i]);
    bench_row_add(&row, "measured", NULL, BENCH_FLAG, !known->absent && !known->failed);
    if (known->absent)
        bench_row_text(&row, "package", NULL, ways[i].package);
    bench_row_add(&row, "p50_ns", "p50", BENCH_NS, bench_series_median(&known->p50_ns));
    bench_row_add(&row, "p99_ns", "p99", BENCH_NS, bench_series_median(&known->p99_ns));
    bench_row_add(&row, "p999_ns", "p99.9", BENCH_NS, bench_series_median(&known->p999_ns));
    bench_row_add(&row, "p50_spread", NULL, BENCH_RATIO, bench_series_spread(&known->p50_ns));
    for (unsigned k = 0; k < SIZES; k++)
        bench_row_add(&row, names[k], titles[k], BENCH_PER_SECOND, bench_series_median(&known->per_s[k]));
    bench_row_add(&row, "idle_cpu_ms", "idle ms", BENCH_NUMBER, known->idle_cpu_ms);
    bench_row_add(&row, "idle_ns", NULL, BENCH_NS, (double)w->idle_ns);
    bench_row_text(&row, "setup", "             set-up", ways[i].setup);
    if (report->json || !known->absent)
        bench_report_row(report, &row);
}

static void look_what_is_there(work_t *w) {
    char path[BENCH_MODULE_PATH];

    for (size_t i = 0; i < WAYS; i++) {
        known_t *known = &w->known[i];
        known->idle_cpu_ms = NAN;
        known->absent = ways[i].module != NULL && !bench_module_find(ways[i].module, path, sizeof path);
        if (known->absent)
            say("%s is not compared: it was not built; install %s, and build again", ways[i].name, ways[i].package);
    }
}

/* Starts the daemon that ways need; they are alike, and one daemon is enough. */
static void start_daemon(work_t *w) {
    for (size_t i = 0; i < WAYS; i++) {
        known_t *known = &w->known[i];
        bool needs = !known->absent && ways[i].daemon != NULL;
        if (needs && w->daemon.pid == 0 && !w->no_daemon)
            w->no_daemon = !bench_daemon_start(&w->daemon, ways[i].daemon, ways[i].ready);
        known->failed = needs && w->no_daemon;
    }
}

static int run(work_t *w, bench_report_t *report) {
    time_t now = time(NULL);
    struct tm day;
    int failed = 0;

    name_machine(w);
    strftime(w->date, sizeof w->date, "%Y-%m-%d", gmtime_r(&now, &day));
    look_what_is_there(w);
    start_daemon(w);
    measure_all(w);
    bench_daemon_stop(&w->daemon);
    for (size_t i = 0; i < WAYS; i++) {
        report_way(w, i, report);
        failed |= w->known[i].failed;
    }
    return failed;
}

int bench_peers(const bench_settings_t *settings, bench_report_t *report) {
    bool is_whole = settings->measure_ns >= whole_ns;
    work_t w = {.settings = settings, .rounds = is_whole ? BENCH_SLICES : 1, .daemon = {.output = -1}};
    size_t room = ((size_t)4 << 20);
    int failed = 1;

    w.idle_ns = is_whole ? 2000000000 : 2 * settings->measure_ns;
    w.run = bench_share(sizeof *w.run);
    uint32_t *sample = bench_share(room * sizeof *sample);
    if (w.run != NULL && sample != NULL) {
        w.run->sample = sample;
        w.run->room = room;
        failed = run(&w, report);
    }
    bench_unshare(w.run, sizeof *w.run);
    bench_unshare(sample, room * sizeof *sample);
    return failed;
}
