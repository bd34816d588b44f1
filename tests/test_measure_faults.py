"""Whatever a candidate does, measuring goes on: the right class of failure, no process left, the others untouched."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import numpy as np
import pytest

import faulty_builder
from autosched.search.measure import SUSPICIOUS_AFTER, Limits, Measurement, Measurer
from autosched.search.processes import descendants
from autosched.search.verify import sample_points
from autosched.search.workers import Handle, Workers, ZygoteError
from autosched.spec.claim import Failure, Protocol
from autosched.spec.errors import MeasureError
from faulty_builder import candidate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from autosched.spec.schedule import Schedule

PROTOCOL = Protocol(threads=1, repeats=3, min_sample_s=0.0002)
LIMITS = Limits(build_s=1.0, first_run_s=1.5, least_run_s=0.3, memory_bytes=64 * 2**20)


def new_measurer(folder: Path, **options: object) -> Measurer:
    settings = {
        "builders": 2, "batch": 4, "limits": LIMITS, "lock_path": folder / "lock", "builder": faulty_builder.BUILDER,
    }  # fmt: skip
    protocol = options.pop("protocol", PROTOCOL)
    return Measurer(faulty_builder.task(), protocol, **{**settings, **options})


@pytest.fixture(scope="module")
def measurer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measurer]:
    before = set(descendants(os.getpid()))
    with new_measurer(tmp_path_factory.mktemp("lock")) as made:
        yield made
    assert set(descendants(os.getpid())) <= before


def only(measurer: Measurer, schedule: Schedule) -> Measurement | Failure:
    ((_, result),) = measurer.measure([schedule])
    return result


FAULTS = [
    ("refuse", "build_error", "it is ugly"),
    ("break_rule", "constraint", "nests[0]: factors (3, 3) give 9"),
    ("hang_while_building", "build_timeout", "within the limit"),
    ("crash_while_building", "crash", "SIGKILL"),
    ("hang", "run_timeout", "within the limit"),
    ("hang_later", "run_timeout", "within the limit"),
    ("segfault", "crash", "SIGSEGV"),
    ("abort", "crash", "SIGABRT: terminate called: it had enough"),
    ("exit_quietly", "crash", "exit status 3"),
    ("raise_error", "crash", "a shape does not fit"),
    ("allocate", "out_of_memory", "20.0 GiB"),
    ("allocate_shared", "out_of_memory", "allowed: 64 MiB"),
    ("fork", "crash", "left"),
    ("fork_away", "crash", "processes running; they were killed"),
    ("fork_and_crash", "crash", "SIGSEGV"),
    ("overrun", "wrong_answer", "bytes before or behind Y were written"),
    ("underrun", "wrong_answer", "bytes before or behind Y were written"),
    ("change_input", "wrong_answer", "input X was changed"),
    ("one_wrong", "wrong_answer", "Y[999] is "),
    ("last_unwritten", "wrong_answer", "Y[999] is nan"),
]


@pytest.mark.parametrize(("fault", "kind", "words"), FAULTS, ids=[fault for fault, _, _ in FAULTS])
def test_a_faulty_candidate_is_a_failure(measurer: Measurer, fault: str, kind: str, words: str) -> None:
    result = only(measurer, candidate(fault))
    assert isinstance(result, Failure), result
    assert (result.kind, words in result.detail) == (kind, True), result
    assert len(descendants(os.getpid())) == 1, "only the process that forks is left"


def test_good_candidates_among_bad_ones(measurer: Measurer) -> None:
    measurer.best_s = None
    asked = [candidate(name) for name in ("segfault", "steady", "hang_while_building", "one_wrong", "", "fork")]
    results = dict(measurer.measure(asked))
    assert list(results) == asked
    good = [schedule for schedule, result in results.items() if isinstance(result, Measurement)]
    assert good == [candidate("steady"), candidate()]
    assert measurer.best_s == min(results[schedule].median_s for schedule in good)


def test_effort_follows_promise(measurer: Measurer) -> None:
    measurer.best_s = None
    results = [r for _, r in measurer.measure(map(candidate, ("steady", "slow", "very_slow")))]
    assert [len(result.samples_s) for result in results] == [3, 1, 1]
    assert 0.005 < results[0].median_s < 0.02 <= results[1].median_s < 0.2 <= results[2].median_s
    measurer.best_s = None


def test_samples_that_disagree_are_noise(tmp_path: Path) -> None:
    protocol = attrs.evolve(PROTOCOL, repeats=7)
    with new_measurer(tmp_path, protocol=protocol) as measurer:
        result = only(measurer, candidate("scattered"))
    assert isinstance(result, Failure)
    assert result.kind == "noise"
    assert "a quarter of its samples is below 0.001" in result.detail


def test_what_seems_too_fast_is_confirmed_in_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOSCHED_TEST_MARKER", str(tmp_path / "process"))
    asked = [*[candidate("steady")] * (SUSPICIOUS_AFTER + 1), candidate("fast_once"), candidate()]
    with new_measurer(tmp_path) as measurer:
        results = [result for _, result in measurer.measure(asked)]
        assert all(isinstance(result, Measurement) for result in results)
        *_, steady, once, fast = (result.median_s for result in results if isinstance(result, Measurement))
        assert once > steady / 2, "the slower of both counts"
        assert fast < steady / 10, "what is fast both times is fast"
        assert measurer.best_s == fast


def test_proposals_see_what_was_measured(measurer: Measurer) -> None:
    seen: list[int] = []
    done = 0

    def proposals() -> Iterator[Schedule]:
        for _ in range(6):
            seen.append(done)
            yield candidate()

    for _ in measurer.measure(proposals()):
        done += 1
    assert done == 6
    assert seen == [0, 0, 0, 0, 4, 4], "a batch of four, then what is left"


def test_leaving_early_leaves_nothing_behind(measurer: Measurer) -> None:
    stream = measurer.measure([candidate()] * 4)
    next(stream)
    stream.close()
    assert len(descendants(os.getpid())) == 1


def test_retimed_in_turn(measurer: Measurer) -> None:
    fast, slow, wrong = measurer.retime([candidate(), candidate("steady"), candidate("one_wrong")], 5)
    assert isinstance(wrong, Failure)
    assert wrong.kind == "wrong_answer"
    assert len(fast) == len(slow) == 5
    assert max(fast) < min(slow)


def test_those_that_are_retimed_are_built_beside_one_another(
    measurer: Measurer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    answer = Workers.answer

    def noted(self: Workers, handle: Handle, message: dict[str, object], *more: object) -> object:
        asked.append(str(message["op"]))
        return answer(self, handle, message, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(Workers, "answer", noted)
    measurer.retime([candidate(), candidate("steady")], 3)
    assert asked == ["build_all", "verify", "verify", "retime"]


@pytest.mark.parametrize("fault", ["refuse", "crash_while_building", "hang_while_building", "segfault"])
def test_who_fails_among_those_that_are_retimed_is_found(measurer: Measurer, fault: str) -> None:
    """They are built beside one another, in one process, which a crash or a hang takes with it."""
    kind = next(kind for name, kind, _ in FAULTS if name == fault)
    first, failed, last = measurer.retime([candidate(), candidate(fault), candidate("steady")], 3)
    assert isinstance(failed, Failure)
    assert failed.kind == kind
    assert len(first) == len(last) == 3


def test_busy_time_is_counted(measurer: Measurer) -> None:
    before = measurer.busy_s
    begin = time.monotonic()
    only(measurer, candidate("very_slow"))
    assert 0.2 < measurer.busy_s - before <= time.monotonic() - begin


def test_a_killed_zygote_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOSCHED_TEST_MARKER", str(tmp_path / "killed"))
    before = descendants(os.getpid())
    with new_measurer(tmp_path) as measurer:
        asked = [candidate(), candidate("crash_zygote_once"), candidate("steady")]
        results = list(measurer.measure(asked))
        assert [schedule for schedule, _ in results] == asked
        assert all(isinstance(result, Measurement) for _, result in results)
    assert descendants(os.getpid()) == before


def test_a_zygote_killed_while_finalists_are_timed_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOSCHED_TEST_MARKER", str(tmp_path / "killed"))
    with new_measurer(tmp_path) as measurer:
        results = measurer.retime([candidate(), candidate("crash_zygote_once"), candidate("one_wrong")], 3)
        assert [isinstance(result, Failure) for result in results] == [False, False, True]
    assert (tmp_path / "killed").exists()


def test_a_zygote_killed_before_it_has_the_task_is_replaced(tmp_path: Path) -> None:
    with new_measurer(tmp_path) as measurer:
        os.kill(measurer._workers._process.pid, signal.SIGKILL)
        assert isinstance(only(measurer, candidate()), Measurement)


def test_files_that_cannot_be_written_are_no_candidates_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with new_measurer(tmp_path, whole_points=0) as measurer:
        measurer._share_task()
        shutil.rmtree(measurer._folder)
        with pytest.raises(MeasureError, match=r"temporary files cannot be written \(No such file .* with TMPDIR"):
            list(measurer.measure([candidate()]))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(MeasureError, match=r"temporary files cannot be written \(No such file .* with TMPDIR"):
        new_measurer(tmp_path)


@pytest.mark.slow
def test_a_zygote_that_dies_again_and_again_is_an_error(tmp_path: Path) -> None:
    before = descendants(os.getpid())
    with new_measurer(tmp_path) as measurer, pytest.raises(ZygoteError, match="that starts workers ended"):
        list(measurer.measure([candidate("crash_zygote")]))
    assert descendants(os.getpid()) == before


def test_outputs_are_compared_without_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOSCHED_TEST_MARKER", str(tmp_path / "killed"))
    asked = [candidate(name) for name in ("one_wrong", "segfault", "crash_zygote_once", "")]
    with new_measurer(tmp_path) as measurer:
        found = list(measurer.compare(asked))
    assert [made for made, _ in found] == asked
    assert [failure and failure.kind for _, failure in found] == ["wrong_answer", "crash", None, None]
    assert (tmp_path / "killed").exists()


def test_a_wrong_output_that_others_were_compared_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sampled points only: the first candidate's error is where nobody looked; the second, being right, exposes it."""
    size = faulty_builder.SIZE
    sampled = set(sample_points((size,), 192, 0).ravel().tolist())
    unsampled = next(i for i in range(size) if i not in sampled)
    monkeypatch.setenv("AUTOSCHED_TEST_UNSAMPLED", str(unsampled))
    with new_measurer(tmp_path, whole_points=0) as measurer:
        asked = [candidate("wrong_unless_sampled"), candidate(), candidate("wrong_unless_sampled"), candidate("steady")]
        (_, first), (_, second), (_, third), (_, fourth) = measurer.measure(asked)
        assert isinstance(first, Measurement)
        assert isinstance(second, Measurement)
        assert measurer.retracted == (candidate("wrong_unless_sampled"),)
        assert isinstance(third, Failure)
        assert third.kind == "wrong_answer"
        assert f"Y[{unsampled}]" in third.detail
        assert isinstance(fourth, Measurement)


