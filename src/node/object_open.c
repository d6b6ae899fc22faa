/* SPDX-License-Identifier: MIT
 *
 * Finding or making a shared object. See object.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "node/node.h"
#include "node/version.h"
#include "platform/patience.h"
#include "platform/process.h"

#define OPEN_NS INT64_C(3000000000) /* how long an open tries */
#define NAP_NS INT64_C(2000000)     /* and pauses when it must begin anew */

/* ---- agreeing ---- */

static int wrong_kind(const char *name, const char *mine, uint32_t theirs) {
    const char *other = theirs == 'm'   ? "mutex"
                        : theirs == 'w' ? "reader-writer lock"
                        : theirs == 's' ? "semaphore"
                        : theirs == 'b' ? "barrier"
                        : theirs == 'e' ? "event"
                        : theirs == 'c' ? "cell"
                        : theirs == 'r' ? "region"
                                        : "other kind of object";
    return fi_fail(-EPROTOTYPE, "\"%s\" is open as a %s, not as a %s: use another name", name, other, mine);
}

static const char *flag_word(const fi_object_spec_t *s) {
    return s->kind == 's' ? s->flags ? "with owned units" : "plain" : s->flags ? "auto-reset" : "without auto-reset";
}

static int differ(const fi_object_t *o, const char *what, uint64_t theirs, uint64_t mine) {
    return fi_fail(-EPROTOTYPE, "the %s \"%s\" was opened %s %" PRIu64 " by the others, here %" PRIu64 ": agree on one",
                   o->ops->word, o->spec.name, what, theirs, mine);
}

static int agree(const fi_object_t *o, const fi_object_spec_t *mine) {
    const fi_object_spec_t *theirs = &o->spec;

    if (mine->kind != theirs->kind) {
        return wrong_kind(mine->name, o->ops->word, theirs->kind);
    }
    if (mine->count != FI_COUNT_ANY && mine->count != theirs->count) {
        return differ(o, "with", theirs->count, mine->count);
    }
    if (mine->size != 0 && mine->size != theirs->size) {
        return differ(o, "with a size in bytes of", theirs->size, mine->size);
    }
    if (mine->limit != 0 && mine->limit != theirs->limit) {
        return differ(o, "with a limit in bytes of", theirs->limit, mine->limit);
    }
    if (mine->type_size != 0 && mine->type_size != theirs->type_size) {
        return differ(o, "with a type size of", theirs->type_size, mine->type_size);
    }
    if (mine->type[0] && strcmp(mine->type, theirs->type) != 0) {
        return fi_fail(-EPROTOTYPE,
                       "the %s \"%s\" was opened with the type \"%s\" by the others, here with \"%s\": agree on one",
                       o->ops->word, mine->name, theirs->type, mine->type);
    }
    if (mine->flags != theirs->flags) {
        return fi_fail(-EPROTOTYPE, "the %s \"%s\" was opened %s by the others, here %s: agree on one", o->ops->word,
                       mine->name, flag_word(theirs), flag_word(mine));
    }
    return 0;
}

/* ---- opening ---- */

struct holders {
    fi_node_t *node;
    fi_object_t *object;
    uint64_t instance; /* the one that is held; 0: none */
    uint64_t giver;    /* is its name there? */
    bool given;
    int error;
};

/* Holders that can still answer. */
static uint32_t connected(fi_node_t *n, const fi_object_t *o) {
    uint32_t count = 0;

    for (size_t i = 0; i < o->holder_count; i++) {
        count += fi_node_find_peer(n, o->holders[i]) != NULL;
    }
    return count;
}

static int note_holder(const fi_object_entry_t *e, void *arg) {
    struct holders *h = arg;
    fi_peer_t *p = NULL;

    if (e->node == h->node->id) {
        return 0;
    }
    int r = fi_node_dial(h->node, e->node, &p);
    if (r == -ECONNREFUSED) {
        return 0; /* dead: its names are gone now */
    }
    if (r < 0) {
        h->error = r == -EPIPE || r == -ECONNRESET ? -EAGAIN : r; /* it is just leaving, or dying: look again */
        return 1;
    }
    if (e->kind != h->object->spec.kind) {
        h->error = wrong_kind(e->name, h->object->ops->word, e->kind);
        return 1;
    }
    if ((uint32_t)e->node == (uint32_t)h->node->id) {
        h->error =
            fi_fail(-EEXIST, "by chance, two nodes have the same short number: close this node and open it again");
        return 1;
    }
    h->instance = e->instance;
    h->given |= e->node == h->giver;
    h->error = fi_object_add_holder(h->object, e->node);
    return h->error < 0;
}

