/* SPDX-License-Identifier: MIT
 *
 * heap_kill.c - a process is killed before each store of each call of the heap, and whoever repairs it before each
 * store of his repair.
 *
 * In a small heap that random calls have made, one more call is tried, once for every number of stores that it may get
 * to. Then somebody else repairs the heap and frees what the dead one had in hand.  Then it must be whole, every block
 * must have one reference, but for the one that was under way, and all bytes must be as they were.
 */
#include "heap_fixture.h"

enum { BLOCKS = 40, MOST_USED = 256, NEVER = 1 << 30 };

/* ---- killing ---- */

static int stores_left = NEVER;
static int stores;
static uint64_t most_noted;
static const uint64_t *noted_word;
static sigjmp_buf death;

void heap_hook_store(uint64_t *p, uint64_t v) {
    if (stores_left-- == 0) {
        stores_left = NEVER;
        siglongjmp(death, 1);
    }
    stores++;
    if (p == noted_word) {
        most_noted = fi_max(most_noted, v);
    }
    __atomic_store(p, &v, __ATOMIC_RELAXED);
}

typedef struct world world_t;
typedef int call_fn(world_t *w);

/* Does it, but not more than so many stores. False: it was killed. `*result` is what it returned else. */
static bool survives(call_fn *call, world_t *w, int most, int *result) {
    volatile bool survived = false;

    stores = 0;
    stores_left = most;
    if (sigsetjmp(death, 0) == 0) {
        *result = call(w);
        survived = true;
    }
    stores_left = NEVER;
    return survived;
}

/* ---- the world ---- */

typedef struct owned {
    uint64_t ref; /* 0: none */
    uint64_t bytes;
    uint64_t place; /* 0: `ref` is a variable of the program's */
} owned_t;

typedef struct act {
    const char *name;
    call_fn *call;
    bool wants_block;
    bool wants_place;
    bool frees;
} act_t;

struct world {
    fixture_t f;
    owned_t owned[BLOCKS];
    const act_t *act;
    owned_t *who;   /* that the call is about */
    uint64_t mine;  /* its reference as the program has it */
    uint64_t bytes; /* that are asked for */
    uint64_t chance;
    char *before; /* the memory when the call begins */
    char *at_death;
    char *repaired;
    bool happened;   /* with fewer stores already */
    unsigned killed; /* how often */
};

static const fi_heap_t *process(world_t *w, unsigned i) {
    return &w->f.heap[i];
}
static void copy_memory(world_t *w, char *to) {
    memcpy(to, w->f.heap[0].base, w->f.mapped);
}
static void set_memory(world_t *w, const char *from) {
    memcpy(w->f.heap[0].base, from, w->f.mapped);
}

static unsigned char pattern(const world_t *w, const owned_t *o, uint64_t i) {
    return (unsigned char)((uint64_t)(o - w->owned) * 41 + 7 + i * 13);
}
static void fill(world_t *w, const owned_t *o, uint64_t ref) {
    for (uint64_t i = 0; i < o->bytes; i++) {
        process(w, 0)->base[ref + i] = (char)pattern(w, o, i);
    }
}

static uint64_t some_bytes(world_t *w) {
    uint64_t most = w->f.heap[0].bytes - w->f.heap[0].first;
    uint64_t kind = unit_random(&w->chance) % 8;

    return 1 + unit_random(&w->chance) % (kind < 4 ? 200 : kind < 7 ? most / 12 : most / 3);
}

/* ---- the calls ---- */

