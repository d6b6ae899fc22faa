/* SPDX-License-Identifier: MIT
 *
 * host/current.c - see current.h.
 *
 * The profile is words behind a number that is odd while they change (a seqlock): readers need no lock, and fork() may
 * come at any moment.
 */
#include "host/current.h"

#include <stdbool.h>

#include "base/atomic.h"
#include "host/choose.h"
#include "host/chosen.h"
#include "host/profile.h"

#define WORDS (sizeof(ferry_host_t) / sizeof(uint64_t))
#define TRIES 1000 /* a profile changes a few times in the life of a process */

_Static_assert(sizeof(ferry_host_t) % sizeof(uint64_t) == 0, "a profile is whole words");

typedef union words {
    ferry_host_t host;
    uint64_t word[WORDS];
} words_t;

static uint64_t shared[WORDS];
static uint32_t version; /* 0: none was set */

void fi_host_use(const ferry_host_t *host) {
    words_t w = {.host = *host};
    uint32_t seen = fi_load_relaxed32(&version);

    if (seen % 2 != 0 || !fi_cas32(&version, &seen, seen + 1)) {
        return; /* somebody else has just found one, too */
    }
    fi_fence_seq_cst(); /* the odd number is seen before any of the words */
    for (unsigned i = 0; i < WORDS; i++) {
        fi_store_relaxed64(&shared[i], w.word[i]);
    }
    fi_host_choose(fi_choose_host_spin(host, fi_host_spin()), fi_choose_inline(host, fi_host_inline()));
    fi_store_release32(&version, seen + 2);
}

void fi_host_current(ferry_host_t *host) {
    words_t w;

    for (int i = 0; i < TRIES; i++) {
        uint32_t before = fi_load_acquire32(&version);
        for (unsigned k = 0; k < WORDS; k++) {
            w.word[k] = fi_load_relaxed64(&shared[k]);
        }
        fi_fence_acquire();
        if (before != 0 && before % 2 == 0 && fi_load_relaxed32(&version) == before) {
            *host = w.host;
            return;
        }
        if (before == 0) {
            break;
        }
    }
    *host = fi_host_assumed();
}
