/* SPDX-License-Identifier: MIT
 *
 * doctor_space.c - the directory where processes meet; and at last one message, which needs everything at once.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "doctor.h"
#include "json_look.h"
#include "units.h"

static const double little_room = 1024.0 * 1024;
static const int64_t patience = INT64_C(5000000000);

/* The base directory, or false with the finding set. */
static bool base_directory(const common_t *common, char *base, size_t cap, finding_t *f) {
    ferry_options_t options = common_options(common, NULL);

    if (ferry_base_directory(&options, base, cap) >= 0)
        return true;
    find(f, VERDICT_FAIL, "%s", ferry_last_error());
    advise(f, "see what --group, --directory and FERRY_DIR say");
    return false;
}

/* Cuts the last component off; true while something is left. */
static bool parent(char *path) {
    char *slash = strrchr(path, '/');

    if (slash == NULL || path[1] == '\0')
        return false;
    slash[slash == path ? 1 : 0] = '\0';
    return true;
}

static void check_missing_directory(const char *base, finding_t *f) {
    char above[PATH_MAX];

    snprintf(above, sizeof above, "%s", base);
    if (parent(above) && access(above, W_OK | X_OK) == 0) {
        find(f, VERDICT_OK, "%s will be made when it is needed", base);
        return;
    }
    find(f, VERDICT_FAIL, "%s does not exist and cannot be made: %s", base, strerror(errno));
    advise(f, "make it yourself, or name another one with FERRY_DIR or --directory");
}

void check_directory(const common_t *common, finding_t *f) {
    char base[PATH_MAX];
    struct stat st;

    if (!base_directory(common, base, sizeof base, f))
        return;
    if (lstat(base, &st) != 0) {
        if (errno == ENOENT) {
            check_missing_directory(base, f);
            return;
        }
        find(f, VERDICT_FAIL, "%s cannot be looked at: %s", base, strerror(errno));
        advise(f, "name another one with FERRY_DIR or --directory");
        return;
    }
    find(f, VERDICT_OK, "%s (mode %04o, owner %u, group %u)", base, (unsigned)(st.st_mode & 07777), (unsigned)st.st_uid,
         (unsigned)st.st_gid);
    if (!S_ISDIR(st.st_mode)) {
        find(f, VERDICT_FAIL, "%s is %s", base, S_ISLNK(st.st_mode) ? "a symbolic link" : "not a directory");
        advise(f, "remove it, or name the directory itself with FERRY_DIR or --directory");
    } else if (st.st_uid != geteuid() && st.st_uid != 0 && common->group == NULL) {
        f->verdict = VERDICT_FAIL;
        advise(f, "it belongs to somebody else: remove it, or name another one with FERRY_DIR or --directory");
    } else if (access(base, R_OK | W_OK | X_OK) != 0) {
        f->verdict = VERDICT_FAIL;
        if (st.st_uid == geteuid())
            advise(f, "it cannot be written: chmod u+rwx %s", base);
        else
            advise(f, "it cannot be written by this user: name another one with FERRY_DIR or --directory");
    } else if ((st.st_mode & 0022) != 0 && (st.st_mode & S_ISVTX) == 0) {
        f->verdict = VERDICT_FAIL;
        advise(f, "others can replace what is in it: chmod go-w %s", base);
    }
}

void check_room(const common_t *common, finding_t *f) {
    char base[PATH_MAX];
    char text[UNITS_TEXT];
    char files[UNITS_TEXT] = "any number of";
    struct statvfs vfs;

    if (!base_directory(common, base, sizeof base, f))
        return;
    while (statvfs(base, &vfs) != 0) {
        if (errno != ENOENT || !parent(base)) {
            find(f, VERDICT_WARN, "the room on the disk of %s cannot be told: %s", base, strerror(errno));
            return;
        }
    }
    double room = (double)vfs.f_bavail * (double)vfs.f_frsize;
    bool no_files = vfs.f_files > 0 && vfs.f_favail < 64; /* some file systems do not count files */
    if (vfs.f_files > 0)
        show_count(vfs.f_favail, files);
    verdict_t verdict = room == 0 || no_files ? VERDICT_FAIL : room < little_room ? VERDICT_WARN : VERDICT_OK;
    find(f, verdict, "%s and %s files free; messages need none of it", show_bytes(room, text), files);
    if (verdict != VERDICT_OK)
        advise(f, "every open end needs one small file: free some, or name another directory with FERRY_DIR");
}

/* --- leftovers --------------------------------------------------------------------------------------------------- */

typedef struct sweep {
    const common_t *common;
    const char *base;
    size_t spaces, before, after;
} sweep_t;

/* Nodes of another version that were seen meanwhile, for check_versions. */
static struct {
    size_t nodes;
    char first[200];
} others;

