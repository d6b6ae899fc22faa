/* SPDX-License-Identifier: MIT */
#include "target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "say.h"
#include "units.h"

enum { ID_DIGITS = 16 };

static bool is_id(const char *word, uint64_t *id) {
    if (strlen(word) != ID_DIGITS || strspn(word, "0123456789abcdef") != ID_DIGITS)
        return false;
    *id = strtoull(word, NULL, 16);
    return *id != 0;
}

int target_find(const common_t *common, const usage_t *usage, const char *word, target_t *target) {
    ferry_options_t options = common_options(common, NULL);
    const char *space = common_space(common);
    ferry_look_t *look = NULL;
    uint64_t pid = 0;
    uint64_t id = 0;

    *target = (target_t){.n = 0};
    if (!is_id(word, &id) && (!parse_count(word, &pid) || pid == 0 || pid > INT32_MAX))
        return usage_error(usage, "'%s' is neither a process id nor the id of a node; `ferry ls --json` shows both",
                           word);
    int result = ferry_look(space, &options, &look);
    if (result < 0 && result != -ENOENT)
        return library_failed(result);
    for (size_t i = 0; i < ferry_look_nodes(look) && target->n < TARGET_IDS; i++) {
        const ferry_look_node_t *node = ferry_look_node(look, i);
        bool far = node->host[0] != '\0'; /* process ids are each machine's own */
        if (id != 0 ? node->id != id : far || node->pid <= 0 || (uint64_t)node->pid != pid)
            continue;
        target->ids[target->n++] = node->id;
        if (far)
            snprintf(target->host, sizeof target->host, "%s", node->host);
    }
    ferry_look_close(look);
    if (target->n > 0)
        return 0;
    say("no node %s is in the space %s; `ferry ls` shows who is", word, space);
    return STATUS_NO;
}
