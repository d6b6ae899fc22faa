/* SPDX-License-Identifier: MIT */
#include "ferry/steer.h"

#include "api/check.h"
#include "net/purge.h"
#include "node/address.h"
#include "node/steer.h"

/* In a space that spans machines: what `near` senders have dropped was told already. */
static int purge_far(const char *space, const ferry_options_t *options, const char *channel, uint64_t node, int near,
                     void (*each)(const ferry_purged_t *p, void *arg), void *arg) {
    ferry_t *n = NULL;

    int r = near < 0 && near != -ENOENT ? near : ferry_open(space, options, &n);
    if (r < 0) {
        return r;
    }
    r = fi_net_purge(n->net, channel, node, each, arg);
    (void)ferry_close(n);
    return r < 0 || near < 0 ? r : r + near;
}

int ferry_purge(const char *space, const ferry_options_t *options, const char *channel, uint64_t node,
                void (*each)(const ferry_purged_t *p, void *arg), void *arg) {
    int r = options ? fi_check_size(options->size, sizeof *options, "ferry_options_t") : 0;
    if (r == 0) {
        r = fi_channel_check(channel);
    }
    if (r < 0) {
        return r;
    }
    fi_address_t address;
    bool is_far = space && fi_address_parse(space, &address) == 0 && address.networked;
    r = fi_purge(space, options, channel, node, each, arg);
    return is_far ? purge_far(space, options, channel, node, r, each, arg) : r;
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
