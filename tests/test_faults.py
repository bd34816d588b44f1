"""The fault-injection suite in its short form, and its checks themselves: what is wrong is seen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import run_faults
from fault_candidates import failure_differs
from fault_kernels import ASKED, BUILT, STORED, TIMED, Event, Plan
from fault_kills import lost_or_repeated
from fault_rows import differs, report, row
from fault_surroundings import overlaps, timed_again
from fault_tuner import FAILED, FINAL, TRIAL
from store_cases import failed, record, timed

SCRIPT = Path(run_faults.__file__)
SEED = 1


@pytest.mark.parametrize(
    "part",
    [
        "candidates",
        "kills",
        "interrupts",
        "disks",
        "two",
        pytest.param("known", marks=pytest.mark.slow),
        pytest.param("helpers", marks=pytest.mark.slow),
    ],
)
def test_the_short_form(part: str) -> None:
    """In a process of its own, which adopts orphans and forks tuners."""
    command = [sys.executable, str(SCRIPT), "--short", "--seed", str(SEED), "--part", part]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "none with another outcome than expected" in done.stdout
    assert done.stderr == ""


@pytest.mark.slow
def test_without_the_lock_timings_overlap() -> None:
    code = f"""
        import sys
        sys.path.insert(0, {str(SCRIPT.parent)!r})
        from fault_surroundings import two_tuners_row
        print(two_tuners_row({SEED}, ("a lock", "another one")).wrong)
    """
    command = [sys.executable, "-c", "\n".join(line.strip() for line in code.splitlines())]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert "timings_that_overlap: " in done.stdout, done.stderr


# --- the checks -------------------------------------------------------------------------------------------------------


def event(
    what: str, *, digest: str = "d", tuner: str = "a", begin_s: float = 0.0, end_s: float = 1.0, detail: str = ""
) -> Event:
    return Event(what, digest, tuner, begin_s, end_s, detail)


ONCE = record(timed(0.1))
TWICE = record(timed(0.1), timed(0.2, date="2026-11-24"))
WITH_FINAL = record(timed(0.1), timed(0.2, baseline_s=(0.3,), date="2026-11-24"))


@pytest.mark.parametrize(
    ("records", "written", "said"),
    [
        ({"d": ONCE}, [TRIAL], []),
        ({"d": ONCE}, [], []),
        ({"d": WITH_FINAL}, [TRIAL, FINAL], []),
        ({"d": record(failed=failed())}, [FAILED], []),
        ({}, [TRIAL], ["d is in the store 0 times, was put 1 times"]),
        ({"d": ONCE}, [TRIAL, FINAL], ["d is in the store 1 times, was put 2 times"]),
        ({"d": TWICE}, [TRIAL, TRIAL], ["d was measured 2 times"]),
        ({"d": TWICE}, [TRIAL], ["d was measured 2 times"]),
        ({"d": record(timed(0.1), failed=failed())}, [TRIAL, FAILED], ["d was measured 2 times"]),
        ({"anchor": TWICE}, [], []),
    ],
)
def test_what_is_lost_or_measured_twice_is_seen(
    records: dict[str, object], written: list[str], said: list[str]
) -> None:
    events = [event(STORED, detail=detail) for detail in written]
    assert lost_or_repeated(records, events, "anchor") == said  # type: ignore[arg-type]


def test_overlaps_are_between_two_tuners() -> None:
    mine = event(TIMED, begin_s=1.0, end_s=2.0)
    assert overlaps([mine, event(TIMED, begin_s=1.5, end_s=2.5)]) == 0, "one tuner's own"
    assert overlaps([mine, event(TIMED, tuner="b", begin_s=2.0, end_s=3.0)]) == 0
    assert overlaps([mine, event(BUILT, tuner="b", begin_s=1.9, end_s=3.0)]) == 1
    assert overlaps([event(BUILT), event(BUILT, tuner="b")]) == 0, "building is shared"


@pytest.mark.parametrize(("asked_s", "wrong"), [(2.9, 0), (3.1, 1)])
def test_what_is_timed_after_the_other_has_stored_it_is_seen(asked_s: float, wrong: int) -> None:
    events = [
        event(STORED, tuner="a", begin_s=2.0, end_s=3.0, detail=TRIAL),
        event(ASKED, tuner="b", begin_s=asked_s, end_s=asked_s),
        event(TIMED, tuner="b", begin_s=5.0, end_s=6.0),
        event(STORED, tuner="b", begin_s=6.0, end_s=7.0, detail=TRIAL),
    ]
    found, both = timed_again(events)
    assert (len(found), both) == (wrong, 1)


def test_a_failure_of_another_class_or_without_tools_is_seen() -> None:
    assert failure_differs(None, "crash", "") == ["no failure is stored"]
    wrong = failure_differs(record(failed=failed("crash", "SIGSEGV")), "run_timeout", "limit")
    assert [line.partition(":")[0] for line in wrong] == ["kind", "tools", "message 'SIGSEGV' without 'limit'"]


def test_a_difference_is_in_the_report_and_in_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = [row("a | b", 2, "nothing", "so"), row("c", 1, "1", "1", differs(left=(2, 1), right=(3, 3)))]
    text = report([("Part", rows)], 7, 3.4)
    assert "Seed 7: 3 faults in 3 s, 1 with another outcome than expected." in text
    assert text.splitlines()[-2:] == ["| a \\| b | 2 | nothing | so |", "| c | 1 | 1 | **differs**: left: 2, not 1 |"]
    monkeypatch.setattr(run_faults, "PARTS", {"one": ("One", lambda seed, short: rows[: 1 + short])})
    for words, status in (([], 0), (["--short"], 1)):
        monkeypatch.setattr(sys, "argv", ["run_faults.py", *words, "--report", str(tmp_path / "page.md")])
        assert run_faults.main() == status
        assert (tmp_path / "page.md").read_text() in capsys.readouterr().out


def test_faults_are_spread_by_digest_but_not_over_the_sound() -> None:
    plan = Plan(faults={"0a": "hang"}, spread=True, sound=("1b",))
    assert [plan.fault(digest) for digest in ("0a", "0b", "1a", "1b", "ff")] == [
        "hang", "refuse", "one_wrong", "right", "right",
    ]  # fmt: skip
