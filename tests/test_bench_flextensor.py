"""The bench of FlexTensor's 110 cases: what it takes and says, that it goes on where it ended, and PyTorch's part."""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import pytest
from click.testing import CliRunner

from autosched.bench import flextensor_page
from autosched.bench.commands import run_command
from autosched.bench.contenders import TORCH_OPERATORS
from autosched.bench.figures import geometric_mean
from autosched.bench.kept import keep
from autosched.bench.match import PEAK, TUNED, Match
from autosched.bench.page import END, begin_of
from autosched.bench.suite import SUITES, Options, open_ground
from autosched.bench.suites import flextensor110, tasks
from autosched.bench.suites.flextensor110 import GROUP_LEAST, Case, case_row, cases, closing_rows
from autosched.bench.sweep import TORCH, wanted
from autosched.bench.tuned import Tuned
from autosched.bench.works import Work, work
from autosched.nn.suites import GROUPS
from autosched.search.peak import peak_flops, peak_task
from autosched.spec.errors import MeasureError, SpecError
from autosched.spec.evaluate import evaluate
from test_bench_sweeps import order_of

if TYPE_CHECKING:
    from pathlib import Path

PRODUCT = work("GMM/a", "gemm", N=8, K=8, M=8)


def case(name: str, times: float, torch: tuple[float, ...] = (1.0, 1.0, 1.0)) -> Case:
    """A case so many times as fast as PyTorch."""
    each = attrs.evolve(PRODUCT, name=name)
    return Case(work=each, samples={TUNED: tuple(s / times for s in torch), TORCH: torch}, trials=8, wall_s=2.0)


def test_the_cases_are_the_papers() -> None:
    assert "flextensor110" in SUITES
    assert len(cases()) == 110
    assert {each.group for each in cases()} == GROUPS.keys() == GROUP_LEAST.keys()
    assert {each.op for each in cases()} <= set(TORCH_OPERATORS)
    (named,) = [each for each in cases() if each.name == "C2D/yolo3"]
    assert named.words[:3] == ("conv2d", "N=1", "C=128")
    assert named.file_name == "C2D-yolo3"


def test_groups_and_cases_are_asked_for() -> None:
    def chosen(*names: str) -> list[str]:
        with open_ground(Options(threads=1, against=(), works=names), print) as ground:
            return [each.name for each in wanted(ground, cases())]

    assert len(chosen("GMM", "C3D")) == 15
    assert chosen("T2D/yolo0") == ["T2D/yolo0"]
    with pytest.raises(SpecError, match="unknown work 'C4D'; allowed: GMV, GMV/gemv0"):
        chosen("C4D")


def test_a_case_may_lose_by_a_tenth_or_by_torchs_own_noise() -> None:
    quiet, noisy = case("GMM/a", 0.85), case("GMM/a", 0.85, torch=(1.0, 1.0, 1.5, 1.5))
    assert (case_row(quiet).met, case_row(noisy).met) == (False, True)
    assert case_row(case("GMM/a", 0.91)).met
    assert case_row(quiet).detail == "1.176e+06 µs, torch 1e+06 µs, 8 trials in 2 s"
    failed = case_row(Case(work=PRODUCT, why="it broke"))
    assert (failed.figure, failed.met, failed.detail) == (None, None, "it broke")
    assert case_row(Case(work=PRODUCT, samples={TUNED: (1e-3,)})).unit == "µs"


def test_groups_are_means_of_cases_and_all_is_the_mean_of_groups() -> None:
    found = [case(f"{group}/{name}", times) for group in GROUPS for name, times in (("a", 1.0), ("b", 4.0))]
    rows = {row.name: row for row in closing_rows([*found, Case(work=attrs.evolve(PRODUCT, name="GMM/c"), why="no")])}
    assert rows["GMM: times torch, mean"].figure == pytest.approx(2.0)
    assert rows["GMM: times torch, mean"].detail == "of 2 of 3 cases, the least a 1.00"
    assert rows["DEP: times torch, mean"].met is False
    assert rows["all: times torch, mean"].met
    assert rows["all: search"].figure == 48.0
    alone = {row.name: row for row in closing_rows(found[:2])}
    assert (alone["all: times torch, mean"].bar, alone["all: times torch, mean"].detail) == (None, "of GMV alone")
    assert list(closing_rows([])) == []


