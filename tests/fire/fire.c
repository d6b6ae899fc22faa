/* SPDX-License-Identifier: MIT
 *
 * fire.c - see fire.h.
 */
#include "fire.h"

#include <dirent.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

unsigned fire_count(const char *name, const char *what, unsigned full, unsigned slow) {
    const char *given = getenv(name);
    unsigned count = given ? (unsigned)strtoul(given, NULL, 10) : FIRE_SLOW ? slow : full;
    printf("# %u %s (%u without a sanitizer; %s overrides)\n", count, what, full, name);
    fflush(stdout);
    return count;
}

dice_t dice_new(const char *what) {
    const char *given = getenv("FERRY_FIRE_SEED");
    dice_t d = {given ? strtoull(given, NULL, 0) : 20260101};
    printf("# seed of %s: FERRY_FIRE_SEED=%" PRIu64 "\n", what, d.state);
    fflush(stdout);
    return d;
}

uint64_t dice_roll(dice_t *d) {
    uint64_t z = d->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

int64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * SECOND + t.tv_nsec;
}

/* ---- what a process holds ---- */

static void count_descriptors(pid_t pid, holdings_t *h) {
    char path[64], target[256];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    check(dir != NULL);
    for (struct dirent *item; (item = readdir(dir)) != NULL;) {
        ssize_t n = readlinkat(dirfd(dir), item->d_name, target, sizeof target - 1);
        if (n <= 0 || (pid == getpid() && atoi(item->d_name) == dirfd(dir)))
            continue;
        target[n] = '\0';
        if (strncmp(target, "socket:", 7) == 0)
            h->sockets++;
        else if (strncmp(target, "pipe:", 5) == 0)
            h->pipes++;
        else if (strstr(target, "[pidfd]"))
            h->pidfds++;
        else if (strncmp(target, "/memfd:ferry-pool", 17) == 0)
            h->pool_memfds++;
        else if (strncmp(target, "/memfd:", 7) == 0)
            h->memfds++;
        else
            h->other++;
    }
    closedir(dir);
}

static void count_map(uint64_t inode, bool own, const char *line, void *arg) {
    holdings_t *h = arg;
    (void)inode;
    if (own && strstr(line, "ferry-pool"))
        h->pool_maps++;
    else if (own)
        h->own_maps++;
    else
        h->peer_maps++;
}

void each_ferry_map(pid_t pid, void (*each)(uint64_t inode, bool own, const char *line, void *arg), void *arg) {
    char path[64], *line = NULL, mode[8];
    size_t size = 0;
    uint64_t inode;
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *maps = fopen(path, "re");
    check(maps != NULL);
    while (getline(&line, &size, maps) > 0)
        if (strstr(line, "memfd:ferry-") && sscanf(line, "%*s %7s %*s %*s %" SCNu64, mode, &inode) == 2)
            each(inode, mode[1] == 'w', line, arg);
    free(line);
    fclose(maps);
}

#define LOOKS_AT_REST 3 /* in a row: nothing has changed, and no thread runs or waits for a processor */

static bool is_running(pid_t pid) {
    char path[300], state = 'S';
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    check(tasks != NULL);
    for (struct dirent *t; state != 'R' && (t = readdir(tasks)) != NULL;) {
        snprintf(path, sizeof path, "/proc/%d/task/%s/stat", (int)pid, t->d_name);
        FILE *stat = t->d_name[0] == '.' ? NULL : fopen(path, "re");
        if (stat && fscanf(stat, "%*d (%*[^)]) %c", &state) != 1)
            state = 'S'; /* it has just ended */
        if (stat)
            fclose(stat);
    }
    closedir(tasks);
    return state == 'R';
}

holdings_t holdings_of(pid_t pid) {
    holdings_t h = {0};
    count_descriptors(pid, &h);
    each_ferry_map(pid, count_map, &h);
    h.threads = (unsigned)status_of(pid, "Threads:");
    return h;
}

/* A descriptor that was passed is closed a moment after its memory is mapped: that must not be what is compared
 * with. */
holdings_t holdings_at_rest(pid_t pid) {
    int64_t end = clock_ns() + PATIENCE;
    holdings_t h = holdings_of(pid);
    for (unsigned same = 0; same < LOOKS_AT_REST;) {
        nap(MILLISECOND);
        holdings_t now = holdings_of(pid);
        same = memcmp(&now, &h, sizeof h) == 0 && !is_running(pid) ? same + 1 : 0;
        h = now;
        check(clock_ns() < end);
    }
    return h;
}

void holdings_print(const char *who, const holdings_t *h) {
    fprintf(
        stderr,
        "# %s: %u sockets, %u pipes, %u pidfds, %u + %u memfds, %u other, %u + %u own maps (pool and else), %u peers' "
        "maps, %u threads\n",
        who, h->sockets, h->pipes, h->pidfds, h->pool_memfds, h->memfds, h->other, h->pool_maps, h->own_maps,
        h->peer_maps, h->threads);
}

