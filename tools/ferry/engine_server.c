/* SPDX-License-Identifier: MIT
 *
 * engine_server.c - the server as our child: found, started, watched and ended.
 *
 * It leads a process group of its own, so that Ctrl-C reaches us alone and is passed on once. If we are killed, the
 * kernel sends it SIGTERM, on which it ends in good order. Its log is a file that it appends to; we cut it before it
 * fills the disk, since clients that are refused again and again leave a line each time.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine.h"
#include "say.h"
#include "signals.h"
#include "stop.h"

static const char log_name[] = "engine.log";
static const off_t log_most = (off_t)16 << 20;
static const int grace_ms = 8000;       /* to end in good order */
static const int look_every_ms = 60000; /* at the log */

/* --- found ------------------------------------------------------------------------------------------------------- */

static bool try_directory(engine_t *e, const char *directory, size_t len) {
    return snprintf(e->server, sizeof e->server, "%.*s/%s", (int)len, directory, e->program) < (int)sizeof e->server &&
           access(e->server, X_OK) == 0;
}

/* Where it is installed, and where a user's PATH often does not lead. */
static bool search(engine_t *e) {
    static const char *const others[] = {"/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/usr/bin"};
    const char *path = getenv("PATH");

    while (path != NULL && *path != '\0') {
        size_t len = strcspn(path, ":");
        if (len > 0 && try_directory(e, path, len))
            return true;
        path += len + (path[len] == ':');
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (try_directory(e, others[i], strlen(others[i])))
            return true;
    }
    return false;
}

int engine_find_server(engine_t *e) {
    if (strchr(e->program, '/') != NULL) {
        if (realpath(e->program, e->server) != NULL && access(e->server, X_OK) == 0)
            return 0;
        say("cannot run %s: %s", e->program, strerror(errno));
        return errno == ENOENT ? STATUS_NOT_FOUND : STATUS_CANNOT_RUN;
    }
    if (search(e))
        return 0;
    say("there is no %s here: install the package nats-server (apt-get install nats-server), or name the program with "
        "--server",
        e->program);
    return STATUS_NOT_FOUND;
}

/* --- started ----------------------------------------------------------------------------------------------------- */

/* The files that tell its ports, of servers that were killed. */
static void forget_ports(const engine_t *e) {
    char name[64];

    snprintf(name, sizeof name, "nats-server_%d.ports", (int)e->pid);
    (void)unlink(name);
}

/* Only what a signal handler may do is done here. */
static _Noreturn void become(const engine_t *e, int log, int report, pid_t parent) {
    char *words[] = {(char *)(uintptr_t) "nats-server",      (char *)(uintptr_t) "-c", (char *)(uintptr_t)e->file,
                     (char *)(uintptr_t) "--ports_file_dir", (char *)(uintptr_t) ".",  NULL};
    int null = open("/dev/null", O_RDONLY);
    bool tied = prctl(PR_SET_PDEATHSIG, (long)SIGTERM, 0L, 0L, 0L) == 0 && getppid() == parent;

    if (!tied || setpgid(0, 0) < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(log, STDOUT_FILENO) < 0 ||
        dup2(log, STDERR_FILENO) < 0 || fcntl(e->lock, F_SETFD, 0) < 0)
        _exit(STATUS_FAILED);
    signals_give_back();
    sigprocmask(SIG_SETMASK, &e->mask, NULL);
    execv(e->server, words);
    int error = errno;
    (void)!write(report, &error, sizeof error);
    _exit(STATUS_CANNOT_RUN);
}

