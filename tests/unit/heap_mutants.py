#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Do the tests of the heap find what is wrong? Faults that are put into copies of src/store/heap*, one in each.

heap_mutants.py list                        the names of all faults, with the test that must find each
heap_mutants.py make NAME OUTPUT FILE...    writes all of FILE, headers first, as one source with that fault
heap_mutants.py check PROGRAM...            runs programs with one fault each, heap-NAME: all must find it

Who changes a line of src/store/heap* that a fault is about, changes the fault as well: `make` fails where it does not fit.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ALMOST_FULL = "nothing_is_lost_in_a_heap_that_is_nearly_full"
WITH_ROOM = "nothing_is_lost_in_a_heap_with_room"
FULL_BINS = "nothing_is_lost_while_bins_are_full"
ANY_CALLS = "any_calls_keep_blocks_apart_and_their_bytes"
EACH_WORD = "a_check_finds_every_word_that_is_wrong"

# NAME: (file, what stands there, once, what is put in its place, test, a case in it that finds it)
MUTANTS = {
    # ---- the log ----
    "a-word-changes-before-it-is-noted": (
        "heap_step.h",
        """    fi_store_relaxed64(&m->noted, ++s->noted);
    fi_compiler_barrier();
    fi_store_relaxed64(word, value);
""",
        """    fi_store_relaxed64(word, value);
    fi_compiler_barrier();
    fi_store_relaxed64(&m->noted, ++s->noted);
""",
        "kill",
        ALMOST_FULL,
    ),
    "a-note-counts-before-it-is-written": (
        "heap_step.h",
        """    fi_store_relaxed64(&note->old, fi_load_relaxed64(word));
    fi_compiler_barrier();
    fi_store_relaxed64(&m->noted, ++s->noted);
""",
        """    fi_store_relaxed64(&m->noted, ++s->noted);
    fi_store_relaxed64(&note->old, fi_load_relaxed64(word));
""",
        "kill",
        ALMOST_FULL,
    ),
    "several-notes-count-too-early": (
        "heap_step.h",
        """    fi_assert(s->noted + n <= FI_HEAP_NOTES);
""",
        """    fi_store_relaxed64(&m->noted, s->noted + n);
""",
        "kill",
        ALMOST_FULL,
    ),
    "one-of-several-words-is-not-noted": (
        "heap_step.h",
        "    s->noted += n;\n",
        "    s->noted += n - 1;\n",
        "kill",
        ALMOST_FULL,
    ),
    "a-note-names-the-word-beside": (
        "heap_step.h",
        "fi_store_relaxed64(&note->place, fi_heap_place_of(s->h, word));",
        "fi_store_relaxed64(&note->place, fi_heap_place_of(s->h, word) ^ 8);",
        "kill",
        ALMOST_FULL,
    ),
    "old-values-come-back-in-the-order-of-change": (
        "heap.c",
        """    while (n-- > 0) {
        uint64_t place = fi_load_relaxed64(&m->notes[n].place);""",
        """    uint64_t all = n;
    for (n = 0; n < all; n++) {
        uint64_t place = fi_load_relaxed64(&m->notes[n].place);""",
        "kill",
        WITH_ROOM,
    ),
    "a-repair-is-over-before-it-is-done": (
        "heap.c",
        "    while (n-- > 0) {\n",
        "    fi_store_relaxed64(&m->noted, 0);\n    while (n-- > 0) {\n",
        "kill",
        ALMOST_FULL,
    ),
    "the-count-of-binned-blocks-does-not-come-back": (
        "heap.c",
        " || in_head == offsetof(fi_heap_memory_t, binned)",
        "",
        "kill",
        ALMOST_FULL,
    ),
    "a-failed-step-stays-half-done": (
        "heap_step.h",
        "        fi_heap_undo(s->h);\n",
        "        fi_heap_commit(s);\n",
        "garbage",
        "a_call_that_finds_damage_changes_nothing",
    ),
    # ---- references ----
    "the-reference-is-stored-after-the-step": (
        "heap_quick.h",
        """    fi_heap_change(&s, c, 4);
    fi_heap_commit(&s);
    *ref""",
        """    fi_heap_change(&s, c, 3);
    fi_heap_commit(&s);
    fi_store_relaxed64(where, block + FI_UNIT);
    *ref""",
        "kill",
        ALMOST_FULL,
    ),
    "the-reference-goes-before-the-step": (
        "heap.c",
        """    fi_heap_step_t s = fi_heap_begin(h);
    fi_heap_set(&s, where, 0);
""",
        """    fi_store_relaxed64(where, 0);
    fi_heap_step_t s = fi_heap_begin(h);
""",
        "kill",
        WITH_ROOM,
    ),
    "a-block-moves-and-its-place-does-not-know": (
        "heap.c",
        """        fi_heap_set(&s, fi_heap_word(h, place), move->to);
""",
        """        fi_store_relaxed64(fi_heap_word(h, place), move->to);
""",
        "kill",
        WITH_ROOM,
    ),
    "a-new-block-stays-in-the-hand-after-the-move": (
        "heap.c",
        "        fi_heap_set(&s, &h->shared->hands[hand].block, 0);\n",
        "",
        "mix",
        ANY_CALLS,
    ),
    "a-hand-is-nobodys-while-it-holds-something": (
        "heap_hands.c",
        "    int r = fi_heap_drop(h, hand);\n",
        "    fi_store_release64(&h->shared->hands[hand].owner, 0);\n    int r = fi_heap_drop(h, hand);\n",
        "kill",
        ALMOST_FULL,
    ),
    "anybodys-hand-is-emptied": (
        "heap_hands.c",
        "    if (fi_heap_hand_owner(h, hand) != owner) {\n",
        "    if (false) {\n",
        "",
        "what_the_dead_had_in_hand_is_freed_once",
    ),
    "a-free-block-comes-into-a-hand": (
        "heap_hands.c",
        "fi_likely(word != 0)",
        "true",
        "",
        "what_is_no_block_does_not_come_into_a_hand",
    ),
    # ---- blocks ----
    "a-joined-block-keeps-its-word": (
        "heap_fit.c",
        "    int r = remove_from_list(s, *start, units);\n    fi_heap_set(s, fi_heap_word(h, block), 0);\n",
        "    int r = remove_from_list(s, *start, units);\n",
        "",
        "a_block_is_freed_once",
    ),
    "who-made-room-in-bins-is-not-noticed": (
        "heap.c",
        "    uint64_t word = fi_heap_load_block(s->h, block, FI_BLOCK_USED);\n    uint64_t units",
        "    uint64_t word = fi_heap_load_block(s->h, block, FI_BLOCK_USED) & ~FI_BLOCK_PREV_FREE;\n    uint64_t units",
        "mix",
        ANY_CALLS,
    ),
    "bins-hold-what-they-like": (
        "heap_bins.h",
        "(fi_load_relaxed64(&h->shared->binned) & FI_BINNED_UNITS) + units <= fi_bins_share(h)",
        "units <= fi_bins_share(h)",
        "mix",
        "memory_of_one_size_becomes_memory_of_another",
    ),
    "bins-are-not-emptied-for-others": (
        "heap.c",
        "    r = fi_bins_empty(h, units);\n",
        "",
        "mix",
        "memory_of_one_size_becomes_memory_of_another",
    ),
    "the-list-of-the-very-size-is-not-looked-through": (
        "heap_fit.c",
        "        return look_through(h, fi_fit_class(units), units, block, word);",
        "        return 0;",
        "mix",
        ANY_CALLS,
    ),
    "a-small-rest-becomes-a-block": (
        "heap_fit.c",
        "uint64_t left = all - *units < FI_MIN_UNITS ? 0 : all - *units;",
        "uint64_t left = all - *units;",
        "mix",
        ANY_CALLS,
    ),
    # ---- what others write ----
    "a-bin-is-believed": (
        "heap_quick.h",
        "    uint64_t word = fi_heap_load_block(h, block, FI_BLOCK_BINNED);\n",
        "    uint64_t word = fi_load_relaxed64(fi_heap_word(h, block));\n",
        "garbage",
        "calls_between_nonsense_get_errors",
    ),
    "a-link-is-believed": (
        "heap_fit.c",
        "    return fi_heap_is_block_place(h, link) && fi_load",
        "    return fi_load",
        "garbage",
        "calls_between_nonsense_get_errors",
    ),
    "a-size-is-believed": (
        "heap_block.h",
        "units >= FI_MIN_UNITS && units <= (h->bytes - FI_UNIT - block) / FI_UNIT;",
        "units >= FI_MIN_UNITS;",
        "garbage",
        "calls_between_nonsense_get_errors",
    ),
    "a-note-is-believed": (
        "heap.c",
        "place % 8 == 0 && place <= h->bytes - 8 && is_ours;",
        "is_ours;",
        "garbage",
        "calls_between_nonsense_get_errors",
    ),
}

