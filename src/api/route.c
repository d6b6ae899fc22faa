/* SPDX-License-Identifier: MIT */
#include "ferry/route.h"

#include <limits.h>

#include "api/check.h"
#include "ferry/look.h"
#include "host/choose.h"
#include "host/chosen.h"
#include "host/current.h"
#include "host/profile.h"
#include "node/host.h"
#include "node/space.h"
#include "platform/cancel.h"
#include "route/route.h"

static void choose_for_host(const ferry_host_t *h, ferry_host_choices_t *choices) {
    const fi_spinning_t spinning = {.full_ns = fi_host_spin(), .wake_ns = h->wake_ns, .policy = FERRY_WAIT_ADAPTIVE};

    fi_tell_spin(h, &spinning, &choices->spin_ns);
    fi_tell_inline(h, fi_host_inline(), &choices->inline_max);
}

static int learn(const ferry_options_t *options, int measure) {
    char base[PATH_MAX + 1];
    bool group;
    gid_t gid;

    int r = fi_space_base(options, base, sizeof base, &group, &gid);
    if (r == 0) {
        r = measure ? fi_host_learn(base, measure == FERRY_HOST_MEASURE_ANEW, NULL) : fi_host_find(base);
    }
    return r < 0 ? r : 0;
}

int ferry_host(const ferry_options_t *options, int measure, ferry_host_t *host, ferry_host_choices_t *choices) {
    int r = fi_check_output(host, "ferry_host");

    if (r == 0 && options) {
        r = fi_check_size(options->size, sizeof *options, "ferry_options_t");
    }
    if (r < 0) {
        return r;
    }
    int cancel = fi_cancel_here();
    r = learn(options, measure);
    fi_cancel_restore(cancel);
    if (r == 0) {
        fi_host_current(host);
        if (choices) {
            choose_for_host(host, choices);
        }
    }
    return r;
}

int ferry_host_text(const ferry_host_t *host, char *buf, size_t cap) {
    int r =
        host ? fi_check_output(buf, "ferry_host_text") : fi_fail(-EINVAL, "ferry_host_text needs figures, not NULL");

    if (r < 0) {
        return r;
    }
    size_t len = fi_host_print(host, buf, cap);
    return len > 0 ? (int)len : fi_fail(-ERANGE, "the text of a profile does not fit into %zu bytes", cap);
}

/* The other machines' share, as far as they can be heard: what is here is known without them. */
static int add_far(const char *space, const char *channel, const ferry_options_t *options, ferry_route_t *route) {
    ferry_look_t *look;

    if (!fi_route_is_networked(route) || ferry_look(space, options, &look) < 0) {
        return 0;
    }
    int r = fi_route_add_far(route, channel, look);
    ferry_look_close(look);
    return r;
}

int ferry_route(const char *space, const char *channel, const ferry_options_t *options, ferry_route_t **route) {
    ferry_route_t *found = NULL;
    int r = fi_check_output(route, "ferry_route");

    if (r == 0 && options) {
        r = fi_check_size(options->size, sizeof *options, "ferry_options_t");
    }
    r = r == 0 ? fi_channel_check(channel) : r;
    r = r == 0 ? fi_route_look(space, channel, options, &found) : r;
    if (r < 0) {
        return r;
    }
    r = add_far(space, channel, options, found);
    if (r < 0) {
        fi_route_close(found);
        return r;
    }
    *route = found;
    return 0;
}

size_t ferry_route_links(const ferry_route_t *route) {
    return route ? fi_route_links(route) : 0;
}

const ferry_route_link_t *ferry_route_link(const ferry_route_t *route, size_t i) {
    return route ? fi_route_link(route, i) : NULL;
}

size_t ferry_route_senders(const ferry_route_t *route) {
    return route ? fi_route_senders(route) : 0;
}

size_t ferry_route_receivers(const ferry_route_t *route) {
    return route ? fi_route_receivers(route) : 0;
}

size_t ferry_route_silent(const ferry_route_t *route) {
    return route ? fi_route_silent(route) : 0;
}

void ferry_route_close(ferry_route_t *route) {
    fi_route_close(route);
}
