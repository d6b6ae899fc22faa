/* SPDX-License-Identifier: MIT */
#include "net/lock_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- the value ---- */

void fi_lease_init(fi_lease_state_t *s, uint32_t kind, uint32_t options, uint32_t count, uint64_t base) {
    *s = (fi_lease_state_t){.head = {.version = FI_LEASE_VERSION,
                                     .kind = (uint8_t)kind,
                                     .options = (uint8_t)options,
                                     .count = count,
                                     .value = kind == 's' && !options ? count : 0,
                                     .base = base}};
}

void fi_lease_free(fi_lease_state_t *s) {
    free(s->openers);
    free(s->entries);
    *s = (fi_lease_state_t){.changed = false};
}

/* Room for `count`, at least. */
static bool make_room(void **array, size_t *room, size_t count, size_t bytes) {
    if (count <= *room) {
        return true;
    }
    size_t more = count < 8 ? 8 : count + count / 2;
    void *grown = realloc(*array, more * bytes);
    if (grown) {
        *array = grown;
        *room = more;
    }
    return grown != NULL;
}

static bool reserve(fi_lease_state_t *s, size_t openers, size_t entries) {
    bool good = make_room((void **)&s->openers, &s->room_openers, openers, sizeof *s->openers) &&
                make_room((void **)&s->entries, &s->room_entries, entries, sizeof *s->entries);

    s->short_of_memory |= !good;
    return good;
}

static void copy_arrays(fi_lease_state_t *to, const void *openers, const void *entries) {
    if (to->head.openers) {
        memcpy(to->openers, openers, to->head.openers * sizeof *to->openers);
    }
    if (to->head.entries) {
        memcpy(to->entries, entries, to->head.entries * sizeof *to->entries);
    }
}

bool fi_lease_copy(fi_lease_state_t *to, const fi_lease_state_t *from) {
    to->changed = to->short_of_memory = false;
    if (!reserve(to, from->head.openers, from->head.entries)) {
        return false;
    }
    to->head = from->head;
    copy_arrays(to, from->openers, from->entries);
    return true;
}

size_t fi_lease_encode(const fi_lease_state_t *s, void *buffer, size_t cap) {
    size_t openers = s->head.openers * sizeof *s->openers;
    size_t entries = s->head.entries * sizeof *s->entries;
    char *at = buffer;

    if (fi_lease_bytes(s) > cap) {
        return 0;
    }
    memcpy(at, &s->head, sizeof s->head);
    if (openers) {
        memcpy(at + sizeof s->head, s->openers, openers);
    }
    if (entries) {
        memcpy(at + sizeof s->head + openers, s->entries, entries);
    }
    return fi_lease_bytes(s);
}

static bool is_role_of(uint32_t kind, const fi_lease_entry_t *e) {
    uint32_t role = e->role & ~(uint32_t)FI_LEASE_WAITS;

    switch (kind) {
    case 'm':
        return role == FI_LEASE_WRITE;
    case 'w':
        return role == FI_LEASE_WRITE || role == FI_LEASE_READ;
    case 's':
        return role == FI_LEASE_UNIT;
    case 'b':
        return e->role == FI_LEASE_ARRIVED;
    default:
        return false;
    }
}

static bool waits(const fi_lease_entry_t *e) {
    return (e->role & FI_LEASE_WAITS) != 0;
}

static bool entries_are_good(const fi_lease_state_t *s) {
    uint64_t units = 0;
    uint32_t writers = 0;
    uint32_t readers = 0;

    for (uint32_t i = 0; i < s->head.entries; i++) {
        const fi_lease_entry_t *e = &s->entries[i];
        if (!is_role_of(s->head.kind, e) || e->node == 0) {
            return false;
        }
        units += e->role == FI_LEASE_UNIT ? e->units : 0;
        writers += e->role == FI_LEASE_WRITE;
        readers += e->role == FI_LEASE_READ;
    }
    return writers <= 1 && (writers == 0 || readers == 0) &&
           (s->head.kind != 's' || (s->head.options ? units <= s->head.count : units == 0));
}

