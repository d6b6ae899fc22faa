/* SPDX-License-Identifier: MIT
 *
 * stepping.c - see stepping.h.
 */
#include "stepping.h"

#include <link.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/user.h>
#include <sys/wait.h>

typedef struct led {
    void (*run)(void *arg);
    void *arg;
} led_t;

static void be_led(void *arg) {
    const led_t *led = arg;
    check(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
    led->run(led->arg);
}

/* Ticks end the leader's wait, so that he can look at the clock. A timer of its own for each step would be dear. */
static void tick(int64_t interval) {
    struct itimerval timer = {.it_interval.tv_usec = interval / 1000, .it_value.tv_usec = interval / 1000};
    check(setitimer(ITIMER_REAL, &timer, NULL) == 0);
}

static void on_tick(int signal) {
    (void)signal;
}

/* Of leader and led only one runs at a time. On one processor none has to be woken for each step, which costs several
 * times what the step does. */
static cpu_set_t everywhere;

static void share_processor(void) {
    cpu_set_t here;
    CPU_ZERO(&here);
    CPU_SET((unsigned)sched_getcpu(), &here);
    check(sched_getaffinity(0, sizeof everywhere, &everywhere) == 0 && sched_setaffinity(0, sizeof here, &here) == 0);
}

pid_t stepping_start(void (*run)(void *arg), void *arg) {
    led_t led = {run, arg};
    struct sigaction action = {.sa_handler = on_tick}; /* without SA_RESTART */
    check(sigaction(SIGALRM, &action, NULL) == 0);
    share_processor();
    pid_t pid = child_start(be_led, &led);
    tick(MILLISECOND / 4);
    check(stepping_await(pid, PATIENCE) == AT_MARK);
    return pid;
}

void stepping_mark(void) {
    check(raise(SIGSTOP) == 0);
}

/* Who only waits for a processor is in no system call that waits. */
static bool sleeps(pid_t pid) {
    char path[32], state = 'R';
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *stat = fopen(path, "re");
    check(stat != NULL && fscanf(stat, "%*d (%*[^)]) %c", &state) == 1);
    fclose(stat);
    return state == 'S' || state == 'D';
}

enum stopped stepping_await(pid_t pid, int64_t patience) {
    int64_t end = 0;
    int status;
    while (waitpid(pid, &status, __WALL) < 0) {
        check(errno == EINTR);
        end = end ? end : clock_ns() + patience;
        if (clock_ns() >= end && sleeps(pid))
            return BLOCKED;
    }
    if (!WIFSTOPPED(status))
        return GONE;
    return WSTOPSIG(status) == SIGSTOP ? AT_MARK : AT_STEP;
}

enum stopped stepping_on(pid_t pid, bool by_call, int64_t patience) {
    check(ptrace(by_call ? PTRACE_SYSCALL : PTRACE_SINGLESTEP, pid, NULL, NULL) == 0);
    return stepping_await(pid, patience);
}

/* From where to where the library stands. Forked, the child has everything where the leader has it. */
typedef struct span {
    uintptr_t begin, end;
} span_t;

static int find_library(struct dl_phdr_info *info, size_t size, void *arg) {
    span_t *library = arg;
    (void)size;
    if (!strstr(info->dlpi_name, "libferry"))
        return 0;
    library->begin = UINTPTR_MAX;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        uintptr_t begin = info->dlpi_addr + part->p_vaddr;
        if (part->p_type != PT_LOAD)
            continue;
        library->begin = begin < library->begin ? begin : library->begin;
        library->end = begin + part->p_memsz > library->end ? begin + part->p_memsz : library->end;
    }
    return 1;
}

static uintptr_t instruction_of(pid_t pid) {
    struct __ptrace_syscall_info at;
    check(ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof at, &at) > 0);
    return (uintptr_t)at.instruction_pointer;
}

int64_t stepping_at(pid_t pid) {
    static span_t library;
    if (library.end == 0)
        check(dl_iterate_phdr(find_library, &library) == 1);
    uint64_t bytes = instruction_of(pid) - library.begin;
    return bytes < library.end - library.begin ? (int64_t)bytes : -1;
}

bool stepping_in_library(pid_t pid) {
    return stepping_at(pid) >= 0;
}

/* ---- the same way once more ---- */

void way_note(way_t *way, pid_t pid) {
    if (way->steps == way->room) {
        way->room = way->room ? 2 * way->room : 4096;
        way->at = realloc(way->at, way->room * sizeof *way->at);
        check(way->at != NULL);
    }
    way->at[way->steps++] = instruction_of(pid);
}

