/* SPDX-License-Identifier: MIT
 *
 * ring.c - the single-writer log by itself: order, wrapping, padding, and what a lying writer can do to a reader.
 */
#include "unit.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "ring/ring_reader.h"
#include "ring/ring_writer.h"

typedef struct pair {
    void *bytes;
    size_t size;
    fi_ringw_t w;
    fi_ringr_t r;
} pair_t;

static void open_pair(pair_t *pair, uint32_t lines) {
    pair->size = fi_ring_bytes(lines);
    pair->bytes = aligned_alloc(FI_LINE, pair->size);
    assert_non_null(pair->bytes);
    memset(pair->bytes, 0, pair->size);
    fi_ringw_init(&pair->w, pair->bytes, lines);
    assert_int_equal(fi_ringr_init(&pair->r, pair->bytes, pair->size, pair->w.pos), 0);
}

static unsigned char payload_byte(uint64_t seq, uint32_t i) {
    return (unsigned char)(seq * 31 + i * 7);
}

/* Writes record `seq` when it fits below the limit. */
static bool put(fi_ringw_t *w, uint64_t seq, uint32_t len) {
    unsigned flags = fi_record_place(len, seq % 5 == 0);
    uint64_t lines = fi_record_lines(len, flags);
    if (!fi_ringw_fits(w, lines))
        return false;
    struct fi_record *record = fi_ringw_begin(w, lines);
    unsigned char *payload = (unsigned char *)record + fi_payload_offset(flags);
    for (uint32_t i = 0; i < len; i++)
        payload[i] = payload_byte(seq, i);
    fi_ringw_publish(w, fi_record_word(len, FI_REC_INLINE, flags, 1), seq);
    if (seq % 3 > 0)
        fi_ringw_clear_ahead(w, (uint32_t)lines);
    return true;
}

/* Takes the next record, which must be `seq`. */
static bool take(fi_ringr_t *r, uint64_t seq, uint32_t len) {
    fi_seen_t seen = {0};
    int answer = fi_ringr_peek(r, &seen);
    if (answer == 0)
        return false;
    assert_int_equal(answer, 1);
    assert_int_equal(seen.seq, seq);
    assert_int_equal(seen.len, len);
    assert_int_equal(seen.kind, FI_REC_INLINE);
    assert_int_equal(seen.attempt, 1);
    for (uint32_t i = 0; i < len; i++)
        if (seen.payload[i] != payload_byte(seq, i))
            fail_msg("byte %u of record %llu is wrong", i, (unsigned long long)seq);
    fi_ringr_advance(r, seen.lines);
    return true;
}

static uint32_t length_of(uint64_t seq, uint32_t lines) {
    uint64_t state = seq * 2654435761u + 1;
    uint32_t most = (lines / 2 - 1) * FI_LINE - 32; /* what fits wherever in the lap it begins */
    return (uint32_t)(unit_random(&state) >> 20) % (seq % 3 ? 130 : most);
}

static void records_come_out_in_order_through_many_laps(void **state) {
    (void)state;
    for (uint32_t lines = 8; lines <= 512; lines *= 2) {
        pair_t pair;
        uint64_t written = 0, read = 0, chance = lines;
        open_pair(&pair, lines);
        for (unsigned round = 0; read < 20000; round++) {
            assert_true(round < 2000000);
            for (uint64_t burst = unit_random(&chance) % 9; burst > 0; burst--)
                written += put(&pair.w, written, length_of(written, lines));
            for (uint64_t burst = unit_random(&chance) % 9; burst > 0; burst--)
                read += take(&pair.r, read, length_of(read, lines));
            assert_true(read <= written);
            pair.w.limit = pair.r.pos + lines;
        }
        free(pair.bytes);
    }
}

static void a_record_that_does_not_fit_waits_for_the_reader(void **state) {
    (void)state;
    pair_t pair;
    uint64_t written = 0;
    open_pair(&pair, 64);
    while (put(&pair.w, written, 20))
        written++;
    assert_int_equal(written, 62); /* one line for the cleared header behind, one for leaving the ring */
    assert_true(take(&pair.r, 0, 20));
    assert_false(put(&pair.w, written, 20)); /* the limit has not moved yet */
    for (uint64_t i = 1; i < written; i++)
        assert_true(take(&pair.r, i, 20));
    assert_false(take(&pair.r, written, 20));
    pair.w.limit = pair.r.pos + 64;
    assert_true(put(&pair.w, written, 20));
    assert_true(take(&pair.r, written, 20));
    free(pair.bytes);
}

