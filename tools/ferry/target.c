/* SPDX-License-Identifier: MIT */
#include "target.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "say.h"
#include "units.h"

enum { ID_DIGITS = 16, MOST_TOLD = 16 };

/* What a word stands for: an id, else a process, else a name. */
typedef struct wanted {
    uint64_t id;
    uint64_t pid;
    const char *name;
} wanted_t;

static bool is_id(const char *word, uint64_t *id) {
    if (strlen(word) != ID_DIGITS || strspn(word, "0123456789abcdef") != ID_DIGITS)
        return false;
    *id = strtoull(word, NULL, 16);
    return *id != 0;
}

static bool is_pid(const char *word, uint64_t *pid) {
    return parse_count(word, pid) && *pid > 0 && *pid <= INT32_MAX;
}

static bool is_far(const ferry_look_node_t *node) {
    return node->host[0] != '\0';
}

static bool is_meant(const ferry_look_node_t *node, const wanted_t *wanted) {
    if (wanted->id != 0)
        return node->id == wanted->id;
    if (wanted->pid != 0) /* process ids are each machine's own */
        return !is_far(node) && node->pid > 0 && (uint64_t)node->pid == wanted->pid;
    return strcmp(node->name, wanted->name) == 0;
}

/* Nodes that share a name are meant together only where they are one process. */
static bool is_beside(const ferry_look_node_t *a, const ferry_look_node_t *b) {
    return a->pid == b->pid && a->pid > 0 && strcmp(a->host, b->host) == 0;
}

static int ambiguous(const ferry_look_t *look, const wanted_t *wanted, const char *word) {
    char told[1024] = "";
    size_t length = 0;
    size_t found = 0;

    for (size_t i = 0; i < ferry_look_nodes(look); i++) {
        const ferry_look_node_t *node = ferry_look_node(look, i);
        if (!is_meant(node, wanted) || ++found > MOST_TOLD)
            continue;
        const char *comma = found > 1 ? ", " : "";
        size_t left = sizeof told - length;
        int n = is_far(node) || node->pid <= 0 ? snprintf(told + length, left, "%snode %016" PRIx64 "%s%.24s", comma,
                                                          node->id, is_far(node) ? " on " : "", node->host)
                                               : snprintf(told + length, left, "%sprocess %" PRId32, comma, node->pid);
        length += n < 0 ? 0 : (size_t)n;
    }
    make_plain(told);
    say("%zu nodes are called %s: %s%s; say which one is meant", found, word, told, found > MOST_TOLD ? ", ..." : "");
    return STATUS_NO;
}

static int find(const ferry_look_t *look, const wanted_t *wanted, const char *word, target_t *target) {
    const ferry_look_node_t *first = NULL;

    for (size_t i = 0; i < ferry_look_nodes(look) && target->n < TARGET_IDS; i++) {
        const ferry_look_node_t *node = ferry_look_node(look, i);
        if (!is_meant(node, wanted))
            continue;
        if (wanted->name != NULL && first != NULL && !is_beside(node, first))
            return ambiguous(look, wanted, word);
        first = node;
        target->ids[target->n++] = node->id;
        snprintf(target->host, sizeof target->host, "%s", node->host);
    }
    return 0;
}

int target_find(const common_t *common, const char *word, target_t *target) {
    ferry_options_t options = common_options(common, NULL);
    const char *space = common_space(common);
    ferry_look_t *look = NULL;
    wanted_t wanted = {0};

    *target = (target_t){.n = 0};
    if (!is_id(word, &wanted.id) && !is_pid(word, &wanted.pid))
        wanted = (wanted_t){.name = word};
    int result = ferry_look(space, &options, &look);
    if (result < 0 && result != -ENOENT)
        return library_failed(result);
    int status = find(look, &wanted, word, target);
    ferry_look_close(look);
    if (status != 0 || target->n > 0)
        return status;
    say("no node %s is in the space %s; `ferry ls` shows who is", word, space);
    return STATUS_NO;
}
