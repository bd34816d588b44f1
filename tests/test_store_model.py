"""The store against a dict: a state machine of what two processes do with one folder."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from autosched.spec.rename import schedule_digest
from autosched.store.keys import slot, task_key
from autosched.store.leaders import leader_from_stored, rank
from autosched.store.records import Record, SearchState, further, united
from autosched.store.store import Store
from autosched.store.stored import stored_from_record
from store_cases import gemm, named, tiled
from store_process import OtherProcess, OtherStore
from store_strategies import ACCURACIES, EXTENTS, FACTORS, NAMES, places, records, states

if TYPE_CHECKING:
    from collections.abc import Iterator


class AgainstDict(RuleBasedStateMachine):
    """Two `Store` objects on one folder, beside a dict of records."""

    def opened(self, which: int) -> Any:  # the other machine's second store is elsewhere
        return Store(self.folder.name + "/store")

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.stores = [self.opened(0), self.opened(1)]
        self.model: dict[tuple[str, str], Record] = {}
        self.searches: dict[str, SearchState] = {}

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            assert self.stores[0].check() == ()
            for store in self.stores:
                store.close()
            self.folder.cleanup()

    @rule(new=records, which=st.integers(0, 1))
    def put(self, new: Record, which: int) -> None:
        place, digest = slot(new.task, new.machine, new.protocol), schedule_digest(new.schedule, new.task.names)
        old = self.model.get((place, digest))
        merged = new if old is None else united(old, new)
        self.model[place, digest] = merged
        back = self.stores[which].put(new)
        assert (back.measurements, back.failed) == (merged.measurements, merged.failed)
        assert (back.task, back.schedule) == (new.task, new.schedule), "in the names of who put it"

    @rule(place=places, allow=st.sets(st.sampled_from(ACCURACIES)).map(sorted), which=st.integers(0, 1))
    def best(self, place: tuple[str, int, object, object], allow: list[str], which: int) -> None:
        names, extent, machine, protocol = place
        task = gemm(names, extent)
        here = slot(task, machine, protocol)  # type: ignore[arg-type]
        leaders = [leader_from_stored(stored_from_record(r), d) for (p, d), r in self.model.items() if p == here]
        allowed = [leader for leader in leaders if leader is not None and leader.accuracy in allow]
        found = self.stores[which].best(task, machine, protocol, allow)  # type: ignore[arg-type]
        if not allowed:
            assert found is None
        else:
            expected = self.model[here, min(allowed, key=rank).digest]
            assert found == named(expected, names)
            assert found.task is task or isinstance(self.stores[which], OtherStore)

    @rule(place=places, factor=st.sampled_from(FACTORS), which=st.integers(0, 1))
    def get(self, place: tuple[str, int, object, object], factor: int, which: int) -> None:
        names, extent, machine, protocol = place
        task, schedule = gemm(names, extent), tiled(names, factor, extent)
        expected = self.model.get((slot(task, machine, protocol), schedule_digest(schedule, task.names)))  # type: ignore[arg-type]
        found = self.stores[which].get(task, schedule, machine, protocol)  # type: ignore[arg-type]
        assert found == (None if expected is None else named(expected, names))

    @precondition(lambda self: self.model)
    @rule(data=st.data(), which=st.integers(0, 1))
    def delete(self, data: st.DataObject, which: int) -> None:
        key = data.draw(st.sampled_from(sorted(self.model)))
        assert self.stores[which].delete(self.model[key])
        assert not self.stores[1 - which].delete(self.model.pop(key))

    @rule(place=places, state=states, which=st.integers(0, 1))
    def finish(self, place: tuple[str, int, object, object], state: SearchState, which: int) -> None:
        names, extent, machine, protocol = place
        task = gemm(names, extent)
        here = slot(task, machine, protocol)  # type: ignore[arg-type]
        old = self.searches.get(here)
        self.searches[here] = state if old is None else further(old, state)
        assert self.stores[which].finish_search(task, state, machine, protocol) == self.searches[here]  # type: ignore[arg-type]
        assert self.stores[1 - which].search_state(task, machine, protocol) == self.searches[here]  # type: ignore[arg-type]

    @rule(extent=st.sampled_from(EXTENTS), names=st.sampled_from(NAMES), which=st.integers(0, 1))
    def delete_task(self, extent: int, names: str, which: int) -> None:
        task = gemm(names, extent)
        gone = [key for key in self.model if key[0].startswith(task_key(task))]
        assert self.stores[which].delete_task(task) == len(gone)
        for key in gone:
            del self.model[key]
        for place in [place for place in self.searches if place.startswith(task_key(task))]:
            del self.searches[place]

    @rule(which=st.integers(0, 1))
    def reopen(self, which: int) -> None:
        assert self.stores[which].check() == ()
        self.stores[which].close()
        self.stores[which] = self.opened(which)

    @invariant()
    def holds_what_the_dict_holds(self) -> None:
        if not hasattr(self, "folder"):
            return
        for names in NAMES:
            for extent in EXTENTS:
                task = gemm(names, extent)
                found = {
                    (slot(r.task, r.machine, r.protocol), schedule_digest(r.schedule, r.task.names)): r
                    for r in self.stores[0].records(task)
                }
                expected = {k: named(r, names) for k, r in self.model.items() if k[0].startswith(task_key(task))}
                assert found == expected


class TwoProcesses(AgainstDict):
    """The same, the second store in another process: each sees at once what the other has written."""

    process: OtherProcess | None = None

    def opened(self, which: int) -> Any:
        if which == 0:
            return super().opened(which)
        if TwoProcesses.process is None:
            TwoProcesses.process = OtherProcess()
        return OtherStore(TwoProcesses.process, self.folder.name + "/store")


@pytest.fixture(scope="module", autouse=True)
def _process_ends() -> Iterator[None]:
    yield
    if TwoProcesses.process is not None:
        TwoProcesses.process.end()


TestAgainstDict = AgainstDict.TestCase
TestAgainstDict.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)
TestTwoProcesses = TwoProcesses.TestCase
TestTwoProcesses.settings = settings(max_examples=8, stateful_step_count=15, deadline=None)
