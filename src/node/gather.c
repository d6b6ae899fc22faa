/* SPDX-License-Identifier: MIT */
#include "node/gather.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/look.h"
#include "node/node.h"
#include "platform/clock.h"

#define MAX_NODES 4096u
#define ANSWER_NS INT64_C(100000000)

void fi_gather_begin(fi_gathering_t *g, const fi_space_t *home, bool all) {
    g->place[0].space = (fi_space_t){.dirfd = home->dirfd, .path = home->path};
    g->place[0].asked = all;
    g->places = 1;
}

void fi_gather_end(fi_gathering_t *g) {
    while (g->places > 1) {
        fi_space_forget(&g->place[--g->places].space);
    }
}

/* ---- asking ---- */

static void take(const fi_frame_t *f, void *arg) {
    struct fi_gathering *g = arg;

    fi_picture_add(g->picture, g->asking, f);
}

/* Who does not answer soon is stopped, or very busy: then nothing is proved. */
static int64_t patience(const fi_gathering_t *g) {
    return fi_earlier(ANSWER_NS, fi_time_left(g->deadline));
}

static int ask(uint64_t id, void *arg) {
    fi_gathering_t *g = arg;
    fi_picture_t *p = g->picture;
    pid_t pid = 0;
    uid_t uid = 0;

    if (fi_picture_node(p, id) || !fi_picture_add_node(p, id, 0)) {
        return 0;
    }
    size_t at = p->node_count - 1;
    p->nodes[at].place = g->asking_in;
    g->asking = id;
    (void)fi_look_ask(g->place[g->asking_in].space.dirfd, id, FI_LOOK_WAITS_ONLY | FI_LOOK_WITH_BESIDE, patience(g),
                      &pid, &uid, take, g);
    p->nodes[at].pid = pid;
    p->nodes[at].uid = uid;
    return p->node_count > MAX_NODES;
}

static void ask_in(fi_gathering_t *g, uint32_t place, uint64_t id) {
    g->asking_in = place;
    (void)ask(id, g);
}

void fi_gather_ask(fi_gathering_t *g, uint64_t node) {
    ask_in(g, 0, node);
}

static void ask_all(fi_gathering_t *g, uint32_t place) {
    if (!g->place[place].asked) {
        g->place[place].asked = true;
        g->asking_in = place;
        (void)fi_space_each_node(&g->place[place].space, ask, g);
    }
}

/* ---- those who hold ---- */

/* The whole number of a node that we are connected with. */
static uint64_t whole_number(fi_node_t *n, uint32_t number) {
    struct fi_list *at;
    struct fi_list *after;
    uint64_t id = 0;

    pthread_mutex_lock(&n->lock);
    fi_list_each(at, after, &n->peers) {
        const fi_peer_t *p = fi_container(at, fi_peer_t, link);
        if ((uint32_t)p->id == number) {
            id = p->id;
        }
    }
    pthread_mutex_unlock(&n->lock);
    return id;
}

struct search {
    fi_gathering_t *gathering;
    uint32_t number;
};

static int ask_if_it_is(uint64_t id, void *arg) {
    const struct search *s = arg;

    return (uint32_t)id == s->number ? ask(id, s->gathering) : 0;
}

static bool was_asked(const fi_picture_t *p, uint32_t place, uint32_t number) {
    for (size_t i = 0; i < p->node_count; i++) {
        if ((uint32_t)p->nodes[i].id == number && p->nodes[i].place == place) {
            return true;
        }
    }
    return false;
}

/* We are connected with our own holders, but not with theirs. */
static void ask_owner(fi_gathering_t *g, uint32_t place, uint64_t key) {
    struct search s = {.gathering = g, .number = (uint32_t)(key >> 32)};

    if (g->place[place].asked || was_asked(g->picture, place, s.number)) {
        return;
    }
    uint64_t id = place == 0 && g->node ? whole_number(g->node, s.number) : 0;
    if (id) {
        ask_in(g, place, id);
        return;
    }
    g->asking_in = place;
    (void)fi_space_each_node(&g->place[place].space, ask_if_it_is, &s);
}

static void follow(fi_gathering_t *g, size_t wait) {
    uint32_t place = g->picture->waits[wait].place;

    for (uint32_t k = 0; k < g->picture->waits[wait].key_count; k++) {
        ask_owner(g, place, g->picture->waits[wait].keys[k]);
    }
    if (g->picture->waits[wait].shown.what == FERRY_FOR_PROCESS) {
        ask_all(g, place); /* any may be of its family */
    }
}

/* ---- other spaces ---- */

/* The user's own programs may lead anywhere.  Others, in a group's space, lead only to where its members meet: what
 * they name is opened, which may take as long as they like. */
static bool may_lead(const fi_gathering_t *g, const fi_seen_beside_t *b) {
    const fi_seen_node_t *n = fi_picture_node(g->picture, b->told_by);
    const char *home = g->place[0].space.path;
    const char *slash = strrchr(home, '/');
    size_t base = slash ? (size_t)(slash - home) + 1 : 0;

    return b->path[0] == '/' && !b->more &&
           ((n && n->uid == geteuid()) || (strncmp(b->path, home, base) == 0 && !strchr(b->path + base, '/')));
}

static bool is_same_directory(int a, const struct stat *b) {
    struct stat st;

    return fstat(a, &st) == 0 && st.st_ino == b->st_ino && st.st_dev == b->st_dev;
}

/* Finds the space, or opens its directory. False: not ours to look at, or there is no room. */
static bool find_place(fi_gathering_t *g, const char *path, uint32_t *place) {
    struct stat st;
    int fd = fi_space_open_path(path, &st);

    for (*place = 0; fd >= 0 && *place < g->places; ++*place) {
        if (is_same_directory(g->place[*place].space.dirfd, &st)) {
            close(fd);
            return true;
        }
    }
    char *name = fd >= 0 && g->places < FI_PLACES_MAX ? strdup(path) : NULL;
    if (name) {
        g->place[g->places].space = (fi_space_t){.dirfd = fd, .path = name};
        g->place[g->places++].asked = false;
    } else if (fd >= 0) {
        close(fd);
    }
    return name != NULL;
}

static void ask_beside(fi_gathering_t *g, const fi_seen_beside_t *b) {
    uint32_t place;

    if (!fi_picture_node(g->picture, b->node) && may_lead(g, b) && find_place(g, b->path, &place)) {
        ask_in(g, place, b->node);
    }
}

void fi_gather_on(fi_gathering_t *g) {
    fi_picture_t *p = g->picture;
    size_t waits = 0;
    size_t besides = 0;

    while (waits < p->wait_count || besides < p->beside_count) {
        if (waits < p->wait_count) {
            follow(g, waits++);
        } else {
            fi_seen_beside_t b = p->besides[besides++]; /* the array may move */
            ask_beside(g, &b);
        }
    }
}
