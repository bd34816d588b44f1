"""A search strategy of one's own: it climbs from the best candidate to its neighbours, and draws where there are none.

Also on the command line: autosched tune gemm M=256 N=256 K=256 --method examples/own_strategy.py:climb
"""

import random

import autosched as at
from autosched.search.space import Candidate, Space
from autosched.search.strategy import Outcome, Untried


class Climb:
    """Proposes neighbours of the best."""

    def __init__(self, space: Space, rng: random.Random) -> None:
        self.space, self.untried = space, Untried(space, rng)
        self.best: tuple[float, Candidate] | None = None

    def propose(self, count: int) -> list[Candidate]:
        return self.untried.proposals(count, lambda: self._step() or self.untried.drawn())

    def learn(self, candidate: Candidate, outcome: Outcome) -> None:
        self.untried.note(candidate)
        if isinstance(outcome, float) and (self.best is None or outcome < self.best[0]):
            self.best = outcome, candidate

    def _step(self) -> Candidate | None:
        near = self.space.neighbours(self.best[1].point) if self.best and self.best[1].point else ()
        return next(filter(None, map(self.untried.at, near)), None)


def climb(space: Space, rng: random.Random) -> Climb:
    return Climb(space, rng)


if __name__ == "__main__":
    result = at.lookup_or_tune(at.get_task("gemm", M=256, N=256, K=256), trials=8, method=climb)
    print(f"{result.latency_s * 1e6:.0f} µs, {result.speedup:.2f} times as fast as the default")