static bool head_is_good(const fi_lease_head_t *h, size_t len) {
    return h->kind && strchr("mwsbe", h->kind) && h->options <= 1 && h->openers <= FI_LEASE_OPENERS &&
           h->entries <= FI_LEASE_ENTRIES && h->value <= FI_LEASE_COUNT_MASK &&
           (h->kind != 'b' || (h->count > 0 && h->count <= 4096)) &&
           len == sizeof *h + h->openers * sizeof(uint64_t) + h->entries * sizeof(fi_lease_entry_t);
}

int fi_lease_decode(fi_lease_state_t *s, const void *message, size_t len) {
    fi_lease_head_t head;
    const char *at = message;

    s->changed = s->short_of_memory = false;
    if (len > 0 && *(const uint8_t *)message != FI_LEASE_VERSION) {
        return -EPROTONOSUPPORT;
    }
    if (len < sizeof head) {
        return -EPROTO;
    }
    memcpy(&head, message, sizeof head);
    if (!head_is_good(&head, len)) {
        return -EPROTO;
    }
    if (!reserve(s, head.openers, head.entries)) {
        return -ENOMEM;
    }
    s->head = head;
    copy_arrays(s, at + sizeof head, at + sizeof head + head.openers * sizeof(uint64_t));
    return entries_are_good(s) ? 0 : -EPROTO;
}

/* ---- entries ---- */

static void add_entry(fi_lease_state_t *s, uint32_t role, const fi_lease_who_t *who) {
    if (s->head.entries >= FI_LEASE_ENTRIES || !reserve(s, 0, s->head.entries + 1)) {
        s->short_of_memory = true;
        return;
    }
    s->entries[s->head.entries++] = (fi_lease_entry_t){.node = who->node,
                                                       .number = who->number,
                                                       .since = who->now,
                                                       .handle = who->handle,
                                                       .tid = who->tid,
                                                       .pid = who->pid,
                                                       .role = (uint16_t)role,
                                                       .units = role == FI_LEASE_UNIT};
    s->changed = true;
}

static void remove_entry(fi_lease_state_t *s, uint32_t i) {
    s->head.entries--;
    memmove(&s->entries[i], &s->entries[i + 1], (s->head.entries - i) * sizeof *s->entries);
    s->changed = true;
}

/* The handle's entry that waits, or that does not; or the number of all. */
static uint32_t find(const fi_lease_state_t *s, uint64_t node, uint32_t handle, bool waiting) {
    uint32_t i = 0;

    while (i < s->head.entries &&
           (s->entries[i].node != node || s->entries[i].handle != handle || waits(&s->entries[i]) != waiting)) {
        i++;
    }
    return i;
}

const fi_lease_entry_t *fi_lease_holding(const fi_lease_state_t *s, uint64_t node, uint32_t handle) {
    uint32_t i = find(s, node, handle, false);

    return i < s->head.entries ? &s->entries[i] : NULL;
}

bool fi_lease_is_held(const fi_lease_state_t *s) {
    for (uint32_t i = 0; i < s->head.entries; i++) {
        if (!waits(&s->entries[i])) {
            return true;
        }
    }
    return false;
}

/* ---- who has it open ---- */

bool fi_lease_has_opener(const fi_lease_state_t *s, uint64_t node) {
    for (uint32_t i = 0; i < s->head.openers; i++) {
        if (s->openers[i] == node) {
            return true;
        }
    }
    return false;
}

int fi_lease_add_opener(fi_lease_state_t *s, uint64_t node) {
    if (fi_lease_has_opener(s, node)) {
        return 0;
    }
    if (s->head.openers >= FI_LEASE_OPENERS) {
        return -EUSERS;
    }
    if (!reserve(s, s->head.openers + 1, 0)) {
        return -ENOMEM;
    }
    s->openers[s->head.openers++] = node;
    s->changed = true;
    return 0;
}

static void strike_opener(fi_lease_state_t *s, uint64_t node) {
    for (uint32_t i = 0; i < s->head.openers; i++) {
        if (s->openers[i] == node) {
            s->openers[i] = s->openers[--s->head.openers];
            s->changed = true;
            return;
        }
    }
}

