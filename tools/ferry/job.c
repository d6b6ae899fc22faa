/* SPDX-License-Identifier: MIT
 *
 * The child is made by vfork: it has our memory until it runs the command, so nothing is copied, however much this
 * process has mapped, and the error of exec comes back through a variable. It does only what a signal handler may do.
 */
#include "job.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "signals.h"
#include "tool.h"
#include "transfer.h"
#include "units.h"
#include "warden.h"

static const size_t fits_pipe = 4096; /* what a pipe takes at least: an ordinary user's may be that small */
static const int64_t grace_ns = INT64_C(2) * 1000 * 1000 * 1000;

/* --- its input --------------------------------------------------------------------------------------------------- */

static int small_input(const void *input, size_t size) {
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -1;
    bool written = size == 0 || write(ends[1], input, size) == (ssize_t)size;
    close(ends[1]);
    if (!written) {
        close(ends[0]);
        return -1;
    }
    return ends[0];
}

static int large_input(const void *input, size_t size) {
    int fd = memfd_create("ferry-record", MFD_CLOEXEC);
    int result = fd >= 0 ? write_fully(fd, input, size, NULL) : 0;

    if (result == 0 && fd >= 0 && lseek(fd, 0, SEEK_SET) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    if (result < 0)
        errno = -result;
    return -1;
}

/* --- the command ------------------------------------------------------------------------------------------------- */

static _Noreturn void become(const job_plan_t *plan, int input, pid_t parent, volatile int *error) {
    bool tied = prctl(PR_SET_PDEATHSIG, (long)SIGKILL, 0L, 0L, 0L) == 0 && getppid() == parent;

    if (tied && setpgid(0, 0) == 0 && dup2(input, STDIN_FILENO) >= 0 &&
        (plan->output < 0 || dup2(plan->output, STDOUT_FILENO) >= 0)) {
        signals_give_back();
        sigprocmask(SIG_SETMASK, plan->mask, NULL);
        execvp(plan->command[0], plan->command);
    }
    *error = errno;
    _exit(STATUS_CANNOT_RUN);
}

/* In a function of its own, since the child runs on with its variables. Returns the process, or -1. */
__attribute__((noinline)) static pid_t split(const job_plan_t *plan, int input, volatile int *error) {
    pid_t self = getpid();
    pid_t pid = vfork();

    if (pid == 0)
        become(plan, input, self, error);
    return pid;
}

/* Signals that come while the child has our memory must not run our handlers there. */
static pid_t start(const job_plan_t *plan, int input, volatile int *error) {
    sigset_t all;
    sigset_t before;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    pid_t pid = split(plan, input, error);
    if (pid < 0)
        *error = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    return pid;
}

static void forget(pid_t pid) {
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

int job_start(job_t *job, const job_plan_t *plan, const void *input, size_t size, bool *cannot_run) {
    volatile int error = 0;

    *cannot_run = false;
    *job = (job_t){.fd = -1, .kill_at = plan->timeout < 0 ? INT64_MAX : now_ns() + plan->timeout};
    int in = size <= fits_pipe ? small_input(input, size) : large_input(input, size);
    if (in < 0)
        return errno;
    job->pid = start(plan, in, &error);
    close(in);
    if (job->pid < 0)
        return error;
    if (error != 0) {
        *cannot_run = true;
        forget(job->pid);
        return error;
    }
    job->fd = (int)syscall(SYS_pidfd_open, job->pid, 0u);
    if (job->fd < 0) {
        error = errno;
        (void)kill(-job->pid, SIGKILL);
        forget(job->pid);
        return error;
    }
    warden_watch(job->pid);
    return 0;
}

/* --- its end ----------------------------------------------------------------------------------------------------- */

void job_strike(job_t *job) {
    (void)kill(-job->pid, job->strikes == 0 ? SIGTERM : SIGKILL);
    job->kill_at = job->strikes == 0 ? now_ns() + grace_ns : INT64_MAX;
    job->strikes++;
}

int job_end(job_t *job) {
    int status = 0;

    warden_forget(job->pid); /* while the number is still its own */
    if (job->strikes > 0)
        (void)kill(-job->pid, SIGKILL); /* what it has left behind */
    while (waitpid(job->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    close(job->fd);
    job->fd = -1;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
