"""The learned model: gradient-boosted trees that correct the analytic model by what was measured.

A row is a candidate's features, what the analytic model predicts of it, and how long it took. Trees learn the logarithm
of measured over predicted time, that of the whole task apart; where they know nothing the analytic order stays. Ranking
objectives were tried and order the fastest worse. After
Ansor (Zheng et al., OSDI 2020, section 5.2) and AutoTVM's transfer from earlier tasks (Chen et al., NeurIPS 2018).
LightGBM is imported on first use, and runs in one thread: the same rows give the same trees.
"""

from __future__ import annotations

import functools
import importlib
import math
import statistics
import warnings
from typing import TYPE_CHECKING, Any, Final

import attrs
import numpy as np

from ..spec.claim import Failure
from .features import NAMES, Features
from .strategy import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FAILED: Final = 1.0
"""What a failure adds to the logarithm of the slowest time of its task."""
LEAST_ROWS: Final = 6
"""Fewer rows teach nothing."""
ROUNDS: Final = 60
PAST_ROUNDS: Final = 120
_SETTINGS: Final[dict[str, Any]] = {
    "objective": "regression",
    "learning_rate": 0.1,
    "num_leaves": 8,
    "min_data_in_leaf": 3,
    "min_data_in_bin": 1,
    "lambda_l2": 0.5,
    "feature_fraction": 0.5,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "seed": 1,
    "verbosity": -1,
}
_PAST_SETTINGS: Final[dict[str, Any]] = {**_SETTINGS, "num_leaves": 16, "min_data_in_leaf": 8, "lambda_l2": 10.0}


@attrs.frozen(kw_only=True)
class Row:
    """What is learned from one trial."""

    features: Features
    predicted_s: float
    outcome: Outcome


@functools.cache
def lightgbm() -> Any:
    """The library; None, with a warning, where it cannot be loaded: its wheel needs the system's OpenMP."""
    try:
        return importlib.import_module("lightgbm")
    except OSError as error:
        message = f"LightGBM cannot be loaded, so that the search learns nothing: {error}; install it (libgomp1)"
        warnings.warn(message, stacklevel=2)
        return None


class Trees:
    """Trees that give a number for features; without any, 0."""

    def __init__(self, text: str | None = None) -> None:
        self._booster: Any = None
        if text is not None and (library := lightgbm()) is not None:
            self._booster = library.Booster(model_str=text)

    @property
    def text(self) -> str | None:
        """The trees as LightGBM writes them; None where there are none."""
        return None if self._booster is None else str(self._booster.model_to_string())

    def fit(self, inputs: Floats, wanted: Floats, weights: Floats, rounds: int, settings: dict[str, Any]) -> None:
        """Learns to give `wanted` for `inputs`, one row each."""
        library = lightgbm()
        if library is not None:
            data = library.Dataset(inputs, wanted, weight=weights, params={"verbosity": -1, "min_data_in_bin": 1})
            self._booster = library.train(settings, data, num_boost_round=rounds)

    def __call__(self, inputs: Floats) -> Floats:
        if self._booster is None or not len(inputs):
            return np.zeros(len(inputs))
        return np.asarray(self._booster.predict(inputs, num_threads=1), dtype=np.float64)


class LearnedModel:
    """Predicts the logarithm of seconds, up to a number that is the same for all candidates of a task.

    `past` are trees that other tasks have taught; what is measured of this one corrects them.
    """

    def __init__(self, past: Trees | None = None) -> None:
        self._past = past or Trees()
        self._own = Trees()
        self._level = 0.0

    def learn(self, rows: Sequence[Row]) -> None:
        """Learns anew from all trials of the task so far."""
        if len(rows) < LEAST_ROWS:
            return
        inputs, errors, weights = _arrays(rows)
        left = errors - self._past(inputs)
        self._level = float(np.average(left, weights=weights))
        self._own.fit(inputs, left - self._level, weights, ROUNDS, _SETTINGS)

    def predict(self, features: Sequence[Features], predicted_s: Sequence[float]) -> Floats:
        """Logarithms of seconds of candidates with these features and analytic predictions."""
        inputs = _matrix(features)
        expected: Floats = np.log(np.asarray(predicted_s)) + self._level
        return expected + self._past(inputs) + self._own(inputs)


def past_trees(tasks: Sequence[Sequence[Row]]) -> Trees:
    """Trees that know what tasks have in common; none where there is too little."""
    known = [_arrays(rows) for rows in tasks if len(rows) >= LEAST_ROWS]
    trees = Trees()
    if known:
        inputs = np.concatenate([part[0] for part in known])
        errors = np.concatenate([part[1] - np.average(part[1], weights=part[2]) for part in known])
        weights = np.concatenate([part[2] / part[2].mean() for part in known])
        trees.fit(inputs, errors, weights, PAST_ROUNDS, _PAST_SETTINGS)
    return trees


def _matrix(features: Sequence[Features]) -> Floats:
    return np.array(features, dtype=np.float64).reshape(len(features), len(NAMES))


def _arrays(rows: Sequence[Row]) -> tuple[Floats, Floats, Floats]:
    """Features, logarithms of measured over predicted time, and weights: the faster, the more a row counts."""
    logs = _log_seconds([row.outcome for row in rows])
    least = min(logs)
    errors = [log - math.log(row.predicted_s) for log, row in zip(logs, rows, strict=True)]
    weights = [max(0.1, math.exp(least - log)) for log in logs]
    return _matrix([row.features for row in rows]), np.array(errors), np.array(weights)


def _log_seconds(outcomes: Sequence[Outcome]) -> list[float]:
    """Logarithms of seconds; a failure is slower than all that ran."""
    timed = [math.log(outcome) for outcome in outcomes if not isinstance(outcome, Failure)]
    worst = max(timed, default=0.0) + FAILED
    middle = statistics.median(timed) if timed else 0.0
    worst = max(worst, middle + FAILED)
    return [worst if isinstance(outcome, Failure) else math.log(outcome) for outcome in outcomes]
