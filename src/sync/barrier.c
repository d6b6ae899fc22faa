/* SPDX-License-Identifier: MIT */
#include "sync/barrier.h"

#include "platform/cpu.h"

#define ROUND UINT64_C(0xffff)
#define WITHDRAWN (UINT64_C(1) << 16) /* in the lower half, so that nobody falls asleep over it */
#define WITHDRAWNS (UINT64_C(0xff) << 16)
#define RESET (UINT64_C(1) << 32)
#define RESETS (UINT64_C(0xff) << 32)
#define BREAK (UINT64_C(1) << 40)
#define BREAKS (UINT64_C(0xff) << 40)  /* how often it has been broken */
#define BEGUN (UINT64_C(0xffff) << 48) /* the round that the last reset began */
#define FRESH 32                       /* rounds */

#define TAG (UINT64_C(0x7f) << 24)
#define LEAVES (UINT64_C(1) << 31) /* is about to take his arrival back */

static uint64_t tag_of(uint64_t word) {
    return (word & 0x7f) << 24;
}

/* Rounds since `word`, modulo 128. */
static int age(uint64_t slot, uint64_t word) {
    int rounds = (int)(((slot >> 24) - word) & 0x7f);

    return rounds < 64 ? rounds : rounds - 128;
}

/* Somebody has arrived there in this round. */
static bool is_taken(uint64_t slot, uint64_t word) {
    return (slot & FI_OWNER) != 0 && (slot & (TAG | LEAVES)) == tag_of(word);
}

/* What stands there is of an earlier round, or was withdrawn in this one. Not if it is of a later one: we are late
 * then. */
static bool is_open(uint64_t slot, uint64_t word) {
    return age(slot, word) < 0 || (age(slot, word) == 0 && (slot & FI_OWNER) == 0);
}

static bool is_full(const fi_barrier_t *b, uint64_t word) {
    for (uint32_t i = 0; i < b->parties; i++) {
        if (!is_taken(fi_load_acquire64(&b->shared->slot[i]), word)) {
            return false;
        }
    }
    return true;
}

static uint64_t next_round(uint64_t word) {
    return (word & ~(ROUND | FI_WAITERS)) | ((word + 1) & ROUND);
}

static uint64_t begun(uint64_t word) {
    return (word & ROUND) << 48;
}

/* Has the round that began as `word` been completed? -EOWNERDEAD: it has been broken or given up. */
static int outcome(uint64_t word, uint64_t now) {
    if (((now ^ word) & ROUND) == 0) {
        return now & FI_BROKEN ? -EOWNERDEAD : 0;
    }
    uint64_t resets = ((now & RESETS) - (word & RESETS)) & RESETS;
    if (resets == 0) {
        return 1;
    }
    /* Of more than one, an earlier one may have cut it short. */
    return resets > RESET || (now & BEGUN) == begun(next_round(word)) ? -EOWNERDEAD : 1;
}

/* True: we have completed the round `*seen`. */
static bool complete(const fi_barrier_t *b, uint64_t *seen) {
    uint64_t word = *seen;

    if (word & FI_BROKEN || !fi_cas64(&b->shared->word, seen, next_round(word))) {
        return false;
    }
    if (word & FI_WAITERS) {
        fi_wake_all(&b->shared->word);
    }
    return true;
}

/* The same, if all have arrived: by who found nobody missing when he came, or was woken because somebody died. */
static bool complete_if_full(const fi_barrier_t *b, uint64_t *seen) {
    uint64_t word = *seen;

    while (outcome(word, *seen) == 0 && is_full(b, *seen)) {
        if (complete(b, seen)) {
            return true;
        }
    }
    return false;
}

/* ---- arriving ---- */

/* How many have arrived; `*open` is a slot for one more. */
static uint32_t count_taken(const fi_barrier_t *b, uint64_t word, uint64_t **open) {
    uint32_t taken = 0;

    for (uint32_t i = 0; i < b->parties; i++) {
        uint64_t seen = fi_load_acquire64(&b->shared->slot[i]);
        taken += is_taken(seen, word);
        if (is_open(seen, word)) {
            *open = &b->shared->slot[i];
        }
    }
    return taken;
}

/* Puts our name there. False: somebody was faster. */
static bool occupy(uint64_t *slot, uint64_t word, uint64_t me) {
    uint64_t seen = fi_load_relaxed64(slot);

    while (is_open(seen, word)) {
        if (fi_cas64(slot, &seen, me | tag_of(word))) {
            fi_fence_after_cas(); /* of two who arrive, at least one sees the other */
            return true;
        }
    }
    return false;
}