static int alloc_at_place(world_t *w) {
    return fi_heap_alloc(process(w, 0), HAND, w->who->place, FI_HEAP_IF_NONE, w->bytes, &w->mine);
}
static int alloc_to_variable(world_t *w) {
    return alloc_private(process(w, 0), w->bytes, &w->mine);
}
static int free_at_place(world_t *w) {
    return fi_heap_free(process(w, 0), HAND, w->who->place, 0);
}
static int free_from_variable(world_t *w) {
    return free_private(process(w, 0), &w->mine);
}
static int free_quickly_anywhere(world_t *w) {
    return free_quickly(process(w, 0), w->who->place, &w->mine);
}
static int resize_it(world_t *w) {
    return resize_anywhere(process(w, 0), w->who->place, w->bytes, &w->mine);
}
static int extend(world_t *w) {
    fi_heap_t *h = &w->f.heap[0];

    h->bytes = w->f.mapped;
    w->f.heap[1].bytes = w->f.mapped;
    return fi_heap_extend(h, h->bytes);
}
static int empty_bins(world_t *w) {
    return fi_heap_empty_bins(process(w, 0));
}
static int recover(world_t *w) {
    fi_heap_recover(process(w, 1));
    return 0;
}
static int reclaim(world_t *w) {
    return fi_heap_reclaim(process(w, 1), HAND, OWNER);
}

static const act_t acts[] = {
    {"alloc, place", alloc_at_place, false, true, false},
    {"alloc, variable", alloc_to_variable, false, false, false},
    {"free, place", free_at_place, true, true, true},
    {"free, variable", free_from_variable, true, false, true},
    {"free quickly, place", free_quickly_anywhere, true, true, true},
    {"free quickly, variable", free_quickly_anywhere, true, false, true},
    {"resize, place", resize_it, true, true, false},
    {"resize, variable", resize_it, true, false, false},
    {"resize, place again", resize_it, true, true, false},
    {"resize, variable again", resize_it, true, false, false},
    {"extend", extend, false, false, false},
    {"empty bins", empty_bins, false, false, false},
};
enum { ACTS = sizeof acts / sizeof *acts };

/* ---- what must be afterwards ---- */

/* References of all USED blocks, upward. */
static unsigned used_blocks(const fi_heap_t *h, uint64_t used[MOST_USED]) {
    unsigned n = 0;

    for (uint64_t at = h->first; at < fi_heap_end(h) - FI_UNIT;) {
        uint64_t word = fi_load_relaxed64(fi_heap_word(h, at));
        if ((word & FI_BLOCK_STATE) == FI_BLOCK_USED) {
            assert_true(n < MOST_USED);
            used[n++] = at + FI_UNIT;
        }
        at += fi_block_units(word) * FI_UNIT;
    }
    return n;
}

/* Takes it out of the set. */
static bool took_out(uint64_t used[MOST_USED], unsigned *n, uint64_t ref) {
    for (unsigned i = 0; i < *n; i++) {
        if (used[i] == ref) {
            used[i] = used[--*n];
            return true;
        }
    }
    return false;
}

static void compare_bytes(world_t *w, const owned_t *o, uint64_t ref, uint64_t bytes) {
    for (uint64_t i = 0; i < bytes; i++) {
        if ((unsigned char)process(w, 1)->base[ref + i] != pattern(w, o, i)) {
            fail_msg("%s: byte %d of a block was changed", w->act->name, (int)i);
        }
    }
}

/* The block that the call was about, with a reference in the region. */
static bool judge_place(world_t *w, uint64_t used[MOST_USED], unsigned *n, bool survived) {
    const owned_t *o = w->who;
    uint64_t ref = at_place(process(w, 1), o->place);
    bool is_alloc = !w->act->wants_block, is_free = w->act->frees;

    assert_true(ref == 0 || took_out(used, n, ref));
    if (ref != 0 && !is_alloc) {
        bool is_resized = fi_heap_block_size(process(w, 1), ref) < o->bytes;
        compare_bytes(w, o, ref, is_resized ? fi_min(o->bytes, w->bytes) : o->bytes);
    }
    bool happened = is_alloc ? ref != 0 : is_free ? ref == 0 : ref != o->ref;
    assert_true(!survived || (is_free ? ref == 0 : ref == w->mine));
    return happened;
}

