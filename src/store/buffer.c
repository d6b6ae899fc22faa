/* SPDX-License-Identifier: MIT */
#include "store/buffer.h"

#include "base/assert.h"
#include "base/bits.h"
#include "base/copy.h"

#define SLOT_ALIGN 16u
#define COUNT_TRIES 64
#define MOMENT_NS INT64_C(50000000) /* whoever has the lock and runs gives it back sooner */

/* ---- its memory ---- */

static uint64_t slot_bytes(uint64_t item_bytes) {
    return fi_align_up(sizeof(fi_buffer_slot_t) + item_bytes, SLOT_ALIGN);
}

uint64_t fi_buffer_bytes(uint64_t slots, uint64_t item_bytes) {
    const uint64_t most = FI_BUFFER_LARGEST - sizeof(fi_buffer_memory_t);

    if (slots == 0 || item_bytes == 0 || item_bytes > most || slots > most / slot_bytes(item_bytes)) {
        return 0;
    }
    return sizeof(fi_buffer_memory_t) + slots * slot_bytes(item_bytes);
}

void fi_buffer_init(void *memory, uint64_t slots, uint64_t item_bytes) {
    fi_buffer_memory_t *shared = memory;

    shared->magic = FI_BUFFER_MAGIC;
    shared->slots = slots;
    shared->item_bytes = item_bytes;
}

int fi_buffer_find(fi_buffer_t *b, void *memory, uint64_t bytes) {
    fi_buffer_memory_t *shared = memory;

    if (bytes < sizeof *shared || fi_load_acquire64(&shared->magic) != FI_BUFFER_MAGIC) {
        return -EPROTOTYPE;
    }
    uint64_t slots = fi_load_relaxed64(&shared->slots);
    uint64_t item_bytes = fi_load_relaxed64(&shared->item_bytes);
    uint64_t needed = fi_buffer_bytes(slots, item_bytes);
    if (needed == 0 || needed > bytes) {
        return -EPROTOTYPE;
    }
    *b = (fi_buffer_t){
        .shared = shared, .slots = slots, .mask = fi_is_power_of_2(slots) ? slots - 1 : 0, .item_bytes = item_bytes};
    return 0;
}

/* ---- items; with the lock ---- */

static inline fi_buffer_slot_t *slot_of(const fi_buffer_t *b, uint64_t item) {
    uint64_t slot = b->mask != 0 ? item & b->mask : item % b->slots;

    return (fi_buffer_slot_t *)(void *)(b->shared->slot + slot * slot_bytes(b->item_bytes));
}

static inline void copy_item(void *to, const void *from, uint64_t bytes) {
    if (bytes <= FI_COPY_FEW) {
        fi_copy_few(to, from, bytes);
    } else {
        memcpy(to, from, bytes);
    }
}

static inline void put_item(const fi_buffer_t *b, uint64_t tail, const void *data, uint64_t len) {
    fi_buffer_slot_t *slot = slot_of(b, tail);

    fi_store_relaxed64(&slot->length, len);
    copy_item(slot->bytes, data, len);
    fi_store_release64(&b->shared->tail, tail + 1);
}

/* 0; -EMSGSIZE, -EPROTO. */
static inline int get_item(const fi_buffer_t *b, uint64_t head, void *buf, uint64_t cap, uint64_t *len) {
    const fi_buffer_slot_t *slot = slot_of(b, head);
    uint64_t length = fi_load_relaxed64(&slot->length);

    if (fi_unlikely(length > b->item_bytes)) {
        return -EPROTO;
    }
    *len = length;
    if (fi_unlikely(length > cap)) {
        return -EMSGSIZE;
    }
    copy_item(buf, slot->bytes, length);
    fi_store_release64(&b->shared->head, head + 1);
    return 0;
}

/* ---- telling; without the lock ---- */

/* What the producers wait for, or the consumers. */
static fi_event_t event_of(const fi_buffer_t *b, bool producers) {
    return (fi_event_t){.word = producers ? &b->shared->emptied : &b->shared->filled, .auto_reset = true};
}