/* Whoever waits in the round gets to know; later ones, too. */
static void break_barrier(fi_lease_state_t *s) {
    s->head.flags |= FI_LEASE_BROKEN;
    s->head.entries = 0;
    s->changed = true;
}

static void entry_died(fi_lease_state_t *s, uint32_t i, bool died) {
    uint32_t role = s->entries[i].role;

    if (role == FI_LEASE_ARRIVED && died) {
        break_barrier(s);
        return;
    }
    if (role == FI_LEASE_WRITE && died) {
        s->head.flags |= FI_LEASE_DIED;
    }
    remove_entry(s, i);
}

static void entries_died(fi_lease_state_t *s, uint64_t node) {
    for (uint32_t i = s->head.entries; i-- > 0;) {
        if (i < s->head.entries && s->entries[i].node == node) {
            entry_died(s, i, true);
        }
    }
}

void fi_lease_part(fi_lease_state_t *s, uint64_t node) {
    entries_died(s, node);
    strike_opener(s, node);
    if (s->head.openers == 0) {
        s->head.flags |= FI_LEASE_GONE;
        s->changed = true;
    }
}

void fi_lease_evict_node(fi_lease_state_t *s, uint64_t node) {
    entries_died(s, node);
    if (s->head.kind == 'b' && fi_lease_has_opener(s, node)) {
        break_barrier(s);
    }
    strike_opener(s, node);
}

void fi_lease_evict(fi_lease_state_t *s, const fi_lease_entry_t *e, bool died) {
    for (uint32_t i = 0; i < s->head.entries; i++) {
        const fi_lease_entry_t *at = &s->entries[i];
        if (at->node == e->node && at->handle == e->handle && at->number == e->number && at->role == e->role) {
            entry_died(s, i, died);
            return;
        }
    }
}

void fi_lease_drop(fi_lease_state_t *s, uint64_t node, uint32_t handle, bool died) {
    for (uint32_t i = s->head.entries; i-- > 0;) {
        if (i < s->head.entries && s->entries[i].node == node && s->entries[i].handle == handle) {
            entry_died(s, i, died);
        }
    }
}

void fi_lease_renew(fi_lease_state_t *s, uint32_t options, uint32_t count, uint64_t node) {
    uint32_t kept = 0;

    for (uint32_t i = 0; i < s->head.entries; i++) {
        kept |= s->entries[i].role == FI_LEASE_WRITE ? FI_LEASE_DIED : 0;
    }
    s->head.openers = s->head.entries = 0;
    s->head.flags = (uint8_t)((s->head.flags & FI_LEASE_DIED) | kept);
    s->head.options = (uint8_t)options;
    s->head.count = count;
    s->head.value = s->head.kind == 's' && !options ? count : 0;
    s->head.spoilt = s->head.spoilt << 1 | 1;
    s->head.round++;
    s->changed = true;
    (void)fi_lease_add_opener(s, node);
}

void fi_lease_sign(fi_lease_state_t *s, uint64_t node, uint64_t number) {
    memmove(&s->head.recent[1], &s->head.recent[0], sizeof s->head.recent - sizeof s->head.recent[0]);
    s->head.recent[0] = (fi_lease_operation_t){node, number};
}

bool fi_lease_is_signed(const fi_lease_state_t *s, uint64_t node, uint64_t number) {
    for (uint32_t i = 0; i < FI_LEASE_RECENT; i++) {
        if (s->head.recent[i].node == node && s->head.recent[i].number == number) {
            return true;
        }
    }
    return false;
}

/* ---- taking and giving back ---- */

uint32_t fi_lease_free_units(const fi_lease_state_t *s) {
    uint32_t held = 0;

    if (!s->head.options) {
        return s->head.value;
    }
    for (uint32_t i = 0; i < s->head.entries; i++) {
        held += s->entries[i].role == FI_LEASE_UNIT ? s->entries[i].units : 0;
    }
    return held < s->head.count ? s->head.count - held : 0;
}

/* What stands before a place in the line, and what is held. */
typedef struct before {
    uint32_t writers, readers;                 /* that hold */
    uint32_t waiting, waiting_writers, others; /* in the line before it; in the whole line */
} before_t;

