"""How near machines are: five labels, each with what must be the same for it."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.spec.claim import Machine
from autosched.spec.errors import SpecError
from autosched.store.match import MATCHES, check_match, match_of, nearest_first
from store_cases import MACHINE

UNKNOWN = Machine(arch="aarch64", vendor="arm", family=0, model=0, isa=(), cores=8, l1d_bytes=0, l2_bytes=0, l3_bytes=0)

machines = st.builds(
    Machine,
    arch=st.sampled_from(["x86_64", "aarch64"]),
    vendor=st.sampled_from(["AuthenticAMD", "GenuineIntel"]),
    family=st.sampled_from([0, 26]),
    model=st.sampled_from([0, 2, 68]),
    isa=st.sampled_from([(), ("avx2",), ("avx2", "fma")]),
    cores=st.sampled_from([2, 8]),
    l1d_bytes=st.sampled_from([0, 49152]),
    l2_bytes=st.just(1048576),
    l3_bytes=st.sampled_from([0, 33554432]),
)


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({}, "exact"),
        ({"cores": 64}, "model"),
        ({"cores": 64, "l3_bytes": 0}, "model"),
        ({"model": 3}, "caches"),
        ({"model": 3, "vendor": "GenuineIntel", "family": 6, "cores": 1}, "caches"),
        ({"model": 3, "l2_bytes": 2**21}, "isa"),
        ({"isa": ("avx2", "fma")}, "portable"),
        ({"arch": "aarch64"}, "portable"),
    ],
)
def test_what_makes_each_label(changes: dict[str, object], label: str) -> None:
    assert match_of(MACHINE, attrs.evolve(MACHINE, **changes)) == label  # type: ignore[arg-type]


def test_what_is_not_known_is_not_the_same() -> None:
    assert match_of(UNKNOWN, attrs.evolve(UNKNOWN, cores=4)) == "portable"
    assert match_of(UNKNOWN, UNKNOWN) == "exact"
    blind = attrs.evolve(MACHINE, l1d_bytes=0)
    assert match_of(blind, attrs.evolve(blind, model=3)) == "isa"


@given(machines, machines)
def test_it_does_not_matter_who_asks(one: Machine, other: Machine) -> None:
    assert match_of(one, other) == match_of(other, one)
    assert (match_of(one, other) == "exact") == (one == other)


@given(machines, st.lists(machines, max_size=6), st.sampled_from(MATCHES))
def test_the_nearest_come_first(ours: Machine, others: list[Machine], loosest: str) -> None:
    found = nearest_first(ours, others, loosest)
    ranks = [MATCHES.index(label) for label, _ in found]
    assert ranks == sorted(ranks)
    assert all(0 < rank <= MATCHES.index(loosest) for rank in ranks)
    assert [label for label, _ in found] == [match_of(ours, machine) for _, machine in found]
    assert nearest_first(ours, others[::-1], loosest) == found, "in whatever order they are known"


def test_other_words_are_refused() -> None:
    with pytest.raises(SpecError, match="match: unknown match 'same'; allowed: exact, model, caches, isa, portable"):
        check_match("same")