static void note_others(const char *space, const ferry_look_t *look) {
    for (size_t i = 0; i < ferry_look_nodes(look); i++) {
        const ferry_look_node_t *node = ferry_look_node(look, i);
        if (node->other_version && others.nodes++ == 0)
            snprintf(others.first, sizeof others.first, "process %" PRId32 " in the space %s", node->pid, space);
    }
}

static size_t count_names(const char *base, const char *space) {
    char path[PATH_MAX + 80];
    size_t n = 0;

    snprintf(path, sizeof path, "%s/%s", base, space);
    DIR *dir = opendir(path);
    if (dir == NULL)
        return 0;
    for (const struct dirent *d = readdir(dir); d != NULL; d = readdir(dir))
        n += strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
    closedir(dir);
    return n;
}

/* Looking at a space sweeps it; the names that go thereby were left by the dead. */
static int sweep_space(const char *name, void *arg) {
    sweep_t *sweep = arg;
    ferry_options_t options = common_options(sweep->common, "ferry-doctor");
    ferry_look_t *look;

    if (spans_machines(name))
        return 0; /* who enters it sweeps it */
    sweep->spaces++;
    size_t before = count_names(sweep->base, name);
    if (ferry_look(name, &options, &look) < 0)
        return 0; /* it has gone, or it is not ours: either way nothing of it is swept */
    note_others(name, look);
    ferry_look_close(look);
    size_t after = count_names(sweep->base, name);
    sweep->before += before;
    sweep->after += after < before ? after : before;
    return 0;
}

void check_leftovers(const common_t *common, finding_t *f) {
    char base[PATH_MAX];
    ferry_options_t options = common_options(common, "ferry-doctor");

    if (!base_directory(common, base, sizeof base, f))
        return;
    sweep_t sweep = {.common = common, .base = base};
    if (ferry_spaces(&options, sweep_space, &sweep) < 0) {
        find(f, VERDICT_WARN, "%s", ferry_last_error());
        return;
    }
    size_t swept = sweep.before - sweep.after;
    if (swept == 0)
        find(f, VERDICT_OK, "none in %zu space%s", sweep.spaces, sweep.spaces == 1 ? "" : "s");
    else
        find(f, VERDICT_OK, "%zu name%s of dead processes, now removed", swept, swept == 1 ? "" : "s");
}

/* They were seen when the spaces were swept. */
void check_versions(const common_t *common, finding_t *f) {
    char more[60] = "";

    (void)common;
    if (others.nodes == 0) {
        find(f, VERDICT_OK, "no program of " OTHER_VERSION " was seen");
        return;
    }
    if (others.nodes > 1)
        snprintf(more, sizeof more, ", and %zu more", others.nodes - 1);
    find(f, VERDICT_WARN, "%s%s: " OTHER_VERSION, others.first, more);
    advise(f, "programs of different versions do not see each other: use the same one, or another space");
}

/* --- a message --------------------------------------------------------------------------------------------------- */

typedef struct trial {
    ferry_t *node;
    ferry_sender_t *tx;
    ferry_receiver_t *rx;
} trial_t;

static int send_and_receive(trial_t *t, const common_t *common, const char *space) {
    static const char greeting[] = "how are you?";
    ferry_options_t options = common_options(common, "ferry-doctor");
    char answer[sizeof greeting];
    size_t len = 0;
    int result = ferry_open(space, &options, &t->node);

    if (result >= 0)
        result = ferry_receiver_open(t->node, "doctor", FERRY_QUEUE, NULL, &t->rx);
    if (result >= 0)
        result = ferry_sender_open(t->node, "doctor", FERRY_QUEUE, NULL, &t->tx);
    if (result >= 0)
        result = ferry_send(t->tx, greeting, sizeof greeting, patience);
    if (result >= 0)
        result = ferry_recv_into(t->rx, answer, sizeof answer, patience, &len);
    if (result < 0)
        return result;
    return len == sizeof greeting && memcmp(answer, greeting, len) == 0 ? 0 : -EBADMSG;
}

void check_message(const common_t *common, finding_t *f) {
    char space[32];
    char took[UNITS_TEXT];
    char sentence[sizeof f->found - 60];
    trial_t trial = {0};

    snprintf(space, sizeof space, "doctor-%d", (int)getpid());
    int64_t begin = now_ns();
    int result = send_and_receive(&trial, common, space);
    int64_t ns = now_ns() - begin;
    snprintf(sentence, sizeof sentence, "%s", result == -EBADMSG ? "it arrived changed" : ferry_last_error());
    ferry_sender_close(trial.tx, FERRY_NOW, NULL);
    ferry_receiver_close(trial.rx);
    ferry_close(trial.node);
    if (result >= 0) {
        find(f, VERDICT_OK, "a space opened, a message sent and received, in %s", show_duration((double)ns, took));
        return;
    }
    find(f, VERDICT_FAIL, "%s", sentence);
    advise(f, "mend what fails above; if nothing does, this sentence is the place to start");
}
