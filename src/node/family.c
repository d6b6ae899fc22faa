/* SPDX-License-Identifier: MIT
 *
 * Waits for a child process: who in its family could end them.
 *
 * A shell that waits for its own child can do nothing, nor can what reads from a pipe that only the family writes to; a
 * process that waits in the space counts as that wait; everything else might go on, so that nothing is called a
 * deadlock.  What a process does is read from /proc, which shows those of the same user; one that cannot be seen might
 * go on, too.
 */
#include "platform/family.h"
#include "node/picture.h"

#define MAX_FAMILY 256

struct family {
    fi_picture_t *picture;
    fi_seen_wait_t *wait;
    bool runs; /* somebody in it does something */
};

/* Adds the waits of a process that is in the space. False: it is not, or waits for nothing. */
static bool add_waits_of(struct family *f, int32_t pid) {
    fi_picture_t *p = f->picture;
    uint32_t before = f->wait->shown.holders;

    for (size_t i = 0; i < p->wait_count; i++) {
        const fi_seen_node_t *n = fi_picture_node(p, p->waits[i].shown.node);
        if (n && n->pid == pid) {
            (void)fi_picture_add_holder(p, f->wait, n->id, p->waits[i].shown.tid, (int32_t)i);
        }
    }
    return f->wait->shown.holders > before;
}

static void add_member(struct family *f, int32_t pid, const int32_t *member, int count) {
    if (!add_waits_of(f, pid) && !f->runs && !fi_process_waits_for_child(pid) &&
        !fi_process_reads_from(pid, member, count)) {
        f->runs = true;
    }
}

void fi_picture_resolve_process(fi_picture_t *p, fi_seen_wait_t *w) {
    struct family f = {.picture = p, .wait = w};
    int32_t member[MAX_FAMILY];

    int count = fi_process_family(w->shown.pid, member, MAX_FAMILY);
    for (int i = 0; i < count && i < MAX_FAMILY; i++) {
        add_member(&f, member[i], member, count < MAX_FAMILY ? count : MAX_FAMILY);
    }
    if (count <= 0 || count > MAX_FAMILY || f.runs) {
        (void)fi_picture_add_holder(p, w, w->shown.node, 0, -1);
    }
}