def test_what_was_kept_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuned_works: list[str] = []
    played: list[str] = []

    def tune(ground: Any, each: Work, seconds: float) -> Tuned:
        assert (ground.options.trials, seconds) == (48, 30.0)
        tuned_works.append(each.name)
        if each.name == "GMV/gemv2":
            raise MeasureError("nothing was measured")
        return Tuned(work=each, spec=tmp_path, source="search", trials=48, wall_s=1.0)

    def play(ground: Any, each: Work, specs: Any) -> Match:
        assert (ground.sessions, ground.rounds) == (2, 5)
        played.append(each.name)
        if played == ["GMV/gemv0"]:
            raise MeasureError("somebody came by")
        samples = {TUNED: (1.0, 1.0), TORCH: (2.0, 2.0), PEAK: (1.0, 1.0)}
        return Match(work=each, samples=samples, threads={}, peak_gflop=1.0)

    monkeypatch.setattr(flextensor110, "tune", tune)
    monkeypatch.setattr(flextensor110, "play", play)
    said: list[str] = []

    def run(*works: str) -> dict[str, Any]:
        tuned_works.clear()
        options = Options(threads=1, against=(), works=works, keep=str(tmp_path), trials=64, seconds=60)
        with open_ground(options, said.append) as ground:
            return {row.name: row for row in flextensor110.run(ground)}

    run("GMV/gemv0", "GMV/gemv1")
    assert played == ["GMV/gemv0", "GMV/gemv0", "GMV/gemv1"], "a match that failed is tried again"
    rows = run("GMV/gemv0", "GMV/gemv1", "GMV/gemv2")
    assert tuned_works == ["GMV/gemv2"]
    assert rows["GMV/gemv2: times torch"].detail == "nothing was measured"
    assert rows["GMV: times torch, mean"].figure == 2.0
    assert rows["all: search"].detail == "96 trials on 2 cases"
    assert said[-1].startswith("GMV/gemv2: 2 of 3 done, about 0 minutes left")
    assert run("GMV/gemv2")["GMV/gemv2: times torch"].figure is None, "a failure is tried again"
    (tmp_path / "flextensor110" / "GMV-gemv0.json").write_text(json.dumps({"date": "", "found": {}}))
    run("GMV/gemv0")
    assert tuned_works == ["GMV/gemv0"], "what is not whole is no excuse"


# --- PyTorch's part ---


IMAGE = {"N": 2, "C": 4, "H": 7, "W": 6, "K": 6, "R": 3, "S": 2}
ROW = {"N": 2, "C": 4, "L": 9, "K": 6, "R": 3}
BODY = {"N": 1, "C": 4, "D": 4, "H": 5, "W": 6, "K": 2, "T": 2, "R": 3, "S": 2}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "each",
    [
        work("a", "gemm", N=3, K=4, M=5),
        work("a", "gemm", N=3, K=4, M=5, transposeA=True, transposeB=True),
        work("a", "batch_gemm", B=2, N=3, K=4, M=5, transposeB=True),
        work("a", "gemv", N=3, K=4, transposeA=True),
        work("a", "bilinear", N=3, K1=4, K2=5, M=6),
        work("a", "mttkrp", N=3, K1=4, K2=5, M=6),
        work("a", "conv1d", **ROW, stride=2, padding=1),
        work("a", "conv2d", **IMAGE, dilation=2, padding=2),
        work("a", "conv3d", **BODY, padding=1),
        work("a", "conv_transpose1d", **ROW, stride=3, padding=1, output_padding=1),
        work("a", "conv_transpose2d", **IMAGE, stride=2, padding=1, groups=2),
        work("a", "conv_transpose3d", **BODY, stride=2, output_padding=1),
        work("a", "depthwise_conv2d", N=1, C=4, H=7, W=6, factor=2, R=3, S=3, padding=1),
        work("a", "linear", N=3, K=5, M=4, bias=True, relu=True),
        work("a", "softmax", N=3, K=5),
        work("a", "mean", N=3, K=5, M=2),
        work("a", "variance", N=3, K=5, M=2, unbiased=False),
        work("a", "layer_norm", N=3, K=5),
        work("a", "layer_norm", N=3, K=5, eps=0.1, affine=False),
        work("a", "pointwise", N=9, how="subtract"),
    ],
    ids=lambda each: " ".join(each.words),
)
def test_torch_computes_what_our_operators_do(tmp_path: Path, each: Work) -> None:
    pytest.importorskip("torch")
    eager: Any = importlib.import_module("autosched.bench.peers.torch_eager")
    order, arrays = order_of(tmp_path, each)
    workload = each.task(1).workload
    named = {buffer.name: array for buffer, array in zip(workload.inputs, arrays, strict=True)}
    (expected,) = evaluate(workload, named).values()
    np.testing.assert_allclose(eager.open_contender(order).output("eager"), expected, rtol=1e-4, atol=1e-4)


def test_tasks_of_the_users_choice() -> None:
    assert tasks.work_named("gemv/gemv1").words == ("gemv", "N=256", "K=256", "transposeA=False", "dtype=float32")
    own = tasks.work_named("conv2d N=1 C=2 H=4 W=5 K=2 R=1 S=1 stride=2,1")
    assert "stride=2,1" in own.words
    assert own.file_name == "conv2d_N=1_C=2_H=4_W=5_K=2_R=1_S=1_stride=2,1"
    with pytest.raises(SpecError, match="gemv: missing: K"):
        tasks.work_named("gemv N=3")
    with (
        open_ground(Options(threads=1, against=()), print) as ground,
        pytest.raises(SpecError, match="works: found none"),
    ):
        list(tasks.run(ground))
    match = Match(work=own, samples={TUNED: (1e-6,), TORCH: (3e-6,), PEAK: (1.0,)}, threads={}, peak_gflop=1.0)
    rows = {row.name.removeprefix(own.name): row.figure for row in tasks.match_rows(match)}
    assert rows == {": tuned": 1.0, ": torch": 3.0, ": times torch": 3.0}


