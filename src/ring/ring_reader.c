/* SPDX-License-Identifier: MIT */
#include "ring/ring_reader.h"

static bool ident_fits(const struct fi_ident *id, uint64_t magic) {
    return fi_load_acquire64(&id->magic) == magic && fi_load_relaxed32(&id->version) == FI_LAYOUT_VERSION &&
           fi_load_relaxed32(&id->fingerprint) == FI_LAYOUT_FINGERPRINT;
}

int fi_ringr_init(fi_ringr_t *r, const void *map, size_t bytes, uint64_t start) {
    const struct fi_ring_head *head = map;

    if (bytes < fi_ring_bytes(8) || !ident_fits(&head->ident, FI_RING_MAGIC)) {
        return -EPROTO;
    }
    uint32_t lines = fi_load_relaxed32(&head->ident.lines);
    if (lines < 8 || fi_ring_bytes(lines) > bytes || start < lines) {
        return -EPROTO;
    }
    r->head = head;
    r->data = (const unsigned char *)map + sizeof *head;
    r->lines = lines;
    r->pos = start;
    r->idx = (uint32_t)(start % lines);
    r->lap = (uint32_t)(start / lines);
    return 0;
}

int fi_ringr_catch_up(fi_ringr_t *r) {
    uint64_t oldest = fi_load_acquire64(&r->head->shared.oldest);

    if (oldest <= r->pos) {
        return -EPROTO; /* overtaken, and yet nothing newer is offered */
    }
    r->pos = oldest;
    r->idx = (uint32_t)(oldest % r->lines);
    r->lap = (uint32_t)(oldest / r->lines);
    return 0;
}

void fi_ctl_init(fi_ctl_t *c, void *bytes, uint32_t lines, uint64_t start, bool due) {
    struct fi_ctl_head *h = bytes;

    h->ident.version = FI_LAYOUT_VERSION;
    h->ident.fingerprint = FI_LAYOUT_FINGERPRINT;
    h->ident.lines = lines;
    h->ident.flags = due ? FI_CTL_DUE : 0;
    h->cursor = start;
    h->taken = start;
    c->head = h;
    c->released = (uint32_t *)(void *)(h + 1);
    c->due = due ? (uint64_t *)(void *)((char *)bytes + fi_ctl_due_offset(lines)) : NULL;
    fi_store_release64(&h->ident.magic, FI_CTL_MAGIC);
}

int fi_ctl_view(fi_ctl_t *c, const void *map, size_t bytes, uint32_t lines) {
    const struct fi_ctl_head *h = map;

    if (bytes < fi_ctl_bytes(lines, false) || !ident_fits(&h->ident, FI_CTL_MAGIC) ||
        fi_load_relaxed32(&h->ident.lines) != lines) {
        return -EPROTO;
    }
    bool due = fi_load_relaxed32(&h->ident.flags) & FI_CTL_DUE;
    if (due && bytes < fi_ctl_bytes(lines, true)) {
        return -EPROTO;
    }
    c->head = (struct fi_ctl_head *)(uintptr_t)map; /* never written through: the mapping is read-only */
    c->released = (uint32_t *)(void *)(c->head + 1);
    c->due = due ? (uint64_t *)(void *)((char *)c->head + fi_ctl_due_offset(lines)) : NULL;
    return 0;
}