bool holds_about(const holdings_t *now, const holdings_t *before, unsigned memory) {
    return now->sockets == before->sockets && now->pipes == before->pipes && now->pidfds == before->pidfds &&
           now->other == before->other && now->threads == before->threads && now->memfds <= before->memfds + memory &&
           now->own_maps <= before->own_maps + memory;
}

static bool holds_the_same(const holdings_t *now, const holdings_t *before, unsigned memory) {
    (void)memory;
    return memcmp(now, before, sizeof *now) == 0;
}

typedef bool comparison_t(const holdings_t *now, const holdings_t *before, unsigned memory);

static void await_holdings(pid_t pid, const char *who, const holdings_t *before, comparison_t *holds, unsigned memory) {
    int64_t end = clock_ns() + PATIENCE;
    for (;;) {
        holdings_t now = holdings_of(pid);
        if (holds(&now, before, memory))
            return;
        if (clock_ns() > end) {
            fprintf(stderr, "# %s, before and after:\n", who);
            holdings_print("before", before);
            holdings_print("after", &now);
            check_failed("it holds what it held before", __FILE__, __LINE__);
        }
        nap(MILLISECOND / 4);
    }
}

void expect_holdings(pid_t pid, const char *who, const holdings_t *before) {
    await_holdings(pid, who, before, holds_the_same, 0);
}

void expect_holdings_about(pid_t pid, const char *who, const holdings_t *before, unsigned memory) {
    await_holdings(pid, who, before, holds_about, memory);
}

/* ---- a rest ---- */

void rest_when_asked(rest_t *rest) {
    if (!atomic_load(&rest->asked))
        return;
    atomic_fetch_add(&rest->resting, 1);
    while (atomic_load(&rest->asked))
        nap(10 * MILLISECOND);
    atomic_fetch_sub(&rest->resting, 1);
}

void rest_begin(rest_t *rest, unsigned workers) {
    atomic_store(&rest->asked, 1);
    await(&rest->resting, workers);
}

void rest_end(rest_t *rest) {
    atomic_store(&rest->asked, 0);
}

/* ---- other figures of a process ---- */

uint64_t status_of(pid_t pid, const char *key) {
    char path[64], line[256];
    uint64_t value = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *status = fopen(path, "re");
    check(status != NULL);
    while (fgets(line, sizeof line, status))
        if (strncmp(line, key, strlen(key)) == 0)
            value = strtoull(line + strlen(key), NULL, 10);
    fclose(status);
    return value;
}

static void print_line_of(const char *who, const char *thread, const char *what) {
    char path[300], line[512] = "";
    snprintf(path, sizeof path, "%s/%s", thread, what);
    FILE *file = fopen(path, "re");
    if (!file)
        return;
    if (fgets(line, sizeof line, file))
        fprintf(stderr, "# %s, %s: %s%s", who, what, line, strchr(line, '\n') ? "" : "\n");
    fclose(file);
}

void threads_print(const char *who, pid_t pid) {
    char path[32], thread[288];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *dir = opendir(path);
    if (!dir)
        return;
    for (struct dirent *item; (item = readdir(dir)) != NULL;)
        if (item->d_name[0] != '.') {
            snprintf(thread, sizeof thread, "%s/%s", path, item->d_name);
            print_line_of(who, thread, "stat");
            print_line_of(who, thread, "syscall");
            print_line_of(who, thread, "wchan");
        }
    closedir(dir);
}

int64_t cpu_ns_of(pid_t pid) {
    clockid_t clock;
    struct timespec t;
    check(clock_getcpuclockid(pid, &clock) == 0 && clock_gettime(clock, &t) == 0);
    return (int64_t)t.tv_sec * SECOND + t.tv_nsec;
}

/* ---- the directory ---- */

static DIR *open_space(void) {
    char path[512];
    snprintf(path, sizeof path, "%s/test", getenv("FERRY_DIR"));
    return opendir(path);
}

unsigned names_with(const char *text) {
    unsigned count = 0;
    DIR *dir = open_space();
    if (!dir)
        return 0;
    for (struct dirent *item; (item = readdir(dir)) != NULL;)
        count += item->d_name[0] != '.' || item->d_name[1] == 't' ? strstr(item->d_name, text) != NULL : 0;
    closedir(dir);
    return count;
}

void names_print(void) {
    DIR *dir = open_space();
    if (!dir)
        return;
    for (struct dirent *item; (item = readdir(dir)) != NULL;)
        fprintf(stderr, "# in the space: %s\n", item->d_name);
    closedir(dir);
}

void name_of_node(uint64_t node, char text[20]) {
    snprintf(text, 20, "%016" PRIx64, node);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place) {
    (void)status;
    (void)type;
    (void)place;
    (void)remove(path); /* its owner may be putting something back meanwhile */
    return 0;
}

void sweep_space(void) {
    char path[512];
    snprintf(path, sizeof path, "%s/test", getenv("FERRY_DIR"));
    (void)nftw(path, remove_one, 16, FTW_PHYS | FTW_DEPTH);
}