@pytest.mark.slow
def test_the_suite_runs_on_small_shapes() -> None:
    pytest.importorskip("torch")
    found = run_command(("bench", "flextensor110", "--quick", "--trials", "2", "--against", "torch", "--json")).json()
    rows = {row["name"]: row for row in found["rows"]}
    assert rows.keys() >= {f"{each.name}: times torch" for each in flextensor110.SMALL}
    assert all(row["figure"] > 0 and row["bar"] is None for row in rows.values())


# --- the page ---------------------------------------------------------------------------------------------------------


def kept_in(
    folder: Path,
    name: str,
    tuned: tuple[float, ...],
    torch: tuple[float, ...],
    *,
    threads: int = 1,
    machine: str = "this one",
) -> None:
    """Times of a case as ``--keep`` leaves them; the ceiling takes a millisecond."""
    (each,) = [each for each in cases() if each.name == name]
    samples = {TUNED: tuned, TORCH: torch, PEAK: (1e-3,) * len(tuned)}
    found = {"samples": samples, "trials": 8, "wall_s": 2.0}
    keep(folder / "flextensor110" / f"{each.file_name}.json", {"threads": threads, "machine": machine}, found)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    kept_in(tmp_path, "GMM/gemm_sq32", (1e-6, 1e-6), (4e-6, 4e-6))
    kept_in(tmp_path, "GMM/gemm_sq64", (1e-6, 1e-6), (1e-6, 1e-6))
    kept_in(tmp_path, "DEP/depthwise0", (2e-3, 2e-3), (1e-3, 1e-3))
    return tmp_path


def test_the_page_has_groups_then_cases(kept: Path) -> None:
    done = CliRunner().invoke(flextensor_page.main, [str(kept)], catch_exceptions=False)
    lines = done.stdout.splitlines()
    share = 2 * 32**3 / 1e-6 / (peak_flops(peak_task(1)) / 1e-3)
    both = geometric_mean([share, 8 * share])
    assert f"| GMM | 2 | 2.00 | ≥ 2.0 | 1.00 (gemm_sq64) | {both:.2f} | 8, 2 |" in lines
    assert "| DEP | 1 | 0.50 | ≥ 4.0 | 0.50 (depthwise0) |  | 8, 2 |" in lines
    assert "| all | 3 | 1.00 | ≥ 1.8 | 1 below 0.9 and below torch's noise | | 8, 2 |" in lines
    assert f"| GMM/gemm_sq32 | 1 µs | 4 µs | 4.00 (4.00 to 4.00) | {share:.2f} | 8 |" in lines
    assert "| DEP/depthwise0 | 2 ms | 1 ms | 0.50 (0.50 to 0.50) |  | 8 |" in lines


def test_inserted_zeros_are_no_work(kept: Path) -> None:
    kept_in(kept, "T2D/yolo0", (1.0,), (1.0,))
    kept_in(kept, "T2D/yolo1", (1.0,), (1.0,))
    found, threads = flextensor_page.read_cases(kept)
    shares = {case.work.name: flextensor_page.share_of_ceiling(case, threads) for case in found}
    assert shares["T2D/yolo0"] is None
    assert shares["T2D/yolo1"] is not None


def test_the_page_is_written_with_a_plot(kept: Path) -> None:
    pytest.importorskip("matplotlib")
    page = kept / "page.md"
    page.write_text(f"# Page\n\n{begin_of(flextensor_page.MODULE)}\n{END}\n")
    words = [str(kept), "--page", str(page)]
    assert CliRunner().invoke(flextensor_page.main, words, catch_exceptions=False).exit_code == 0
    assert "![each case, by groups](flextensor110.svg)" in page.read_text()
    assert b"<svg" in (kept / "flextensor110.svg").read_bytes()


@pytest.mark.parametrize("other", [{"threads": 2}, {"machine": "another"}])
def test_times_are_of_one_machine(kept: Path, other: dict[str, Any]) -> None:
    kept_in(kept, "GMV/gemv0", (1.0,), (1.0,), **other)
    with pytest.raises(SpecError, match="has times of several machines or numbers of threads; give what one machine's"):
        flextensor_page.read_cases(kept)


def test_times_are_beside_torch(kept: Path) -> None:
    for path in (kept / "flextensor110").iterdir():
        path.write_text(path.read_text().replace('"torch"', '"numpy"'))
    with pytest.raises(SpecError, match="has no times beside torch; give what one machine's autosched bench"):
        flextensor_page.read_cases(kept)