PROGRAMS = {"": "heap", "mix": "heap_mix", "kill": "heap_kill", "garbage": "heap_garbage"}


def make(name, output, files):
    where, old, new, _, _ = MUTANTS[name]
    text = ""
    for file in map(Path, files):
        source = file.read_text()
        if file.name == where:
            if source.count(old) != 1:
                sys.exit(f"{file}: what {name} changes is there {source.count(old)} times, not once; adapt it in {__file__}")
            source = source.replace(old, new)
        text += re.sub(r'^#include "store/.*\n', "", source, flags=re.M)
    Path(output).write_text(text)


def is_found(program, case):
    environment = os.environ | {"CMOCKA_MESSAGE_OUTPUT": "TAP"}
    try:
        run = subprocess.run(
            [program, case],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            text=True,
            timeout=60,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False, "it did not end"
    return run.returncode != 0 and re.search(rf"^not ok \d+ - {case}$", run.stdout, re.M), run.stdout


def check(programs):
    print(f"1..{len(MUTANTS)}")
    by_name = {Path(p).name.removeprefix("heap-"): p for p in programs}
    good = True
    for number, (name, mutant) in enumerate(MUTANTS.items(), 1):
        found, said = is_found(by_name[name], mutant[4])
        print(f"{'ok' if found else 'not ok'} {number} - it is found that {name.replace('-', ' ')}", flush=True)
        if not found:
            print("\n".join("# " + line for line in said.splitlines()[-20:]))
        good = good and bool(found)
    return 0 if good else 1


def main():
    command, arguments = sys.argv[1], sys.argv[2:]
    if command == "list":
        print("\n".join(f"{name} {PROGRAMS[mutant[3]]}" for name, mutant in MUTANTS.items()))
        return 0
    if command == "make":
        return make(arguments[0], arguments[1], arguments[2:])
    return check(arguments)


if __name__ == "__main__":
    sys.exit(main())
