/* SPDX-License-Identifier: MIT
 *
 * buffer.c - the bounded buffer's algorithm by itself: its numbers, a model to compare with, and nonsense in its
 * memory.
 */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "store/buffer.h"

#define PAGE 4096u

static fi_waiter_t waiter = {.policy = FERRY_WAIT_BLOCK, .grace = -1};
static const fi_buffer_user_t user = {.me = UINT64_C(0x100000001), .waiter = &waiter, .patience = 1000000};

/* Memory that ends where nothing may be touched any more. */
static void *memory_before_a_wall(uint64_t bytes) {
    size_t room = (bytes + PAGE - 1) / PAGE * PAGE;
    char *map = mmap(NULL, room + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(map != MAP_FAILED);
    assert_int_equal(mprotect(map + room, PAGE, PROT_NONE), 0);
    return map + (room - bytes);
}

static fi_buffer_t make(uint64_t slots, uint64_t item_bytes) {
    fi_buffer_t b;
    uint64_t bytes = fi_buffer_bytes(slots, item_bytes);
    void *memory = memory_before_a_wall(bytes);
    fi_buffer_init(memory, slots, item_bytes);
    assert_int_equal(fi_buffer_find(&b, memory, bytes), 0);
    return b;
}

/* ---- its numbers ---- */

static void sizes_that_cannot_be_are_refused(void **state) {
    (void)state;
    const uint64_t most = FI_BUFFER_LARGEST;
    assert_int_equal(fi_buffer_bytes(0, 8), 0);
    assert_int_equal(fi_buffer_bytes(8, 0), 0);
    assert_int_equal(fi_buffer_bytes(1, UINT64_MAX), 0);
    assert_int_equal(fi_buffer_bytes(1, UINT64_MAX - 20), 0);
    assert_int_equal(fi_buffer_bytes(UINT64_MAX, 1), 0);
    assert_int_equal(fi_buffer_bytes(UINT64_C(1) << 32, UINT64_C(1) << 32), 0);
    assert_int_equal(fi_buffer_bytes(1, most - sizeof(fi_buffer_memory_t) + 1), 0);
    assert_int_equal(fi_buffer_bytes(1, most - sizeof(fi_buffer_memory_t) - 8), most);
    assert_int_equal(fi_buffer_bytes(1, most - sizeof(fi_buffer_memory_t) - 7), 0);
    assert_int_equal(fi_buffer_bytes(3, 8), 256 + 3 * 16);
    assert_int_equal(fi_buffer_bytes(3, 9), 256 + 3 * 32);
}

static void only_what_was_made_is_found(void **state) {
    (void)state;
    fi_buffer_t b = make(5, 20), found;
    uint64_t bytes = fi_buffer_bytes(5, 20);
    assert_int_equal(fi_buffer_find(&found, b.shared, bytes), 0);
    assert_true(found.slots == 5 && found.item_bytes == 20);
    assert_int_equal(fi_buffer_find(&found, b.shared, bytes - 1), -EPROTOTYPE);
    assert_int_equal(fi_buffer_find(&found, b.shared, 255), -EPROTOTYPE);
    b.shared->slots = 6;
    assert_int_equal(fi_buffer_find(&found, b.shared, bytes), -EPROTOTYPE);
    b.shared->slots = UINT64_MAX / 16;
    assert_int_equal(fi_buffer_find(&found, b.shared, bytes), -EPROTOTYPE);
    b.shared->slots = 0;
    assert_int_equal(fi_buffer_find(&found, b.shared, bytes), -EPROTOTYPE);
    b.shared->slots = 5;
    b.shared->magic++;
    assert_int_equal(fi_buffer_find(&found, b.shared, bytes), -EPROTOTYPE);
}

/* ---- against a model ---- */

#define ITEM_MAX 200u
#define SLOTS_MAX 17u

typedef struct model {
    struct {
        uint64_t length;
        unsigned char bytes[ITEM_MAX];
    } item[SLOTS_MAX];
    uint64_t first, count;
} model_t;

static void put_into_both(const fi_buffer_t *b, model_t *m, uint64_t *seed) {
    unsigned char bytes[ITEM_MAX + 1];
    uint64_t length = unit_random(seed) % (b->item_bytes + 2);
    memset(bytes, (int)unit_random(seed), sizeof bytes);
    int r = fi_buffer_put(b, &user, bytes, length, FERRY_NOW);
    if (length > b->item_bytes) {
        assert_int_equal(r, -EMSGSIZE);
    } else if (m->count == b->slots) {
        assert_int_equal(r, -EAGAIN);
    } else {
        uint64_t at = (m->first + m->count++) % b->slots;
        assert_int_equal(r, 0);
        m->item[at].length = length;
        memcpy(m->item[at].bytes, bytes, length);
    }
}

static void get_from_both(const fi_buffer_t *b, model_t *m, uint64_t *seed) {
    unsigned char bytes[ITEM_MAX];
    uint64_t length = 12345, cap = unit_random(seed) % 4 ? ITEM_MAX : unit_random(seed) % ITEM_MAX;
    int r = fi_buffer_get(b, &user, bytes, cap, &length, FERRY_NOW);
    if (m->count == 0) {
        assert_true(r == -EAGAIN && length == 12345);
        return;
    }
    assert_int_equal(length, m->item[m->first].length);
    if (cap < length) {
        assert_int_equal(r, -EMSGSIZE);
        return;
    }
    assert_int_equal(r, 0);
    assert_memory_equal(bytes, m->item[m->first].bytes, length);
    m->first = (m->first + 1) % b->slots;
    m->count--;
}

static void it_does_what_its_model_does(void **state) {
    (void)state;
    uint64_t seed = 4711;
    for (unsigned round = 0; round < 200; round++) {
        model_t m = {0};
        fi_buffer_t b = make(1 + unit_random(&seed) % SLOTS_MAX, 1 + unit_random(&seed) % ITEM_MAX);
        for (unsigned i = 0; i < 500; i++) {
            if (unit_random(&seed) % 2)
                put_into_both(&b, &m, &seed);
            else
                get_from_both(&b, &m, &seed);
            assert_int_equal(fi_buffer_count(&b), m.count);
        }
        munmap((void *)((uintptr_t)b.shared & ~(uintptr_t)(PAGE - 1)),
               ((fi_buffer_bytes(b.slots, b.item_bytes) + PAGE - 1) / PAGE + 1) * PAGE);
    }
}

/* ---- nonsense ---- */

static bool may_be(int64_t r) {
    return r >= 0 || r == -EAGAIN || r == -EPROTO || r == -EPIPE || r == -EMSGSIZE;
}

/* The lock's word is left alone: else each call waits for somebody. */
static void spoil(const fi_buffer_t *b, uint64_t *seed) {
    uint64_t *words = (uint64_t *)(void *)b->shared;
    uint64_t count = fi_buffer_bytes(b->slots, b->item_bytes) / sizeof *words;
    uint64_t word = 3 + unit_random(seed) % (count - 3);
    if (&words[word] != &b->shared->lock.word)
        words[word] = unit_random(seed) >> unit_random(seed) % 64;
}

static void nonsense_leads_nowhere(void **state) {
    (void)state;
    uint64_t seed = 99, length;
    unsigned char item[64], guard[2 * 64];
    unsigned went_well = 0;
    fi_buffer_t b = make(7, 64);
    for (unsigned i = 0; i < 200000; i++) {
        spoil(&b, &seed);
        int r = fi_buffer_put(&b, &user, item, unit_random(&seed) % 65, FERRY_NOW);
        assert_true(may_be(r));
        memset(guard, 0xee, sizeof guard);
        length = 0;
        r = fi_buffer_get(&b, &user, guard, 64, &length, FERRY_NOW);
        assert_true(may_be(r) && length <= 64 && guard[64] == 0xee);
        went_well += r == 0;
        assert_true(may_be(fi_buffer_count(&b)));
        if (i % 16 == 0)
            memset(&b.shared->lock, 0, sizeof *b.shared - offsetof(fi_buffer_memory_t, lock));
    }
    assert_true(went_well > 100 && went_well < 199900); /* else it tests something else */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_that_cannot_be_are_refused),
        cmocka_unit_test(only_what_was_made_is_found),
        cmocka_unit_test(it_does_what_its_model_does),
        cmocka_unit_test(nonsense_leads_nowhere),
    };
    return cmocka_run_group_tests_name("buffer", tests, NULL, NULL);
}