static void tell(const fi_buffer_t *b, bool producers) {
    fi_event_t e = event_of(b, producers);

    /* Who is on his way to reset it will look after us. */
    if ((fi_load_acquire64(e.word) & (FI_SET | FI_WAITERS)) != FI_SET) {
        fi_event_set(&e);
    }
}

/* ---- the usual case: the lock is free, and there is room or an item ---- */

static inline bool put_at_once(const fi_buffer_t *b, uint64_t me, const void *data, uint64_t len) {
    fi_buffer_memory_t *m = b->shared;

    if (!fi_mutex_try(&m->lock, me)) {
        return false;
    }
    uint64_t tail = fi_load_relaxed64(&m->tail);
    bool possible = tail - fi_load_relaxed64(&m->head) < b->slots && fi_load_relaxed64(&m->ended) == 0;
    bool tells = possible && fi_load_relaxed64(&m->consumers) > 0;
    if (fi_likely(possible)) {
        put_item(b, tail, data, len);
    }
    fi_mutex_unlock(&m->lock, me);
    if (fi_unlikely(tells)) {
        tell(b, false);
    }
    return possible;
}

static inline bool get_at_once(const fi_buffer_t *b, uint64_t me, void *buf, uint64_t cap, uint64_t *len) {
    fi_buffer_memory_t *m = b->shared;

    if (!fi_mutex_try(&m->lock, me)) {
        return false;
    }
    uint64_t head = fi_load_relaxed64(&m->head);
    bool possible = fi_load_relaxed64(&m->tail) - head - 1 < b->slots && get_item(b, head, buf, cap, len) == 0;
    bool tells = possible && fi_load_relaxed64(&m->producers) > 0;
    fi_mutex_unlock(&m->lock, me);
    if (fi_unlikely(tells)) {
        tell(b, true);
    }
    return possible;
}

/* ---- any case: one call ---- */

typedef struct turn {
    const fi_buffer_t *b;
    const fi_buffer_user_t *user;
    bool puts;
    const void *data; /* put: from here */
    void *buf;        /* get: to here */
    uint64_t size;    /* put: so many bytes; get: at most */
    uint64_t *len;    /* get */
    int64_t timeout;
    int64_t deadline; /* 0: nobody has needed it yet */
    bool announces;   /* if it must wait, it is counted */
    bool waits;       /* it is */
    bool owes_look;   /* it has reset the event of its side */
    bool tells;       /* sets it, when it has unlocked: */
    bool tells_other; /* or that of the other side */
} turn_t;

enum { NOT_NOW = 0, DONE = 1 };

/* Is there an item, or room for one, with so many in it? */
static bool can_act(const turn_t *t, uint64_t items) {
    return items != (t->puts ? t->b->slots : 0);
}

/* ---- the lock ---- */

static int64_t time_left(turn_t *t) {
    if (t->deadline == 0) {
        t->deadline = fi_deadline(t->timeout);
    }
    if (t->deadline == FI_NEVER) {
        return FERRY_FOREVER;
    }
    int64_t left = t->deadline - fi_now_ns();
    return left > 0 ? left : 1; /* 0 would mean something else */
}

/* Whoever had it when he died has left nothing to repair. */
static int lock(const fi_buffer_t *b, const fi_buffer_user_t *user, int64_t timeout) {
    fi_wait_t w = fi_wait_begin(user->waiter, timeout);
    int r = fi_mutex_lock(&b->shared->lock, user->me, &w);

    return r > 0 ? 0 : r == -ENOTRECOVERABLE ? -EPROTO : r;
}

static int lock_for_turn(turn_t *t) {
    if (fi_mutex_try(&t->b->shared->lock, t->user->me)) {
        return 0;
    }
    int64_t left = t->timeout == FERRY_NOW ? t->user->patience : time_left(t);
    return lock(t->b, t->user, left >= 0 && left < MOMENT_NS ? MOMENT_NS : left);
}

