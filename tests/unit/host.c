/* SPDX-License-Identifier: MIT
 *
 * host.c - what follows from a host's figures, and from what is seen of links: pure functions, and the text of a
 * profile.
 */
#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/error.h"
#include "channel/sample.h"
#include "host/choose.h"
#include "host/measure.h"
#include "host/profile.h"
#include "route/ways.h"

/* A single board of quick cores with slow memory; a virtual machine; cores and memory of one speed. */
static const ferry_host_t metal = {3000, 40, 250, {30000, 40000, 12000, 8000}, FERRY_HOST_GIVEN, 0};
static const ferry_host_t machine = {24000, 210, 3500, {40000, 74000, 50000, 43000}, FERRY_HOST_GIVEN, 0};
static const ferry_host_t even = {60000, 20, 100, {50000, 50000, 50000, 50000}, FERRY_HOST_GIVEN, 0};

/* ---- profiles ---- */

static void a_profile_survives_being_written_and_read(void **state) {
    (void)state;
    char text[FI_PROFILE_MAX];
    ferry_host_t read = {0};

    size_t len = fi_host_print(&machine, text, sizeof text);
    assert_true(len > 0);
    assert_int_equal(fi_host_parse(text, len, "it", &read), 0);
    read.source = machine.source;
    assert_memory_equal(&read, &machine, sizeof read);
    assert_int_equal(fi_host_print(&machine, text, len), 0); /* no room for its end */
}

static void refused(const char *text, const char *words) {
    ferry_host_t before = machine;
    ferry_host_t h = before;

    assert_int_equal(fi_host_parse(text, strlen(text), "the file", &h), -EINVAL);
    assert_memory_equal(&h, &before, sizeof h);
    if (!strstr(fi_error_text(), words)) {
        fail_msg("\"%s\" does not say \"%s\"", fi_error_text(), words);
    }
}

static void what_is_no_profile_is_refused_with_its_line(void **state) {
    (void)state;
    refused("", "does not say wake_ns");
    refused("wake_ns 24000\n", "does not say line_ns");
    refused("# only\n\n  # comments\n", "does not say wake_ns");
    refused("wake_ns\n", "line 1: not a name and a whole number");
    refused("\nwake_ns 1 2\n", "line 2: not a name and a whole number");
    refused("wake_ns -5\n", "not a name and a whole number");
    refused("wake_ns 24us\n", "not a name and a whole number");
    refused("wake_ns 99999999999999999999999999\n", "line 1");
    refused("wake_ns 5\n", "wake_ns is 5, which cannot be");
    refused("line_ns 100001\n", "which cannot be: from 0 to 100000");
    refused("copy_64_mbps 5\n", "\"copy_64_mbps\" is no figure");
    refused("wake_ns 24000\nwake_ns 24000\n", "line 2: wake_ns stands there twice");
}

static void a_profile_of_any_bytes_is_refused_or_within_bounds(void **state) {
    (void)state;
    char text[FI_PROFILE_MAX];
    uint64_t seed = 42;
    size_t len = fi_host_print(&machine, text, sizeof text);

    for (int i = 0; i < 20000; i++) {
        char changed[FI_PROFILE_MAX];
        ferry_host_t h;
        memcpy(changed, text, len);
        for (int k = 0; k < 3; k++) {
            changed[unit_random(&seed) % len] = (char)unit_random(&seed);
        }
        if (fi_host_parse(changed, len - unit_random(&seed) % 4, "it", &h) == 0) {
            assert_in_range(h.wake_ns, 100, 10000000);
            assert_in_range(h.line_ns, 0, 100000);
            assert_in_range(h.page_ns, 1, 1000000);
        }
    }
}

static void what_is_measured_can_be_written_and_read(void **state) {
    (void)state;
    char text[FI_PROFILE_MAX];
    ferry_host_t h = {0}, read;
    bool whole;
    const uint32_t stop = 1;

    assert_int_equal(fi_host_measure(NULL, &h, &whole), 0);
    assert_int_equal(h.source, FERRY_HOST_MEASURED);
    size_t len = fi_host_print(&h, text, sizeof text);
    assert_int_equal(fi_host_parse(text, len, "it", &read), 0);
    assert_int_equal(fi_host_measure(&stop, &h, &whole), -ECANCELED);
}

/* ---- choices ---- */

