"""Faulty candidates in a real search: each is stored with its class, nothing of it is left, the best stays the best."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Final

import attrs

from autosched.search.measure import Limits
from autosched.store.machine import this_machine
from autosched.store.tools import tools
from fault_kernels import BUILDING, Plan
from fault_kills import outcomes
from fault_rows import differs, row
from fault_tuner import Orders, Site, default_digest, new_site, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from autosched.store.records import Record
    from fault_rows import Row

FAULTS: Final = {
    "hang": ("loops for ever", "run_timeout", "within the limit"),
    "segfault": ("segfaults", "crash", "SIGSEGV"),
    "abort": ("calls abort", "crash", "SIGABRT"),
    "allocate": ("allocates 20 GiB", "out_of_memory", "20.0 GiB"),
    "fork": ("forks a child that survives", "crash", "left"),
    "overrun": ("writes behind its output", "wrong_answer", "bytes before or behind"),
    "underrun": ("writes before its output", "wrong_answer", "bytes before or behind"),
    "one_wrong": ("is wrong in one element", "wrong_answer", "expected"),
    "last_unwritten": ("writes NaN", "wrong_answer", "is nan"),
}
"""Fault → what it does, the class it must be stored with, a part of the message."""
MORE_FAULTS: Final = {
    "hang_later": ("loops for ever in a later call", "run_timeout", "within the limit"),
    "hang_while_building": ("loops for ever while it is built", "build_timeout", "within the limit"),
    "crash_while_building": ("is killed while it is built", "crash", "SIGKILL"),
    "refuse": ("is refused by the compiler", "build_error", "it is ugly"),
    "break_rule": ("breaks a rule of the language", "constraint", "factors (3, 3) give 9"),
    "exit_quietly": ("exits", "crash", "exit status 3"),
    "raise_error": ("raises an error", "crash", "a shape does not fit"),
    "allocate_shared": ("fills shared memory", "out_of_memory", "allowed: "),
    "fork_away": ("leaves a daemon behind", "crash", "they were killed"),
    "fork_and_crash": ("forks, then segfaults", "crash", "SIGSEGV"),
    "change_input": ("changes its input", "wrong_answer", "was changed by the kernel"),
}
"""Others, in the long form."""
STRICT: Final = Limits(build_s=5.0, first_run_s=5.0, least_run_s=2.5, run_factor=1.0, memory_bytes=64 * 2**20)
SOUND: Final = 12
"""Trials beside those that have a fault."""


def candidate_rows(seed: int, faults: Mapping[str, tuple[str, str, str]]) -> Iterator[Row]:
    """A search without faults, and the same again with them: a row for each fault, and one for the best."""
    orders = Orders(trials=len(faults) + SOUND, seed=seed, method="random", limits=STRICT)
    with new_site(Plan()) as clean:
        run(clean, orders)
        best, fine = clean.best_digest(), outcomes(clean)
    others = sorted(fine.keys() - {best, default_digest()})
    chosen = dict(zip(random.Random(seed).sample(others, len(faults)), faults, strict=True))
    with new_site(Plan(faults=chosen)) as site:
        tuner = run(site, orders)
        _, left = site.wait_until_tidy()
        found = site.records()
        for digest, fault in chosen.items():
            what, kind, words = faults[fault]
            wrong = failure_differs(found.get(digest), kind, words)
            yield row(f"a candidate that {what}", 1, f"`{kind}`, with message and tools", f"`{kind}`", wrong)
        alike = {digest: value for digest, value in outcomes(site).items() if digest not in chosen}
        wanted = {digest: value for digest, value in fine.items() if digest not in chosen}
        wrong = [*left, *differs(status=(tuner.status, 0), best=(site.best_digest(), best), others=(alike, wanted))]
        expected = "the search ends, the best and all others as without them, no process is left"
        yield row(f"these {len(chosen)}, each faster than all if it were right", 0, expected, "so", wrong)


def failure_differs(record: Record | None, kind: str, words: str) -> list[str]:
    """What is missing in the record of a schedule that must have failed."""
    if record is None or record.failed is None:
        return ["no failure is stored"]
    failure = record.failed.failure
    wrong = differs(
        kind=(failure.kind, kind), tools=(record.failed.tools, tools(this_machine())), times=(record.samples, ())
    )
    return wrong + ([] if words in failure.detail else [f"message {failure.detail!r} without {words!r}"])


def nothing_measured_row(seed: int) -> Row:
    """Every candidate is refused: exit status 1, with the classes."""
    with new_site(Plan(spread=True)) as site:
        (site.folder / "plan.json").write_text(json.dumps({"faults": {}, "everything": "refuse"}))
        tuner = run(site, Orders(trials=8, seed=seed))
        last = (tuner.stderr.splitlines() or [""])[-1]
        table = [line.split() for line in tuner.stderr.splitlines() if line.startswith("  build_error ")]
        wrong = differs(status=(tuner.status, 1), stdout=(tuner.stdout, ""), stored=(len(site.records()), 8))
        if "nothing was measured: 8 build_error" not in last:
            wrong.append(f"it says {last!r}")
        wrong += differs(table=([words[:2] for words in table], [["build_error", "8"]]))
    return row("all candidates are refused", 8, "exit status 1, the classes in a table and in the error", "so", wrong)


def known_failure_rows(seed: int) -> Iterator[Row]:
    """Failures of one search in a later one: with the same tools, and with others."""
    sound = (default_digest(),)
    first = Orders(trials=40, seed=seed, method="random")
    later = attrs.evolve(first, trials=48)
    with new_site(Plan(spread=True, sound=sound)) as site:
        run(site, first)
        failed = failures(site)
        before = len(site.events)
        run(site, later)
        again = failed & {event.digest for event in site.events[before:] if event.what == BUILDING}
        wrong = differs(built_again=(again, set()), kept=(failed - failures(site), set()))
        yield row("a later search, the same tools", len(failed), "no known failure is tried again", "so", wrong)
    with new_site(Plan(spread=True, sound=sound)) as site:
        run(site, first)
        failed, best = failures(site), site.best_digest()
        Plan().write(site.folder)  # the other compiler has none of the faults
        newer = tuple(attrs.evolve(tool, version=f"{tool.version}.1") for tool in tools(this_machine()))
        run(site, attrs.evolve(later, tools=newer))
        cured = outcomes(site)
        wrong = differs(failures_left=(failures(site), set()), trials=(len(cured), later.trials))
        wrong += [f"{d[:8]} has no time" for d in failed if not isinstance(cured.get(d), float)]
        if best not in cured:
            wrong.append("the best of the older tools is lost")
        expected = "each failure is tried once more, what has a time is not measured again"
        yield row("a later search, another compiler", len(failed), expected, "so", wrong + _twice(site))


def failures(site: Site) -> set[str]:
    return {digest for digest, record in site.records().items() if record.failure is not None}


def _twice(site: Site) -> list[str]:
    """Schedules, but for the default, with two trials' times."""
    alone = {d: sum(not m.baseline_s for m in r.measurements) for d, r in site.records().items()}
    return [f"{d[:8]} was timed {n} times" for d, n in alone.items() if n > 1 and d != default_digest()]
