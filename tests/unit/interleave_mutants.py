#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Does the exploration of interleavings find what is wrong? Faults in copies of src/sync and src/store,
one in each.

interleave_mutants.py list                      the names of all faults, with their source files
interleave_mutants.py make NAME SOURCE OUTPUT   writes a copy of SOURCE with that fault
interleave_mutants.py check PROGRAM...          runs programs with one fault each, interleave-NAME: all must find it

Who changes a line there that a fault is about, changes the fault as well: `make` fails where it does not fit.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

# NAME: (file, of src/sync if not said; what stands there, once, what is put in its place, a scenario that finds it)
MUTANTS = {
    # ---- acquire.c, wait.c ----
    "a-waiter-announces-nothing": (
        "acquire",
        ": w->hungry ? FI_WAITERS | FI_HUNGRY : FI_WAITERS)",
        ": w->hungry ? FI_HUNGRY : 0)",
        "three_threads_exclude_each_other",
    ),
    "who-gives-up-swallows-the-wake-up": (
        "acquire",
        "    fi_wake_next(t->word, seen);\n}",
        "}",
        "who_finds_a_deadlock_passes_the_wake_up_on",
    ),
    "nobody-respects-the-hungry": (
        "acquire",
        "return !(seen & FI_HUNGRY) ||",
        "return true ||",
        "who_gives_up_passes_the_wake_up_on",
    ),
    "the-hungry-come-last": (
        "acquire",
        "left & FI_HUNGRY && fi_futex_wake_shared",
        "false && fi_futex_wake_shared",
        "the_hungry_come_first_in_two_rounds",
    ),
    "who-is-hungry-sleeps-like-the-others": (
        "wait",
        "FI_TAKERS | FI_STARVING : w->sleeps_as",
        "FI_TAKERS : w->sleeps_as",
        "the_hungry_come_before_those_who_have_not_slept",
    ),
    "who-gives-up-ends-the-hunger-of-others": (
        "acquire",
        "fi_cas64(t->word, &seen, seen | FI_WAITERS)",
        "fi_cas64(t->word, &seen, (seen | FI_WAITERS) & ~FI_HUNGRY)",
        "a_hungry_one_that_gives_up_leaves_no_hunger",
    ),
    "hunger-without-sleepers-stays": (
        "acquire",
        "(left & (FI_HUNGRY | FI_LOOKING)) != FI_HUNGRY",
        "true",
        "who_gives_up_passes_the_set_on",
    ),
    "who-only-looks-keeps-hunger-alive": (
        "acquire",
        "if (((seen ^ left) & ~FI_WATCHED) != 0)",
        "if (seen != left)",
        "hunger_without_sleepers_ends_also_when_somebody_comes_to_look",
    ),
    "who-fell-asleep-meanwhile-is-not-woken": (
        "acquire",
        "        }\n    }\n    fi_wake_all(word);\n",
        "        }\n    }\n",
        "who_gives_up_passes_the_set_on",
    ),
    "who-was-woken-does-not-know": (
        "wait",
        "w->woken = true;",
        "w->woken = false;",
        "who_gives_up_passes_the_set_on",
    ),
    "who-has-slept-does-not-know": (
        "wait",
        "    w->slept = true;\n",
        "",
        "three_threads_exclude_each_other",
    ),
    # ---- mutex.c ----
    "an-unlock-wakes-nobody": (
        "mutex",
        "    if (seen & FI_WAITERS) {\n",
        "    if (false) {\n",
        "two_threads_exclude_each_other",
    ),
    "who-has-slept-forgets-those-behind": (
        "mutex",
        "t->me | fi_taken_flags(*seen, w)) : r",
        "t->me | (*seen & FI_WAIT_FLAGS)) : r",
        "three_threads_exclude_each_other",
    ),
    "a-death-inside-is-not-told": (
        "mutex",
        "(seen & FI_HARMLESS ? 0 : FI_DIED)",
        "0",
        "a_death_is_told_exactly_if_it_was_inside",
    ),
    "a-steward-wakes-nobody": (
        "mutex",
        "repaired(seen, is_dead, arg))) {\n    }\n    fi_wake_all(&m->word);\n",
        "repaired(seen, is_dead, arg))) {\n    }\n",
        "a_death_is_told_exactly_if_it_was_inside",
    ),
    "hunger-outlives-a-death": (
        "mutex",
        "return seen & ~FI_WAIT_FLAGS;",
        "return seen;",
        "a_death_among_those_who_give_up_loses_no_wake_up",
    ),
    "who-passes-drops-the-news": (
        "mutex",
        "FI_PASSING | (*seen & FI_DIED)",
        "FI_PASSING",
        "a_writer_that_dies_is_told_of_exactly_if_it_was_inside",
    ),
    "an-unlock-drops-the-news": (
        "mutex",
        "fi_flags_kept(seen) | (seen & FI_DIED)",
        "fi_flags_kept(seen)",
        "a_writer_that_dies_is_told_of_exactly_if_it_was_inside",
    ),
    "an-unlock-forgets-the-hungry": (
        "mutex",
        "fi_flags_kept(seen) | (seen & FI_DIED)",
        "seen & FI_DIED",
        "who_gives_up_passes_the_wake_up_on",
    ),
    "a-harmless-death-is-told": (
        "mutex",
        "(seen & FI_HARMLESS ? 0 : FI_DIED)",
        "FI_DIED",
        "a_reader_that_dies_gives_its_hold_back",
    ),
    # ---- rwlock.c ----
    "a-reader-looks-before-it-is-seen": (
        "rwlock",
        """    if (!occupy(l, me, slot)) {
        return FI_NOT_FREE;
    }
    fi_fence_after_cas();
    uint64_t gate = fi_load_acquire64(&l->gate.word);
""",
        """    uint64_t gate = fi_load_acquire64(&l->gate.word);
    if (!occupy(l, me, slot)) {
        return FI_NOT_FREE;
    }
""",
        "a_writer_and_a_reader_are_never_in_together",
    ),
    "a-reader-leaves-silently": (
        "rwlock",
        "    if (fi_load_acquire64(&l->gate.word) & FI_OWNER) {\n",
        "    if (false) {\n",
        "a_writer_and_a_reader_are_never_in_together",
    ),
    "a-writer-looks-before-it-notes-what-it-sleeps-on": (
        "rwlock",
        """        uint32_t drain = fi_load_acquire32(&l->drain);
        if (is_over(l, me, slot)) {
            return 0;
        }
""",
        """        if (is_over(l, me, slot)) {
            return 0;
        }
        uint32_t drain = fi_load_acquire32(&l->drain);
""",
        "a_writer_and_a_reader_are_never_in_together",
    ),
    "a-writer-stays-entering": (
        "rwlock",
        "    (void)__atomic_fetch_and(&l->gate.word, ~flag, __ATOMIC_ACQ_REL);\n",
        "",
        "a_writer_that_dies_is_told_of_exactly_if_it_was_inside",
    ),
    "a-writer-forgets-the-news-while-it-waits": (
        "rwlock",
        "r == FI_TAKEN_FROM_DEAD ? FI_DIED : FI_ENTERING",
        "FI_ENTERING",
        "any_two_may_die_and_the_third_gets_the_lock",
    ),
    "a-dead-reader-keeps-its-slot": (
        "rwlock",
        "        if (who && is_dead(who, arg)) {\n",
        "        if (false) {\n",
        "a_reader_that_dies_gives_its_hold_back",
    ),
    "a-steward-does-not-tell-the-writer": (
        "rwlock",
        "    fi_mutex_bury(&l->gate, is_dead, arg);\n    tell(l);\n",
        "    fi_mutex_bury(&l->gate, is_dead, arg);\n",
        "a_reader_that_dies_gives_its_hold_back",
    ),
    "many-make-the-number-of-homes-smaller": (
        "rwlock",
        "n >= 2 * FI_READERS && n % FI_READERS == 0",
        "n >= 2 * FI_READERS",
        "the_number_of_homes_never_becomes_small_again",
    ),
    # ---- semaphore.c ----
    "a-release-wakes-nobody": (
        "semaphore",
        "    if (seen & FI_WAITERS) {\n        fi_wake_next(&s->shared->word, left);\n",
        "    if (false) {\n",
        "three_threads_share_one_plain_unit",
    ),
    "a-second-unit-is-not-handed-on": (
        "semaphore",
        "    if (r > 0 && w->slept) {\n",
        "    if (false) {\n",
        "units_that_one_releases_let_the_others_go",
    ),
    "a-release-leaves-the-word-as-it-was": (
        "semaphore",
        "uint64_t count = (seen + 1) & FI_HANDLES;",
        "uint64_t count = seen & FI_HANDLES;",
        "three_threads_share_one_owned_unit",
    ),
    "a-unit-stays-with-the-dead": (
        "semaphore",
        "        if (who && is_dead(who, arg)) {\n",
        "        if (false) {\n",
        "an_owned_unit_returns_from_a_dead_one",
    ),
    "a-steward-wakes-nobody-for-a-unit": (
        "semaphore",
        "~FI_WAIT_FLAGS)) {\n    }\n    fi_wake_all(&s->shared->word);\n",
        "~FI_WAIT_FLAGS)) {\n    }\n",
        "an_owned_unit_returns_from_a_dead_one",
    ),
    "who-has-slept-forgets-those-behind-for-a-unit": (
        "semaphore",
        "(*seen & ~FI_WAIT_FLAGS) | fi_taken_flags(*seen, w)))",
        "*seen))",
        "three_threads_share_one_owned_unit",
    ),
    # ---- event.c ----
    "a-set-does-not-wake-those-who-only-look": (
        "event",
        "        fi_futex_wake_shared(fi_low(e->word), FI_LOOKERS, INT_MAX);\n",
        "",
        "who_only_looks_leaves_the_wake_up_to_the_others",
    ),
    "a-set-that-was-reset-is-missed": (
        "event",
        "look_out(e, fi_event_count(e), UINT32_MAX, FI_SET, w)",
        "look_out(e, 0, 0, FI_SET, w)",
        "a_reset_right_after_it_keeps_nobody_who_waited",
    ),
    "a-set-wakes-only-one-who-looks": (
        "event",
        "FI_LOOKERS, INT_MAX",
        "FI_LOOKERS, 1",
        "a_set_lets_all_waiters_go",
    ),
    "who-only-looks-is-announced-like-a-taker": (
        "acquire",
        "t->only_looks ? FI_WATCHED",
        "t->only_looks ? FI_WAITERS",
        "who_only_looks_leaves_the_wake_up_to_the_others",
    ),
    # ---- barrier.c ----
    "who-withdraws-does-not-change-the-word": (
        "barrier",
        "(*seen & ~WITHDRAWNS) | ((*seen + WITHDRAWN) & WITHDRAWNS)",
        "*seen",
        "one_of_two_gives_up_and_is_not_counted",
    ),
    "who-withdraws-opens-its-slot-too-early": (
        "barrier",
        "uint64_t leaving = mine | LEAVES;",
        "uint64_t leaving = tag_of(word);",
        "one_of_four_gives_up_and_the_pairs_meet",
    ),
    "a-complete-round-wakes-nobody": (
        "barrier",
        "    if (word & FI_WAITERS) {\n        fi_wake_all",
        "    if (false) {\n        fi_wake_all",
        "two_parties_meet_in_three_rounds",
    ),
    "a-reset-cuts-complete-rounds": (
        "barrier",
        "return resets > RESET || (now & BEGUN) == begun(next_round(word)) ? -EOWNERDEAD : 1;",
        "return -EOWNERDEAD;",
        "a_reset_ends_waits_and_those_meet_who_come_again",
    ),
    "the-last-one-takes-no-slot": (
        "barrier",
        "    if (!occupy(open, word, me)) {\n",
        """    if (taken == b->parties - 1) {
        return complete(b, &seen) ? FI_BARRIER_LAST : 0;
    }
    if (!occupy(open, word, me)) {
""",
        "four_threads_meet_in_pairs",
    ),
    "nobody-looks-again-before-it-sleeps": (
        "barrier",
        "    w->look = true;\n    while",
        "    while",
        "two_parties_meet_in_three_rounds",
    ),
    "a-late-steward-breaks-it-again": (
        "barrier",
        "((seen ^ noted) & BREAKS) == 0 && ",
        "",
        "a_steward_that_is_late_does_not_break_what_was_begun_anew",
    ),
    "a-late-steward-breaks-another-round": (
        "barrier",
        "outcome(word, seen) == 0 && !fi_cas64(&b->shared->word, &seen, broken(seen))",
        "!fi_cas64(&b->shared->word, &seen, broken(seen))",
        "a_steward_that_is_late_does_not_break_what_was_begun_anew",
    ),
    # ---- buffer.c ----
    "a-put-tells-nobody": (
        "store/buffer",
        "fi_load_relaxed64(t->puts ? &m->consumers : &m->producers) > 0;",
        "false;",
        "one_puts_and_one_gets",
    ),
    "a-quick-put-tells-nobody": (
        "store/buffer",
        "        tell(b, false);\n    }\n    return possible;\n",
        "    }\n    return possible;\n",
        "one_puts_and_one_gets",
    ),
    "who-waits-for-an-item-is-not-counted": (
        "store/buffer",
        "        fi_store_relaxed64(count, others + waits);\n",
        "",
        "one_puts_and_one_gets",
    ),
    "who-gets-an-item-does-not-tell-those-behind": (
        "store/buffer",
        "t->tells = t->owes_look && others > 0 && next_can_act(t, r);",
        "t->tells = false;",
        "one_puts_for_three",
    ),
    "who-cannot-look-swallows-the-look": (
        "store/buffer",
        "        t->tells = t->owes_look;\n",
        "",
        "a_signal_strands_nobody",
    ),
    "an-end-is-told-to-one-only": (
        "store/buffer",
        "return r == -EPROTO || fi_load_relaxed64(&m->ended) != 0 ||",
        "return r == -EPROTO ||",
        "an_end_is_told_to_all",
    ),
    "an-item-is-put-before-it-is-whole": (
        "store/buffer",
        """    copy_item(slot->bytes, data, len);
    fi_store_release64(&b->shared->tail, tail + 1);
""",
        """    fi_store_release64(&b->shared->tail, tail + 1);
    copy_item(slot->bytes, data, len);
""",
        "one_puts_and_one_gets",
    ),
    "who-spins-does-not-look-again-under-the-lock": (
        "store/buffer",
        "    t->announces = !looks_possible(t);\n",
        "    t->announces = t->waits = !looks_possible(t);\n",
        "those_who_spin_first_miss_nothing",
    ),
    "the-lock-of-a-buffer-stays-with-the-dead": (
        "store/buffer",
        "    fi_mutex_bury(&b->shared->lock, is_dead, arg);\n",
        "",
        "any_one_may_die_and_the_others_go_on",
    ),
    "a-death-owes-no-look": (
        "store/buffer",
        "    fi_event_set(&filled);\n    fi_event_set(&emptied);\n",
        "",
        "any_one_may_die_among_three_who_get",
    ),
    # ---- cell.c ----
    "a-get-does-not-look-again": (
        "store/cell",
        '#include "store/cell.h"\n',
        '#define fi_fence_acquire() return true\n#include "store/cell.h"\n#undef fi_fence_acquire\n',
        "a_get_that_four_puts_overtake_looks_again",
    ),
    "a-get-lets-a-put-too-many-go-by": (
        "store/cell",
        '#include "store/cell.h"\n',
        """#define fi_fence_acquire() if (fi_load_relaxed64(&control->version) - version == FI_CELL_BUFFERS - 1) return true
#include "store/cell.h"
#undef fi_fence_acquire
""",
        "a_get_that_four_puts_overtake_looks_again",
    ),
    "a-length-comes-after-its-version": (
        "store/cell",
        """    fi_store_relaxed32(&control->length[version % FI_CELL_BUFFERS], (uint32_t)len + 1);
    fi_store_release64(&control->version, version); /* R3 */
    fi_event_set(&e);                               /* R1 */
""",
        """    fi_store_release64(&control->version, version); /* R3 */
    fi_event_set(&e);                               /* R1 */
    fi_store_relaxed32(&control->length[version % FI_CELL_BUFFERS], (uint32_t)len + 1);
""",
        "gets_beside_a_put_get_one_version_or_the_other",
    ),
    "a-version-that-was-not-published-counts": (
        "store/cell",
        "        version = fi_cell_look(control).version;\n",
        "        version = fi_load_acquire64(&control->version);\n",
        "who_dies_in_a_put_leaves_a_version_or_the_one_before",
    ),
    "a-death-in-a-put-wakes-nobody-who-waits": (
        "store/cell",
        "        fi_event_bury(&e);\n    }\n    if (word != 0",
        "    }\n    if (word != 0",
        "a_death_in_a_put_strands_nobody_who_waits",
    ),
    "a-dead-one-loses-its-turn-before-the-others-are-woken": (
        "store/cell",
        "    if (word & FI_OWNER) {\n",
        "    if (word & FI_OWNER) {\n        fi_mutex_bury(&turn->mutex, is_dead, arg);\n",
        "a_steward_may_die_as_well",
    ),
    "who-waits-for-a-turn-does-not-say-so": (
        "store/cell",
        "    announce(turn);\n",
        "    (void)announce;\n",
        "any_two_who_put_may_die",
    ),
    "a-death-does-not-let-watchers-look": (
        "store/cell",
        "    fi_event_set(&e);\n    fi_event_bury(&e);\n",
        "    fi_event_bury(&e);\n",
        "a_death_in_a_put_strands_nobody_who_watches",
    ),
    "a-death-does-not-wake-watchers": (
        "store/cell",
        "    fi_event_set(&e);\n    fi_event_bury(&e);\n",
        "    fi_event_set(&e);\n",
        "a_death_in_a_put_strands_nobody_who_watches",
    ),
    "a-watcher-does-not-look-after-it-set-its-flag": (
        "store/cell",
        """        found = fi_cells_scan(c, seen, changed, max, from);
        if (found > 0) {
            break;
        }
""",
        "",
        "no_put_is_missed_by_one_who_watches_all",
    ),
    "a-watcher-notes-too-late-what-it-sleeps-on": (
        "store/cell",
        "fi_event_wait_after(&e, count, UINT32_MAX, w)",
        "fi_event_wait_after(&e, fi_event_count(&e), UINT32_MAX, w)",
        "no_put_is_missed_by_one_who_watches_all",
    ),
    "a-watcher-sets-no-flag": (
        "store/cell",
        "        fi_cells_want(c, FI_CELLS_WATCHED);\n",
        "",
        "no_put_is_missed_by_one_who_watches_all",
    ),
}


