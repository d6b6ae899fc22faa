/* SPDX-License-Identifier: MIT */
#include "node/version.h"

#include <stdio.h>

#define DIGIT_SHIFT 24u
#define NAME_MASK ((1u << DIGIT_SHIFT) - 1)

static char version_of(uint32_t magic) {
    char digit = (char)(magic >> DIGIT_SHIFT);

    return digit > ' ' && digit <= '~' ? digit : '?';
}

bool fi_frame_is_of_other_version(const fi_frame_t *f, size_t len) {
    return len >= sizeof f->magic && f->magic != FI_WIRE_MAGIC && (f->magic & NAME_MASK) == (FI_WIRE_MAGIC & NAME_MASK);
}

void fi_node_note_version(fi_peer_t *p, const fi_frame_t *f) {
    fi_node_t *n = p->node;
    char who[40] = "a process"; /* in a PID namespace that cannot be seen from here */

    if (!fi_load_relaxed32(&n->has_other_version)) {
        if (p->pid > 0) {
            snprintf(who, sizeof who, "process %ld", (long)p->pid);
        }
        snprintf(n->other_version, sizeof n->other_version,
                 "another version of Ferry is in this space: %s speaks version %c of the protocol between "
                 "processes, this program version %c, so they do not see each other; use the same version, or another "
                 "space",
                 who, version_of(f->magic), version_of(FI_WIRE_MAGIC));
        fi_store_release32(&n->has_other_version, 1);
    }
    if (p->id == 0) {
        fi_frame_t hello = fi_frame(FI_HELLO, 0, 0);
        (void)fi_peer_send(p, &hello, NULL);
    }
}

const char *fi_node_version_warning(const fi_node_t *n) {
    return fi_load_acquire32(&n->has_other_version) ? n->other_version : "";
}
