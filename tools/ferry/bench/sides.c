/* SPDX-License-Identifier: MIT */
#include "bench/sides.h"

#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/clock.h"
#include "bench/machines.h"
#include "say.h"

enum { MAX_SIDES = BENCH_MAX_SENDERS + BENCH_MAX_RECEIVERS + 1, MAX_CPUS = 256 };

/* What parent and children share. */
typedef struct control {
    pthread_barrier_t barrier;
    _Atomic int failed; /* the first failure's sentence is the one that tells the cause */
    char sentence[600];
} control_t;

struct bench_crew {
    const bench_job_t *job;
    control_t *control;
    char directory[4096];
    bool in_threads;
    unsigned children;
    double ticks_per_ns;
    int cpus[MAX_CPUS];
    unsigned n_cpus;
    pthread_mutex_t lock; /* over the node */
    ferry_t *node;
    pid_t pids[MAX_SIDES];
    bench_side_t sides[MAX_SIDES];
};

/* --- children ---------------------------------------------------------------------------------------------------- */

static int cpu_for(const bench_crew_t *crew, unsigned index) {
    const bench_job_t *job = crew->job;
    unsigned n = crew->n_cpus;

    if (job->settings->pin == BENCH_PIN_NONE || n == 0)
        return -1;
    if (job->settings->pin == BENCH_PIN_TOGETHER || n == 1)
        return crew->cpus[0];
    if (job->sides <= n)
        return crew->cpus[index];
    unsigned first = n * job->takers / job->sides; /* processors of the takers */
    if (first == 0)
        first = 1;
    if (first >= n)
        first = n - 1;
    return index < job->takers ? crew->cpus[index % first] : crew->cpus[first + (index - job->takers) % (n - first)];
}

static void pin(int cpu) {
    cpu_set_t set;

    if (cpu < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static void *side_thread(void *arg) {
    bench_side_t *me = arg;

    pin(me->cpu);
    me->crew->job->run(me);
    return NULL;
}

static void close_node(bench_crew_t *crew) {
    int left = ferry_close(crew->node);

    if (left != 0)
        bench_fail(&crew->sides[0], "ferry_close answered %d: %s", left, ferry_last_error());
}

_Noreturn static void child_of_threads(bench_crew_t *crew) {
    pthread_t threads[MAX_SIDES];

    for (unsigned i = 0; i < crew->job->sides; i++) {
        int failed = pthread_create(&threads[i], NULL, side_thread, &crew->sides[i]);
        if (failed != 0)
            bench_fail(&crew->sides[i], "cannot start thread %u: %s", i + 1, strerror(failed));
    }
    for (unsigned i = 0; i < crew->job->sides; i++)
        pthread_join(threads[i], NULL);
    close_node(crew);
    _exit(0);
}

/* Each machine has its own directory, where the others' nodes cannot be seen. */
static void go_to_machine(bench_side_t *me) {
    bench_crew_t *crew = me->crew;
    size_t len = strlen(crew->directory);

    if (!bench_place_enter(me->settings->place, me->index))
        bench_fail(me, "cannot go to the other machine: %s", strerror(errno));
    snprintf(crew->directory + len, sizeof crew->directory - len, "/%u", me->index);
    if (mkdir(crew->directory, 0700) < 0)
        bench_fail(me, "cannot make a directory for a machine: %s", strerror(errno));
}

_Noreturn static void child_process(bench_crew_t *crew, unsigned index) {
    if (crew->job->settings->place != NULL)
        go_to_machine(&crew->sides[index]);
    side_thread(&crew->sides[index]);
    close_node(crew);
    _exit(0);
}

static bool start_children(bench_crew_t *crew, const sigset_t *before) {
    pid_t parent = getpid();

    fflush(NULL);
    for (unsigned i = 0; i < crew->children; i++) {
        pid_t pid = fork();
        if (pid < 0) {
            say("cannot start process %u of %u: %s", i + 1, crew->children, strerror(errno));
            return false;
        }
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != parent)
                _exit(1);
            sigprocmask(SIG_SETMASK, before, NULL);
            if (crew->in_threads)
                child_of_threads(crew);
            child_process(crew, i);
        }
        crew->pids[i] = pid;
    }
    return true;
}

/* --- the parent -------------------------------------------------------------------------------------------------- */