static before_t look_before(const fi_lease_state_t *s, uint32_t place) {
    before_t b = {.writers = 0};

    for (uint32_t i = 0; i < s->head.entries; i++) {
        const fi_lease_entry_t *e = &s->entries[i];
        b.writers += e->role == FI_LEASE_WRITE;
        b.readers += e->role == FI_LEASE_READ;
        b.others += waits(e);
        b.waiting += waits(e) && i < place;
        b.waiting_writers += e->role == (FI_LEASE_WRITE | FI_LEASE_WAITS) && i < place;
    }
    return b;
}

static bool is_free_for(const fi_lease_state_t *s, uint32_t role, uint32_t place) {
    before_t b = look_before(s, place);

    switch (role) {
    case FI_LEASE_WRITE:
        return b.writers == 0 && b.readers == 0 && b.waiting == 0;
    case FI_LEASE_READ:
        return b.writers == 0 && b.waiting_writers == 0 && b.readers < 512;
    default:
        return fi_lease_free_units(s) > b.waiting;
    }
}

bool fi_lease_may_take(const fi_lease_state_t *s, uint32_t role, uint64_t node, uint32_t handle) {
    return (s->head.flags & FI_LEASE_BROKEN) != 0 || is_free_for(s, role, find(s, node, handle, true));
}

static int become_holder(fi_lease_state_t *s, uint32_t role, const fi_lease_who_t *who) {
    if (role == FI_LEASE_UNIT && !s->head.options) {
        s->head.value--;
        s->changed = true;
        return FI_LEASE_TAKEN;
    }
    uint32_t i = find(s, who->node, who->handle, false);
    if (role == FI_LEASE_UNIT && i < s->head.entries) {
        s->entries[i].units++;
        s->entries[i].number = who->number;
        s->changed = true;
        return FI_LEASE_TAKEN;
    }
    add_entry(s, role, who);
    return s->head.flags & FI_LEASE_DIED ? FI_LEASE_TAKEN_FROM_DEAD : FI_LEASE_TAKEN;
}

/* What this handle has there from a wait or a hold that it has given up on. */
static void remove_leftover(fi_lease_state_t *s, uint32_t role, const fi_lease_who_t *who) {
    uint32_t i = find(s, who->node, who->handle, false);

    if (role != FI_LEASE_UNIT && i < s->head.entries) {
        entry_died(s, i, who->died);
    }
}

int fi_lease_take(fi_lease_state_t *s, uint32_t role, const fi_lease_who_t *who, bool queue) {
    remove_leftover(s, role, who);
    uint32_t place = find(s, who->node, who->handle, true);
    bool listed = place < s->head.entries;

    if (s->head.flags & FI_LEASE_BROKEN) {
        fi_lease_unqueue(s, who->node, who->handle);
        return -ENOTRECOVERABLE;
    }
    if (is_free_for(s, role, place)) {
        if (listed) {
            remove_entry(s, place);
        }
        return become_holder(s, role, who);
    }
    if (!queue) {
        return -EAGAIN;
    }
    if (!listed && look_before(s, place).others < FI_LEASE_LINE) {
        add_entry(s, role | FI_LEASE_WAITS, who);
    }
    return 0;
}

void fi_lease_unqueue(fi_lease_state_t *s, uint64_t node, uint32_t handle) {
    uint32_t i = find(s, node, handle, true);

    if (i < s->head.entries) {
        remove_entry(s, i);
    }
}

int fi_lease_give(fi_lease_state_t *s, uint64_t node, uint32_t handle, bool unrepaired) {
    uint32_t i = find(s, node, handle, false);

    if (i == s->head.entries) {
        return -ESTALE;
    }
    fi_lease_entry_t *e = &s->entries[i];
    if (e->role == FI_LEASE_WRITE && (s->head.flags & FI_LEASE_DIED)) {
        s->head.flags &= (uint8_t)~FI_LEASE_DIED;
        s->head.flags |= unrepaired ? FI_LEASE_BROKEN : 0;
    }
    if (e->role == FI_LEASE_UNIT && e->units > 1) {
        e->units--;
        s->changed = true;
        return 0;
    }
    remove_entry(s, i);
    return 0;
}

