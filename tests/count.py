#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Adds up the single tests of one `meson test` run: count.py BUILD-DIRECTORY NAME

Reads the run's own record. A TAP line is a test; a program without TAP lines is one test, by its exit status. What a
plan announced and nobody reported, and a program that ended badly without saying which test failed, have failed, and
so has every registered program that never ran. Prints "PASSED FAILED"; tells about each failure on standard error.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

LINE = re.compile(r"^\s*(not )?ok\b[\s\d]*-?\s*(.*)$")
PLAN = re.compile(r"^1\.\.(\d+)")
SHOWN = 80  # lines of each stream


def count_program(entry, tell):
    """Returns (passed, failed) of one test program."""
    passed = failed = planned = 0
    for line in (entry.get("stdout") or "").splitlines():
        plan = PLAN.match(line)
        hit = LINE.match(line)
        if plan:
            planned += int(plan.group(1))
        elif hit and hit.group(1):
            failed += 1
            tell(f"{entry['name']}: {hit.group(2)}")
        elif hit:
            passed += 1
    missing = planned - passed - failed
    if missing > 0:
        failed += missing
        tell(f"{entry['name']}: {missing} of {planned} tests were not reported ({entry['result']})")
    if entry["result"] not in ("OK", "EXPECTEDFAIL") and failed == 0:
        failed += 1
        tell(f"{entry['name']}: {entry['result']}, exit status {entry.get('returncode')}")
    if passed + failed == 0:
        passed = 1
    return passed, failed


def show(entry):
    """The end of what a failed program wrote, for whoever reads the log."""
    for stream in ("stdout", "stderr"):
        lines = (entry.get(stream) or "").splitlines()
        if len(lines) > SHOWN:
            print(f"    ({len(lines) - SHOWN} lines of {stream} before these)", file=sys.stderr)
        for line in lines[-SHOWN:]:
            print(f"    {line}", file=sys.stderr)


def main():
    build, name = Path(sys.argv[1]), sys.argv[2]

    def tell(sentence):
        print(f"FAILED - {name}: {sentence}", file=sys.stderr)

    log = build / "meson-logs" / "testlog.json"
    entries = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    listed = json.loads(subprocess.run(["meson", "introspect", "--tests", str(build)], capture_output=True,
                                       check=True, text=True).stdout)
    left_out = {f"ferry:{suite}" for suite in sys.argv[3:] if suite != "--no-suite"}
    listed = [test for test in listed if not left_out & set(test["suite"])]
    passed = failed = 0
    for entry in entries:
        good, bad = count_program(entry, tell)
        passed, failed = passed + good, failed + bad
        if bad:
            show(entry)
    ran = {entry["name"] for entry in entries}
    for test in listed:
        full_name = f"{'+'.join(test['suite'])} / {test['name']}"
        if full_name not in ran:
            failed += 1
            tell(f"{full_name}: did not run")
    print(passed, failed)


main()