/* Payload that looks like records: were a stale line ever taken for a header, these would come out. */
static void stale_payload_is_never_taken_for_a_record(void **state) {
    (void)state;
    pair_t pair;
    open_pair(&pair, 32);
    uint64_t chance = 99;
    for (uint64_t seq = 0; seq < 20000; seq++) {
        uint32_t len = (uint32_t)(unit_random(&chance) % 14 * FI_LINE);
        unsigned flags = fi_record_place(len, false);
        struct fi_record *record = fi_ringw_begin(&pair.w, fi_record_lines(len, flags));
        uint64_t *words = (uint64_t *)(void *)((unsigned char *)record + fi_payload_offset(flags));
        for (uint32_t i = 0; i < len / 8; i++)
            words[i] = fi_record_word(8, FI_REC_INLINE, 0, 77);
        fi_ringw_publish(&pair.w, fi_record_word(len, FI_REC_INLINE, flags, 1), seq);
        if (unit_random(&chance) % 3 > 0)
            fi_ringw_clear_ahead(&pair.w, 1 + (uint32_t)(unit_random(&chance) % 4)); /* a guess may be wrong */
        fi_seen_t seen = {0};
        assert_int_equal(fi_ringr_peek(&pair.r, &seen), 1);
        assert_int_equal(seen.seq, seq);
        assert_int_equal(seen.attempt, 1);
        fi_ringr_advance(&pair.r, seen.lines);
        assert_int_equal(fi_ringr_peek(&pair.r, &seen), 0);
        pair.w.limit = pair.r.pos + 32;
    }
    free(pair.bytes);
}

static void a_record_has_no_more_lines_than_it_needs(void **state) {
    (void)state;
    for (uint32_t len = 0; len <= 5000; len++)
        for (int ext = 0; ext < 2; ext++) {
            unsigned flags = fi_record_place(len, ext);
            uint64_t least = ((ext ? 32u : 16u) + (uint64_t)len + FI_LINE - 1) / FI_LINE;
            assert_int_equal(fi_record_lines(len, flags), least);
            assert_true(fi_payload_offset(flags) >= (ext ? 32u : 16u));
            assert_true(fi_payload_offset(flags) + (uint64_t)len <= least * FI_LINE || len == 0);
        }
}

/* ---- lies ---- */

static void another_layout_is_refused(void **state) {
    (void)state;
    pair_t pair;
    fi_ringr_t r;
    open_pair(&pair, 16);
    uint32_t *words = pair.bytes;
    for (unsigned i = 0; i < 5; i++) { /* magic, version, fingerprint, lines */
        uint32_t before = words[i];
        words[i] = i == 4 ? 17 : before + 1;
        assert_int_equal(fi_ringr_init(&r, pair.bytes, pair.size, 16), -EPROTO);
        words[i] = before;
    }
    assert_int_equal(fi_ringr_init(&r, pair.bytes, pair.size - 1, 16), -EPROTO);
    assert_int_equal(fi_ringr_init(&r, pair.bytes, 64, 16), -EPROTO);
    assert_int_equal(fi_ringr_init(&r, pair.bytes, pair.size, 15), -EPROTO);
    assert_int_equal(fi_ringr_init(&r, pair.bytes, pair.size, 16), 0);
    free(pair.bytes);
}

/* Takes up to 1000 records; none may reach outside the mapping. */
static void read_garbage(pair_t *pair) {
    const unsigned char *end = (unsigned char *)pair->bytes + pair->size;
    for (unsigned i = 0; i < 1000; i++) {
        fi_seen_t seen = {0};
        int answer = fi_ringr_peek(&pair->r, &seen);
        assert_true(answer == 0 || answer == 1 || answer == -EPROTO);
        if (answer != 1)
            return;
        assert_true(seen.idx < pair->r.lines && seen.lines >= 1);
        assert_true(seen.payload >= (unsigned char *)pair->bytes && seen.payload <= end);
        assert_true(seen.len <= (size_t)(end - seen.payload) || seen.len == 0);
        if (seen.flags & FI_REC_EXT)
            (void)fi_seen_ext(&pair->r, seen.idx);
        fi_ringr_advance(&pair->r, seen.lines);
        assert_true(pair->r.idx < pair->r.lines);
    }
}

static void a_reader_of_garbage_never_leaves_the_mapping(void **state) {
    (void)state;
    uint64_t chance = 4711;
    for (unsigned round = 0; round < 20000; round++) {
        pair_t pair;
        open_pair(&pair, 16);
        for (uint32_t line = 0; line < 16; line++) {
            uint64_t bits = unit_random(&chance);
            struct fi_record *record = (struct fi_record *)(void *)(pair.w.data + (size_t)line * FI_LINE);
            /* Half of them nearly right, so that the reader goes far; half any bits. */
            record->word = bits & 1 ? fi_record_word((uint32_t)(bits >> 8) % 1100, (unsigned)(bits >> 40) % 6,
                                                     (unsigned)(bits >> 50) % 4, 1)
                                    : unit_random(&chance);
            record->seq = bits;
        }
        uint32_t start = (uint32_t)(unit_random(&chance) % 16);
        assert_int_equal(fi_ringr_init(&pair.r, pair.bytes, pair.size, 16 + start), 0);
        read_garbage(&pair);
        free(pair.bytes);
    }
}