/* Connects to all who hold the name, and notes them. With the space's lock held. */
static int look_for_holders(fi_node_t *n, fi_object_t *o, struct holders *h) {
    *h = (struct holders){.node = n, .object = o, .giver = h->giver};
    o->holder_count = 0;
    int r = fi_object_each(&n->space, o->spec.name, note_holder, h);
    return h->error < 0 ? h->error : r < 0 ? r : 0;
}

#define NEEDS_MEMORY 2
#define SMALL_BYTES ((size_t)1 << 20)

static size_t bytes_of(const fi_object_t *o) {
    return sizeof(fi_object_head_t) + o->ops->bytes(&o->spec);
}

static int reach(const fi_object_t *o, fi_shared_t *memory) {
    return fi_shared_reach(memory, o->ops->reach ? o->ops->reach(&o->spec) : 0);
}

static int new_memory(const fi_object_t *o, fi_shared_t **memory) {
    int r = fi_shared_new_for_all("ferry-object", bytes_of(o), memory);

    if (r == 0) {
        r = reach(o, *memory);
        if (r < 0) {
            fi_shared_unref(*memory);
            *memory = NULL;
        }
    }
    return r;
}

static int can_be_made(const fi_object_t *o) {
    if (o->spec.must_exist) {
        return fi_fail(-ENOENT, "nobody has the %s \"%s\" open", o->ops->word, o->spec.name);
    }
    if (o->spec.count == FI_COUNT_ANY) {
        return fi_fail(-ENOENT, "nobody has the %s \"%s\" open, so its count must be said", o->ops->word, o->spec.name);
    }
    return 0;
}

/* NEEDS_MEMORY: so much that others should not have to wait for it. */
static int make(fi_node_t *n, fi_object_t *o) {
    int r = can_be_made(o);
    if (r == 0 && !o->memory) {
        r = bytes_of(o) > SMALL_BYTES ? NEEDS_MEMORY : new_memory(o, &o->memory);
    }
    if (r != 0) {
        return r;
    }
    fi_object_head_t *head = o->memory->map;
    o->instance = fi_random64();
    head->magic = FI_OBJECT_MAGIC;
    head->instance = o->instance;
    head->kind = o->spec.kind;
    head->flags = o->spec.flags;
    head->count = o->spec.count;
    head->size = o->spec.size;
    head->limit = o->spec.limit;
    head->type_size = o->spec.type_size;
    memcpy(head->type, o->spec.type, sizeof head->type);
    if (o->ops->init) {
        o->ops->init(o);
    }
    return fi_object_write_name(n, o);
}

/* What a holder gave us is its own word: everything in it is checked, and what we go by is copied. */
static int take_offer(fi_object_t *o, uint64_t *giver) {
    fi_mail_t *m = o->offer;
    fi_shared_t *memory = m->memory;
    fi_object_head_t head;

    memcpy(&head, memory->map, sizeof head);
    fi_object_spec_t theirs = {.kind = head.kind,
                               .flags = head.flags,
                               .count = head.count,
                               .size = head.size,
                               .limit = head.limit,
                               .type_size = head.type_size};
    memcpy(theirs.name, o->spec.name, sizeof theirs.name);
    memcpy(theirs.type, head.type, sizeof theirs.type - 1);
    *giver = m->peer->id;
    m->memory = NULL;
    o->offer = NULL;
    fi_mail_free(m);
    if (head.magic != FI_OBJECT_MAGIC || head.kind != o->spec.kind ||
        memory->bytes < sizeof head + o->ops->bytes(&theirs)) {
        fi_shared_unref(memory);
        return fi_fail(-EPROTO, "a holder of \"%s\" offered memory that is no such object", o->spec.name);
    }
    fi_object_spec_t mine = o->spec;
    o->spec = theirs;
    int r = agree(o, &mine);
    if (r < 0) {
        o->spec = mine;
        fi_shared_unref(memory);
        return r;
    }
    r = reach(o, memory);
    if (r < 0) {
        o->spec = mine;
        fi_shared_unref(memory);
        return r;
    }
    o->memory = memory;
    o->instance = head.instance;
    return 0;
}

static void give_memory_up(fi_object_t *o) {
    fi_shared_unref(o->memory);
    o->memory = NULL;
}

