/* SPDX-License-Identifier: MIT
 *
 * doctor_limits.c - limits and settings that cost room or speed.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "doctor.h"
#include "units.h"

enum { FEW_DESCRIPTORS = 256, MANY_DESCRIPTORS = 1024, FEW_INSTANCES = 16 };

static const double default_quota = 64.0 * 1024 * 1024;

/* Reads the first line of a small file. */
static bool read_line(const char *path, char *line, size_t cap) {
    FILE *file = fopen(path, "re");

    if (file == NULL)
        return false;
    bool got = fgets(line, (int)cap, file) != NULL;
    fclose(file);
    if (got)
        line[strcspn(line, "\n")] = '\0';
    return got;
}

static const char *limit_text(rlim_t limit, char *text) {
    if (limit == RLIM_INFINITY)
        snprintf(text, UNITS_TEXT, "unlimited");
    else
        show_count(limit, text);
    return text;
}

void check_descriptors(const common_t *common, finding_t *f) {
    struct rlimit limit;
    char soft[UNITS_TEXT];
    char hard[UNITS_TEXT];

    (void)common;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        find(f, VERDICT_WARN, "the limit cannot be read: %s", strerror(errno));
        return;
    }
    verdict_t verdict = limit.rlim_cur < FEW_DESCRIPTORS    ? VERDICT_FAIL
                        : limit.rlim_cur < MANY_DESCRIPTORS ? VERDICT_WARN
                                                            : VERDICT_OK;
    find(f, verdict, "%s may be open in a process (at most %s)", limit_text(limit.rlim_cur, soft),
         limit_text(limit.rlim_max, hard));
    if (verdict != VERDICT_OK)
        advise(f, "each peer takes a few: raise the limit with ulimit -n %d, or LimitNOFILE= in a systemd unit",
               MANY_DESCRIPTORS);
}

/* Memory files count as files: a limit on file size is a limit on pools, and its signal kills. */
void check_file_size(const common_t *common, finding_t *f) {
    struct rlimit limit;
    char text[UNITS_TEXT];

    (void)common;
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
        find(f, VERDICT_OK, "unlimited");
        return;
    }
    bool small = (double)limit.rlim_cur < default_quota;
    find(f, small ? VERDICT_FAIL : VERDICT_OK, "no file, nor any memory shared as one, may exceed %s",
         show_bytes((double)limit.rlim_cur, text));
    if (small)
        advise(f, "raise it: ulimit -f unlimited");
}

/* Bytes this control group may still use; false when it has no limit. */
static bool group_memory(double *left) {
    char most[64];
    char used[64];
    unsigned long long limit;
    unsigned long long now;

    if (!read_line("/sys/fs/cgroup/memory.max", most, sizeof most) || sscanf(most, "%llu", &limit) != 1)
        return false;
    if (!read_line("/sys/fs/cgroup/memory.current", used, sizeof used) || sscanf(used, "%llu", &now) != 1)
        return false;
    *left = now < limit ? (double)(limit - now) : 0;
    return true;
}

void check_memory(const common_t *common, finding_t *f) {
    FILE *file = fopen("/proc/meminfo", "re");
    char line[128];
    char text[UNITS_TEXT];
    unsigned long long kib = 0;
    bool known = false;
    double left;

    (void)common;
    while (file != NULL && !known && fgets(line, sizeof line, file) != NULL)
        known = sscanf(line, "MemAvailable: %llu kB", &kib) == 1;
    if (file != NULL)
        fclose(file);
    double available = (double)kib * 1024;
    if (group_memory(&left) && (!known || left < available)) {
        available = left;
        known = true;
    }
    if (!known) {
        find(f, VERDICT_WARN, "how much is free cannot be read from /proc/meminfo");
        advise(f, "mount /proc");
        return;
    }
    bool enough = available >= 4 * default_quota;
    find(f, enough ? VERDICT_OK : VERDICT_WARN, "%s available", show_bytes(available, text));
    if (!enough)
        advise(f, "a sender may use up to 64 MiB by default: give senders smaller quotas");
}

/* Cores' worth of time a second that this control group may use; false when it is not limited. */
static bool group_cores(double *cores) {
    char line[64];
    double quota;
    double period;

    if (!read_line("/sys/fs/cgroup/cpu.max", line, sizeof line) || sscanf(line, "%lf %lf", &quota, &period) != 2)
        return false;
    *cores = quota / period;
    return period > 0;
}

void check_cores(const common_t *common, finding_t *f) {
    cpu_set_t set;
    double cores;

    (void)common;
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        find(f, VERDICT_OK, "more than this tool can count");
        return;
    }
    int n = CPU_COUNT(&set);
    if (group_cores(&cores) && cores < n) {
        find(f, cores < 2 ? VERDICT_WARN : VERDICT_OK, "%d may be used, for %.1f cores' time", n, cores);
        advise(f, "spinning uses up that time; if messages stall, give more, or have ends wait with FERRY_WAIT_BLOCK");
        return;
    }
    find(f, n > 1 ? VERDICT_OK : VERDICT_WARN, "%d may be used", n);
    if (n < 2)
        advise(f, "with one core, ends take turns, and each hand-over costs a wake-up; allow more: taskset, cpuset");
}

void check_huge_pages(const common_t *common, finding_t *f) {
    static const char path[] = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
    char line[128];
    char chosen[32] = "";

    (void)common;
    if (!read_line(path, line, sizeof line)) {
        find(f, VERDICT_OK, "not offered by this kernel; large messages use small pages");
        return;
    }
    const char *bracket = strchr(line, '[');
    if (bracket != NULL)
        sscanf(bracket + 1, "%31[a-z_]", chosen);
    bool off = strcmp(chosen, "never") == 0 || strcmp(chosen, "deny") == 0;
    find(f, VERDICT_OK, "%s for shared memory (%s)", off ? "off" : "available", chosen);
    if (off)
        advise(f, "if megabytes at a time matter: echo advise > %s", path);
}

void check_inotify(const common_t *common, finding_t *f) {
    char line[64];
    unsigned long long instances;

    (void)common;
    if (!read_line("/proc/sys/fs/inotify/max_user_instances", line, sizeof line) ||
        sscanf(line, "%llu", &instances) != 1) {
        find(f, VERDICT_OK, "not available; Ferry does without");
        return;
    }
    /* Only programs that watch the directory themselves need it, so it never fails. */
    find(f, instances < FEW_INSTANCES ? VERDICT_WARN : VERDICT_OK, "%llu instances a user; Ferry itself needs none",
         instances);
    if (instances < FEW_INSTANCES)
        advise(f, "programs that watch directories will run out: sysctl fs.inotify.max_user_instances=128");
}
