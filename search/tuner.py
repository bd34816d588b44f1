"""Tuning: measures what a strategy proposes until the budget is spent, and leaves every trial in the store.

The default schedule is measured first, and last again in turn with the best few, so that what wins has won in one
session. A trial is in the store when it ends: whoever kills a tuner loses the trials under way, and the next one goes
on from there, measuring nothing twice but the default and the finalists.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final
from typing import Protocol as Interface

import attrs

from ..spec.claim import Failure, Protocol
from ..spec.schedule import Schedule
from ..store.folder import prepare_folder
from ..store.machine import this_machine
from ..store.recent import everything
from ..store.records import Record, SearchState
from ..store.store import DEFAULT_ALLOW
from .collecting import rare_collections
from .default import default_candidate, opening_candidates
from .finals import CLOSE, FinalsTime, hold_finals, usual_s
from .history import history_of
from .journal import Journal
from .measurable import check_measurable
from .measure import Measurement, Measurer
from .methods import check_method, name_of, strategy_named
from .noise import NoiseWatch
from .own_strategy import OwnStrategy
from .past_file import trees_path
from .progress import MachineDrifted, SearchEnded, SearchStarted, TrialEnded, Watch, unwatched
from .seeding import near_shapes
from .space import Space

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from ..spec.algorithm import Algorithm
    from ..spec.claim import Machine
    from ..spec.task import Task
    from ..store.recent import Counts
    from ..store.store import Store
    from .budget import Budget
    from .methods import Method
    from .space import Candidate
    from .strategy import Outcome, Strategy

BATCH: Final = 8
"""Candidates proposed at a time, whatever the number of cores: a resumed search proposes the same again."""
AGAIN_SHARE: Final = 0.5
"""Part of the time left for trials in which those are made again that a change of the machine disturbed."""
FINALS_SHARE: Final = 0.15
"""Part of a budget in seconds that is kept for the finals, twice as much at most where kernels are slow."""


class Bench(Interface):
    """What measures: a `Measurer`, or a replay of what one measured."""

    @property
    def busy_s(self) -> float:
        """Wall seconds spent building and running so far."""
        ...

    @property
    def retracted(self) -> Sequence[Schedule]:
        """Schedules measured before whose outputs were found wrong later."""
        ...

    def ready(self) -> None:
        """Waits until nothing but what the first schedule needs itself is left to be done before it is measured."""
        ...

    def measure(
        self, schedules: Iterable[Schedule], *, is_known: Callable[[Schedule], bool] = ...
    ) -> Iterator[tuple[Schedule, Measurement | Failure]]:
        """Each schedule with its measurement or failure, in order; not those that are known when their turn comes."""
        ...

    def retime(
        self, schedules: Sequence[Schedule], rounds: int, *, least: int | None = None
    ) -> list[tuple[float, ...] | Failure]:
        """`rounds` samples of each schedule, taken in turn; `least` or more where it is decided who is fastest."""
        ...


@attrs.frozen(kw_only=True)
class Tuned:
    """What a search came to: the best record, None where nothing could be measured, and how far the search is."""

    record: Record | None
    default: Schedule
    state: SearchState
    failures: tuple[tuple[str, int], ...]


def tune(
    task: Task,
    store: Store,
    budget: Budget,
    *,
    method: Method = "auto",
    seed: int = 0,
    machine: Machine | None = None,
    space: Space | None = None,
    algorithms: Sequence[Algorithm] = (),
    allow: Collection[str] = DEFAULT_ALLOW,
    starts: Sequence[Schedule] = (),
    counts: Counts = everything,
    watch: Watch = unwatched,
    check: Callable[[Task], None] = check_measurable,
    bench: Callable[[Task, Protocol], AbstractContextManager[Bench]] = Measurer,
) -> Tuned:
    """Searches schedules of `task` within `budget`, going on from what `store` holds.

    `machine` is this one and `space` that of the rules where they are not given, with `algorithms` as other ways to
    compute the task, all of accuracy classes in `allow`; `starts` are schedules from elsewhere, tried right after the
    default, as is one of each algorithm that rounds more than the task's own. `counts` says which of the times in the
    store are to be relied on, all unless given; `method` is a name, or makes a strategy of one's own; `check` refuses
    what `bench` cannot measure. Ctrl-C ends the search with all that was measured in the store. SpecError for a method
    or task that cannot be; StoreError for a store that cannot be written; MeasureError where the harness fails.
    """
    check_method(method)
    check(task)
    prepare_folder(store.path)
    machine = machine or this_machine()
    protocol = Protocol(threads=task.threads)
    begin = time.monotonic()
    space = space or Space(task, machine, speeds=store.speeds(machine, task.threads), algorithms=algorithms)
    journal = Journal(
        task, store, machine, protocol,
        method=name_of(method), seed=seed, space=space.name, counts=counts, starts=starts, allow=allow,
    )  # fmt: skip
    search = _Search(journal, budget, begin, watch)
    try:
        with rare_collections(), bench(task, protocol) as open_bench:
            default = default_candidate(space)  # this and what a strategy begins with: while workers import TVM
            past = history_of(store, machine, protocol, but=task)
            strategy = strategy_named(method, space, seed, past, trees_path(store.path, machine, protocol))
            firsts = (*starts, *(candidate.schedule for candidate in opening_candidates(space)))
            open_bench.ready()
            search.run(open_bench, strategy, default, firsts, near_shapes(space, past))
            hold_finals(open_bench, journal, default.schedule, watch, search.finals_time())
            journal.reached(budget)
        watch(SearchEnded(wall_s=time.monotonic() - begin, busy_s=open_bench.busy_s))
    finally:
        state = journal.close()
    return Tuned(record=journal.best(), default=default.schedule, state=state, failures=journal.failures())


class _Search:
    """One run of a search, up to the finals."""

    def __init__(self, journal: Journal, budget: Budget, begin: float, watch: Watch) -> None:
        self._journal = journal
        self._budget = budget
        self._begin = begin
        self._watch = watch
        self._measuring_s = 0.0
        self._measured = 0
        self._built = 0
        self._building_s = 0.0
        self._left_out = False
        self._noise: NoiseWatch | None = None
        self._default: Schedule | None = None

    def run(
        self,
        bench: Bench,
        strategy: Strategy,
        default: Candidate,
        starts: Sequence[Schedule],
        seeds: Sequence[Candidate] = (),
    ) -> None:
        """Measures the default, what others claim, and then what the strategy proposes, until the budget is spent.

        `seeds` are measured as if the strategy had proposed them before all else.
        """
        self._watch(SearchStarted(known=self._journal.trials, total=self._budget.trials))
        self._default = default.schedule
        known = self._journal.outcome(default.schedule)
        for outcome in self._measure(bench, [default.schedule], anew=True):
            strategy.learn(default, known if known is not None else outcome)
            self._begin_watch(known if isinstance(known, float) else outcome, outcome)
        claimed = dict.fromkeys((*starts, *self._journal.claimed()))
        new = [schedule for schedule in claimed if self._journal.outcome(schedule) is None]
        # Whatever was searched before: what comes from elsewhere is timed here, once, and then ranked with the others.
        for _ in self._measure(bench, new if self._has_time() else []):
            pass
        if self._left():
            self._try(bench, strategy, [seed for seed in seeds if seed.schedule != default.schedule])
        while self._left() and not (self._budget.early_stopping and self._journal.is_settled):
            candidates = strategy.propose(BATCH)
            if not candidates:
                ended = not isinstance(strategy, OwnStrategy) or strategy.has_tried_all()
                self._journal.exhausted = ended and not self._left_out
                break
            self._try(bench, strategy, candidates)
            self._check_machine(bench, default.schedule)
        self._check_machine(bench, default.schedule, at_end=True)

    def _try(self, bench: Bench, strategy: Strategy, candidates: list[Candidate]) -> None:
        """Measures what is new among `candidates` as far as the budget goes, and tells the strategy in order."""
        known = [self._journal.outcome(candidate.schedule) for candidate in candidates]
        new = [candidate.schedule for candidate, outcome in zip(candidates, known, strict=True) if outcome is None]
        fresh = self._measure(bench, new[: self._left()])
        for candidate, outcome in zip(candidates, known, strict=True):
            found = outcome if outcome is not None else next(fresh, None)
            if found is None:
                self._left_out = True  # time runs out: the strategy will not propose it again, a later search will
                return
            strategy.learn(candidate, found)

    def _measure(self, bench: Bench, schedules: list[Schedule], *, anew: bool = False) -> Iterator[Outcome]:
        """Each schedule's outcome, once it is in the store, where another tuner may have put it meanwhile.

        `anew`: it is measured whatever is known.
        """
        if not schedules:
            return
        waiting = iter(schedules)
        for schedule, outcome in self._stored(bench, schedules, anew=anew):
            if self._noise is not None:
                self._noise.tried(schedule)
            self._watch(
                TrialEnded(
                    number=self._journal.trials,
                    total=self._budget.trials,
                    schedule=schedule,
                    outcome=outcome,
                    best_s=self._journal.best_s,
                )
            )
            yield from self._known(_before(schedule, waiting))
            yield outcome

        yield from self._known(waiting)

    def _stored(
        self, bench: Bench, schedules: Sequence[Schedule], *, anew: bool = True
    ) -> Iterator[tuple[Schedule, Outcome]]:
        """Measures schedules and puts each into the store; unless `anew`, those that are there by then are left out."""
        begin = time.monotonic()
        results = bench.measure(schedules) if anew else bench.measure(schedules, is_known=self._is_known)
        for schedule, result in results:
            if isinstance(result, Measurement):
                self._built += 1
                self._building_s += result.build_s or result.run_s  # a device builds and runs in one
                outcome = self._journal.put(schedule, result.samples_s, level=result.level)
            else:
                outcome = self._journal.put(schedule, result)
            self._journal.retract(bench.retracted)
            self._measured += 1
            self._measuring_s += time.monotonic() - begin
            yield schedule, outcome
            begin = time.monotonic()

    def _is_known(self, schedule: Schedule) -> bool:
        return self._journal.outcome(schedule) is not None

    def _known(self, schedules: Iterable[Schedule]) -> Iterator[Outcome]:
        """The outcomes that are known of schedules."""
        for schedule in schedules:
            outcome = self._journal.outcome(schedule)
            assert outcome is not None
            yield outcome

    # --- noise --------------------------------------------------------------------------------------------------------

    def _begin_watch(self, reference: Outcome, now: Outcome) -> None:
        """Begins to watch the default, unless it fails: it took `reference` when it was first measured."""
        if not (isinstance(reference, float) and isinstance(now, float)):
            return
        self._noise = NoiseWatch(reference)
        if self._noise.has_moved(now):
            self._settle(self._noise, now, again=0)

    def _check_machine(self, bench: Bench, default: Schedule, *, at_end: bool = False) -> None:
        """Now and then measures the default again; where its time has moved, also what may have been disturbed."""
        noise = self._noise
        if noise is None or not noise.is_due(at_end=at_end) or not self._has_time():
            return
        window = noise.end_window()
        ((_, first),) = self._stored(bench, [default])
        if not isinstance(first, float) or not noise.has_moved(first):
            return
        ((_, second),) = self._stored(bench, [default])  # for a moment only, or to stay?
        if not isinstance(second, float):
            return
        disturbed = self._disturbed(window, noise, first)
        if noise.has_moved(second):
            self._settle(noise, second, again=len(disturbed))
        else:
            self._watch(MachineDrifted(ratio=noise.ratio(first), again=len(disturbed)))
        for schedule, _ in self._stored(bench, disturbed):
            noise.tried_again(schedule)

    def _settle(self, noise: NoiseWatch, default_s: float, again: int) -> None:
        """Takes the machine as it is now: times from now on are compared with earlier ones by what the default took."""
        self._watch(MachineDrifted(ratio=noise.ratio(default_s), again=again))
        noise.settle(default_s)
        self._journal.level = noise.level

    def _disturbed(self, window: Sequence[Schedule], noise: NoiseWatch, default_s: float) -> list[Schedule]:
        """Those of a window that could be the best had the machine been as when the default took the least."""
        moved = noise.ratio(default_s)
        best_s = min(filter(None, map(self._journal.level_s, self._journal.fastest(1))), default=0.0)
        near = self._journal.fastest(self._journal.trials, below_s=max(moved, 1 / moved) * best_s * CLOSE)
        again = [schedule for schedule in near if schedule in window and noise.may_be_tried_again(schedule)]
        return again[: self._room(AGAIN_SHARE)]

    # --- the budget ---------------------------------------------------------------------------------------------------

    def _left(self) -> int:
        """How many more trials the budget has room for."""
        trials = max(0, self._budget.trials - self._journal.trials)
        room = self._room()
        if room is None:
            return trials
        return min(trials, max(1, room)) if self._has_time() else 0

    def _room(self, share: float = 1.0) -> int | None:
        """How many trials fit into a part of the time left for them; None where there is no limit."""
        end_s = self._trials_end()
        return None if end_s is None else max(0, int(share * (end_s - time.monotonic()) / max(self._trial_s, 1e-3)))

    @property
    def _trial_s(self) -> float:
        """Seconds that a trial took on average."""
        return self._measuring_s / max(1, self._measured)

    @property
    def _build_s(self) -> float:
        """Seconds that building a candidate took on average."""
        return self._building_s / max(1, self._built)

    def _has_time(self) -> bool:
        """False once the time for trials is over."""
        end_s = self._trials_end()
        return end_s is None or time.monotonic() < end_s

    def _trials_end(self) -> float | None:
        """When the finals must begin, by the monotonic clock; None where there is no limit."""
        if self._budget.seconds is None:
            return None
        least_s = FINALS_SHARE * self._budget.seconds
        kept_s = 0.0 if self._default is None else usual_s(self._journal, self._default, self._build_s)
        return self._begin + self._budget.seconds - min(max(least_s, kept_s), 2 * least_s)

    def finals_time(self) -> FinalsTime | None:
        """What time there is for the finals; None where there is no limit."""
        if self._budget.seconds is None:
            return None
        return FinalsTime(end=self._begin + self._budget.seconds, build_s=self._build_s)


def _before(schedule: Schedule, waiting: Iterator[Schedule]) -> Iterator[Schedule]:
    """Takes the next of `waiting` up to `schedule`; all but that one."""
    for other in waiting:
        if other == schedule:
            return
        yield other
