/* SPDX-License-Identifier: MIT */
#include "json_look.h"

#include <inttypes.h>

void json_id(json_t *j, const char *key, uint64_t id) {
    char digits[20];

    snprintf(digits, sizeof digits, "%016" PRIx64, id);
    json_text(j, key, digits);
}

const char *node_text(const ferry_look_node_t *node, char *text, size_t cap) {
    if (node == NULL)
        snprintf(text, cap, "?");
    else
        snprintf(text, cap, "%s%s%s", node->name, node->host[0] != '\0' ? "@" : "", node->host);
    return text;
}

const char *silence(bool starved, bool other_version) {
    return starved ? TOO_FEW_DESCRIPTORS : other_version ? OTHER_VERSION : "stopped?";
}

void silent_text(const ferry_look_node_t *node, char *text, size_t cap) {
    const char *why = silence(node->starved != 0, node->other_version != 0);

    if (node->host[0] != '\0')
        snprintf(text, cap, "node %016" PRIx64 " (%.100s, process %" PRId32 " on %.64s) does not answer (%s)", node->id,
                 node->name, node->pid, node->host, why);
    else if (node->pid != 0)
        snprintf(text, cap, "process %" PRId32 " does not answer (%s)", node->pid, why);
    else
        snprintf(text, cap, "node %016" PRIx64 " does not answer (%s)", node->id, why);
}

void json_node(json_t *j, const ferry_look_node_t *node) {
    json_open(j, NULL, '{');
    json_id(j, "id", node->id);
    json_text(j, "name", node->name);
    json_signed(j, "pid", node->pid);
    json_signed(j, "own_pid", node->own_pid);
    json_count(j, "pid_namespace", node->pid_namespace);
    if (node->host[0] == '\0') {
        json_count(j, "uid", node->uid);
    } else {
        json_text(j, "host", node->host);
        json_count(j, "round_trip_ns", node->round_trip_ns);
    }
    json_count(j, "peers", node->peers);
    json_bool(j, "answered", node->answered != 0);
    json_bool(j, "starved", node->starved != 0);
    json_bool(j, "other_version", node->other_version != 0);
    json_close(j, '}');
}
