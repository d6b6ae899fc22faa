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