/* A slot that is left out in round after round must not look like one of a later round when the numbers come round. */
static void freshen(uint64_t *slot, uint64_t word) {
    uint64_t seen = fi_load_relaxed64(slot);

    if (age(seen, word) < -FRESH && is_open(seen, word)) {
        (void)fi_cas64(slot, &seen, tag_of(word));
    }
}

/*
 * Arrives in the round `word`. FI_BARRIER_LAST: all others had, and we have completed it. 0: `*slot` is ours, if it is
 * not NULL; else somebody was faster. -EAGAIN: there is no slot for us before the word
 * changes.
 */
static int arrive(const fi_barrier_t *b, uint64_t word, uint64_t me, uint64_t **slot) {
    uint64_t *open = NULL;
    uint64_t seen = word;

    uint32_t taken = count_taken(b, word, &open);
    *slot = NULL;
    if (open == NULL) {
        return fi_load_acquire64(&b->shared->word) == word ? -EAGAIN : 0;
    }
    if (!occupy(open, word, me)) {
        return 0;
    }
    *slot = open;
    return taken == b->parties - 1 && complete(b, &seen) ? FI_BARRIER_LAST : 0;
}

/* Changes the word in the round that began as `word`, so that all look again. 0, or what outcome says. */
static int change(const fi_barrier_t *b, uint64_t word, uint64_t *seen) {
    int r;

    do {
        r = outcome(word, *seen);
    } while (r == 0 && !fi_cas64(&b->shared->word, seen, (*seen & ~WITHDRAWNS) | ((*seen + WITHDRAWN) & WITHDRAWNS)));
    return r;
}

/*
 * Takes the arrival back. 0; 1: too late, the round was completed with us; -EOWNERDEAD. The slot becomes free only when
 * the round can no longer be completed with it: nobody who is late shall find one in a complete round.
 */
static int withdraw(const fi_barrier_t *b, uint64_t word, uint64_t *slot, uint64_t me) {
    uint64_t mine = me | tag_of(word);
    uint64_t leaving = mine | LEAVES;

    (void)fi_cas64(slot, &mine, leaving);
    uint64_t seen = fi_load_acquire64(&b->shared->word);
    int r = change(b, word, &seen);
    if (r <= 0) {
        (void)fi_cas64(slot, &leaving, tag_of(word));
    }
    if (r == 0 && change(b, word, &seen) == 0 && seen & FI_WAITERS) {
        fi_wake_all(&b->shared->word); /* somebody may wait for a slot */
    }
    return r;
}

/* Lets time pass. */
static int wait_on(const fi_barrier_t *b, uint64_t *seen, fi_wait_t *w) {
    if (w->timeout == FERRY_NOW) {
        return -EAGAIN;
    }
    if (fi_wait_spin(w)) {
        return 0;
    }
    uint64_t with = *seen | FI_WAITERS;
    if (with != *seen && !fi_wait_never_sleeps(w) && !fi_cas64(&b->shared->word, seen, with)) {
        return 0;
    }
    int r = fi_wait_pass(w, fi_low(&b->shared->word), (uint32_t)with);
    w->look = true; /* perhaps we were woken because somebody died */
    return r;
}

static int wait_in_round(const fi_barrier_t *b, uint64_t word, uint64_t *slot, uint64_t me, fi_wait_t *w) {
    uint64_t seen = fi_load_acquire64(&b->shared->word);
    int r = 0;

    w->look = true;
    while (r == 0 && outcome(word, seen) == 0) {
        if (w->look && complete_if_full(b, &seen)) {
            return FI_BARRIER_LAST;
        }
        w->look = false;
        r = outcome(word, seen) == 0 ? wait_on(b, &seen, w) : 0;
        seen = fi_load_acquire64(&b->shared->word);
    }
    if (outcome(word, seen) > 0) {
        fi_wait_paid(w);
        return 0;
    }
    int late = withdraw(b, word, slot, me);
    return late > 0 ? 0 : late < 0 ? late : r;
}

/*
 * Who has got a slot has been counted, whatever the word says by then: without that slot the round could not have been
 * completed.
 */
