"""The comparison of methods: replays of recordings, tables that can be checked by hand, a page and a plot."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from autosched.bench.page import END, begin_of, page_with
from autosched.bench.regret import MODULE, WARM, Curve, curves_of, main, recordings_in
from autosched.bench.regret_page import plot, table, trials_to
from autosched.nn.registry import get_task
from autosched.search.recording import Heading, record_space
from autosched.spec.claim import Protocol
from autosched.spec.errors import SpecError
from pretended_bench import LARGE, PretendedBench
from shared_spaces import shared_space
from store_cases import MACHINE

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recordings, one of them packed."""
    place = tmp_path_factory.mktemp("recordings")
    for name, task in (("a", LARGE), ("b", get_task("gemm", N=64, M=64, K=32, threads=1))):
        heading = Heading(task=task, machine=MACHINE, protocol=Protocol(threads=1))
        record_space(shared_space(task, MACHINE), heading, place / f"{name}.space", 24, bench=PretendedBench())
    (place / "b.space.gz").write_bytes(gzip.compress((place / "b.space").read_bytes()))
    (place / "b.space").unlink()
    return place


@pytest.mark.system
def test_every_method_replays_every_recording(folder: Path) -> None:
    recordings = recordings_in(folder)
    assert list(recordings) == ["a", "b"]
    curves = curves_of(recordings, seeds=2, trials=40, methods=("random", "auto"))
    assert len({(c.recording, c.method, c.seed) for c in curves}) == len(curves) == 2 * 2 * 3
    assert {curve.method for curve in curves} == {"random", "auto", WARM}
    for curve in curves:
        assert len(curve.regrets) == 40
        assert list(curve.regrets) == sorted(curve.regrets, reverse=True)
        assert curve.regrets[-1] == 0  # all of the 24 are found


def test_one_recording_has_no_others_to_learn_from(folder: Path) -> None:
    recordings = {"a": recordings_in(folder)["a"]}
    assert {curve.method for curve in curves_of(recordings, seeds=1, methods=("auto",))} == {"auto"}


def curve(method: str, seed: int, *regrets: float) -> Curve:
    return Curve(recording="r", method=method, seed=seed, regrets=regrets)


def test_the_table_by_hand() -> None:
    fast, slow = [0.5] * 7 + [0.04] * 9, [0.5] * 15 + [0.1]
    text = table([curve("m", 0, *fast), curve("m", 1, *slow)])
    assert text.startswith("1 recordings, 2 seeds.")
    assert "| method | after 8 | after 16 | trials to 5% | trials to 2% |" in text
    assert "| m | 27.0 (27.0) | 7.0 (7.0) | 12.5 (12) | 17.0 (17) |" in text
    assert "| r | 7.0 (7.0); 17.0 (17) |" in text


def test_trials_to_a_regret() -> None:
    assert trials_to(curve("m", 0, 0.5, 0.05, 0.0), 0.05) == 2
    assert trials_to(curve("m", 0, 0.5, 0.5), 0.05) == 3


def test_the_page_keeps_what_is_around() -> None:
    mark = begin_of("a")
    page = f"before\n{mark}\nold\n{END}\nbetween\n{begin_of('b')}\n{END}\nafter"
    assert page_with(page, "a", "new") == page.replace("\nold\n", "\n\nnew\n\n")
    assert page_with(page_with(page, "a", "other"), "a", "new") == page_with(page, "a", "new")
    assert page_with(page, "b", "new") == page.replace(f"{begin_of('b')}\n", f"{begin_of('b')}\n\nnew\n\n")
    with pytest.raises(SpecError, match="the page has no place for the tables; put two lines there"):
        page_with(page, "c", "new")


def test_the_plot_is_the_same_for_the_same_curves(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for name in ("a.svg", "b.svg"):
        plot([curve("m", 0, 0.5, 0.1), curve("n", 0, 0.4, 0.0)], tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert b"<svg" in (tmp_path / "a.svg").read_bytes()


def test_the_command_tables(folder: Path) -> None:
    done = CliRunner().invoke(main, [str(folder), "--seeds", "1", "--method", "random"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "| random |" in done.stdout
    assert "2 replays in" in done.stderr


def test_the_command_writes_a_page(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n{begin_of(MODULE)}\n{END}\n")
    words = [str(folder), "--seeds", "1", "--method", "random", "--page", str(page)]
    assert CliRunner().invoke(main, words, catch_exceptions=False).exit_code == 0
    assert page.read_text().startswith("# Page")
    assert "| random |" in page.read_text()
    assert "![regret by trials](regret.svg)" in page.read_text()
    assert (tmp_path / "regret.svg").exists()


def test_an_empty_folder(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, [str(tmp_path)])
    assert done.exit_code == 1
    assert "holds no recording (*.space, *.space.gz); make some: autosched record-space" in done.stderr