static void three_hosts_lead_to_three_choices_each_with_its_reason(void **state) {
    (void)state;
    const ferry_host_t *hosts[] = {&metal, &machine, &even};
    const uint64_t spins[] = {3000, 24000, 60000};
    const uint32_t sizes[] = {1024, 2048, 4096};
    const char *wakes[] = {"3.0 us", "24 us", "60 us"};

    for (int i = 0; i < 3; i++) {
        ferry_choice_t spin, size;
        fi_spinning_t s = {
            .full_ns = fi_choose_host_spin(hosts[i], 0), .wake_ns = hosts[i]->wake_ns, .policy = FERRY_WAIT_ADAPTIVE};
        fi_tell_spin(hosts[i], &s, &spin);
        fi_tell_inline(hosts[i], fi_choose_inline(hosts[i], 0), &size);
        assert_int_equal(spin.value, spins[i]);
        assert_int_equal(size.value, sizes[i]);
        assert_non_null(strstr(spin.why, wakes[i]));
        assert_non_null(strstr(spin.why, "given"));
        assert_non_null(strstr(size.why, "by pointer"));
    }
}

static void the_size_chosen_is_where_the_two_costs_meet(void **state) {
    (void)state;
    const ferry_host_t *hosts[] = {&metal, &machine, &even};

    for (int i = 0; i < 3; i++) {
        uint64_t size = fi_choose_inline(hosts[i], 0);
        assert_true(fi_cost_in_ring(hosts[i], size / 2) <= fi_cost_by_pointer(hosts[i], size / 2));
        if (size < FI_INLINE_MOST) {
            assert_true(fi_cost_by_pointer(hosts[i], 2 * size) <= fi_cost_in_ring(hosts[i], 2 * size));
        }
    }
}

static void a_choice_that_is_hardly_better_is_not_made(void **state) {
    (void)state;
    ferry_host_t near = machine;

    assert_int_equal(fi_choose_spin(24000, 30000), 30000);
    assert_int_equal(fi_choose_spin(37000, 30000), 30000);
    assert_int_equal(fi_choose_spin(22000, 30000), 22000);
    assert_int_equal(fi_choose_spin(38000, 30000), 38000);
    /* 1536 bytes cost nearly the same either way: whatever is in use stays in use. */
    near.copy_mbps[2] = 15500;
    assert_true(fi_choose_inline(&near, 2048) == 2048 && fi_choose_inline(&near, 1024) == 1024);
    near.copy_mbps[2] = 5000;
    assert_true(fi_choose_inline(&near, 2048) < 2048);
    /* Fluttering figures do not make a fluttering choice. */
    uint64_t spin = 30000;
    for (int i = 0; i < 100; i++) {
        spin = fi_choose_spin(i % 2 ? 27000 : 33000, spin);
        assert_int_equal(spin, 30000);
    }
}

static void choices_stay_within_their_bounds(void **state) {
    (void)state;
    uint64_t seed = 7;

    assert_int_equal(fi_choose_spin(100, 0), FI_SPIN_LEAST_NS);
    assert_int_equal(fi_choose_spin(10000000, 0), FI_SPIN_MOST_NS);
    for (int i = 0; i < 10000; i++) {
        ferry_host_t h = {1 + unit_random(&seed) % 10000000, unit_random(&seed) % 100001, 1, {0}, 0, 0};
        for (unsigned k = 0; k < FERRY_HOST_COPIES; k++) {
            h.copy_mbps[k] = unit_random(&seed) % 10000001;
        }
        uint32_t size = fi_choose_inline(&h, (uint32_t)unit_random(&seed));
        assert_true(size >= FI_INLINE_LEAST && size <= FI_INLINE_MOST && (size & (size - 1)) == 0);
    }
}

static void spin_is(const ferry_host_t *h, fi_spinning_t s, uint64_t value, const char *word) {
    ferry_choice_t c;

    fi_tell_spin(h, &s, &c);
    assert_int_equal(c.value, value);
    assert_non_null(strstr(c.why, word));
}

