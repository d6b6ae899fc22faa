/* SPDX-License-Identifier: MIT
 *
 * That its output is not wanted any more is found by asking, a few times a second: a call that is cancelled wakes
 * nobody.
 */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "signals.h"
#include "tool.h"
#include "units.h"
#include "warden.h"

static const int ask_every_ms = 50;
static const int64_t grace_ns = INT64_C(2) * 1000 * 1000 * 1000;

static void close_end(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* --- the command ------------------------------------------------------------------------------------------------- */

/* The command's ends of the pipes, and the pipe over which the error of exec goes. */
typedef struct ends {
    int in[2], out[2], err[2], report[2];
} ends_t;

static bool open_ends(ends_t *e) {
    int *pipes[] = {e->in, e->out, e->err, e->report};

    *e = (ends_t){{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}};
    for (size_t i = 0; i < sizeof pipes / sizeof pipes[0]; i++) {
        if (pipe2(pipes[i], O_CLOEXEC) < 0)
            return false;
    }
    return true;
}

static void close_ends(ends_t *e) {
    int *pipes[] = {e->in, e->out, e->err, e->report};

    for (size_t i = 0; i < sizeof pipes / sizeof pipes[0]; i++) {
        close_end(&pipes[i][0]);
        close_end(&pipes[i][1]);
    }
}

/* Other threads run in the process that we were forked from: only what a signal handler may do is done here. */
static _Noreturn void become(const child_t *c, const ends_t *e, pid_t parent) {
    bool tied = prctl(PR_SET_PDEATHSIG, (long)SIGKILL, 0L, 0L, 0L) == 0 && getppid() == parent;

    if (!tied || setpgid(0, 0) < 0 || dup2(e->in[0], STDIN_FILENO) < 0 || dup2(e->out[1], STDOUT_FILENO) < 0 ||
        dup2(e->err[1], STDERR_FILENO) < 0)
        _exit(STATUS_FAILED);
    signals_give_back();
    sigprocmask(SIG_SETMASK, c->mask, NULL);
    execvpe(c->command[0], c->command, c->environment);
    int error = errno;
    (void)!write(e->report[1], &error, sizeof error);
    _exit(STATUS_CANNOT_RUN);
}

/* The errno value that exec failed with, or 0: the end of the pipe, which exec has closed. */
static int error_of_exec(int report) {
    int error = 0;
    ssize_t n;

    do
        n = read(report, &error, sizeof error);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof error ? error : 0;
}

/* The parent's side, after the fork. */
static void keep_ends(child_t *c, ends_t *e) {
    close_end(&e->in[0]);
    close_end(&e->out[1]);
    close_end(&e->err[1]);
    close_end(&e->report[1]);
    c->in = e->in[1];
    c->out = e->out[0];
    c->err = e->err[0];
    (void)fcntl(c->in, F_SETFL, O_NONBLOCK); /* ours alone are the other ends: it says nothing about the command's */
    (void)fcntl(c->err, F_SETFL, O_NONBLOCK);
    (void)setpgid(c->pid, c->pid); /* whoever comes first, it is done before anybody could be signalled */
    warden_watch(c->pid);
    c->error = error_of_exec(e->report[0]);
    close_end(&e->report[0]);
}

bool child_start(child_t *c) {
    ends_t e;
    pid_t self = getpid();

    c->error = 0;
    c->in = c->out = c->err = -1;
    c->pid = open_ends(&e) ? fork() : -1;
    if (c->pid == 0)
        become(c, &e, self);
    if (c->pid < 0) {
        c->error = errno;
        close_ends(&e);
        return false;
    }
    keep_ends(c, &e);
    if (c->error == 0)
        return true;
    (void)child_end(c);
    return false;
}

/* --- what goes in, and what it says ------------------------------------------------------------------------------ */

/* A command that does not read it all, or nothing, does no wrong. */
static void feed(child_t *c) {
    ssize_t n = c->input_size > 0 ? write(c->in, c->input, c->input_size) : 0;

    if (n > 0) {
        c->input = (const char *)c->input + n;
        c->input_size -= (size_t)n;
    }
    bool later = n < 0 && (errno == EAGAIN || errno == EINTR);
    if (c->input_size == 0 || (n < 0 && !later))
        close_end(&c->in);
}

/* Keeps the last of it. */
static void remember(child_t *c, const char *text, size_t len) {
    if (len > CHILD_TAIL) {
        text += len - CHILD_TAIL;
        len = CHILD_TAIL;
    }
    size_t kept = c->tail_size < CHILD_TAIL - len ? c->tail_size : CHILD_TAIL - len;
    memmove(c->tail, c->tail + (c->tail_size - kept), kept);
    memcpy(c->tail + kept, text, len);
    c->tail_size = kept + len;
}

/* Whether there was something. */
static bool listen_to(child_t *c) {
    char text[CHILD_TAIL];
    ssize_t n = read(c->err, text, sizeof text);

    if (n > 0) {
        remember(c, text, (size_t)n);
        if (c->echo)
            (void)!write(STDERR_FILENO, text, (size_t)n);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        close_end(&c->err);
    }
    return n > 0;
}

/* Feeds and listens once, for at most `ms`. Whether there is something to read from `out`, which may be its end. */
static bool attend(child_t *c, int ms) {
    /* poll looks away from a descriptor that is -1 */
    struct pollfd items[] = {
        {.fd = c->in, .events = POLLOUT}, {.fd = c->err, .events = POLLIN}, {.fd = c->out, .events = POLLIN}};

    if (poll(items, 3, ms) <= 0)
        return false;
    if (items[0].revents != 0)
        feed(c);
    if (items[1].revents != 0)
        (void)listen_to(c);
    return items[2].revents != 0;
}

int child_wait_output(child_t *c) {
    for (;;) {
        if (c->is_unwanted(c->arg))
            return -ECANCELED;
        if (attend(c, ask_every_ms))
            return 0;
    }
}

/* --- its end ----------------------------------------------------------------------------------------------------- */

/* It stays there, and its number taken, until it is waited for. */
static bool has_ended(const child_t *c) {
    siginfo_t info = {0};

    return waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOWAIT | WNOHANG) == 0 && info.si_pid == c->pid;
}

