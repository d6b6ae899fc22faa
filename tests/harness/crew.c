/* SPDX-License-Identifier: MIT
 *
 * crew.c - child processes, and members that are threads of one node, or threads or processes with a node each.
 */
#define FERRY_TESTS_SHORT_FORMS
#include "harness.h"

#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Does a thread of this process run, other than the calling one? */
static bool others_run(void) {
    char path[300];
    bool any = false;
    DIR *tasks = opendir("/proc/self/task");
    const struct dirent *task;
    while (tasks && !any && (task = readdir(tasks)) != NULL) {
        char state = 'S';
        snprintf(path, sizeof path, "/proc/self/task/%s/stat", task->d_name);
        FILE *file = atoi(task->d_name) > 0 && atoi(task->d_name) != (int)gettid() ? fopen(path, "re") : NULL;
        if (file && fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
            state = 'S'; /* it has just ended */
        if (file)
            fclose(file);
        any = state == 'R';
    }
    if (tasks)
        closedir(tasks);
    return any;
}

/* fork() does not take the locks of the sanitizer's allocator: what another thread holds of them at that moment, as one
 * that has just been started does, the child waits for in vain, at the latest when its leaks are looked for. */
static void let_others_sleep(void) {
    for (unsigned tries = 0; UNDER_SANITIZER && tries < 2000 && others_run(); tries++)
        nap(MILLISECOND);
}

pid_t child_start(void (*run)(void *arg), void *arg) {
    pid_t parent = getpid();
    fflush(NULL);
    let_others_sleep();
    pid_t pid = fork();
    check(pid >= 0);
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent && getppid() != 0) /* 0: the parent is in another PID namespace */
        _exit(1);
    run(arg);
    exit(0);
}

int child_wait(pid_t pid) {
    int status = 0;
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    check(fd >= 0);
    struct pollfd item = {.fd = fd, .events = POLLIN};
    int ready;
    do
        ready = poll(&item, 1, 3 * (int)(PATIENCE / MILLISECOND));
    while (ready < 0 && errno == EINTR);
    close(fd);
    if (ready != 1) {
        fprintf(stderr, "# child %d did not end\n", (int)pid);
        kill(pid, SIGKILL);
    }
    check(waitpid(pid, &status, 0) == pid);
    check(ready == 1);
    return status;
}

void child_join(pid_t pid) {
    int status = child_wait(pid);
    if (WIFSIGNALED(status))
        fprintf(stderr, "# child %d was ended by signal %d\n", (int)pid, WTERMSIG(status));
    else if (WEXITSTATUS(status) != 0)
        fprintf(stderr, "# child %d ended with status %d\n", (int)pid, WEXITSTATUS(status));
    check(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

void child_kill(pid_t pid) {
    check(kill(pid, SIGKILL) == 0);
    int status = child_wait(pid);
    check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

typedef struct member {
    void (*run)(ferry_t *node, void *arg);
    void *arg;
    ferry_t *node; /* threads: the crew's, or the member's own */
    pthread_t thread;
    pid_t pid;
    bool running;
    bool buried; /* the dead leave open what they had */
} member_t;

struct crew {
    where_t where;
    ferry_t *node;
    unsigned count;
    member_t members[CREW_MAX];
};

static bool is_process; /* that of a crew's member */

crew_t *crew_begin(where_t where) {
    crew_t *crew = calloc(1, sizeof *crew);
    check(crew != NULL);
    crew->where = where;
    return crew;
}

ferry_t *crew_node(crew_t *crew) {
    if (!crew->node)
        crew->node = open_node("test");
    return crew->node;
}

static void *run_thread(void *arg) {
    member_t *member = arg;
    member->run(member->node, member->arg);
    return NULL;
}

static void *run_thread_with_node(void *arg) {
    member_t *member = arg;
    member->node = open_node("test");
    member->run(member->node, member->arg);
    close_node(member->node);
    return NULL;
}

static void run_process(void *arg) {
    is_process = true;
    run_thread_with_node(arg);
}

_Noreturn void crew_die(void) {
    if (is_process)
        kill(getpid(), SIGKILL);
    pthread_exit(NULL);
}

unsigned crew_add(crew_t *crew, void (*run)(ferry_t *node, void *arg), void *arg) {
    check(crew->count < CREW_MAX);
    member_t *member = &crew->members[crew->count];
    *member = (member_t){.run = run, .arg = arg, .running = true};
    if (crew->where == IN_THREADS) {
        member->node = crew_node(crew);
        check(pthread_create(&member->thread, NULL, run_thread, member) == 0);
    } else if (crew->where == IN_NODES) {
        check(pthread_create(&member->thread, NULL, run_thread_with_node, member) == 0);
    } else {
        check(crew->node == NULL); /* fork first, then open */
        member->pid = child_start(run_process, member);
    }
    return crew->count++;
}

static void join_thread(pthread_t thread) {
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 3 * (time_t)(PATIENCE / SECOND);
    check_is(pthread_timedjoin_np(thread, NULL, &end), 0);
}

static member_t *end_of(crew_t *crew, unsigned member) {
    member_t *m = &crew->members[member];
    check(member < crew->count && m->running);
    m->running = false;
    return m;
}

void crew_join(crew_t *crew, unsigned member) {
    member_t *m = end_of(crew, member);
    if (crew->where == IN_PROCESSES)
        child_join(m->pid);
    else
        join_thread(m->thread);
}

void crew_bury(crew_t *crew, unsigned member) {
    member_t *m = end_of(crew, member);
    m->buried = true;
    if (crew->where == IN_PROCESSES) {
        int status = child_wait(m->pid);
        check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        return;
    }
    join_thread(m->thread);
}

/* Closes the nodes in which the dead threads' ends are left; true when the crew's own is among them. */
static bool close_after_the_dead(crew_t *crew) {
    bool in_own_node = false;
    for (unsigned i = 0; i < crew->count; i++) {
        if (!crew->members[i].buried)
            continue;
        if (crew->where == IN_NODES)
            check(ferry_close(crew->members[i].node) >= 0);
        in_own_node = in_own_node || crew->where == IN_THREADS;
    }
    return in_own_node;
}

void crew_end(crew_t *crew) {
    for (unsigned i = 0; i < crew->count; i++)
        if (crew->members[i].running)
            crew_join(crew, i);
    if (close_after_the_dead(crew))
        check(ferry_close(crew->node) >= 0);
    else if (crew->node)
        close_node(crew->node);
    free(crew);
}