static void how_long_a_thread_spins_has_its_reason(void **state) {
    (void)state;
    ferry_host_t lonely = machine;
    fi_spinning_t s = {.full_ns = 24000, .wake_ns = 24000, .policy = FERRY_WAIT_ADAPTIVE};

    spin_is(&machine, s, 24000, "a wake-up takes 24 us (given)");
    s.on_link = true;
    spin_is(&machine, s, 24000, "measured on this link");
    s.crowded = true;
    spin_is(&machine, s, FI_SPIN_SHORT_NS, "its core is wanted");
    s.in_vain = FI_VAIN_LIMIT;
    spin_is(&machine, s, FI_SPIN_SHORT_NS, "its last 4 waits outlasted a spin of 24 us");
    s.policy = FERRY_WAIT_SPIN;
    spin_is(&machine, s, UINT64_MAX, "never sleeps");
    s.policy = FERRY_WAIT_BLOCK;
    spin_is(&machine, s, 0, "sleeps at once");
    lonely.line_ns = 0;
    s.policy = FERRY_WAIT_ADAPTIVE;
    spin_is(&lonely, s, FI_SPIN_SHORT_NS, "there is one core");
    assert_int_equal(fi_choose_host_spin(&lonely, 30000), FI_SPIN_SHORT_NS);
}

/* ---- links ---- */

#define MS INT64_C(1000000)

static void samples_come_often_enough_and_seldom_enough(void **state) {
    (void)state;
    uint64_t every = FI_SAMPLE_FIRST;

    /* Ten million messages in a second. */
    for (int i = 0; i < 40; i++) {
        every = fi_sample_every(every, (int64_t)every * 100);
    }
    assert_in_range(every, FI_SAMPLE_QUICK_NS / 100 / 2, FI_SAMPLE_MOST);
    /* Now one in a second: soon each is looked at. */
    for (int i = 0; i < 40; i++) {
        every = fi_sample_every(every, (int64_t)every * 1000 * MS);
    }
    assert_int_equal(every, 1);
}

static void a_link_that_grows_slow_is_passed_over_with_its_reason(void **state) {
    (void)state;
    fi_pace_seen_t p = {0};
    uint64_t released = 0;
    int64_t now = 1;
    ferry_choice_t quick, slow;

    /* A line in 10 microseconds, and always behind. */
    for (int i = 0; i < 50; i++) {
        fi_pace_note(&p, now, 1, released + 100, released);
        now += 25 * MS;
        released += 2500;
    }
    assert_in_range(p.lines_per_s, 90000, 110000);
    assert_in_range(p.service_ns, 150000, 170000); /* for 16 */
    fi_turn_facts_t facts = {.waiting = 10,
                             .service_ns = p.service_ns / 16,
                             .links = 2,
                             .has_other = true,
                             .other_ns = 500000,
                             .is_queue = true};
    fi_tell_turn(&facts, &quick);
    assert_in_range(quick.value, 90000, 120000);
    assert_non_null(strstr(quick.why, "gets the next one: 10 waiting"));
    /* A line in a millisecond. */
    for (int i = 0; i < 50; i++) {
        fi_pace_note(&p, now, 1, released + 100, released);
        now += 25 * MS;
        released += 25;
    }
    facts.service_ns = p.service_ns / 16;
    fi_tell_turn(&facts, &slow);
    assert_in_range(slow.value, 9000000, 12000000);
    assert_non_null(strstr(slow.why, "passed over: 10 waiting"));
    assert_non_null(strstr(slow.why, "500 us elsewhere"));
    assert_null(strstr(slow.why, "lie ready"));
    facts.most = 2;
    facts.left = 300;
    fi_tell_turn(&facts, &slow);
    assert_non_null(strstr(slow.why, "elsewhere; at most 2 lie ready for it, and 300 wait for whoever is free"));
}

static void a_link_that_is_not_behind_says_nothing_of_its_receiver(void **state) {
    (void)state;
    fi_pace_seen_t p = {0};

    for (int i = 1; i < 50; i++) {
        fi_pace_note(&p, i * 25 * MS, 1, (uint64_t)i * 10, (uint64_t)i * 10);
    }
    assert_int_equal(p.service_ns, 0);
    assert_in_range(p.lines_per_s, 300, 500);
    /* Another ring, and a cursor that goes back: a window begins. */
    fi_pace_note(&p, 50 * 25 * MS, 2, 10, 5);
    assert_int_equal(p.released, 5);
    fi_pace_note(&p, 51 * 25 * MS, 2, 10, 1);
    assert_int_equal(p.released, 1);
    assert_int_equal(p.service_ns, 0);
}