TUNER = """
import sys
from pathlib import Path
from test_measure_faults import new_measurer, candidate, Limits
with new_measurer(Path(sys.argv[1]), limits=Limits(), builders=1, batch=1) as measurer:
    for schedule, result in measurer.measure(map(candidate, ("", "fork_away", sys.argv[2]))):
        print(measurer._folder, flush=True)
"""


def start_tuner(folder: Path, fault: str) -> tuple[subprocess.Popen[str], Path, tuple[int, ...]]:
    """A tuner in a group of its own, two trials behind it and one hanging; its files and its processes."""
    tuner = subprocess.Popen(
        [sys.executable, "-c", TUNER, str(folder), fault],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)}, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert tuner.stdout is not None
    made = Path(tuner.stdout.readline().strip())
    tuner.stdout.readline()
    time.sleep(0.3)
    return tuner, made, descendants(tuner.pid)


def wait_until_gone(pids: tuple[int, ...], patience_s: float = 10.0) -> bool:
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize(
    ("fault", "whole_group"),
    [
        ("hang", True),
        pytest.param("hang", False, marks=pytest.mark.slow),
        pytest.param("hang_while_building", True, marks=pytest.mark.slow),
    ],
)
def test_nothing_outlives_a_killed_tuner(tmp_path: Path, fault: str, whole_group: bool) -> None:
    tuner, made, family = start_tuner(tmp_path, fault)
    assert len(family) == 2, "the process that forks, and a worker"
    assert made.is_dir()
    (os.killpg if whole_group else os.kill)(tuner.pid, signal.SIGKILL)
    tuner.communicate()
    assert wait_until_gone(family)
    assert not made.exists()


