/* SPDX-License-Identifier: MIT */
#include "ferry/look.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/check.h"
#include "net/net.h"
#include "node/address.h"
#include "node/look.h"
#include "node/space.h"

/* The same in a space that spans machines: it is joined for a moment. */
static int look_far(const char *space, const ferry_options_t *options, ferry_look_t **look) {
    ferry_look_t *l = fi_look_new();
    ferry_t *n = NULL;

    if (!l) {
        return -ENOMEM;
    }
    int r = fi_look_gather(space, options, l);
    r = r == -ENOENT ? 0 : r; /* nothing is open on this machine */
    r = r == 0 ? ferry_open(space, options, &n) : r;
    if (r == 0) {
        r = fi_net_look(n->net, l);
        (void)ferry_close(n);
    }
    r = r == 0 ? fi_look_solve(l) : r;
    if (r == 0 && l->node_count == 0) {
        r = l->unheard ? fi_fail(-ENOENT,
                                 "somebody listens in the space %s, but nobody answers: a program there is stopped, or "
                                 "gets no processor, or its machine is gone; or a client listens to all subjects",
                                 space)
                       : fi_fail(-ENOENT, "nobody is in the space %s", space);
    }
    if (r < 0) {
        fi_look_close(l);
        return r;
    }
    *look = l;
    return 0;
}

int ferry_look(const char *space, const ferry_options_t *options, ferry_look_t **look) {
    int r = fi_check_output(look, "ferry_look");
    if (r == 0 && options) {
        r = fi_check_size(options->size, sizeof *options, "ferry_options_t");
    }
    if (r < 0) {
        return r;
    }
    fi_address_t address;
    bool is_far = space && fi_address_parse(space, &address) == 0 && address.networked;
    return is_far ? FI_WHOLE(look_far(space, options, look)) : fi_look(space, options, look);
}

size_t ferry_look_nodes(const ferry_look_t *look) {
    return look ? look->node_count : 0;
}

const ferry_look_node_t *ferry_look_node(const ferry_look_t *look, size_t i) {
    return look && i < look->node_count ? &look->nodes[i] : NULL;
}

size_t ferry_look_ends(const ferry_look_t *look) {
    return look ? look->end_count : 0;
}

const ferry_look_end_t *ferry_look_end(const ferry_look_t *look, size_t i) {
    return look && i < look->end_count ? &look->ends[i] : NULL;
}

size_t ferry_look_services(const ferry_look_t *look) {
    return look ? look->service_count : 0;
}

const ferry_look_service_t *ferry_look_service(const ferry_look_t *look, size_t i) {
    return look && i < look->service_count ? &look->services[i] : NULL;
}

size_t ferry_look_objects(const ferry_look_t *look) {
    return look ? look->object_count : 0;
}

const ferry_look_object_t *ferry_look_object(const ferry_look_t *look, size_t i) {
    return look && i < look->object_count ? &look->objects[i] : NULL;
}

size_t ferry_look_waits(const ferry_look_t *look) {
    return look ? look->picture.wait_count : 0;
}

const ferry_look_wait_t *ferry_look_wait(const ferry_look_t *look, size_t i) {
    return look && i < look->picture.wait_count ? &look->picture.waits[i].shown : NULL;
}

const ferry_look_holder_t *ferry_look_holder(const ferry_look_t *look, size_t i, size_t k) {
    const ferry_look_wait_t *w = ferry_look_wait(look, i);

    return w && k < w->holders ? &look->picture.waits[i].holders[k] : NULL;
}

size_t ferry_look_others(const ferry_look_t *look) {
    return look ? look->other_count : 0;
}

const ferry_look_other_t *ferry_look_other(const ferry_look_t *look, size_t i) {
    return look && i < look->other_count ? &look->others[i] : NULL;
}

size_t ferry_look_engines(const ferry_look_t *look) {
    return look ? look->engine_count : 0;
}

const ferry_look_engine_t *ferry_look_engine(const ferry_look_t *look, size_t i) {
    return look && i < look->engine_count ? &look->engines[i] : NULL;
}

size_t ferry_look_links(const ferry_look_t *look) {
    return look ? look->link_count : 0;
}

const ferry_look_link_t *ferry_look_link(const ferry_look_t *look, size_t i) {
    return look && i < look->link_count ? &look->links[i] : NULL;
}

void ferry_look_close(ferry_look_t *look) {
    fi_look_close(look);
}

/* The name of the space whose directory is called so: "SPACE", or "SPACE@HOST:PORT" of one that spans machines. */
static bool name_of(const char *directory, char *name, size_t cap) {
    const char *at = strchr(directory, '@');
    fi_address_t address;

    if (!at) {
        snprintf(name, cap, "%s", directory);
    } else {
        snprintf(name, cap, "nats://%s/%.*s", at + 1, (int)(at - directory), directory);
    }
    return fi_address_parse(name, &address) == 0 && strcmp(address.directory, directory) == 0;
}

static int is_space(const struct dirent *d) {
    char name[2 * NAME_MAX];

    return d->d_name[0] != '.' && (d->d_type == DT_DIR || d->d_type == DT_UNKNOWN) &&
           name_of(d->d_name, name, sizeof name);
}

int ferry_spaces(const ferry_options_t *options, int (*each)(const char *name, void *arg), void *arg) {
    char base[4096];
    struct dirent **names;

    if (!each) {
        return fi_fail(-EINVAL, "ferry_spaces needs a function to tell the names to");
    }
    int r = fi_space_check_base(options, base, sizeof base); /* somebody else's is not one without spaces */
    if (r < 0) {
        return r == -ENOENT ? 0 : r;
    }
    int count = scandir(base, &names, is_space, alphasort);
    if (count < 0) {
        return errno == ENOENT ? 0 : fi_fail_errno(errno, "cannot list the spaces in %s", base);
    }
    r = 0;
    for (int i = 0; i < count; i++) {
        if (r >= 0) {
            char name[2 * NAME_MAX];
            (void)name_of(names[i]->d_name, name, sizeof name);
            r = each(name, arg);
        }
        free(names[i]);
    }
    free(names);
    return r < 0 ? r : count;
}

int ferry_base_directory(const ferry_options_t *options, char *buf, size_t cap) {
    bool group;
    gid_t gid;

    int r = fi_check_output(buf, "ferry_base_directory");
    return r < 0 ? r : fi_space_base(options, buf, cap, &group, &gid);
}
