/* SPDX-License-Identifier: MIT
 *
 * A keeper is forked before this process has a node, and opens one of its own. Until it has prepared everything it is
 * part of our job: it dies with us, Ctrl-C reaches it, and it says what goes wrong. Then it reports, over a pipe, and
 * is on its own; if nobody takes the report it ends, too. So there is a keeper exactly if the command succeeded.
 */
#include "keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "say.h"
#include "stop.h"
#include "transfer.h"

void keeper_options(keeping_t *k, option_t *options) {
    options[0] = (option_t){
        .name = "hold", .kind = OPTION_FLAG, .target = &k->hold, .help = "stay, and keep it open until interrupted"};
    options[1] = (option_t){.name = "detach",
                            .kind = OPTION_FLAG,
                            .target = &k->detach,
                            .help = "leave a keeper in the background, until `rm` ends it"};
}

void keeper_prefix(const char *kind, char *text, size_t cap) {
    snprintf(text, cap, "keeper of %s ", kind);
}

/* --- in this process --------------------------------------------------------------------------------------------- */

static int stay(const keeping_t *k) {
    if (!k->common->quiet)
        say("the %s \"%s\" is kept until this is interrupted", k->kind, k->name);
    stop_wait();
    return STATUS_OK;
}

static int run_here(const keeping_t *k) {
    uint64_t figures[KEEPER_FIGURES] = {0};
    ferry_t *node;
    char name[32];
    int status = 0;

    snprintf(name, sizeof name, "ferry-%s", k->kind);
    if (!common_open(k->common, name, &node, &status))
        return status;
    status = k->prepare(k->arg, node, figures);
    if (status == 0)
        status = finish_output(k->tell(k->arg, figures));
    if (status == 0 && k->hold)
        status = stay(k);
    stop_forget_node();
    ferry_close(node);
    return stop_or(status);
}

/* --- the keeper -------------------------------------------------------------------------------------------------- */

typedef struct report {
    int status;
    uint64_t figures[KEEPER_FIGURES];
} report_t;

enum { REPORT_FD = STDERR_FILENO + 1 };

/*
 * Files that our parents have open are not ours to keep, least of all the guard of a `ferry lock`. Only the pipe stays,
 * in a place of its own.
 */
static int close_others(int report) {
    if (report != REPORT_FD && dup2(report, REPORT_FD) < 0)
        return -1;
    (void)fcntl(REPORT_FD, F_SETFD, FD_CLOEXEC);
    return (int)syscall(SYS_close_range, REPORT_FD + 1, ~0u, 0u);
}

/* Leaves the job and its terminal. */
static bool go_into_background(void) {
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null < 0 || setsid() < 0 || chdir("/") < 0)
        return false;
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (dup2(null, fd) < 0)
            return false;
    }
    close(null);
    (void)prctl(PR_SET_NAME, "ferry-keeper");
    return prctl(PR_SET_PDEATHSIG, 0L, 0L, 0L, 0L) == 0;
}

static bool send_report(const report_t *report) {
    bool taken = write(REPORT_FD, report, sizeof *report) == (ssize_t)sizeof *report;

    close(REPORT_FD);
    return taken;
}

static int keep(const keeping_t *k) {
    report_t report = {0};
    ferry_t *node;
    char name[160];

    keeper_prefix(k->kind, name, sizeof name);
    snprintf(name + strlen(name), sizeof name - strlen(name), "%s", k->name);
    if (!common_open(k->common, name, &node, &report.status)) {
        (void)send_report(&report);
        return report.status;
    }
    report.status = k->prepare(k->arg, node, report.figures);
    if (report.status == 0 && !go_into_background()) {
        say("the keeper cannot leave for the background: %s", strerror(errno));
        report.status = STATUS_FAILED;
    }
    if (send_report(&report) && report.status == 0) {
        if (k->stay != NULL)
            report.status = k->stay(k->arg);
        else
            stop_wait();
    }
    stop_forget_node();
    ferry_close(node);
    return report.status;
}

/* However we were started: it is how a keeper is ended. */
static void obey_sigterm(void) {
    sigset_t set;

    signal(SIGTERM, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static _Noreturn void become_keeper(const keeping_t *k, int report, pid_t parent) {
    if (prctl(PR_SET_PDEATHSIG, (long)SIGTERM, 0L, 0L, 0L) != 0 || getppid() != parent)
        _exit(STATUS_FAILED); /* it died before we asked to be told */
    obey_sigterm();
    if (close_others(report) < 0) {
        say("the keeper cannot close the files of others: %s", strerror(errno));
        _exit(STATUS_FAILED);
    }
    _exit(keep(k));
}

/* It failed, and has said why unless it was killed; what it had opened is closed when it has ended. */
static int keeper_failed(const keeping_t *k, pid_t keeper, int status) {
    while (waitpid(keeper, NULL, 0) < 0 && errno == EINTR)
        continue;
    if (status == 0)
        say("the keeper was killed before the %s \"%s\" was ready", k->kind, k->name);
    return status != 0 ? status : STATUS_FAILED;
}

static int leave_keeper(const keeping_t *k) {
    report_t report = {0};
    pid_t self = getpid();
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0) {
        say("cannot make a pipe: %s", strerror(errno));
        return STATUS_FAILED;
    }
    pid_t keeper = fork();
    if (keeper == 0)
        become_keeper(k, ends[1], self);
    int error = errno;
    close(ends[1]);
    ssize_t n = keeper > 0 ? read_fully(ends[0], &report, sizeof report) : 0;
    close(ends[0]);
    if (keeper < 0) {
        say("cannot start another process: %s", strerror(error));
        return STATUS_FAILED;
    }
    if (n != (ssize_t)sizeof report || report.status != 0)
        return keeper_failed(k, keeper, report.status);
    return finish_output(k->tell(k->arg, report.figures));
}

int keeper_run(const keeping_t *k) {
    signal(SIGPIPE, SIG_IGN); /* who does not listen is told nothing, and no reason to die */
    return k->detach ? leave_keeper(k) : run_here(k);
}