UNBORN_TUNER = """
import sys, time
from pathlib import Path
from test_measure_faults import new_measurer
with new_measurer(Path(sys.argv[1])) as measurer:
    print(measurer._folder, flush=True)
    time.sleep(1000)
"""


def test_nothing_outlives_a_tuner_killed_before_its_first_candidate(tmp_path: Path) -> None:
    tuner = subprocess.Popen(
        [sys.executable, "-c", UNBORN_TUNER, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert tuner.stdout is not None
    made = Path(tuner.stdout.readline().strip())
    assert made.is_dir()
    family = descendants(tuner.pid)
    assert len(family) == 1, "the process that forks, which is still importing"
    tuner.kill()
    tuner.communicate()
    assert wait_until_gone(family)
    assert not made.exists()


def test_no_file_is_made_before_there_is_who_removes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tuner may be killed between any two steps."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen: list[Path] = []

    def start_nothing(*_: object, **__: object) -> None:
        seen.extend(tmp_path.iterdir())
        raise MeasureError("no process today")

    monkeypatch.setattr("autosched.search.measuring.Workers", start_nothing)
    with pytest.raises(MeasureError, match="no process today"):
        new_measurer(tmp_path, lock_path=tmp_path.parent / "lock")
    assert seen == []


@pytest.mark.slow
def test_ctrl_c_ends_cleanly(tmp_path: Path) -> None:
    tuner, made, family = start_tuner(tmp_path, "hang")
    os.killpg(tuner.pid, signal.SIGINT)
    tuner.communicate(timeout=20)
    assert tuner.returncode != 0
    assert wait_until_gone(family)
    assert not made.exists()


def test_inputs_are_the_same_for_every_candidate(measurer: Measurer) -> None:
    """A candidate that changes its input is found out, and changes only its own copy."""
    assert only(measurer, candidate("change_input")).kind == "wrong_answer"
    assert isinstance(only(measurer, candidate()), Measurement)
    assert np.all(measurer._runner.reference.inputs["X"] != 0)
