/* SPDX-License-Identifier: MIT */
#include "engine.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXTRA_MAX 16
#define TRIES 20

struct engine {
    pid_t pid; /* 0: it does not run */
    int port;
    char directory[200];
    char url[48];
    char space[64];
    const char *extra[EXTRA_MAX];
};

/* Below the ports that the system gives to connections: otherwise one of these may take it while the server is away. */
int engine_free_port(void) {
    for (unsigned i = 0; i < 1000; i++) {
        int port = 10000 + (int)(((uint64_t)monotonic() / 1000 + (uint64_t)getpid() * 7919 + i * 31) % 20000);
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        bool is_free = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
        close(fd);
        if (is_free)
            return port;
    }
    fprintf(stderr, "# no free port for a nats-server\n");
    check(false);
    return 0;
}

/* In the child: becomes the server. */
static _Noreturn void run_server(const engine_t *engine, pid_t parent) {
    char port[16], store[256], log[256];
    const char *argv[16 + EXTRA_MAX] = {
        "nats-server",     "-a", "127.0.0.1", "-p", port, "-js", "-sd", store, "--ports_file_dir",
        engine->directory, "-l", log};
    unsigned count = 12;
    snprintf(port, sizeof port, "%d", engine->port);
    snprintf(store, sizeof store, "%s/js", engine->directory);
    snprintf(log, sizeof log, "%s/log", engine->directory);
    for (unsigned i = 0; i < EXTRA_MAX && engine->extra[i]; i++)
        argv[count++] = engine->extra[i];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (getppid() == parent || getppid() == 0) {
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        execv("/usr/sbin/nats-server", (char *const *)(uintptr_t)argv);
    }
    _exit(127);
}

static void show_log(const engine_t *engine) {
    char path[256], line[512];
    snprintf(path, sizeof path, "%s/log", engine->directory);
    FILE *log = fopen(path, "re");
    while (log && fgets(line, sizeof line, log))
        fprintf(stderr, "# nats-server: %s", line);
    if (log)
        fclose(log);
}

/* Waits until the server has written where it listens. False: it has ended instead. */
static bool is_ready(engine_t *engine) {
    char path[300];
    int64_t end = monotonic() + PATIENCE;
    snprintf(path, sizeof path, "%s/nats-server_%d.ports", engine->directory, (int)engine->pid);
    for (;;) {
        struct stat st;
        int status;
        if (stat(path, &st) == 0 && st.st_size > 0)
            return true;
        if (waitpid(engine->pid, &status, WNOHANG) == engine->pid) {
            engine->pid = 0;
            if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
                fprintf(stderr,
                        "# nats-server is not installed, and this test needs it: apt-get install nats-server\n");
                check(false);
            }
            return false;
        }
        if (monotonic() > end) {
            show_log(engine);
            fprintf(stderr, "# nats-server does not get ready\n");
            check(false);
        }
        nap(MILLISECOND);
    }
}

static bool try_to_run(engine_t *engine) {
    pid_t parent = getpid();
    fflush(NULL);
    engine->pid = fork();
    check(engine->pid >= 0);
    if (engine->pid == 0)
        run_server(engine, parent);
    return is_ready(engine);
}

engine_t *engine_start_with(const char *const *arguments) {
    /* Tests may have it in shared memory only, where the leak checker does not look. */
    static engine_t *known __attribute__((used));
    engine_t *engine = calloc(1, sizeof *engine);
    check(engine != NULL);
    known = engine;
    for (unsigned i = 0; arguments && arguments[i]; i++) {
        check(i + 1 < EXTRA_MAX);
        engine->extra[i] = arguments[i];
    }
    /* No name of a space begins with a dot. */
    snprintf(engine->directory, sizeof engine->directory, "%s/.engine-XXXXXX", getenv("FERRY_DIR"));
    check(mkdtemp(engine->directory) != NULL);
    bool runs = false;
    for (unsigned i = 0; i < TRIES && !runs; i++) {
        engine->port = engine_free_port();
        runs = try_to_run(engine);
    }
    if (!runs)
        show_log(engine);
    check(runs);
    snprintf(engine->url, sizeof engine->url, "nats://127.0.0.1:%d", engine->port);
    snprintf(engine->space, sizeof engine->space, "%s/test", engine->url);
    return engine;
}