int fi_barrier_wait(const fi_barrier_t *b, uint64_t me, fi_wait_t *w) {
    w->eager = true;
    fi_prefetch_to_write(b->shared);
    for (;;) {
        uint64_t *slot;
        uint64_t word = fi_load_acquire64(&b->shared->word);
        if (word & FI_BROKEN) {
            return -EOWNERDEAD;
        }
        int r = arrive(b, word, me, &slot);
        r = r == -EAGAIN ? wait_on(b, &word, w) : r;
        if (r < 0 && fi_load_acquire64(&b->shared->word) & FI_BROKEN) {
            return -EOWNERDEAD; /* before the wait ended, for all we know; as in a round */
        }
        if (r != 0) {
            return r;
        }
        if (slot != NULL) {
            return wait_in_round(b, word, slot, me, w);
        }
        if (w->who->halted != NULL && w->who->halted(w->who)) {
            return -ESHUTDOWN;
        }
    }
}

static uint64_t broken(uint64_t word) {
    return word & FI_BROKEN ? word : (word & ~BREAKS) | ((word + BREAK) & BREAKS) | FI_BROKEN;
}

/* The next round, in which nobody has arrived yet. */
void fi_barrier_reset(const fi_barrier_t *b) {
    uint64_t seen = fi_load_relaxed64(&b->shared->word);
    uint64_t next;

    do {
        next = next_round(seen) & ~(FI_BROKEN | RESETS | BEGUN);
        next |= ((seen + RESET) & RESETS) | begun(next);
    } while (!fi_cas64(&b->shared->word, &seen, next));
    for (uint32_t i = 0; i < b->parties; i++) {
        freshen(&b->shared->slot[i], next);
    }
    fi_wake_all(&b->shared->word);
}

/* Breaks the round that began as `word`, if it still goes on: somebody may have begun anew since. */
static void break_round(const fi_barrier_t *b, uint64_t word) {
    uint64_t seen = word;

    while (outcome(word, seen) == 0 && !fi_cas64(&b->shared->word, &seen, broken(seen))) {
    }
    fi_wake_all(&b->shared->word);
}

void fi_barrier_bury(const fi_barrier_t *b, fi_is_dead_fn *is_dead, void *arg) {
    uint64_t word = fi_load_acquire64(&b->shared->word);

    for (uint32_t i = 0; i < b->parties; i++) {
        uint64_t who = fi_load_acquire64(&b->shared->slot[i]);
        if (is_taken(who & ~LEAVES, word) && is_dead(who & FI_OWNER, arg)) {
            break_round(b, word);
            return;
        }
    }
    fi_wake_all(&b->shared->word);
}

/* ---- members ---- */

#define DYING (UINT64_C(1) << 63)

/* Where the node is noted, and in `*seen` as what; node 0: a free place. */
static uint64_t *member_of(const fi_barrier_t *b, uint32_t node, uint64_t *seen) {
    uint64_t *members = b->shared->slot + b->parties;

    for (size_t i = 0; i < FI_MEMBERS(b->parties); i++) {
        *seen = fi_load_acquire64(&members[i]);
        if ((uint32_t)*seen == node) {
            return &members[i];
        }
    }
    return NULL;
}

/* Turns `from` into `to`, somewhere. */
static bool exchange_member(const fi_barrier_t *b, uint32_t from, uint32_t to) {
    uint64_t *member;
    uint64_t seen;

    while ((member = member_of(b, from, &seen)) != NULL) {
        if (fi_cas64(member, &seen, to)) {
            return true;
        }
    }
    return false;
}

bool fi_barrier_add_member(const fi_barrier_t *b, uint32_t node) {
    return exchange_member(b, 0, node);
}

void fi_barrier_strike_member(const fi_barrier_t *b, uint32_t node) {
    (void)exchange_member(b, node, 0);
}

/* Notes beside the node how often the barrier had been broken when it was found dead, for all who bury it. False:
 * somebody has struck it off. */
static bool note_dying(const fi_barrier_t *b, uint32_t node, uint64_t *noted) {
    uint64_t *member;
    uint64_t seen;

    while ((member = member_of(b, node, &seen)) != NULL) {
        uint64_t word = fi_load_acquire64(&b->shared->word);
        uint64_t breaks = word & FI_BROKEN ? word - BREAK : word; /* broken already: that is enough */
        *noted = seen & DYING ? seen : node | DYING | (breaks & BREAKS);
        if (seen == *noted || fi_cas64(member, &seen, *noted)) {
            return true;
        }
    }
    return false;
}

void fi_barrier_bury_member(const fi_barrier_t *b, uint32_t node) {
    uint64_t noted;

    if (!note_dying(b, node, &noted)) {
        return;
    }
    uint64_t seen = fi_load_acquire64(&b->shared->word);
    while (((seen ^ noted) & BREAKS) == 0 && !fi_cas64(&b->shared->word, &seen, broken(seen))) {
    }
    fi_wake_all(&b->shared->word);
    fi_barrier_strike_member(b, node);
}