/* The same, with a reference in a variable of the process that is dead, or has survived. */
static bool judge_variable(world_t *w, uint64_t used[MOST_USED], unsigned *n, bool survived) {
    const owned_t *o = w->who;

    if (survived) {
        assert_true(w->mine == 0 || took_out(used, n, w->mine));
        return true;
    }
    if (!w->act->wants_block) {
        return false;
    }
    if (!took_out(used, n, o->ref)) {
        return true;
    }
    compare_bytes(w, o, o->ref, w->act->frees ? o->bytes : fi_min(o->bytes, w->bytes));
    return false;
}

static bool judge_who(world_t *w, uint64_t used[MOST_USED], unsigned *n, bool survived) {
    if (!w->who) {
        return false;
    }
    return w->who->place ? judge_place(w, used, n, survived) : judge_variable(w, used, n, survived);
}

/* After repair and reclaim. */
static bool judge(world_t *w, bool survived) {
    const fi_heap_t *h = process(w, 1);
    uint64_t used[MOST_USED];
    unsigned n = used_blocks(h, used);

    assert_whole(h, n);
    assert_int_equal(h->shared->hands[HAND].block, 0);
    bool happened = judge_who(w, used, &n, survived);
    for (unsigned i = 0; i < BLOCKS; i++) {
        const owned_t *o = &w->owned[i];
        if (o->ref && o != w->who) {
            assert_true(!o->place || at_place(h, o->place) == o->ref);
            assert_true(took_out(used, &n, o->ref));
            compare_bytes(w, o, o->ref, o->bytes);
        }
    }
    if (n != 0) {
        fail_msg("%s: a block was lost", w->act->name);
    }
    return happened;
}

/* Two repaired heaps are the same, but for the log. */
static void compare_repaired(world_t *w) {
    char *now = w->f.heap[0].base;
    uint64_t after_log = HEAD_AT + offsetof(fi_heap_memory_t, end);

    fi_heap_memory_t *other = (fi_heap_memory_t *)(void *)(w->repaired + HEAD_AT);
    other->repairs = w->f.heap[0].shared->repairs;
    assert_memory_equal(now, w->repaired, HEAD_AT);
    assert_memory_equal(now + after_log, w->repaired + after_log, w->f.mapped - after_log);
}

/* ---- trying everything ---- */

/* The repair is killed, too, before each of its stores. */
static void kill_the_repair(world_t *w) {
    int r;

    set_memory(w, w->at_death);
    assert_true(survives(recover, w, NEVER, &r));
    int all = stores;
    copy_memory(w, w->repaired);
    for (int k = 0; k < all; k++) {
        set_memory(w, w->at_death);
        assert_false(survives(recover, w, k, &r));
        assert_true(survives(recover, w, NEVER, &r));
        compare_repaired(w);
        w->killed++;
    }
    set_memory(w, w->repaired);
}

/* And so is he who frees what the dead one had in hand. */
static bool kill_the_heir(world_t *w) {
    int r;

    assert_true(survives(reclaim, w, NEVER, &r));
    int all = stores;
    assert_int_equal(r, 0);
    bool happened = judge(w, false);
    for (int k = 0; k < all; k++) {
        set_memory(w, w->repaired);
        assert_false(survives(reclaim, w, k, &r));
        fi_heap_recover(process(w, 0));
        assert_int_equal(fi_heap_reclaim(process(w, 0), HAND, OWNER), 0);
        assert_int_equal(fi_heap_hand_owner(process(w, 0), HAND), 0);
        assert_true(judge(w, false) == happened);
        w->killed++;
    }
    return happened;
}

static void begin_again(world_t *w) {
    set_memory(w, w->before);
    w->mine = w->who ? w->who->ref : 0;
}

/* The call, killed before each of its stores. */
static void kill_the_call(world_t *w) {
    int r, all;
    uint64_t bytes = w->f.heap[0].bytes;

    begin_again(w);
    assert_true(survives(w->act->call, w, NEVER, &r));
    all = stores;
    assert_true(r == 0 || r == -ENOSPC);
    bool will_happen = judge(w, r == 0);
    w->happened = false;
    for (int k = 0; k < all; k++) {
        begin_again(w);
        assert_false(survives(w->act->call, w, k, &r));
        copy_memory(w, w->at_death);
        kill_the_repair(w);
        bool happened = kill_the_heir(w);
        assert_true(happened || !w->happened);
        assert_true(!happened || will_happen);
        w->happened = happened;
        w->killed++;
    }
    w->f.heap[0].bytes = w->f.heap[1].bytes = bytes;
    begin_again(w);
}

