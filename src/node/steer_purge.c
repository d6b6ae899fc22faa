/* SPDX-License-Identifier: MIT
 *
 * Asks all senders of a channel to drop what waits, and gathers what they answer.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "node/ask.h"
#include "node/entry.h"
#include "node/node.h"
#include "node/steer.h"
#include "platform/process.h"

#define ANSWER_NS 1000000000ll
#define MAX_SENDERS 65536u /* of one node: more would be nonsense */

typedef struct fi_purging {
    fi_space_t space;
    const char *channel;
    uint64_t only;
    uint64_t last; /* entries of one node tend to stand together */
    uint64_t *asked;
    size_t asked_count;
    void (*each)(const ferry_purged_t *p, void *arg);
    void *arg;
    int senders;
    /* the node that is asked now */
    ferry_purged_t node;
    char name[sizeof((fi_frame_t *)NULL)->text];
    uint64_t expected; /* senders that will answer; UINT64_MAX: not known yet */
    ferry_purged_t *ends;
    size_t end_count;
} fi_purging_t;

static ferry_purged_t *find_end(fi_purging_t *p, uint64_t end) {
    for (size_t i = 0; i < p->end_count; i++) {
        if (p->ends[i].end == end) {
            return &p->ends[i];
        }
    }
    ferry_purged_t *more = p->end_count < MAX_SENDERS ? realloc(p->ends, (p->end_count + 1) * sizeof *more) : NULL;
    if (!more) {
        return NULL;
    }
    p->ends = more;
    more[p->end_count] = p->node;
    more[p->end_count].end = end;
    more[p->end_count].answered = 1;
    return &more[p->end_count++];
}

/* A receiver may have to be asked in turn: then its sender speaks twice. */
static bool take_answer(const fi_frame_t *f, void *arg) {
    fi_purging_t *p = arg;

    if (f->type == FI_PURGING) {
        p->expected = f->a;
        memcpy(p->name, f->text, sizeof p->name);
    } else if (f->type == FI_PURGED) {
        ferry_purged_t *e = find_end(p, f->tx);
        if (!e) {
            return false;
        }
        e->messages += f->a;
        e->pending = f->b;
    }
    bool all = p->end_count >= p->expected;
    for (size_t i = 0; i < p->end_count; i++) {
        all &= p->ends[i].pending == 0;
    }
    return !all;
}

static void tell(fi_purging_t *p) {
    if (p->expected == UINT64_MAX) {
        p->node.name = "?";
        p->senders++;
        p->each(&p->node, p->arg);
    }
    for (size_t i = 0; i < p->end_count; i++) {
        p->ends[i].name = p->name;
        p->senders++;
        p->each(&p->ends[i], p->arg);
    }
}

static int ask_node(fi_purging_t *p, uint64_t id) {
    fi_frame_t f = {.magic = FI_WIRE_MAGIC, .type = FI_PURGE};
    pid_t pid = 0;
    uid_t uid = 0;

    memcpy(f.text, p->channel, strlen(p->channel) + 1);
    p->node = (ferry_purged_t){.node = id};
    p->expected = UINT64_MAX;
    p->end_count = 0;
    int r = fi_ask(p->space.dirfd, id, &f, ANSWER_NS, &pid, &uid, take_answer, p);
    if (r == -ECONNREFUSED || r == -ENOENT) {
        fi_space_remove_node(&p->space, id);
        return 0; /* it is dead, and took along what it had */
    }
    if (fi_ask_is_our_fault(r)) {
        return fi_fail_errno(-r, "cannot ask a node to purge \"%s\"", p->channel);
    }
    p->node.pid = pid;
    p->node.uid = uid;
    p->node.other_version = r == FI_ASK_OTHER_VERSION;
    p->node.starved = p->expected == UINT64_MAX && fi_process_lacks_descriptors(pid, FI_PEER_DESCRIPTORS);
    for (size_t i = 0; i < p->end_count; i++) {
        p->ends[i].pid = pid;
        p->ends[i].uid = uid;
    }
    tell(p);
    return 0;
}

static bool was_asked(const fi_purging_t *p, uint64_t node) {
    for (size_t i = 0; i < p->asked_count; i++) {
        if (p->asked[i] == node) {
            return true;
        }
    }
    return false;
}

static int visit(const fi_entry_t *e, void *arg) {
    fi_purging_t *p = arg;

    if (!e->is_sender || (p->only && e->node != p->only) || e->node == p->last || was_asked(p, e->node)) {
        return 0;
    }
    uint64_t *more = realloc(p->asked, (p->asked_count + 1) * sizeof *more);
    if (!more) {
        return fi_fail(-ENOMEM, "no memory to purge \"%s\"", p->channel);
    }
    p->asked = more;
    p->asked[p->asked_count++] = p->last = e->node;
    return 0;
}

static void nobody_listens(const ferry_purged_t *p, void *arg) {
    (void)p;
    (void)arg;
}

int fi_purge(const char *space, const ferry_options_t *o, const char *channel, uint64_t node,
             void (*each)(const ferry_purged_t *p, void *arg), void *arg) {
    fi_purging_t p = {.channel = channel, .only = node, .each = each ? each : nobody_listens, .arg = arg};

    int r = fi_space_open(space, o, false, &p.space);
    if (r < 0) {
        return r;
    }
    r = fi_entry_each(&p.space, channel, visit, &p);
    for (size_t i = 0; r == 0 && i < p.asked_count; i++) {
        r = ask_node(&p, p.asked[i]);
    }
    fi_space_close(&p.space);
    free(p.asked);
    free(p.ends);
    return r < 0 ? r : p.senders;
}
