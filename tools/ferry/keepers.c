/* SPDX-License-Identifier: MIT
 *
 * A process id may be given to another process between a look and a signal. So a candidate is first taken hold of by a
 * pidfd, and then looked for again: if its node is still there, under the same process id, the pidfd is that process's.
 */
#include "keepers.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "holders.h"
#include "json_look.h"
#include "say.h"
#include "units.h"

bool keepers_has(const common_t *common, const char *kind, const char *name) {
    const ferry_look_node_t *node;
    ferry_look_t *look;
    bool found = false;
    size_t at = 0;
    int status;

    if (!look_at_space(common, &look, &status))
        return false;
    while (!found && (node = holder_next(look, kind, name, &at)) != NULL)
        found = holder_is_keeper(node, kind, name);
    ferry_look_close(look);
    return found;
}

/* --- ending keepers ---------------------------------------------------------------------------------------------- */

static const int64_t patience_ns = INT64_C(20) * 1000 * 1000 * 1000;
enum { MOST_KEEPERS = 1000 }; /* whoever starts more of them meanwhile shall not keep us */

typedef struct quarry {
    const common_t *common;
    const char *kind, *name;
} quarry_t;

/* A keeper that is ours to end: its node and process. 0 or the exit status; `*pid` is 0 when there is none. */
static int find_keeper(const quarry_t *q, uint64_t *id, int32_t *pid) {
    const ferry_look_node_t *node;
    ferry_look_t *look;
    size_t at = 0;
    int status = 0;

    *pid = 0;
    if (!look_at_space(q->common, &look, &status))
        return status;
    while (*pid == 0 && (node = holder_next(look, q->kind, q->name, &at)) != NULL) {
        if (holder_is_keeper(node, q->kind, q->name) && node->uid == geteuid()) {
            *id = node->id;
            *pid = node->pid;
        }
    }
    ferry_look_close(look);
    return 0;
}

static int still_there(const quarry_t *q, uint64_t id, int32_t pid, bool *there) {
    ferry_look_t *look;
    int status = 0;

    if (!look_at_space(q->common, &look, &status))
        return status;
    const ferry_look_node_t *node = holder_node(look, id);
    *there = node != NULL && node->pid == pid;
    ferry_look_close(look);
    return 0;
}

/* SIGCONT, too: one that is stopped would not end. */
static int end_process(const quarry_t *q, int fd, int32_t pid) {
    struct pollfd item = {.fd = fd, .events = POLLIN};
    int64_t end = now_ns() + patience_ns;
    int64_t left = patience_ns;

    if (syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0u) < 0 && errno != ESRCH) {
        say("cannot end the keeper of \"%s\" (process %" PRId32 "): %s", q->name, pid, strerror(errno));
        return STATUS_FAILED;
    }
    (void)syscall(SYS_pidfd_send_signal, fd, SIGCONT, NULL, 0u);
    while (left > 0 && poll(&item, 1, poll_timeout(left)) <= 0)
        left = end - now_ns();
    if (left > 0)
        return 0;
    say("the keeper of \"%s\" (process %" PRId32 ") does not end; `kill -KILL %" PRId32 "` ends it", q->name, pid, pid);
    return STATUS_NO;
}

static int end_keeper(const quarry_t *q, uint64_t id, int32_t pid) {
    int fd = (int)syscall(SYS_pidfd_open, pid, 0u);
    bool there = false;

    if (fd < 0 && errno == ESRCH)
        return 0;
    if (fd < 0) {
        say("cannot reach process %" PRId32 ": %s", pid, strerror(errno));
        return STATUS_FAILED;
    }
    int status = still_there(q, id, pid, &there);
    if (status == 0 && there)
        status = end_process(q, fd, pid);
    close(fd);
    return status;
}

static int end_keepers(const quarry_t *q, size_t *ended) {
    for (*ended = 0; *ended < MOST_KEEPERS; (*ended)++) {
        uint64_t id = 0;
        int32_t pid = 0;
        int status = find_keeper(q, &id, &pid);
        if (status != 0 || pid == 0)
            return status;
        status = end_keeper(q, id, pid);
        if (status != 0)
            return status;
    }
    return 0;
}

/* --- who is left ------------------------------------------------------------------------------------------------- */

enum { WHO_TEXT = 240 };

static void add(char *text, size_t cap, const char *who) {
    size_t used = strlen(text);
    const char *comma = used > 0 ? ", " : "";

    if (used + WHO_TEXT > cap) {
        if (strcmp(text + used - 3, "...") != 0)
            snprintf(text + used, cap - used, ", ...");
    } else {
        snprintf(text + used, cap - used, "%s%s", comma, who);
    }
}

static void add_holder(char *text, size_t cap, const ferry_look_node_t *node) {
    char who[WHO_TEXT];

    if (node->pid != 0)
        snprintf(who, sizeof who, "%.100s (process %" PRId32 ")", node->name, node->pid);
    else
        snprintf(who, sizeof who, "%.100s (a process that cannot be seen from here)", node->name);
    add(text, cap, who);
}

static void add_silent(char *text, size_t cap, const ferry_look_node_t *node) {
    char who[WHO_TEXT];

    silent_text(node, who, sizeof who);
    add(text, cap, who);
}

/* Says who has it open still, or may have. */
static int tell_rest(const quarry_t *q, bool any_ended) {
    const ferry_look_node_t *node;
    char holders[700] = "";
    char silent[700] = "";
    ferry_look_t *look;
    size_t at = 0;
    int status = 0;

    if (!look_at_space(q->common, &look, &status))
        return status;
    while ((node = holder_next(look, q->kind, q->name, &at)) != NULL)
        add_holder(holders, sizeof holders, node);
    for (size_t i = 0; i < ferry_look_nodes(look); i++) {
        if (ferry_look_node(look, i)->answered == 0)
            add_silent(silent, sizeof silent, ferry_look_node(look, i));
    }
    ferry_look_close(look);
    make_plain(holders);
    make_plain(silent);
    if (holders[0] != '\0')
        say("the %s \"%s\" is still held, not by a keeper of yours: %s", q->kind, q->name, holders);
    else if (silent[0] != '\0')
        say("whether the %s \"%s\" is held cannot be told: %s", q->kind, q->name, silent);
    else if (!any_ended)
        say("nobody has the %s \"%s\" open", q->kind, q->name);
    else
        return STATUS_OK;
    return STATUS_NO;
}

int keepers_end(const common_t *common, const char *kind, const char *name) {
    const quarry_t q = {.common = common, .kind = kind, .name = name};
    size_t ended;
    int status = end_keepers(&q, &ended);

    return status != 0 ? status : tell_rest(&q, ended > 0);
}
