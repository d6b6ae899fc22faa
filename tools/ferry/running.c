/* SPDX-License-Identifier: MIT
 *
 * The child is held back, over a pair of sockets, until this process is ready: signals are passed on, and Ferry knows
 * of the wait. So a command never runs of which a search for deadlocks knows nothing, nor one whose lock was lost
 * before it began: when this process dies first, the child reads the end of the stream. In the other direction comes
 * the error of exec, or the end of the stream when exec has closed it.
 */
#include "running.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "say.h"
#include "signals.h"
#include "stop.h"
#include "tool.h"

#define LOOK_MS 500

/* --- the child --------------------------------------------------------------------------------------------------- */

static void die_with(pid_t parent) {
    if (prctl(PR_SET_PDEATHSIG, (long)SIGKILL, 0L, 0L, 0L) != 0 || getppid() != parent)
        _exit(STATUS_FAILED); /* it died before we asked to be told */
}

static _Noreturn void become(char **command, int link, const sigset_t *mask) {
    char go;
    ssize_t n;

    do
        n = read(link, &go, 1);
    while (n < 0 && errno == EINTR);
    if (n != 1)
        _exit(STATUS_FAILED);
    signals_give_back();
    sigprocmask(SIG_SETMASK, mask, NULL);
    execvp(command[0], command);
    int error = errno;
    (void)send(link, &error, sizeof error, MSG_NOSIGNAL);
    _exit(error == ENOENT ? STATUS_NOT_FOUND : STATUS_CANNOT_RUN);
}

/* --- the parent -------------------------------------------------------------------------------------------------- */

/* Lets the child go on. Returns 0 when it runs the command, or the errno value that tells why it cannot. */
static int let_go(int link) {
    char go = 1;
    int error = 0;
    ssize_t n;

    if (send(link, &go, 1, MSG_NOSIGNAL) != 1)
        return 0; /* it was killed: how, its status tells */
    do
        n = read(link, &error, sizeof error);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof error ? error : 0;
}

/* Until the child has ended. */
static void look_out(pid_t child, const lookout_t *lookout) {
    struct pollfd ends = {.fd = (int)syscall(SYS_pidfd_open, child, 0), .events = POLLIN};

    while (ends.fd >= 0 && poll(&ends, 1, LOOK_MS) <= 0)
        lookout->look(lookout->arg);
    if (ends.fd >= 0)
        close(ends.fd);
}

/* The pid is free for another process once it was waited for, so no signal may be passed on by then. */
static int wait_for(pid_t child) {
    siginfo_t info;
    int status = 0;

    while (waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR)
        continue;
    stop_pass_on(0);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    return status;
}

static outcome_t outcome_of(int status) {
    if (WIFSIGNALED(status))
        return (outcome_t){.status = 128 + WTERMSIG(status), .signal = WTERMSIG(status)};
    return (outcome_t){.status = WEXITSTATUS(status)};
}

/*
 * A signal of the terminal that came before there was a child has reached us alone. The child blocks it as well, so if
 * it came to both, the child still sees it once.
 */
static void share_pending(pid_t child) {
    static const int from_terminal[] = {SIGINT, SIGQUIT};
    sigset_t pending;

    sigpending(&pending);
    for (size_t i = 0; i < sizeof from_terminal / sizeof from_terminal[0]; i++) {
        if (sigismember(&pending, from_terminal[i]) == 1)
            kill(child, from_terminal[i]);
    }
}

typedef struct running {
    ferry_t *node;
    char **command;
    const lookout_t *lookout;
} running_t;

/* From the fork, with signals blocked, to the end of the command; `mask` is how they were before. */
static outcome_t attend(const running_t *r, pid_t child, int link, const sigset_t *mask) {
    stop_pass_on(child);
    share_pending(child);
    sigprocmask(SIG_SETMASK, mask, NULL);
    int result = ferry_process_wait_begins(r->node, child);
    int failed = result < 0 ? library_failed(result) : 0;
    int error = result < 0 ? 0 : let_go(link);
    close(link); /* a child that was not let go ends by this */
    if (r->lookout)
        look_out(child, r->lookout);
    outcome_t outcome = outcome_of(wait_for(child));
    (void)ferry_process_wait_ended(r->node);
    if (failed != 0)
        return (outcome_t){.status = failed};
    if (error != 0)
        say("cannot run '%s': %s", r->command[0], strerror(error));
    return outcome;
}

/* Blocks the signals that are for the command once it runs. */
static void hold_signals(sigset_t *before) {
    sigset_t held;

    sigemptyset(&held);
    sigaddset(&held, SIGINT);
    sigaddset(&held, SIGQUIT);
    sigaddset(&held, SIGTERM);
    sigaddset(&held, SIGHUP);
    sigprocmask(SIG_BLOCK, &held, before);
    signal(SIGCHLD, SIG_DFL); /* where it is ignored, the kernel would keep no status for us */
}

static outcome_t cannot(const char *what, const sigset_t *mask) {
    say("cannot %s: %s", what, strerror(errno));
    sigprocmask(SIG_SETMASK, mask, NULL);
    return (outcome_t){.status = STATUS_FAILED};
}

bool say_if_lost(int checked, const char *what, const char *name) {
    if (checked == -ESTALE)
        say("%s\"%s\" is not held any more, and the command goes on: %s", what, name, ferry_last_error());
    return checked == -ESTALE;
}

outcome_t run_command(ferry_t *node, char **command, bool tied, const lookout_t *lookout) {
    const running_t r = {node, command, lookout};
    int link[2];
    sigset_t mask;
    pid_t self = getpid();

    hold_signals(&mask);
    if (stop_signal() != 0) {
        sigprocmask(SIG_SETMASK, &mask, NULL);
        return (outcome_t){.status = STATUS_FAILED};
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, link) < 0)
        return cannot("make a pair of sockets", &mask);
    pid_t child = fork();
    if (child == 0) {
        if (tied)
            die_with(self);
        close(link[0]);
        become(command, link[1], &mask);
    }
    close(link[1]);
    if (child > 0)
        return attend(&r, child, link[0], &mask);
    close(link[0]);
    return cannot("start another process", &mask);
}

int end_as(outcome_t outcome) {
    if (outcome.signal != 0)
        stop_by(outcome.signal);
    return outcome.signal != 0 ? outcome.status : stop_or(outcome.status);
}