static void a_length_that_overflows_is_refused(void **state) {
    (void)state;
    static const uint32_t lengths[] = {UINT32_MAX, UINT32_MAX - 15, UINT32_MAX - 63, 1u << 31, 16 * 64 - 15};
    for (unsigned i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        pair_t pair;
        fi_seen_t seen = {0};
        open_pair(&pair, 16);
        fi_ringw_at(&pair.w, 0)->word = fi_record_word(lengths[i], FI_REC_INLINE, 0, 1);
        assert_int_equal(fi_ringr_peek(&pair.r, &seen), -EPROTO);
        free(pair.bytes);
    }
}

static void padding_cannot_make_a_reader_run_in_circles(void **state) {
    (void)state;
    pair_t pair;
    fi_seen_t seen;
    open_pair(&pair, 16);
    for (uint32_t line = 0; line < 16; line++)
        fi_ringw_at(&pair.w, 0)[4 * line].word = fi_record_word(0, FI_REC_PAD, 0, 0);
    assert_int_equal(fi_ringr_peek(&pair.r, &seen), -EPROTO);
    assert_int_equal(fi_ringr_init(&pair.r, pair.bytes, pair.size, 20), 0);
    assert_int_equal(fi_ringr_peek(&pair.r, &seen), -EPROTO);
    free(pair.bytes);
}

/* ---- release map ---- */

static void releases_are_seen_slot_by_slot_and_lap_by_lap(void **state) {
    (void)state;
    fi_ctl_t own, view;
    size_t size = fi_ctl_bytes(16, false);
    void *bytes = calloc(1, size);
    fi_ctl_init(&own, bytes, 16, 16, false);
    assert_int_equal(fi_ctl_view(&view, bytes, size, 16), 0);
    assert_int_equal(fi_ctl_view(&view, bytes, size, 17), -EPROTO);
    assert_int_equal(fi_ctl_view(&view, bytes, size - 1, 16), -EPROTO);
    assert_int_equal(fi_ctl_view(&view, bytes, size, 16), 0);
    for (uint32_t lap = 1; lap < 4; lap++)
        for (uint32_t i = 0; i < 16; i++) {
            uint32_t idx = i * 7 % 16;
            assert_false(fi_ctl_is_released(&view, idx, lap));
            fi_ctl_release(&own, idx, lap);
            assert_true(fi_ctl_is_released(&view, idx, lap));
            assert_false(fi_ctl_is_released(&view, idx, lap + 1));
        }
    free(bytes);
}

/* ---- two threads ---- */

enum { THREADED = 60000, THREADED_LINES = 64 };

typedef struct threaded {
    pair_t pair;
    fi_ctl_t ctl;
    bool gave_up;
} threaded_t;

static void *write_threaded(void *arg) {
    threaded_t *t = arg;
    for (uint64_t seq = 0; seq < THREADED && !__atomic_load_n(&t->gave_up, __ATOMIC_RELAXED);) {
        if (put(&t->pair.w, seq, length_of(seq, THREADED_LINES))) {
            seq++;
        } else {
            t->pair.w.limit = fi_load_acquire64(&t->ctl.head->cursor) + THREADED_LINES; /* A2 */
            sched_yield();
        }
    }
    return NULL;
}

static void a_writer_and_a_reader_in_two_threads_agree(void **state) {
    (void)state;
    threaded_t t = {.gave_up = false};
    pthread_t writer;
    void *ctl = calloc(1, fi_ctl_bytes(THREADED_LINES, false));
    open_pair(&t.pair, THREADED_LINES);
    fi_ctl_init(&t.ctl, ctl, THREADED_LINES, t.pair.w.pos, false);
    assert_int_equal(pthread_create(&writer, NULL, write_threaded, &t), 0);
    uint64_t seq = 0;
    for (unsigned idle = 0; seq < THREADED && idle < 10000000; idle++) {
        if (take(&t.pair.r, seq, length_of(seq, THREADED_LINES)))
            seq++;
        else
            sched_yield();
        fi_store_release64(&t.ctl.head->cursor, t.pair.r.pos); /* R2 */
    }
    __atomic_store_n(&t.gave_up, true, __ATOMIC_RELAXED);
    pthread_join(writer, NULL);
    assert_int_equal(seq, THREADED);
    free(t.pair.bytes);
    free(ctl);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_out_in_order_through_many_laps),
        cmocka_unit_test(a_record_that_does_not_fit_waits_for_the_reader),
        cmocka_unit_test(stale_payload_is_never_taken_for_a_record),
        cmocka_unit_test(a_record_has_no_more_lines_than_it_needs),
        cmocka_unit_test(another_layout_is_refused),
        cmocka_unit_test(a_reader_of_garbage_never_leaves_the_mapping),
        cmocka_unit_test(a_length_that_overflows_is_refused),
        cmocka_unit_test(padding_cannot_make_a_reader_run_in_circles),
        cmocka_unit_test(releases_are_seen_slot_by_slot_and_lap_by_lap),
        cmocka_unit_test(a_writer_and_a_reader_in_two_threads_agree),
    };
    return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