static void latencies_that_cannot_be_are_left_out(void **state) {
    (void)state;
    fi_latency_t l = {0};

    fi_latency_note(&l, 0, false);
    fi_latency_note(&l, -5, false);
    fi_latency_note(&l, INT64_MAX, true);
    fi_latency_note(&l, INT64_MIN, true);
    assert_true(l.count == 0 && l.wakes == 0 && l.mean_ns == 0 && l.wake_ns == 0);
    for (int i = 0; i < 100; i++) {
        fi_latency_note(&l, 900 + i % 3 * 100, false);
    }
    assert_in_range(l.mean_ns, 900, 1100);
    assert_int_equal(l.least_ns, 900);
    assert_int_equal(l.count, 100);
}

static void a_wake_up_is_what_is_usual_not_what_once_happened(void **state) {
    (void)state;
    fi_latency_t l = {0};
    uint64_t seed = 3;

    fi_latency_note(&l, 500, true); /* it had not slept yet when the message came */
    for (int i = 0; i < 400; i++) {
        bool stalled = unit_random(&seed) % 10 == 0;
        fi_latency_note(&l, stalled ? 4 * MS : 22000 + (int64_t)(unit_random(&seed) % 4000), true);
    }
    assert_in_range(l.wake_ns, 15000, 32000);
}

/* ---- ways ---- */

static void ways_are(fi_way_facts_t facts, const char *thread, const char *shm, const char *nats) {
    ferry_way_choice_t ways[FERRY_WAYS];
    const char *words[] = {thread, shm, nats};

    fi_tell_ways(&facts, ways);
    for (int i = 0; i < FERRY_WAYS; i++) {
        assert_int_equal(ways[i].way, FERRY_WAY_THREAD + i);
        assert_int_equal(ways[i].taken, ways[i].way == facts.way);
        if (!strstr(ways[i].why, words[i])) {
            fail_msg("\"%s\" does not say \"%s\"", ways[i].why, words[i]);
        }
    }
}

static void a_slower_way_says_why_no_quicker_one_is_taken(void **state) {
    (void)state;
    fi_way_facts_t f = {.way = FERRY_WAY_THREAD, .directory = "/base/demo", .far = ""};

    ways_are(f, "in one node", "mapped twice", "does not span machines");
    f.way = FERRY_WAY_SHM;
    ways_are(f, "different processes", "meet in /base/demo", "does not span machines");
    f.one_process = true;
    f.networked = true;
    ways_are(f, "in one process, but in two nodes", "meet in /base/demo", "both ends are here");
    f = (fi_way_facts_t){.way = FERRY_WAY_NATS, .networked = true, .directory = "/base/demo", .far = "storage1"};
    ways_are(f, "different machines", "no memory in common", "the other end is on storage1");
    f.same_machine = true;
    ways_are(f, "different processes", "in another base directory", "on this machine, out of reach: storage1");
    f.durable = true;
    ways_are(f, "durable", "durable", "keeps its messages");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_profile_survives_being_written_and_read),
        cmocka_unit_test(what_is_no_profile_is_refused_with_its_line),
        cmocka_unit_test(a_profile_of_any_bytes_is_refused_or_within_bounds),
        cmocka_unit_test(what_is_measured_can_be_written_and_read),
        cmocka_unit_test(three_hosts_lead_to_three_choices_each_with_its_reason),
        cmocka_unit_test(the_size_chosen_is_where_the_two_costs_meet),
        cmocka_unit_test(a_choice_that_is_hardly_better_is_not_made),
        cmocka_unit_test(choices_stay_within_their_bounds),
        cmocka_unit_test(how_long_a_thread_spins_has_its_reason),
        cmocka_unit_test(samples_come_often_enough_and_seldom_enough),
        cmocka_unit_test(a_link_that_grows_slow_is_passed_over_with_its_reason),
        cmocka_unit_test(a_link_that_is_not_behind_says_nothing_of_its_receiver),
        cmocka_unit_test(latencies_that_cannot_be_are_left_out),
        cmocka_unit_test(a_wake_up_is_what_is_usual_not_what_once_happened),
        cmocka_unit_test(a_slower_way_says_why_no_quicker_one_is_taken),
    };
    return cmocka_run_group_tests_name("unit/host", tests, NULL, NULL);
}
