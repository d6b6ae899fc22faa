/* SPDX-License-Identifier: MIT */
#include "bench/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/clock.h"
#include "bench/settings.h"
#include "say.h"

enum { OUTPUT = 8192, ENDS_MS = 10000 };

/* iceoryx's aborts, and leaves its memory, if it has not noticed yet that a process has gone: it looks for 1.5 s. */
enum { NOTICES_US = 3000000 };

_Noreturn static void become(const char *program, int output, pid_t parent) {
    int nothing = open("/dev/null", O_RDONLY);

    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent || nothing < 0)
        _exit(1);
    dup2(nothing, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    execlp(program, program, (char *)NULL);
    _exit(127);
}

/* Whether it writes that in time. Nothing of what it writes after that is read; a pipe has room for it. */
static bool await(const bench_daemon_t *daemon, const char *ready) {
    int64_t until = bench_now_ns() + BENCH_PATIENCE;
    char text[OUTPUT];
    size_t len = 0;
    int64_t left;

    while ((left = until - bench_now_ns()) > 0 && len < sizeof text - 1) {
        struct pollfd look = {.fd = daemon->output, .events = POLLIN};
        if (poll(&look, 1, (int)(left / 1000000) + 1) <= 0)
            continue;
        ssize_t n = read(daemon->output, text + len, sizeof text - 1 - len);
        if (n <= 0)
            return false;
        len += (size_t)n;
        text[len] = '\0';
        if (strstr(text, ready) != NULL)
            return true;
    }
    return false;
}

/* Politely first; what cannot end by itself is killed. */
static void end(bench_daemon_t *daemon) {
    if (daemon->pid > 0) {
        kill(daemon->pid, SIGTERM);
        for (int i = 0; i < ENDS_MS && waitpid(daemon->pid, NULL, WNOHANG) == 0; i++) {
            usleep(1000);
            if (i + 1 == ENDS_MS) {
                kill(daemon->pid, SIGKILL);
                waitpid(daemon->pid, NULL, 0);
            }
        }
    }
    if (daemon->output >= 0)
        close(daemon->output);
    *daemon = (bench_daemon_t){.output = -1};
}

bool bench_daemon_start(bench_daemon_t *daemon, const char *program, const char *ready) {
    pid_t parent = getpid();
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0) {
        say("cannot start %s: %s", program, strerror(errno));
        return false;
    }
    (void)fcntl(ends[0], F_SETPIPE_SZ, 1 << 20); /* it may have much to say; if not granted, less must do */
    daemon->pid = fork();
    if (daemon->pid == 0)
        become(program, ends[1], parent);
    close(ends[1]);
    daemon->output = ends[0];
    if (daemon->pid > 0 && await(daemon, ready))
        return true;
    say("%s does not start: is it installed, and does none run yet?", program);
    end(daemon);
    return false;
}

void bench_daemon_stop(bench_daemon_t *daemon) {
    if (daemon->pid > 0)
        usleep(NOTICES_US);
    end(daemon);
}
