# SPDX-License-Identifier: Apache-2.0
"""Breaks each barrier, wait, fence and bound of emulated kernels, one at a time, and asks whether a test notices.

    mutants.py [--listed FILE] [--only TEXT] [--kernels] [--tests PROGRAM]… [COMMAND]…

A test is a COMMAND, or one of those that PROGRAM runs (`PROGRAM NAME` runs it alone).  Each must pass as it is.  A
mutant is tried on the tests that reach its place, the quickest first, until one fails.  FILE lists mutants that no test
can notice, each with the reason; one that dies all the same, or whose place no test reaches any more, is an error, as
is a living mutant that is not listed."""

import argparse
import json
import os
import re
import resource
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

# What can be broken: all but a wait can only be left out.  early: one group of copies or products fewer is waited for.
MUTANTS = {
    "INSIDE": ["drop", "flip"],
    "INSIDE,compares": ["drop", "flip", "off_by_one"],
    "copy_async_wait": ["drop", "early"],
    "WGMMA_WAIT": ["drop", "early"],
    "BARRIER_WAIT": ["drop", "flip"],
    "BARRIER_ARRIVE_EXPECT": ["drop", "off_by_one"],
}
SECONDS = 300  # a mutant that hangs ends after as many steps as HUNZE_EMU_STEPS says: this is for a broken machine


@dataclass
class Test:
    command: list[str]
    steps: int = 0
    places: set[tuple[str, ...]] = field(default_factory=set)  # place, name, and the kernel if each is tried alone


def run(command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, timeout=SECONDS)


def tests_of(program: str) -> list[Test]:
    """As its source names them, in a table of cases or as cmocka's unit tests."""
    source = next(Path(__file__).parent.glob(f"{Path(program).name}.c*")).read_text()
    names = re.findall(r"cmocka_unit_test\((\w+)\)|^    \{\"(\w+)\", \w+, ", source, re.MULTILINE)
    return [Test([program, one or other]) for one, other in names]


def measure(test: Test, words_of_a_place: int) -> None:
    """Runs the test as it is: which places it reaches, and what that costs."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "sites"
        done = run(test.command, HUNZE_EMU_SITES=str(record))
        if done.returncode != 0 or "Running 0 test" in done.stdout:
            sys.exit(f"{shlex.join(test.command)} fails without a mutant:\n{done.stdout}{done.stderr}")
        for line in record.read_text().splitlines() if record.exists() else []:
            words = line.split()
            if words[0] == "steps":
                test.steps = max(test.steps, int(words[1]))
            else:
                test.places.add(tuple(words[:words_of_a_place]))


def killer(mutant: str, tests: list[Test]) -> str:
    for test in tests:
        steps = str(10 * test.steps + 100_000)
        if run(test.command, HUNZE_EMU_MUTATE=mutant, HUNZE_EMU_STEPS=steps).returncode != 0:
            return shlex.join([Path(test.command[0]).name, *test.command[1:]])
    return ""


def text_of(place: str) -> str:
    """The line of the source, so that a listed mutant is known when lines move."""
    file, line = place.rsplit(":", 1)
    path = next(path for folder in ("cuda", "tests/cuda") for path in [Path(folder) / file] if path.exists())
    return path.read_text().splitlines()[int(line) - 1].strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listed", type=Path, help="mutants that may live")
    parser.add_argument("--only", default="", help="places whose line of the record contains this")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--tests", action="append", default=[], help="a program with tests by name")
    parser.add_argument("--all", action="store_true", help="tell what kills each mutant")
    parser.add_argument(
        "--kernels", action="store_true", help="break a place in one kernel at a time: tells which tests kernels lack"
    )
    parser.add_argument("command", nargs="*")
    options = parser.parse_args()
    with ThreadPoolExecutor(options.jobs) as pool:
        tests = [Test(shlex.split(command)) for command in options.command]
        tests += [test for program in options.tests for test in tests_of(program)]
        list(pool.map(lambda test: measure(test, 3 if options.kernels else 2), tests))
        tests.sort(key=lambda test: test.steps)
        places = sorted({place for test in tests for place in test.places if options.only in " ".join(place)})
        mutants = [(place, how) for place in places for how in MUTANTS.get(place[1], ["drop"])]
        kills = pool.map(
            lambda mutant: killer(
                "@".join([f"{mutant[0][0]}:{mutant[1]}", *mutant[0][2:]]),
                [test for test in tests if mutant[0] in test.places],
            ),
            mutants,
        )
        verdicts = list(zip(mutants, kills, strict=True))

    may_live = json.loads(options.listed.read_text()) if options.listed else []
    unknown = list(range(len(may_live)))
    wrong = 0
    living = 0
    for (place, how), test in verdicts:
        said = "@".join([f"{place[0]}:{how}", *place[2:]])
        at = (place[0].rsplit(":", 1)[0], text_of(place[0]), how)
        listed = [
            number for number, entry in enumerate(may_live) if (entry["file"], entry["line"], entry["mutant"]) == at
        ]
        unknown = [number for number in unknown if number not in listed]
        living += not test
        if options.all:
            print(f"{said}: {test or 'lives'}")
        if not test and not listed:
            print(f"lives: {said}: {at[1]}", flush=True)
            wrong += 1
        if test and listed:
            print(f"is listed, and dies by {test}: {said}: {at[1]}")
            wrong += 1
    for number in unknown:
        print(f"is listed, and no test reaches it: {may_live[number]}")
        wrong += 1
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"{len({place[0] for place in places})} places, {len(mutants)} mutants: {len(mutants) - living} die, "
        f"{living} live, {len(may_live)} may; {len(tests)} tests, {used.ru_utime + used.ru_stime:.0f} s of one core"
    )
    return 1 if wrong or not places else 0


if __name__ == "__main__":
    sys.exit(main())
