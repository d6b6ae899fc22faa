/* SPDX-License-Identifier: MIT
 *
 * Two machines: two network namespaces with a pair of virtual cards between them, where that is allowed; else one, with
 * a directory for each. The server runs on the near one.
 *
 * The command itself moves into the near namespace, so nothing of the system's network is touched, and all is gone with
 * it.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/machines.h"
#include "say.h"
#include "stop.h"

static const char near_host[] = "10.77.0.1";
static const char own_namespace[] = "/proc/self/ns/net";

/* --- namespaces --------------------------------------------------------------------------------------------------- */

static bool put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

    if (fd >= 0)
        close(fd);
    return good;
}

/* A new network namespace; who may not make one may do so as the root of a new user namespace. */
static bool leave_network(void) {
    unsigned uid = geteuid();
    unsigned gid = getegid();
    char text[64];

    if (unshare(CLONE_NEWNET) == 0)
        return true;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
        return false;
    snprintf(text, sizeof text, "0 %u 1", uid);
    bool good = put("/proc/self/setgroups", "deny") && put("/proc/self/uid_map", text);
    snprintf(text, sizeof text, "0 %u 1", gid);
    return good && put("/proc/self/gid_map", text);
}

/* Without this a new namespace does not even reach itself. */
static bool raise_loopback(void) {
    struct ifreq request = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool good = fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &request) == 0;

    request.ifr_flags |= IFF_UP;
    good = good && ioctl(fd, SIOCSIFFLAGS, &request) == 0;
    if (fd >= 0)
        close(fd);
    return good;
}

/* Runs ip(8) with these words, in the namespace `where` (-1: in ours). */
static bool ip(int where, const char *words) {
    static const char *const places[] = {"/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"};
    char line[256];
    char *argv[24] = {(char *)(uintptr_t) "ip"};
    char *rest = NULL;
    int n = 1;
    int status = 0;

    snprintf(line, sizeof line, "%s", words);
    for (char *word = strtok_r(line, " ", &rest); word != NULL && n < 23; word = strtok_r(NULL, " ", &rest))
        argv[n++] = word;
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        if (null < 0 || dup2(null, STDOUT_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0 ||
            (where >= 0 && setns(where, CLONE_NEWNET) < 0))
            _exit(1);
        for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
            execv(places[i], argv);
        _exit(1);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Called in the namespace that becomes the far one; leaves us in the near one. */
static bool join_two(bench_place_t *place) {
    char words[200];

    place->far = open(own_namespace, O_RDONLY | O_CLOEXEC);
    if (place->far < 0 || unshare(CLONE_NEWNET) < 0 || !raise_loopback())
        return false;
    snprintf(words, sizeof words, "link add near type veth peer name far netns /proc/%d/fd/%d", (int)getpid(),
             place->far);
    return ip(-1, words) && ip(-1, "addr add 10.77.0.1/24 dev near") && ip(-1, "link set near up") &&
           ip(place->far, "addr add 10.77.0.2/24 dev far") && ip(place->far, "link set far up");
}

static void make_machines(bench_place_t *place, bool quiet) {
    place->far = -1;
    if (leave_network() && raise_loopback() && join_two(place)) {
        place->host = near_host;
        place->link = "namespaces";
        return;
    }
    if (place->far >= 0)
        close(place->far);
    place->far = -1;
    place->host = "127.0.0.1";
    place->link = "loopback";
    if (!quiet)
        say("no two network namespaces can be made here: the machines are two directories, and the loopback between "
            "them");
}

bool bench_place_enter(const bench_place_t *place, unsigned side) {
    return side != BENCH_FAR || place->far < 0 || setns(place->far, CLONE_NEWNET) == 0;
}

/* --- the server --------------------------------------------------------------------------------------------------- */

static bool make_directory(const bench_settings_t *settings, char *path, size_t cap) {
    const char *base = settings->directory != NULL ? settings->directory : getenv("TMPDIR");

    if (base == NULL || base[0] == '\0')
        base = "/tmp";
    if ((size_t)snprintf(path, cap, "%s/ferry-bench-XXXXXX", base) < cap && mkdtemp(path) != NULL)
        return true;
    say("cannot make a temporary directory in %s: %s; name another one with --directory", base, strerror(errno));
    return false;
}

static bool start_server(bench_place_t *place) {
    engine_t *e = &place->engine;
    int status = engine_find_server(e);

    if (status == 0)
        status = engine_find_store(e);
    if (status == 0)
        status = engine_enter(e);
    if (status == 0)
        status = engine_write_config(e, ".", 0, NULL);
    if (status == 0)
        status = engine_start(e);
    if (status == 0)
        status = engine_wait_ready(e);
    return status == 0;
}

bool bench_place_open(bench_place_t *place, const bench_settings_t *settings) {
    char store[PATH_MAX];

    *place = (bench_place_t){.engine = {.program = "nats-server",
                                        .file = "engine.conf",
                                        .name = "ferry",
                                        .memory = (uint64_t)256 << 20,
                                        .max_payload = (uint64_t)8 << 20,
                                        .timeout = 4 * BENCH_PATIENCE,
                                        .lock = -1,
                                        .pidfd = -1}};
    engine_t *e = &place->engine;
    if (!make_directory(settings, store, sizeof store))
        return false;
    sigprocmask(SIG_BLOCK, NULL, &e->mask);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
    stop_watch(NULL);
    make_machines(place, settings->quiet);
    e->common.quiet = true;
    e->store = store;
    snprintf(e->listens[0].host, sizeof e->listens[0].host, "%s", place->host);
    bool good = start_server(place);
    e->store = NULL;
    if (good)
        engine_url(e, place->url);
    else
        bench_place_close(place);
    return good;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw) {
    (void)status, (void)type, (void)ftw;
    return remove(path);
}

void bench_place_close(bench_place_t *place) {
    engine_t *e = &place->engine;

    engine_stop(e);
    if (e->directory[0] != '\0')
        nftw(e->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    e->directory[0] = '\0';
    if (place->far >= 0)
        close(place->far);
    place->far = -1;
}