static int take_status(child_t *c) {
    enum { PIPE_FULL = 16 }; /* others that it has left behind may go on for ever */
    int status = 0;

    warden_forget(c->pid); /* while the number is still its own */
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    for (int i = 0; i < PIPE_FULL && c->err >= 0 && listen_to(c); i++)
        continue; /* what it said at the very end */
    close_end(&c->in);
    close_end(&c->out);
    close_end(&c->err);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int child_end(child_t *c) {
    close_end(&c->out);
    for (int nap_ms = 1; !has_ended(c); nap_ms = nap_ms < ask_every_ms ? nap_ms * 2 : ask_every_ms) {
        if (c->error == 0 && c->is_unwanted(c->arg)) {
            child_kill(c);
            return -ECANCELED;
        }
        (void)attend(c, nap_ms);
    }
    return take_status(c);
}

/* Reads what comes, for nobody, so that none waits for room in the pipe to end. */
static void drain(child_t *c, int ms) {
    char rest[CHILD_TAIL];

    if (attend(c, ms) && read(c->out, rest, sizeof rest) <= 0)
        close_end(&c->out);
}

void child_kill(child_t *c) {
    int64_t until = now_ns() + grace_ns;

    close_end(&c->in);
    (void)kill(-c->pid, SIGTERM);
    /* With the last one of the group, the pipes go; who has closed them has no grace left when the command has
     * ended. */
    while (now_ns() < until && !(has_ended(c) && c->out < 0 && c->err < 0))
        drain(c, 10);
    (void)kill(-c->pid, SIGKILL);
    (void)take_status(c);
}
