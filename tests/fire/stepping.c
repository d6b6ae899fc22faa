/* SPDX-License-Identifier: MIT
 *
 * stepping.c - see stepping.h.
 */
#include "stepping.h"

#include <link.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/time.h>
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

int64_t stepping_at(pid_t pid) {
    static span_t library;
    struct __ptrace_syscall_info at;
    if (library.end == 0)
        check(dl_iterate_phdr(find_library, &library) == 1);
    check(ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof at, &at) > 0);
    uint64_t bytes = at.instruction_pointer - library.begin;
    return bytes < library.end - library.begin ? (int64_t)bytes : -1;
}

bool stepping_in_library(pid_t pid) {
    return stepping_at(pid) >= 0;
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
