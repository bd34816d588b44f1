"""Files merged by meaning: in any order, twice or once, and nobody's claim is lost."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autosched.spec.errors import SpecError
from autosched.spec.spec_file import SpecFile, load_spec, save_spec
from autosched.store.bundle import Entry, Searched, bundle_lines, read_bundle
from autosched.store.claims import spec_from_record
from autosched.store.merging import Pool, merge_files, merged_spec
from autosched.store.records import CLAIMED, Record, SearchState
from cli_calls import call
from store_cases import OTHER_MACHINE, gemm, record, tiled, timed
from store_strategies import records, states

if TYPE_CHECKING:
    from autosched.spec.claim import Claim

NAMES = ("ABCijk", "XYZabc")

entries = st.one_of(
    records,
    records,
    st.builds(
        lambda about, state: Searched(task=about.task, machine=about.machine, protocol=about.protocol, state=state),
        records,
        states,
    ),
)


def lines(found: list[Entry]) -> list[str]:
    pool = Pool()
    for entry in found:
        pool.add(entry)
    return list(bundle_lines(pool.entries()))


@given(st.lists(entries, max_size=5), st.randoms(use_true_random=False))
def test_bundles_merge_in_any_order_and_as_often_as_you_like(found: list[Entry], shuffler: object) -> None:
    once = lines(found)
    shuffled = [*found, *found[:2]]
    shuffler.shuffle(shuffled)  # type: ignore[attr-defined] # Hypothesis's Random
    assert lines(shuffled) == once
    pool = Pool()
    for entry in found:
        pool.add(entry)
    assert lines([*pool.entries(), *found]) == once, "what was merged before is merged with the same again"


@given(st.lists(records, min_size=1, max_size=5))
def test_no_measurement_is_lost(found: list[Record]) -> None:
    pool = Pool()
    for each in found:
        pool.add(each)
    merged = {m for entry in pool.entries() if isinstance(entry, Record) for m in entry.measurements}
    claimed = {attrs.evolve(m, origin=CLAIMED) for m in merged}
    assert {m for each in found for m in each.measurements} <= merged | claimed


claims = st.builds(
    lambda samples, date, machine: attrs.evolve(
        spec_from_record(record(timed(*samples, date=date))).claims[0], machine=machine
    ),
    st.lists(st.sampled_from([0.1, 0.2]), min_size=1, max_size=2),
    st.sampled_from(["2026-01-01", "2026-01-02"]),
    st.sampled_from([record(timed(0.1)).machine, OTHER_MACHINE]),
)
specs = st.builds(
    lambda names, given: SpecFile(task=gemm(names), schedule=tiled(names), claims=tuple(given)),
    st.sampled_from(NAMES),
    st.lists(claims, max_size=3),
)


@given(specs, specs, specs)
def test_spec_files_merge_in_any_order(a: SpecFile, b: SpecFile, c: SpecFile) -> None:
    expected = merged_spec([a, b, c])
    assert {*expected.claims} == {*a.claims, *b.claims, *c.claims}
    assert all(merged_spec(order) == expected for order in itertools.permutations([a, b, c]))
    assert merged_spec([merged_spec([a, b]), c]) == merged_spec([a, merged_spec([b, c])]) == expected
    assert merged_spec([expected, expected]) == merged_spec([expected, a]) == expected


@settings(max_examples=10)
@given(specs, specs)
def test_files_of_one_schedule_make_a_spec_file(a: SpecFile, b: SpecFile) -> None:
    with tempfile.TemporaryDirectory() as folder:
        first, second, output = (Path(folder, name) for name in ("a.json", "b.json", "c.json"))
        save_spec(a, first)
        save_spec(b, second)
        merge_files([first, second], output)
        assert load_spec(output) == merged_spec([a, b])
        merge_files([second, first], first)
        assert first.read_bytes() == output.read_bytes(), "over one of them, in the other order"


def saved(folder: Path, name: str, *claimed: Claim, factor: int = 8, extent: int = 64) -> Path:
    task, schedule = gemm(extent=extent), tiled(factor=factor, extent=extent)
    save_spec(SpecFile(task=task, schedule=schedule, claims=claimed), folder / name)
    return folder / name


CLAIM = spec_from_record(record(timed(0.1))).claims[0]


def test_other_schedules_and_other_tasks_make_a_bundle(folder: Path) -> None:
    a, b = saved(folder, "a.json", CLAIM), saved(folder, "b.json", CLAIM, factor=4)
    c = saved(folder, "c.json", CLAIM, extent=32)
    done = call("merge", a, b, c, "-o", "all.jsonl")
    assert (done.exit_code, done.stdout) == (0, "all.jsonl: a bundle, 3 schedules of 2 tasks\n")
    assert {entry.origin for entry in read_bundle(folder / "all.jsonl", pytest.fail) if isinstance(entry, Record)} == {
        CLAIMED
    }
    before = (folder / "all.jsonl").read_bytes()
    for again in (["all.jsonl", a], [c, b, a], ["all.jsonl", "all.jsonl"]):
        assert call("merge", *again, "-o", "again.jsonl").exit_code == 0
        assert (folder / "again.jsonl").read_bytes() == before
    assert call("merge", a, a, "-o", "one.json").stdout == "one.json: a spec file, 1 schedule of 1 task\n"


def test_nothing_is_written_where_a_file_is_bad(folder: Path) -> None:
    a, bare = saved(folder, "a.json", CLAIM), saved(folder, "bare.json", factor=4)
    (folder / "bad.jsonl").write_text('{"format":"autosched/bundle","version":1}\n{"task":3}\n')
    for files, message in (
        ([a, bare], "bare.json: claims: claims nothing"),
        ([a, "bad.jsonl"], "bad.jsonl: line 2.task: found the number 3"),
        ([a, "none.json"], "no file 'none.json'"),
    ):
        done = call("merge", *files, "-o", "c.json")
        assert done.exit_code == 2
        assert message in done.stderr
        assert not (folder / "c.json").exists()
    with pytest.raises(SpecError, match="no folder"):
        merge_files([a, a], folder / "no" / "c.json")


def test_searches_are_united() -> None:
    few, many = (
        SearchState(strategy="auto", trials=n, finished=n, seconds=1.0, space="cpu-1", date="2026-01-01")
        for n in (8, 64)
    )
    about = record(timed(0.1))
    pool = Pool()
    for state in (many, few):
        pool.add(Searched(task=about.task, machine=about.machine, protocol=about.protocol, state=state))
    (found,) = pool.entries()
    assert isinstance(found, Searched)
    assert found.state.covers(64)
