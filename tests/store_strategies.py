"""Hypothesis strategies of what a store holds: records of a few tasks, machines and protocols, and search states."""

from __future__ import annotations

from hypothesis import strategies as st

from autosched.store.records import CLAIMED, MEASURED, FailedTrial, Measurement, Record, SearchState
from store_cases import MACHINE, OTHER_MACHINE, OTHER_PROTOCOL, PROTOCOL, failed, gemm, tiled

ACCURACIES = ("exact", "reassociated", "winograd", "reduced")
NAMES = ("ABCijk", "XYZabc")  # two people's names for one task
EXTENTS = (16, 32)
FACTORS = (2, 4, 8)
MACHINES = (MACHINE, OTHER_MACHINE)
PROTOCOLS = (PROTOCOL, OTHER_PROTOCOL)

measurements = st.builds(
    Measurement,
    samples_s=st.lists(st.sampled_from([0.001, 0.002, 0.004]), min_size=1, max_size=3).map(tuple),
    verified=st.sampled_from([True, True, False]),
    accuracy=st.sampled_from(ACCURACIES),
    origin=st.sampled_from([MEASURED, MEASURED, CLAIMED]),
    date=st.sampled_from(["2026-01-01", "2026-01-02", "2026-01-03"]),
)
failures = st.builds(failed, date=st.sampled_from(["2026-01-01", "2026-01-02"]))
records = st.builds(
    lambda names, extent, factor, machine, protocol, what: Record(
        task=gemm(names, extent),
        schedule=tiled(names, factor, extent),
        machine=machine,
        protocol=protocol,
        measurements=() if isinstance(what, FailedTrial) else (what,),
        failed=what if isinstance(what, FailedTrial) else None,
    ),
    st.sampled_from(NAMES),
    st.sampled_from(EXTENTS),
    st.sampled_from(FACTORS),
    st.sampled_from(MACHINES),
    st.sampled_from(PROTOCOLS),
    st.one_of(measurements, measurements, failures),
)
states = st.builds(
    SearchState,
    strategy=st.just("random"),
    trials=st.integers(0, 9),
    finished=st.integers(0, 9),
    exhausted=st.booleans(),
    seconds=st.sampled_from([0.5, 2.0]),
    date=st.sampled_from(["2026-01-01", "2026-01-02"]),
)
places = st.tuples(
    st.sampled_from(NAMES), st.sampled_from(EXTENTS), st.sampled_from(MACHINES), st.sampled_from(PROTOCOLS)
)
