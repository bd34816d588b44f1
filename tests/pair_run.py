"""Draws, mutates and judges a batch of pairs."""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING

import attrs

from autosched.spec.errors import SpecError
from autosched.spec.spec_file import SpecFile, spec_from_text, text_from_spec
from mutations import mutated
from pair_cases import pair
from pair_proof import Verdict, judge
from pair_rows import case_of, rows_of
from pair_tally import BOLD, CORRECT, CRASH, DEFECTS, DRAWN, MUTANT, REFUSED, Defect, Tally

if TYPE_CHECKING:
    from collections.abc import Sequence


@attrs.frozen
class Candidate:
    """A spec to judge, and where it comes from."""

    number: int
    kind: str
    spec: SpecFile

    @property
    def judged(self) -> SpecFile:
        """What is proven: of a mutant with an algorithm, that this is scheduled right; it may be wrong itself."""
        algorithm = self.spec.schedule.algorithm
        if self.kind != MUTANT or algorithm is None:
            return self.spec
        task = attrs.evolve(self.spec.task, workload=algorithm.workload)
        return attrs.evolve(self.spec, task=task, schedule=attrs.evolve(self.spec.schedule, algorithm=None))

    @property
    def rows(self) -> tuple[str, ...]:
        return rows_of(case_of(self.spec.task, self.spec.schedule))


def run_batch(seed: int, numbers: Sequence[int]) -> Tally:
    """What the pairs of these numbers come to."""
    began = time.process_time()
    tally = Tally(pairs=len(numbers))
    candidates: list[Candidate] = []
    for number in numbers:
        drawn = pair(seed, number)
        original = SpecFile(task=drawn.task, schedule=drawn.legal)
        candidates.append(Candidate(number, DRAWN, original))
        candidates.append(Candidate(number, BOLD, SpecFile(task=drawn.task, schedule=drawn.bold)))
        candidates += _mutant(original, number, random.Random(f"{seed} {number}"), tally)
    # One batch in ten as a user's build is.
    verdicts = judge([candidate.judged for candidate in candidates], usual=numbers[0] // len(numbers) % 10 == 9)
    for candidate, verdict in zip(candidates, verdicts, strict=True):
        _note(candidate, verdict, tally)
    tally.cpu_s = time.process_time() - began
    return tally


def _note(candidate: Candidate, verdict: Verdict, tally: Tally) -> None:
    tally.count(candidate.kind, verdict.outcome, candidate.rows)
    if verdict.outcome in DEFECTS or (candidate.kind == DRAWN and verdict.outcome != CORRECT):
        text = text_from_spec(candidate.spec)
        tally.defects.append(Defect(candidate.number, candidate.kind, verdict.outcome, verdict.detail, text))


def _mutant(original: SpecFile, number: int, rng: random.Random, tally: Tally) -> list[Candidate]:
    """A spec with one thing changed; none where the loader refuses it, which is counted by the original's rows."""
    text = json.dumps(mutated(json.loads(text_from_spec(original)), rng))
    try:
        return [Candidate(number, MUTANT, spec_from_text(text))]
    except SpecError:
        tally.count(MUTANT, REFUSED, Candidate(number, MUTANT, original).rows)
    except Exception as error:  # noqa: BLE001 # whatever it is: a defect of the loader
        tally.count(MUTANT, CRASH, ())
        tally.defects.append(Defect(number, MUTANT, CRASH, f"{type(error).__name__}: {error}", text))
    return []
