/* SPDX-License-Identifier: MIT */
#include "ferry/steer.h"

#include "api/check.h"
#include "node/steer.h"

int ferry_purge(const char *space, const ferry_options_t *options, const char *channel, uint64_t node,
                void (*each)(const ferry_purged_t *p, void *arg), void *arg) {
    int r = options ? fi_check_size(options->size, sizeof *options, "ferry_options_t") : 0;
    if (r == 0) {
        r = fi_channel_check(channel);
    }
    return r < 0 ? r : fi_purge(space, options, channel, node, each, arg);
}

int ferry_kick(const char *space, const ferry_options_t *options, uint64_t node, ferry_kicked_t *result) {
    ferry_kicked_t known = {.size = sizeof known};

    int r = options ? fi_check_size(options->size, sizeof *options, "ferry_options_t") : 0;
    if (r == 0 && result) {
        r = fi_check_size(result->size, sizeof *result, "ferry_kicked_t");
    }
    if (r == 0 && node == 0) {
        r = fi_fail(-EINVAL, "0 is the id of no node; ferry_look tells those that are there");
    }
    if (r == 0) {
        r = fi_kick(space, options, node, &known);
    }
    if (r == 0 && result) {
        *result = known;
    }
    return r;
}