static void tell_failure(const bench_crew_t *crew, int status) {
    if (atomic_load(&crew->control->failed) != 0)
        say("%s", crew->control->sentence);
    else if (WIFSIGNALED(status))
        say("a measured process died of signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        say("a measured process ended early, with status %d", WEXITSTATUS(status));
}

/* Collects children that have ended. Returns how many still run; -1: one has failed. */
static int reap(bench_crew_t *crew) {
    int running = 0;

    for (unsigned i = 0; i < crew->children; i++) {
        int status;
        if (crew->pids[i] == 0)
            continue;
        if (waitpid(crew->pids[i], &status, WNOHANG) != crew->pids[i]) {
            running++;
            continue;
        }
        crew->pids[i] = 0;
        if (status != 0) {
            tell_failure(crew, status);
            return -1;
        }
    }
    return running;
}

static void kill_children(bench_crew_t *crew) {
    for (unsigned i = 0; i < crew->children; i++) {
        if (crew->pids[i] > 0)
            kill(crew->pids[i], SIGKILL);
    }
    for (unsigned i = 0; i < crew->children; i++) {
        if (crew->pids[i] > 0)
            waitpid(crew->pids[i], NULL, 0);
    }
}

/* Waits for the children without ever waking up in vain. Returns 0, 1 for a failure that was said, or -signal. */
static int supervise(bench_crew_t *crew, const sigset_t *signals) {
    int64_t give_up = bench_now_ns() + 4 * crew->job->expected_ns + 30000000000;
    int running;

    while ((running = reap(crew)) > 0) {
        int64_t left = give_up - bench_now_ns();
        struct timespec wait = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
        if (left <= 0) {
            say("the measured %s did not end in time; giving up", crew->in_threads ? "threads" : "processes");
            return 1;
        }
        int number = sigtimedwait(signals, NULL, &wait);
        if (number > 0 && number != SIGCHLD)
            return -number;
    }
    return running == 0 ? 0 : 1;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw) {
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

static bool prepare(bench_crew_t *crew) {
    const char *base = crew->job->settings->directory;
    pthread_barrierattr_t shared;

    if (base == NULL)
        base = getenv("TMPDIR");
    if (base == NULL || base[0] == '\0')
        base = "/tmp";
    snprintf(crew->directory, sizeof crew->directory, "%s/ferry-bench-XXXXXX", base);
    crew->control = bench_share(sizeof *crew->control);
    if (crew->control == NULL)
        return false;
    if (mkdtemp(crew->directory) == NULL) {
        say("cannot make a temporary directory in %s: %s; name another one with --directory", base, strerror(errno));
        bench_unshare(crew->control, sizeof *crew->control);
        return false;
    }
    pthread_barrierattr_init(&shared);
    pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&crew->control->barrier, &shared, crew->job->sides);
    pthread_barrierattr_destroy(&shared);
    crew->n_cpus = bench_processors(crew->cpus, MAX_CPUS);
    crew->ticks_per_ns = bench_ticks_per_ns();
    return true;
}

/* What was ignored when the command started (nohup) stays ignored: it is not waited for. */
static void watch(sigset_t *signals, int number) {
    struct sigaction is;

    if (sigaction(number, NULL, &is) == 0 && is.sa_handler != SIG_IGN)
        sigaddset(signals, number);
}

static int run_crew(bench_crew_t *crew) {
    sigset_t signals;
    sigset_t before;

    signal(SIGCHLD, SIG_DFL); /* if it came in as "ignored", nobody would tell that a child has ended */
    sigemptyset(&signals);
    watch(&signals, SIGCHLD);
    watch(&signals, SIGINT);
    watch(&signals, SIGTERM);
    watch(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, &before);
    int result = start_children(crew, &before) ? supervise(crew, &signals) : 1;
    kill_children(crew);
    nftw(crew->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    if (result < 0) {
        if (crew->job->settings->place != NULL)
            bench_place_close(crew->job->settings->place);
        signal(-result, SIG_DFL);
        raise(-result); /* it is still blocked, and ends the command below */
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    return result;
}

int bench_sides_run(const bench_job_t *job) {
    bench_crew_t *crew = calloc(1, sizeof *crew);

    if (crew == NULL) {
        say("there is no memory left");
        return 1;
    }
    crew->job = job;
    crew->in_threads = job->settings->between == BENCH_THREADS && !job->in_processes;
    crew->children = crew->in_threads ? 1 : job->sides;
    pthread_mutex_init(&crew->lock, NULL);
    int result = 1;
    if (prepare(crew)) {
        for (unsigned i = 0; i < job->sides; i++) {
            crew->sides[i] = (bench_side_t){.crew = crew,
                                            .settings = job->settings,
                                            .shared = job->shared,
                                            .index = i,
                                            .cpu = cpu_for(crew, i),
                                            .ticks_per_ns = crew->ticks_per_ns};
        }
        result = run_crew(crew);
        bench_unshare(crew->control, sizeof *crew->control);
    }
    free(crew);
    return result;
}

/* --- for the sides ----------------------------------------------------------------------------------------------- */

_Noreturn void bench_fail(bench_side_t *me, const char *format, ...) {
    control_t *control = me->crew->control;
    va_list args;

    if (atomic_exchange(&control->failed, 1) == 0) {
        va_start(args, format);
        vsnprintf(control->sentence, sizeof control->sentence, format, args);
        va_end(args);
    }
    _exit(1);
}

void bench_meet(bench_side_t *me) {
    pthread_barrier_wait(&me->crew->control->barrier);
}

const char *bench_directory(const bench_side_t *me) {
    return me->crew->directory;
}

ferry_t *bench_node(bench_side_t *me) {
    bench_crew_t *crew = me->crew;
    ferry_options_t options = {.directory = crew->directory, .name = "bench"};
    const bench_place_t *place = me->settings->place;
    char space[ENGINE_URL + 8] = "bench";

    if (place != NULL)
        snprintf(space, sizeof space, "%s/bench", place->url);
    pthread_mutex_lock(&crew->lock);
    if (crew->node == NULL && ferry_open(space, &options, &crew->node) < 0)
        bench_fail(me, "cannot open a node: %s", ferry_last_error());
    pthread_mutex_unlock(&crew->lock);
    return crew->node;
}