static int open_log(engine_t *e) {
    int log = open(log_name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct stat st;

    if (log < 0 || fstat(log, &st) < 0) {
        say("cannot write %s/%s: %s", e->directory, log_name, strerror(errno));
        return -1;
    }
    e->log_start = st.st_size;
    return log;
}

static int start_failed(engine_t *e, int error) {
    say("cannot start %s: %s", e->server, strerror(error));
    if (e->pid > 0)
        (void)waitpid(e->pid, NULL, 0);
    e->pid = 0;
    return error == ENOENT ? STATUS_NOT_FOUND : STATUS_CANNOT_RUN;
}

int engine_start(engine_t *e) {
    int ends[2];
    int error = 0;
    pid_t self = getpid();
    int log = open_log(e);

    if (log < 0)
        return STATUS_FAILED;
    engine_set_garbage();
    if (pipe2(ends, O_CLOEXEC) < 0)
        return start_failed(e, errno);
    e->pid = fork();
    if (e->pid == 0)
        become(e, log, ends[1], self);
    if (e->pid < 0)
        error = errno;
    close(log);
    close(ends[1]);
    if (e->pid > 0 && read(ends[0], &error, sizeof error) <= 0)
        error = 0; /* the end of the pipe, which exec has closed; a signal does not matter here, either */
    close(ends[0]);
    if (error == 0) {
        e->pidfd = (int)syscall(SYS_pidfd_open, e->pid, 0u);
        if (e->pidfd >= 0)
            return 0;
        error = errno;
        (void)kill(e->pid, SIGKILL);
    }
    return start_failed(e, error);
}

/* --- its log ----------------------------------------------------------------------------------------------------- */

/* What this run has added to the log, to its last megabyte. The caller frees it; NULL: nothing can be read. */
static char *read_log(const engine_t *e) {
    const off_t most = (off_t)1 << 20;
    int fd = open(log_name, O_RDONLY | O_CLOEXEC);
    struct stat st;
    char *text = NULL;

    if (fd >= 0 && fstat(fd, &st) == 0) {
        off_t from = st.st_size - e->log_start > most ? st.st_size - most : e->log_start;
        off_t len = st.st_size > from ? st.st_size - from : 0;
        text = malloc((size_t)len + 1);
        ssize_t n = text != NULL ? pread(fd, text, (size_t)len, from) : 0;
        if (text != NULL)
            text[n > 0 ? n : 0] = '\0';
    }
    if (fd >= 0)
        close(fd);
    return text;
}

/* "[12] 2026/11/26 07:46:47.953186 [INF] Server is ready": what comes last. */
static const char *without_date(const char *line) {
    const char *kind = line[0] == '[' ? strstr(line, " [") : NULL;
    const char *rest = kind != NULL ? strstr(kind, "] ") : NULL;

    return rest != NULL ? rest + 2 : line;
}

/* "nats-route://node:PASSWORD@host": only the host is for others to see. */
static void hide_secrets(char *line) {
    for (char *at = strstr(line, "://"); at != NULL; at = strstr(at + 1, "://")) {
        char *host = at + 3 + strcspn(at + 3, "@/ ");
        if (*host == '@')
            memmove(at + 3, host + 1, strlen(host + 1) + 1);
    }
}

bool engine_log_line(const engine_t *e, const char *text, char *line, size_t cap) {
    char *log = read_log(e);
    char *rest = NULL;
    bool found = false;

    line[0] = '\0';
    for (char *l = log != NULL ? strtok_r(log, "\n", &rest) : NULL; l != NULL; l = strtok_r(NULL, "\n", &rest)) {
        if (strstr(l, text) == NULL)
            continue;
        snprintf(line, cap, "%s", without_date(l));
        found = true;
    }
    free(log);
    hide_secrets(line);
    make_plain(line);
    return found;
}

/* The server appends, so it goes on at the new end. */
static void cut_log(engine_t *e) {
    int from = open(log_name, O_RDWR | O_CLOEXEC);
    struct stat st;

    if (from >= 0 && fstat(from, &st) == 0 && st.st_size > log_most) {
        int to = open("engine.log.old", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        off_t at = st.st_size - log_most;
        while (to >= 0 && sendfile(to, from, &at, (size_t)log_most) > 0)
            continue;
        if (to >= 0)
            close(to);
        (void)!ftruncate(from, 0);
        e->log_start = 0;
    }
    if (from >= 0)
        close(from);
}

/* --- ended ------------------------------------------------------------------------------------------------------- */

bool engine_has_ended(const engine_t *e) {
    siginfo_t info = {0};

    return waitid(P_PID, (id_t)e->pid, &info, WEXITED | WNOWAIT | WNOHANG) == 0 && info.si_pid == e->pid;
}

static int take_status(engine_t *e) {
    int status = 0;

    while (waitpid(e->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    close(e->pidfd);
    forget_ports(e);
    e->pid = 0;
    return status;
}

/* "... listen tcp 127.0.0.1:4222: bind: address already in use": who has it. */
static bool say_who_listens(const engine_t *e, const char *line) {
    static const char before[] = "listen tcp ";
    const char *address = strstr(line, before);
    char text[ENGINE_HOST + 16];
    char who[128];

    if (address == NULL || sscanf(address + sizeof before - 1, "%271[^ ]", text) != 1)
        return false;
    if (text[strlen(text) - 1] == ':')
        text[strlen(text) - 1] = '\0';
    const char *colon = strrchr(text, ':');
    engine_who_listens(colon != NULL ? (unsigned)strtoul(colon + 1, NULL, 10) : 0, who, sizeof who);
    say("%s is in use%s%s%s", text, who[0] != '\0' ? " by " : "", who,
        e->config == NULL ? "; choose another address with --listen, port 0 for any" : "");
    return true;
}

int engine_ended(engine_t *e) {
    bool was_ready = e->info.version[0] != '\0';
    char line[600];
    int status = take_status(e);

    if (!was_ready && engine_log_line(e, "address already in use", line, sizeof line) && say_who_listens(e, line))
        return STATUS_FAILED;
    if (WIFSIGNALED(status))
        say("nats-server was ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (engine_log_line(e, "[FTL]", line, sizeof line) || engine_log_line(e, "nats-server: ", line, sizeof line))
        say("nats-server %s: %s", was_ready ? "has ended" : "cannot serve", line);
    else
        say("nats-server has ended with status %d; what it said is in %s/%s", WEXITSTATUS(status), e->directory,
            log_name);
    return STATUS_FAILED;
}

void engine_stop(engine_t *e) {
    struct pollfd item = {.fd = e->pidfd, .events = POLLIN};

    if (e->pid == 0)
        return;
    (void)kill(e->pid, SIGTERM);
    (void)kill(e->pid, SIGCONT);
    for (int waited = 0; !engine_has_ended(e) && waited < grace_ms; waited += 100)
        (void)poll(&item, 1, 100);
    (void)kill(e->pid, SIGKILL);
    (void)take_status(e);
}

int engine_attend(engine_t *e) {
    const struct timespec pause = {.tv_sec = look_every_ms / 1000};
    struct pollfd item = {.fd = e->pidfd, .events = POLLIN};
    sigset_t held;
    sigset_t before;

    sigemptyset(&held);
    sigaddset(&held, SIGINT);
    sigaddset(&held, SIGTERM);
    sigaddset(&held, SIGHUP);
    sigprocmask(SIG_BLOCK, &held, &before); /* none falls between the look and the sleep */
    while (stop_signal() == 0 && !engine_has_ended(e)) {
        if (ppoll(&item, 1, &pause, &before) == 0)
            cut_log(e);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    return stop_signal() != 0 ? 0 : engine_ended(e);
}