int fi_lease_add_unit(fi_lease_state_t *s, uint32_t limit) {
    if (s->head.value >= limit) {
        return -EOVERFLOW;
    }
    s->head.value++;
    s->changed = true;
    return 0;
}

/* ---- barriers ---- */

static void end_round(fi_lease_state_t *s, bool spoilt) {
    s->head.spoilt = s->head.spoilt << 1 | spoilt;
    s->head.round++;
    s->head.entries = 0;
    s->changed = true;
}

int fi_lease_arrive(fi_lease_state_t *s, const fi_lease_who_t *who, bool alone, uint32_t *round) {
    uint32_t i = find(s, who->node, who->handle, false);

    if (i < s->head.entries) {
        remove_entry(s, i); /* of a wait that it has given up on */
    }
    if (s->head.flags & FI_LEASE_BROKEN) {
        return -EOWNERDEAD;
    }
    *round = s->head.round;
    if (s->head.entries + 1 >= s->head.count) {
        end_round(s, false);
        return 1;
    }
    if (alone) {
        return -EAGAIN;
    }
    add_entry(s, FI_LEASE_ARRIVED, who);
    return 0;
}

int fi_lease_round(const fi_lease_state_t *s, uint32_t round) {
    uint32_t ago = s->head.round - round;

    if (ago == 0) {
        return s->head.flags & FI_LEASE_BROKEN ? -EOWNERDEAD : 0;
    }
    return ago <= 64 && (s->head.spoilt >> (ago - 1) & 1) ? -EOWNERDEAD : 1;
}

int fi_lease_withdraw(fi_lease_state_t *s, uint64_t node, uint32_t handle, uint32_t round) {
    int r = fi_lease_round(s, round);
    uint32_t i = find(s, node, handle, false);

    if (r == 0 && i < s->head.entries) {
        remove_entry(s, i);
    }
    return r;
}

void fi_lease_reset_barrier(fi_lease_state_t *s) {
    end_round(s, true);
    s->head.flags &= (uint8_t)~FI_LEASE_BROKEN;
}

/* ---- events ---- */

void fi_lease_set_event(fi_lease_state_t *s) {
    s->head.flags |= FI_LEASE_SET;
    s->head.value = (s->head.value + 1) & FI_LEASE_COUNT_MASK;
    s->changed = true;
}

bool fi_lease_reset_event(fi_lease_state_t *s) {
    bool was_set = s->head.flags & FI_LEASE_SET;

    s->head.flags &= (uint8_t)~FI_LEASE_SET;
    s->changed |= was_set;
    return was_set;
}

bool fi_lease_pass_event(fi_lease_state_t *s) {
    return s->head.options ? fi_lease_reset_event(s) : (s->head.flags & FI_LEASE_SET) != 0;
}

/* ---- obstacles ---- */

/* Must that one go before `role` in the line at `place` can have it? A waiting one that is not before us never. */
static bool is_obstacle(const fi_lease_entry_t *e, uint32_t role, bool before) {
    if (waits(e)) {
        return before && (role != FI_LEASE_READ || e->role == (FI_LEASE_WRITE | FI_LEASE_WAITS));
    }
    return role != FI_LEASE_READ || e->role == FI_LEASE_WRITE;
}

void fi_lease_each_obstacle(const fi_lease_state_t *s, uint64_t node, uint32_t handle,
                            bool (*each)(const fi_lease_entry_t *e, void *arg), void *arg) {
    uint32_t place = find(s, node, handle, true);
    uint32_t role = place < s->head.entries ? s->entries[place].role & ~(uint32_t)FI_LEASE_WAITS : FI_LEASE_WRITE;

    /* While a unit is free, those who have the others keep nobody waiting. */
    bool is_there = role == FI_LEASE_UNIT && fi_lease_free_units(s) > 0;

    for (uint32_t i = 0; i < s->head.entries; i++) {
        const fi_lease_entry_t *e = &s->entries[i];
        bool stands = i != place && is_obstacle(e, role, i < place) && (waits(e) || !is_there);
        if (stands && !each(e, arg)) {
            return;
        }
    }
}