/* 1, or why it cannot be used: then nobody shall find our name. */
static int opened(fi_node_t *n, const fi_object_t *o) {
    int r = o->ops->opened ? o->ops->opened(o) : 0;

    if (r < 0) {
        fi_object_leave(n, o);
        return fi_fail(r, "more nodes than a %s can have have \"%s\" open", o->ops->word, o->spec.name);
    }
    return 1;
}

/* First look: makes the object if nobody holds it; else asks those who do. 1: ready. */
static int find_or_make(fi_node_t *n, fi_object_t *o) {
    struct holders h = {0};
    int lock = fi_space_lock(&n->space);
    if (lock < 0) {
        return lock;
    }
    int r = look_for_holders(n, o, &h);
    if (r == 0 && h.instance == 0) {
        r = make(n, o);
        r = r == 0 ? opened(n, o) : r;
    }
    fi_space_unlock(lock);
    if (r != 0) {
        return r;
    }
    give_memory_up(o);
    o->refusals = 0;
    o->asked = (uint32_t)o->holder_count;
    fi_object_tell_holders(n, o, FI_OBJECT_ASK);
    return 0;
}

/* Their deaths will matter. With the memory in hand: before, there is nothing that they could hold. */
static int add_exiles(fi_object_t *o) {
    int r = 0;

    for (uint32_t i = 0; i < o->exile_count && r == 0; i++) {
        r = fi_object_add_holder(o, o->exiles[i]);
    }
    return r;
}

/* With the memory in hand: writes our name, if who gave it still holds it. 1: ready, 0: begin anew. */
static int join(fi_node_t *n, fi_object_t *o, uint64_t giver) {
    struct holders h = {.giver = giver};
    int lock = fi_space_lock(&n->space);
    if (lock < 0) {
        return lock;
    }
    int r = look_for_holders(n, o, &h);
    if (r == 0 && h.given && h.instance == o->instance) {
        r = add_exiles(o);
        r = r == 0 ? fi_object_write_name(n, o) : r;
        r = r == 0 ? 1 : r;
    }
    fi_space_unlock(lock);
    if (r != 1) {
        give_memory_up(o);
        return r;
    }
    fi_object_tell_holders(n, o, FI_OBJECT_JOINED);
    return opened(n, o);
}

/* Waits for an answer. 0: there is one, or everybody has refused. */
static int wait_for_answer(fi_node_t *n, fi_object_t *o, fi_patience_t *patience) {
    while (!o->offer && o->refusals < connected(n, o)) {
        if (fi_node_is_shut(n)) {
            return fi_fail(-ESHUTDOWN, "the node %s while \"%s\" was opened", fi_node_end_word(n), o->spec.name);
        }
        struct timespec ts = fi_timespec(fi_patience_slice(patience));
        (void)pthread_cond_timedwait(&n->changed, &n->lock, &ts);
        if (!fi_patience_goes_on(patience)) {
            return -ETIMEDOUT;
        }
    }
    return 0;
}

static void pause_a_moment(fi_node_t *n) {
    struct timespec ts = fi_timespec(fi_now_ns() + NAP_NS);

    (void)pthread_cond_timedwait(&n->changed, &n->lock, &ts);
}

/* Makes the memory while nobody waits for us. */
static int prepare(fi_node_t *n, fi_object_t *o) {
    fi_shared_t *memory = NULL;

    pthread_mutex_unlock(&n->lock);
    int r = new_memory(o, &memory);
    pthread_mutex_lock(&n->lock);
    o->memory = memory;
    return r;
}

static int find_or_prepare(fi_node_t *n, fi_object_t *o) {
    int r = find_or_make(n, o);

    if (r == NEEDS_MEMORY) {
        r = prepare(n, o);
        r = r == 0 ? find_or_make(n, o) : r;
    }
    return r;
}

static int one_try(fi_node_t *n, fi_object_t *o, fi_patience_t *patience) {
    uint64_t giver = 0;

    int r = find_or_prepare(n, o);
    if (r == 0) {
        r = wait_for_answer(n, o, patience);
        if (r == 0 && o->offer) {
            r = take_offer(o, &giver);
            r = r == 0 ? join(n, o, giver) : r;
        }
    }
    if (r == -ESTALE) {
        (void)fi_node_republish(n);
    }
    return r == -ESTALE || r == -EAGAIN ? 0 : r;
}