static void unlock(const fi_buffer_t *b, const fi_buffer_user_t *user) {
    fi_mutex_unlock(&b->shared->lock, user->me);
}

/* ---- with the lock ---- */

static int act(const turn_t *t, uint64_t head, uint64_t tail, bool ended) {
    uint64_t items = tail - head;

    if (items > t->b->slots) {
        return -EPROTO;
    }
    if (ended && (t->puts || items == 0)) {
        return -EPIPE;
    }
    if (!can_act(t, items)) {
        return NOT_NOW;
    }
    if (t->puts) {
        put_item(t->b, tail, t->data, t->size);
        return DONE;
    }
    int r = get_item(t->b, head, t->buf, t->size, t->len);
    return r < 0 ? r : DONE;
}

/* Begins or ceases to wait. How many others of this side do? */
static uint64_t count_waiting(turn_t *t, bool waits) {
    uint64_t *count = t->puts ? &t->b->shared->producers : &t->b->shared->consumers;
    uint64_t others = fi_load_relaxed64(count);

    others -= t->waits && others > 0;
    if (t->waits != waits) {
        fi_store_relaxed64(count, others + waits);
        t->waits = waits;
    }
    return others;
}

/* Is there something for the next one, when this one has had his turn? */
static bool next_can_act(const turn_t *t, int r) {
    const fi_buffer_memory_t *m = t->b->shared;

    return r == -EPROTO || fi_load_relaxed64(&m->ended) != 0 ||
           can_act(t, fi_load_relaxed64(&m->tail) - fi_load_relaxed64(&m->head));
}

/* `last`: it does not wait any more. */
static int take_turn(turn_t *t, bool last) {
    const fi_buffer_memory_t *m = t->b->shared;
    int r = act(t, fi_load_relaxed64(&m->head), fi_load_relaxed64(&m->tail), fi_load_relaxed64(&m->ended) != 0);
    uint64_t others = count_waiting(t, r == NOT_NOW && t->announces && !last);

    if (r == DONE) {
        t->tells_other = fi_load_relaxed64(t->puts ? &m->consumers : &m->producers) > 0;
    }
    t->tells = t->owes_look && others > 0 && next_can_act(t, r);
    t->owes_look = false;
    return r;
}

/* ---- without ---- */

static bool looks_possible(const turn_t *t) {
    const fi_buffer_memory_t *m = t->b->shared;

    return can_act(t, fi_load_relaxed64(&m->tail) - fi_load_relaxed64(&m->head)) || fi_load_relaxed64(&m->ended) != 0;
}

static int one_turn(turn_t *t, bool last) {
    int r = lock_for_turn(t);

    if (r < 0) {
        t->tells = t->owes_look;
    } else {
        r = take_turn(t, last);
        unlock(t->b, t->user);
    }
    if (t->tells_other) {
        tell(t->b, !t->puts);
    }
    if (t->tells) {
        tell(t->b, t->puts);
    }
    return r;
}

/* Looks without the lock for a while; then it is time to say that one waits. */
static void spin(turn_t *t, fi_wait_t *w) {
    while (!looks_possible(t) && fi_wait_spin(w)) {
    }
    t->announces = !looks_possible(t);
}

/* Until it is told. NOT_NOW: it was. */
static int sleep_until_told(turn_t *t, fi_wait_t *w) {
    fi_event_t e = event_of(t->b, t->puts);

    w->timeout = time_left(t);
    int r = fi_event_wait(&e, w);
    t->owes_look = r > 0;
    return r > 0 ? NOT_NOW : r;
}

/* NOT_NOW: it may be worth another turn. */
static int wait_on(turn_t *t, fi_wait_t *w) {
    if (t->timeout == FERRY_NOW) {
        return -EAGAIN;
    }
    int why = t->waits ? sleep_until_told(t, w) : NOT_NOW;
    if (why == NOT_NOW) {
        return NOT_NOW;
    }
    int r = one_turn(t, true); /* it was counted, so it cannot just go */
    return r == NOT_NOW ? why : r;
}