bool way_is_kept(const way_t *way, pid_t pid, unsigned to) {
    return to == 0 || instruction_of(pid) == way->at[to - 1];
}

/* One instruction that is come to, and the steps from there. */
typedef struct leap {
    uintptr_t at;
    unsigned times; /* it is come to so often; 0: there is none */
    unsigned steps;
} leap_t;

/* How often `instruction` is come to; more than `most`: too often. */
static unsigned times_on_way(const way_t *way, uintptr_t instruction, unsigned from, unsigned to, unsigned most) {
    unsigned times = 0;
    for (unsigned i = from; i < to && times <= most; i++)
        times += way->at[i] == instruction;
    return times;
}

/* The one with the fewest stops. `here`, where it stands now, it would stop at once. */
static leap_t choose_leap(const way_t *way, unsigned from, unsigned to, uintptr_t here) {
    leap_t best = {.steps = to - from};
    for (unsigned i = to; i > from && to - i + 1 < best.times + best.steps; i--) {
        unsigned most = best.times + best.steps - (to - i) - 1;
        if (way->at[i - 1] == here)
            continue;
        unsigned times = times_on_way(way, way->at[i - 1], from, i, most);
        if (times <= most)
            best = (leap_t){way->at[i - 1], times, to - i};
    }
    return best;
}

/* The processor's own breakpoint: one written into the code would be met by the threads that nobody leads, too. False:
 * there is none to be had. 0: no more. */
static bool stop_at(pid_t pid, uintptr_t instruction) {
#ifdef __x86_64__
    return ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[0]), instruction) == 0 &&
           ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[7]), (uintptr_t)(instruction != 0)) == 0;
#else
    (void)pid;
    (void)instruction;
    return false;
#endif
}

static enum stopped make_leap(pid_t pid, way_t *way, const leap_t *leap, int64_t patience) {
    enum stopped stopped = AT_STEP;
    for (way->seen = 0; way->seen < leap->times && stopped == AT_STEP;) {
        check(ptrace(PTRACE_CONT, pid, NULL, NULL) == 0);
        stopped = stepping_await(pid, patience);
        way->seen += stopped == AT_STEP && instruction_of(pid) == leap->at;
    }
    if (stopped == AT_STEP || stopped == AT_MARK)
        check(stop_at(pid, 0));
    return stopped;
}

enum stopped stepping_along(pid_t pid, way_t *way, unsigned from, unsigned to, int64_t patience) {
    enum stopped stopped = AT_STEP;
    check(from <= to && to <= way->steps);
    leap_t leap = choose_leap(way, from, to, instruction_of(pid));
    if (way->strayed && leap.times > 0) /* the same share of the rounds that there are */
        leap.times = 1 + (leap.times - 1) * way->seen / times_on_way(way, leap.at, from, way->steps, UINT32_MAX);
    if (leap.times > 0 && stop_at(pid, leap.at))
        stopped = make_leap(pid, way, &leap, patience);
    else
        leap.steps = to - from;
    for (unsigned i = 0; i < leap.steps && stopped == AT_STEP; i++)
        stopped = stepping_on(pid, false, patience);
    return stopped;
}

enum stopped stepping_walk(pid_t pid, way_t *way, bool by_call, int64_t patience, unsigned *steps) {
    enum stopped stopped;
    way->steps = *steps = 0;
    way->strayed = false;
    for (; (stopped = stepping_on(pid, by_call, patience)) == AT_STEP; (*steps)++)
        if (!by_call)
            way_note(way, pid);
    return stopped;
}

enum stopped stepping_go(pid_t pid, way_t *way, unsigned steps, bool by_call, int64_t patience) {
    enum stopped stopped = AT_STEP;
    bool lost = way->strayed && way->seen == 0;
    unsigned known = by_call || lost ? 0 : steps < way->steps ? steps : way->steps;
    if (known > 0)
        stopped = stepping_along(pid, way, 0, known, patience);
    way->seen = way->strayed ? 0 : way->seen;
    way->strayed = stopped != AT_STEP;
    for (unsigned i = known; i < steps && stopped == AT_STEP; i++)
        stopped = stepping_on(pid, by_call, patience);
    return stopped;
}

void stepping_kill(pid_t pid) {
    int status;
    tick(0);
    check(sched_setaffinity(0, sizeof everywhere, &everywhere) == 0);
    check(kill(pid, SIGKILL) == 0);
    do
        check(waitpid(pid, &status, __WALL) == pid);
    while (WIFSTOPPED(status));
    check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}