static int nobody_answered(const fi_node_t *n, const fi_object_t *o) {
    pid_t starving = fi_node_find_starving(n);
    const char *why = o->asked == 1 ? "is it stopped? See `ferry ls`" : "are they stopped? See `ferry ls`";
    char who[40] = "the node that has";
    char words[120];

    if (o->asked != 1) {
        snprintf(who, sizeof who, "the %u nodes that have", o->asked);
    }
    if (starving != 0) {
        snprintf(words, sizeof words,
                 "process %ld has too few descriptors left to be connected with (see its `ulimit -n`)", (long)starving);
        why = words;
    } else if (fi_node_version_warning(n)[0]) {
        why = fi_node_version_warning(n);
    }
    return fi_fail(-ETIMEDOUT, "%s the %s \"%s\" open did not answer within %d seconds: %s", who, o->ops->word,
                   o->spec.name, (int)(OPEN_NS / 1000000000), why);
}

static int open_object(fi_node_t *n, fi_object_t *o) {
    fi_patience_t patience = {.left = OPEN_NS};
    int r;

    while ((r = one_try(n, o, &patience)) == 0) {
        (void)fi_patience_slice(&patience);
        pause_a_moment(n);
        if (!fi_patience_goes_on(&patience)) {
            r = -ETIMEDOUT;
            break;
        }
    }
    return r == -ETIMEDOUT ? nobody_answered(n, o) : r < 0 ? r : 0;
}

fi_object_t *fi_object_new(fi_node_t *n, const fi_object_spec_t *spec, const fi_object_ops_t *ops) {
    fi_object_t *o = calloc(1, sizeof *o);

    if (o) {
        o->node = n;
        o->ops = ops;
        o->spec = *spec;
        o->at = sizeof(fi_object_head_t);
        o->refs = 1;
        fi_list_init(&o->handles);
        fi_list_add_tail(&n->objects, &o->link);
    }
    return o;
}

/* The object as this node has it already, or NULL. Another thread may be opening it: then it is waited for. */
static fi_object_t *known(fi_node_t *n, const char *name) {
    fi_object_t *o;

    while ((o = fi_object_find(n, name)) != NULL && !o->ready) {
        pthread_cond_wait(&n->changed, &n->lock);
    }
    return o;
}

static int open_locked(fi_node_t *n, const fi_object_spec_t *spec, const fi_object_ops_t *ops, fi_object_t **out) {
    fi_object_t *o = known(n, spec->name);
    if (o) {
        fi_object_t as_mine = *o;
        as_mine.ops = ops;
        int r = agree(&as_mine, spec);
        o->refs += r == 0;
        *out = o;
        return r;
    }
    o = fi_object_new(n, spec, ops);
    if (!o) {
        return fi_fail(-ENOMEM, "no memory for an object");
    }
    int r = open_object(n, o);
    pthread_cond_broadcast(&n->changed);
    if (r < 0) {
        fi_object_forget(o);
        return r;
    }
    o->ready = true; /* whoever died before is the business of the one who gave it to us, and lives */
    *out = o;
    return 0;
}

/* A number that no other handle of this node has. */
static uint32_t free_number(fi_node_t *n) {
    for (;;) {
        uint32_t number = ++n->next_handle & FI_HANDLES;
        bool taken = number == 0;
        struct fi_list *at, *after, *h, *h_after;
        fi_list_each(at, after, &n->objects) {
            const fi_object_t *o = fi_container(at, fi_object_t, link);
            fi_list_each(h, h_after, &o->handles) {
                taken |= fi_owner_handle(fi_container(h, fi_handle_t, link)->me) == number;
            }
        }
        if (!taken) {
            return number;
        }
    }
}

void fi_object_add_handle(fi_object_t *o, fi_handle_t *h) {
    h->object = o;
    h->me = fi_owner(o->node->id, free_number(o->node));
    h->wake_fd = -1;
    fi_list_add_tail(&o->handles, &h->link);
}

int fi_object_open(fi_node_t *n, const fi_object_spec_t *spec, const fi_object_ops_t *ops, fi_handle_t *h) {
    fi_object_t *o = NULL;

    if (fi_node_is_shut(n)) {
        return fi_fail(-ESHUTDOWN, "the node %s: nothing can be opened on it", fi_node_end_word(n));
    }
    pthread_mutex_lock(&n->lock);
    int r = open_locked(n, spec, ops, &o);
    if (r == 0) {
        fi_object_add_handle(o, h);
    }
    pthread_mutex_unlock(&n->lock);
    return r;
}