engine_t *engine_start(void) {
    return engine_start_with(NULL);
}

const char *engine_url(const engine_t *engine) {
    return engine->url;
}

const char *engine_space(const engine_t *engine) {
    return engine->space;
}

const char *engine_directory(const engine_t *engine) {
    return engine->directory;
}

void engine_machine(const engine_t *engine, const char *name) {
    char path[256];
    snprintf(path, sizeof path, "%s/at-%s", engine->directory, name);
    check(mkdir(path, 0700) == 0 || errno == EEXIST);
    check(setenv("FERRY_DIR", path, 1) == 0);
}

void engine_kill(engine_t *engine) {
    check(engine->pid > 0);
    child_kill(engine->pid);
    engine->pid = 0;
}

void engine_restart(engine_t *engine) {
    if (engine->pid > 0)
        engine_kill(engine);
    bool runs = false;
    for (unsigned i = 0; i < TRIES && !runs; i++) {
        runs = try_to_run(engine);
        if (!runs)
            nap(50 * MILLISECOND);
    }
    if (!runs)
        show_log(engine);
    check(runs);
}

void engine_reload(engine_t *engine) {
    check(engine->pid > 0 && kill(engine->pid, SIGHUP) == 0);
}

static bool is_stopped(int tasks, const char *task) {
    char path[300], stat[200] = "";
    snprintf(path, sizeof path, "%s/stat", task);
    int fd = openat(tasks, path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        check(read(fd, stat, sizeof stat - 1) >= 0 || errno == ESRCH);
        close(fd);
    }
    const char *name_end = strrchr(stat, ')');
    return !name_end || name_end[2] == 'T';
}

static bool stands_still(void *arg) {
    const engine_t *engine = arg;
    char path[40];
    bool all = true;
    snprintf(path, sizeof path, "/proc/%d/task", (int)engine->pid);
    DIR *tasks = opendir(path);
    check(tasks != NULL);
    for (const struct dirent *task; (task = readdir(tasks)) != NULL;)
        all &= task->d_name[0] == '.' || is_stopped(dirfd(tasks), task->d_name);
    closedir(tasks);
    return all;
}

/* Its threads stop one by one: whoever was asked something just before might answer it yet. */
void engine_freeze(engine_t *engine) {
    check(engine->pid > 0 && kill(engine->pid, SIGSTOP) == 0);
    await_that(stands_still, engine, "the server goes on");
}

void engine_thaw(engine_t *engine) {
    check(engine->pid > 0 && kill(engine->pid, SIGCONT) == 0);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place) {
    (void)status;
    (void)type;
    (void)place;
    return remove(path);
}

/* The client library has threads that outlive the nodes; the harness would take them for left behind. */
static void end_library(void) {
    void *library = dlopen("libnats.so.3.4", RTLD_NOW | RTLD_NOLOAD);
    void *end = library ? dlsym(library, "nats_CloseAndWait") : NULL;
    if (end)
        ((int (*)(int64_t))(uintptr_t)end)(2000);
    if (library)
        dlclose(library);
}

void engine_stop(engine_t *engine) {
    end_library();
    if (engine->pid > 0)
        engine_kill(engine);
    nftw(engine->directory, remove_one, 16, FTW_PHYS | FTW_DEPTH);
    free(engine);
}

/* ---- several tries ---- */

static struct trial {
    bool (*holds)(void);
    atomic_uint held;
} * trial;

static void try_once(void *arg) {
    (void)arg;
    atomic_store(&trial->held, trial->holds());
}

/* It may take as long as the test. */
static bool holds_in_a_process(where_t where) {
    int status = 0;
    pid_t pid = child_start(try_once, NULL);
    (void)where;
    check(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return atomic_load(&trial->held);
}

void check_in_some_process(bool (*holds)(void), const char *sentence) {
    trial = share(sizeof *trial);
    trial->holds = holds;
    check_in_some_try(holds_in_a_process, ALONE, sentence);
}