/* One random call that nobody disturbs. */
static void live_on(world_t *w) {
    owned_t *o = &w->owned[unit_random(&w->chance) % BLOCKS];
    const fi_heap_t *h = process(w, 0);

    if (o->ref) {
        assert_int_equal(o->place ? fi_heap_free(h, HAND, o->place, 0) : free_private(h, &o->ref), 0);
        o->ref = 0;
        return;
    }
    o->place = unit_random(&w->chance) % 2 ? place_number((unsigned)(o - w->owned)) : 0;
    o->bytes = some_bytes(w);
    int r = o->place ? fi_heap_alloc(h, HAND, o->place, 0, o->bytes, &o->ref) : alloc_private(h, o->bytes, &o->ref);
    if (r == 0) {
        fill(w, o, o->ref);
    } else {
        o->ref = 0;
    }
}

/* Somebody for whom the call can be made. */
static owned_t *find_who(world_t *w) {
    for (unsigned i = 0; i < 4 * BLOCKS; i++) {
        owned_t *o = &w->owned[unit_random(&w->chance) % BLOCKS];
        if ((o->ref != 0) == w->act->wants_block && (o->ref == 0 || (o->place != 0) == w->act->wants_place)) {
            return o;
        }
    }
    return NULL;
}

static void prepare(world_t *w, const act_t *act) {
    w->act = act;
    w->who = find_who(w);
    w->bytes = some_bytes(w);
    if (act->call == extend || act->call == empty_bins) {
        w->who = NULL;
    } else if (w->who && !act->wants_block) {
        w->who->place = act->wants_place ? place_number((unsigned)(w->who - w->owned)) : 0;
    }
    copy_memory(w, w->before);
}

static world_t *open_world(uint64_t space) {
    world_t *w = test_calloc(1, sizeof *w);

    open_heap(&w->f, space, space + PAGE);
    w->f.heap[0].shared->hands[HAND].owner = OWNER;
    w->chance = space;
    w->before = test_malloc(w->f.mapped);
    w->at_death = test_malloc(w->f.mapped);
    w->repaired = test_malloc(w->f.mapped);
    noted_word = &w->f.heap[0].shared->noted;
    return w;
}

static void close_world(world_t *w) {
    close_heap(&w->f);
    test_free(w->before);
    test_free(w->at_death);
    test_free(w->repaired);
    test_free(w);
}

static void kill_in_a_heap_of(uint64_t space, unsigned rounds, unsigned calls) {
    world_t *w = open_world(space);

    for (unsigned i = 0; i < rounds; i++) {
        for (unsigned k = 0; k < calls; k++) {
            live_on(w);
        }
        prepare(w, &acts[i % ACTS]);
        if (w->who || acts[i % ACTS].call == extend || acts[i % ACTS].call == empty_bins) {
            kill_the_call(w);
        }
    }
    assert_true(w->killed > 1000);
    print_message("# %u kills, at most %d notes\n", w->killed, (int)most_noted);
    close_world(w);
}

static void nothing_is_lost_in_a_heap_that_is_nearly_full(void **state) {
    (void)state;
    kill_in_a_heap_of(2000, 96, 9);
}

static void nothing_is_lost_in_a_heap_with_room(void **state) {
    (void)state;
    kill_in_a_heap_of(12000, 48, 9);
}

static void nothing_is_lost_while_bins_are_full(void **state) {
    (void)state;
    kill_in_a_heap_of(260000, 12, 60);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_in_a_heap_that_is_nearly_full),
        cmocka_unit_test(nothing_is_lost_in_a_heap_with_room),
        cmocka_unit_test(nothing_is_lost_while_bins_are_full),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("heap-kill", tests, NULL, NULL);
}
