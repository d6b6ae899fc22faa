/* SPDX-License-Identifier: MIT */
#include "net/known.h"

#define GOLDEN 0x9e3779b97f4a7c15ull
#define BUCKET_BITS 14

_Static_assert(FI_KNOWN == 1u << BUCKET_BITS, "there are as many buckets as messages");

/* Senders number from 1 on, so what tells them apart must count, too. */
static uint16_t *bucket_of(fi_known_t *k, fi_identity_t id) {
    return &k->first[(id.origin * GOLDEN + id.number) * GOLDEN >> (64 - BUCKET_BITS)];
}

static bool is_same(fi_identity_t a, fi_identity_t b) {
    return a.origin == b.origin && a.number == b.number;
}

/* Where its place is noted; there stands 0: it is not known. */
static uint16_t *find(fi_known_t *k, fi_identity_t id) {
    uint16_t *at = bucket_of(k, id);

    while (*at && !is_same(k->ids[*at - 1], id)) {
        at = &k->next[*at - 1];
    }
    return at;
}

void fi_known_forget(fi_known_t *k, fi_identity_t id) {
    uint16_t *at = find(k, id);

    if (*at) {
        *at = k->next[*at - 1];
    }
}

bool fi_known_add(fi_known_t *k, fi_identity_t id) {
    if (*find(k, id)) {
        return true;
    }
    uint32_t place = (uint32_t)(k->count % FI_KNOWN);
    uint16_t *old = find(k, k->ids[place]);
    if (*old == place + 1) { /* it was not forgotten, nor is it here again elsewhere */
        *old = k->next[place];
    }
    uint16_t *bucket = bucket_of(k, id);
    k->ids[place] = id;
    k->next[place] = *bucket;
    *bucket = (uint16_t)(place + 1);
    k->count++;
    return false;
}
