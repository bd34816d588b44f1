"""The learned model: finds an order that the analytic one does not know, and is kept as text that may be damaged."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autosched.search.features import NAMES
from autosched.search.history import PastTask
from autosched.search.learned import LEAST_ROWS, LearnedModel, Row, Trees, lightgbm, past_trees
from autosched.search.past import past_model
from autosched.search.past_file import read_trees, write_trees
from autosched.spec.claim import Failure
from pretended_bench import LARGE, SMALL, pretended_s
from shared_spaces import shared_space
from store_cases import MACHINE

if TYPE_CHECKING:
    from pathlib import Path

CRASH = Failure(kind="crash", detail="")
SPACE = shared_space(LARGE, MACHINE)


def row(rng: random.Random, scale: float = 1.0) -> Row:
    """Predicted to take the same; the first feature and the sum of the next two decide."""
    features = tuple(rng.random() for _ in NAMES)
    seconds = scale * math.exp(2 * features[0] + features[1] + features[2])
    return Row(features=features, predicted_s=scale, outcome=seconds)


def rows(count: int, seed: int, scale: float = 1.0) -> list[Row]:
    rng = random.Random(seed)
    return [row(rng, scale) for _ in range(count)]


def pairs_in_order(model: LearnedModel, asked: list[Row]) -> float:
    """Part of the pairs that a model puts in the right order."""
    found = model.predict([r.features for r in asked], [r.predicted_s for r in asked])
    pairs = [(i, j) for i in range(len(asked)) for j in range(i)]
    right = [(found[i] < found[j]) == (asked[i].outcome < asked[j].outcome) for i, j in pairs]  # type: ignore[operator]
    return sum(right) / len(right)


def test_it_learns_an_order() -> None:
    model = LearnedModel()
    model.learn(rows(64, seed=1))
    assert pairs_in_order(model, rows(60, seed=2)) > 0.75


def test_other_tasks_teach_and_the_task_itself_corrects_them() -> None:
    """Their times are of another scale."""
    past = past_trees([rows(100, seed=1), rows(100, seed=2, scale=1000.0)])
    cold, warm, both = LearnedModel(), LearnedModel(past), LearnedModel(past)
    few = rows(12, seed=3)
    cold.learn(few)
    both.learn(few)
    asked = rows(60, seed=4)
    assert pairs_in_order(warm, asked) > 0.75
    assert pairs_in_order(both, asked) > pairs_in_order(cold, asked)


def test_it_expects_seconds_where_it_was_taught() -> None:
    taught = rows(64, seed=1, scale=0.01)
    model = LearnedModel()
    model.learn(taught)
    found = model.predict([r.features for r in taught], [r.predicted_s for r in taught])
    wanted = [math.log(r.outcome) for r in taught]  # type: ignore[arg-type]
    assert np.abs(found - wanted).mean() < 0.5


def test_untaught_it_keeps_the_analytic_order() -> None:
    model = LearnedModel()
    model.learn(rows(LEAST_ROWS - 1, seed=1))
    asked = rows(5, seed=2)
    assert list(model.predict([r.features for r in asked], [0.1, 0.2, 0.3, 0.4, 0.5])) == pytest.approx(
        [math.log(s) for s in (0.1, 0.2, 0.3, 0.4, 0.5)]
    )
    assert len(model.predict([], [])) == 0


def test_what_fails_is_expected_to_be_slow() -> None:
    """Everything whose first feature is large fails."""
    taught = [attrs.evolve(r, outcome=CRASH if r.features[0] > 0.5 else 1.0) for r in rows(64, seed=1)]
    model = LearnedModel()
    model.learn(taught)
    asked = rows(60, seed=2)
    found = model.predict([r.features for r in asked], [1.0] * 60)
    failing = [f for f, r in zip(found, asked, strict=True) if r.features[0] > 0.6]
    running = [f for f, r in zip(found, asked, strict=True) if r.features[0] < 0.4]
    assert min(failing) > max(running)


def test_all_may_fail() -> None:
    model = LearnedModel()
    model.learn([attrs.evolve(r, outcome=CRASH) for r in rows(10, seed=1)])
    assert np.isfinite(model.predict([rows(1, seed=2)[0].features], [1.0])).all()


@settings(max_examples=5)
@given(seed=st.integers(0, 99))
def test_the_same_rows_give_the_same_trees(seed: int) -> None:
    first, second = (past_trees([rows(40, seed)]) for _ in range(2))
    assert first.text == second.text is not None


def test_text_says_all() -> None:
    trees = past_trees([rows(100, seed=1)])
    asked = np.array([r.features for r in rows(50, seed=2)])
    assert np.array_equal(Trees(trees.text)(asked), trees(asked))
    assert np.ptp(trees(asked)) > 0.1


def test_without_the_library_a_search_is_told_and_learns_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError("libgomp.so.1: cannot open shared object file")

    monkeypatch.setattr("importlib.import_module", missing)
    lightgbm.cache_clear()
    model = LearnedModel()
    with pytest.warns(UserWarning, match="the search learns nothing: libgomp.so.1: .*; install it"):
        model.learn(rows(20, seed=1))
    asked = rows(2, seed=2)
    first, second = model.predict([r.features for r in asked], [0.1, 0.2])
    assert first < second
    assert Trees("any text").text is None
    lightgbm.cache_clear()


# --- the file ---------------------------------------------------------------------------------------------------------


def past_task(count: int = 40, seed: int = 0) -> PastTask:
    rng = random.Random(seed)
    made = [c for c in (SPACE.candidate(SPACE.sample(rng)) for _ in range(2 * count)) if c is not None]
    schedules = list(dict.fromkeys(candidate.schedule for candidate in made))[:count]
    return PastTask(task=LARGE, trials=tuple((schedule, pretended_s(schedule)) for schedule in schedules))


KNOWN = {"a": 10, "b": 20}


def test_trees_are_found_again(tmp_path: Path) -> None:
    path = tmp_path / "models" / "trees.txt"
    made = past_model([past_task()], SPACE.hardware, path)
    assert made is not None
    before = path.read_bytes()
    again = past_model([past_task()], SPACE.hardware, path)
    assert again is not None
    assert again.text == made.text
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_nothing_known_teaches_nothing(tmp_path: Path) -> None:
    assert past_model([], SPACE.hardware, tmp_path / "trees.txt") is None
    assert not (tmp_path / "trees.txt").exists()
    few = past_model([past_task(2)], SPACE.hardware)
    assert few is not None
    assert few.text is None


def test_a_schedule_that_no_longer_passes_the_checks_is_left_out() -> None:
    trials = past_task().trials
    odd = PastTask(task=SMALL, trials=trials)  # the schedules are of another task
    model = past_model([odd], SPACE.hardware)
    assert model is not None
    assert model.text is None


@settings(max_examples=40)
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_file_is_not_used(
    place: float, value: int, cut: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "trees.txt"
    trees = past_trees([rows(30, seed=1)])
    write_trees(path, trees, KNOWN)
    text = bytearray(path.read_bytes())
    position = int(place * len(text))
    before = text[position]
    if cut:
        del text[position:]
    else:
        text[position] = value
    path.write_bytes(text)
    found = read_trees(path, KNOWN)
    assert found is None or (not cut and value == before and found.text == trees.text)


@pytest.mark.parametrize(
    ("known", "fresh"),
    [
        (KNOWN, True),
        ({"a": 15, "b": 20}, True),
        ({"a": 10, "b": 20, "c": 7}, True),
        ({"a": 10, "b": 20, "c": 8}, False),
        ({"a": 10, "c": 20}, False),
    ],
)
def test_trees_of_too_little_or_of_what_is_gone_are_made_anew(
    known: dict[str, int], fresh: bool, tmp_path: Path
) -> None:
    write_trees(tmp_path / "trees.txt", past_trees([rows(30, seed=1)]), KNOWN)
    assert (read_trees(tmp_path / "trees.txt", known) is not None) == fresh


def test_no_file_a_folder_and_trees_of_other_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "trees.txt"
    assert read_trees(path, KNOWN) is None
    assert read_trees(tmp_path, KNOWN) is None
    write_trees(path, past_trees([rows(30, seed=1)]), KNOWN)
    monkeypatch.setattr("autosched.search.past_file.VERSION", 99)
    assert read_trees(path, KNOWN) is None


def test_a_place_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    write_trees(tmp_path / "file" / "trees.txt", Trees(), KNOWN)
    assert (tmp_path / "file").read_text() == ""