def make(name, source, output):
    _, old, new, _ = MUTANTS[name]
    text = Path(source).read_text()
    if text.count(old) != 1:
        sys.exit(f"{source}: what {name} changes is there {text.count(old)} times, not once; adapt it in {__file__}")
    Path(output).write_text(text.replace(old, new))


def is_found(program, scenario):
    environment = os.environ | {"CMOCKA_MESSAGE_OUTPUT": "TAP"}
    run = subprocess.run(
        [program, scenario],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        text=True,
        timeout=60,
        check=False,
    )
    failed = re.search(rf"^not ok \d+ - {scenario}$", run.stdout, re.M) and re.search(r"^# -> ", run.stdout, re.M)
    return (run.returncode != 0 and failed), run.stdout


def check(programs):
    print(f"1..{len(MUTANTS)}")
    by_name = {Path(p).name.removeprefix("interleave-"): p for p in programs}
    good = True
    for number, (name, mutant) in enumerate(MUTANTS.items(), 1):
        found, said = is_found(by_name[name], mutant[3])
        print(f"{'ok' if found else 'not ok'} {number} - it is found that {name.replace('-', ' ')}")
        if not found:
            print("\n".join("# " + line for line in said.splitlines()[-20:]))
        good = good and found
    return 0 if good else 1


def main():
    command, arguments = sys.argv[1], sys.argv[2:]
    if command == "list":
        for name, (source, *_) in MUTANTS.items():
            print(name, source if "/" in source else f"sync/{source}")
        return 0
    if command == "make":
        return make(*arguments)
    return check(arguments)


if __name__ == "__main__":
    sys.exit(main())