static int one_round(turn_t *t, fi_wait_t *w) {
    bool may_wait = t->timeout != FERRY_NOW;

    if (may_wait && !t->announces) {
        spin(t, w);
    }
    int r = one_turn(t, !may_wait);
    return r == NOT_NOW ? wait_on(t, w) : r;
}

static int take_part(turn_t *t) {
    fi_wait_t w = fi_wait_begin(t->user->waiter, t->timeout);
    int r;

    t->announces = w.who->policy == FERRY_WAIT_BLOCK;
    while ((r = one_round(t, &w)) == NOT_NOW) {
    }
    if (r == DONE) {
        fi_wait_paid(&w);
    }
    return r == DONE ? 0 : r;
}

/* ---- calls ---- */

__attribute__((noinline)) static int put_closely(const fi_buffer_t *b, const fi_buffer_user_t *user, const void *data,
                                                 uint64_t len, int64_t timeout) {
    turn_t t = {.b = b, .user = user, .puts = true, .data = data, .size = len, .timeout = timeout};

    return len > b->item_bytes ? -EMSGSIZE : take_part(&t);
}

int fi_buffer_put(const fi_buffer_t *b, const fi_buffer_user_t *user, const void *data, uint64_t len, int64_t timeout) {
    return fi_likely(len <= b->item_bytes && put_at_once(b, user->me, data, len))
               ? 0
               : put_closely(b, user, data, len, timeout);
}

__attribute__((noinline)) static int get_closely(const fi_buffer_t *b, const fi_buffer_user_t *user, void *buf,
                                                 uint64_t cap, uint64_t *len, int64_t timeout) {
    turn_t t = {.b = b, .user = user, .buf = buf, .size = cap, .len = len, .timeout = timeout};

    return take_part(&t);
}

int fi_buffer_get(const fi_buffer_t *b, const fi_buffer_user_t *user, void *buf, uint64_t cap, uint64_t *len,
                  int64_t timeout) {
    return fi_likely(get_at_once(b, user->me, buf, cap, len)) ? 0 : get_closely(b, user, buf, cap, len, timeout);
}

int fi_buffer_end(const fi_buffer_t *b, const fi_buffer_user_t *user) {
    int r = lock(b, user, user->patience);

    if (r < 0) {
        return r;
    }
    fi_store_relaxed64(&b->shared->ended, 1);
    unlock(b, user);
    tell(b, true);
    tell(b, false);
    return 0;
}

/* While nobody takes, head and tail belong together. */
int64_t fi_buffer_count(const fi_buffer_t *b) {
    uint64_t head = fi_load_acquire64(&b->shared->head);

    for (unsigned i = 0; i < COUNT_TRIES; i++) {
        uint64_t items = fi_load_acquire64(&b->shared->tail) - head;
        uint64_t again = fi_load_acquire64(&b->shared->head);
        if (again == head) {
            return items <= b->slots ? (int64_t)items : -EPROTO;
        }
        head = again;
    }
    return (int64_t)fi_min(fi_load_acquire64(&b->shared->tail) - head, b->slots);
}

void fi_buffer_bury(const fi_buffer_t *b, fi_is_dead_fn *is_dead, void *arg) {
    fi_event_t filled = event_of(b, false);
    fi_event_t emptied = event_of(b, true);

    fi_mutex_bury(&b->shared->lock, is_dead, arg);
    fi_event_bury(&filled);
    fi_event_bury(&emptied);
    fi_event_set(&filled);
    fi_event_set(&emptied);
}

void fi_buffer_wake(const fi_buffer_t *b) {
    fi_wake_all(&b->shared->lock.word);
    fi_wake_all(&b->shared->filled);
    fi_wake_all(&b->shared->emptied);
}
