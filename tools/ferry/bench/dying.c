/* SPDX-License-Identifier: MIT
 *
 * How soon a death is noticed: a small process is killed whose only sender a receiver had, and the receiver's
 * ferry_recv answers that all senders have ended. The limit is the kernel's own word: how soon the pidfd of as small
 * a process polls readable after the same signal.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/clock.h"
#include "bench/lifetime.h"
#include "bench/limits.h"
#include "bench/payload.h"
#include "bench/sides.h"

enum { OBSERVER = 0, PARENT = 1, SIDES = 2 };
enum { SIZE = 64, IN_SLICE = 10, DEATHS = BENCH_SLICES * IN_SLICE };

typedef struct result {
    bench_quality_t quality;
    double ns, limit_ns; /* medians */
    double most_ns;
} result_t;

typedef struct shared {
    _Atomic int pid; /* of the one to die; 0: it is not ready */
    double ns[DEATHS], limit_ns[DEATHS];
} shared_t;

/* --- the one that dies ------------------------------------------------------------------------------------------- */

_Noreturn static void victim(bench_side_t *me, bool of_ferry) {
    shared_t *shared = me->shared;
    unsigned char message[SIZE];

    if (of_ferry) {
        ferry_sender_t *tx = bench_sender(me, "death", FERRY_QUEUE, NULL);
        bench_await(me, tx, 1);
        bench_payload_fill(message, SIZE, 1);
        int failed = ferry_send(tx, message, SIZE, BENCH_PATIENCE);
        if (failed < 0)
            bench_fail(me, "ferry_send answered %s: %s", strerror(-failed), ferry_last_error());
    }
    atomic_store(&shared->pid, getpid());
    for (;;)
        pause();
}

/* Its parent has no node, so that nothing of one is inherited. */
static void raise_victim(bench_side_t *me, bool of_ferry) {
    pid_t parent = getpid();
    pid_t pid = fork();

    if (pid < 0)
        bench_fail(me, "cannot start a process: %s", strerror(errno));
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        victim(me, of_ferry);
    }
    waitpid(pid, NULL, 0);
}

/* --- the one that notices ---------------------------------------------------------------------------------------- */

static pid_t await_victim(bench_side_t *me) {
    shared_t *shared = me->shared;
    int64_t give_up = bench_now_ns() + BENCH_PATIENCE;
    int pid;

    while ((pid = atomic_load(&shared->pid)) == 0) {
        if (bench_now_ns() > give_up)
            bench_fail(me, "the process that was to be killed did not get ready");
        usleep(200);
    }
    atomic_store(&shared->pid, 0);
    usleep(1000); /* it sleeps by now */
    return pid;
}

static double see_bare_death(bench_side_t *me) {
    int64_t ns = bench_death(await_victim(me));

    if (ns < 0)
        bench_fail(me, "the kernel did not tell of a death: %s", strerror((int)-ns));
    return (double)ns;
}

static double see_death(bench_side_t *me, ferry_receiver_t *rx) {
    ferry_msg_t *m;

    bench_take(me, rx);
    pid_t pid = await_victim(me);
    int64_t from_ns = bench_now_ns();
    kill(pid, SIGKILL);
    int answer = ferry_recv(rx, BENCH_PATIENCE, &m);
    int64_t ns = bench_now_ns() - from_ns;
    if (answer != -EPIPE)
        bench_fail(me, "ferry_recv answered %d where the only sender was killed and -EPIPE was due: %s", answer,
                   ferry_last_error());
    return (double)ns;
}

static void run_side(bench_side_t *me) {
    shared_t *shared = me->shared;

    for (unsigned i = 0; i < 2 * DEATHS; i++) {
        bool of_ferry = i % 2 == 1;
        ferry_receiver_t *rx = of_ferry && me->index == OBSERVER ? bench_receiver(me, "death", FERRY_QUEUE) : NULL;
        bench_meet(me);
        if (me->index == PARENT)
            raise_victim(me, of_ferry);
        else if (of_ferry)
            shared->ns[i / 2] = see_death(me, rx);
        else
            shared->limit_ns[i / 2] = see_bare_death(me);
        bench_meet(me);
        bench_close(me, NULL, rx);
    }
}

/* --- the run ----------------------------------------------------------------------------------------------------- */

static int once(const void *arg, void *out) {
    const bench_settings_t *s = arg;
    result_t *result = out;
    bench_series_t limit = {0};
    shared_t *shared = bench_share(sizeof *shared);

    if (shared == NULL)
        return 1;
    bench_job_t job = {.settings = s, .run = run_side, .sides = SIDES, .takers = 1, .shared = shared};
    job.in_processes = true;
    job.expected_ns = 2 * DEATHS * INT64_C(20000000);
    int failed = bench_sides_run(&job);
    for (unsigned i = 0; i < BENCH_SLICES; i++)
        bench_series_add(&limit, bench_median(shared->limit_ns + i * IN_SLICE, IN_SLICE));
    result->quality.spread = bench_series_spread(&limit);
    result->limit_ns = bench_series_median(&limit);
    result->ns = bench_median(shared->ns, DEATHS);
    result->most_ns = shared->ns[DEATHS - 1]; /* they have been sorted */
    bench_unshare(shared, sizeof *shared);
    return failed;
}

int bench_dying(const bench_settings_t *settings, bench_report_t *report) {
    bench_row_t row = {0};
    result_t r;

    if (bench_repeat("senders (dying)", once, settings, &r, sizeof r) != 0)
        return 1;
    bench_row_text(&row, "bench", "bench", "senders");
    bench_row_text(&row, "figure", "figure", "dying");
    bench_row_text(&row, "wait", NULL, bench_wait_word(settings->wait));
    bench_row_add(&row, "deaths", "deaths", BENCH_NUMBER, DEATHS);
    bench_row_add(&row, "death_p50_ns", "noticed p50", BENCH_NS, r.ns);
    bench_row_add(&row, "death_max_ns", "most", BENCH_NS, r.most_ns);
    bench_row_text(&row, "limit_name", NULL, "the dead process's pidfd");
    bench_row_add(&row, "limit_ns", "limit", BENCH_NS, r.limit_ns);
    bench_row_add(&row, "ratio", "ratio", BENCH_RATIO, r.ns / r.limit_ns);
    bench_row_quality(&row, &r.quality);
    bench_report_row(report, &row);
    bench_report_target(report, &row, "death_p50_ns", true, 1e6);
    return 0;
}
