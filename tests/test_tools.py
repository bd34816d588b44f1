"""What a time was taken with: what is noted, what is left out, and what counts as drift."""

from __future__ import annotations

import getpass
import importlib.metadata
import platform
import re
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosched.spec.claim import Tool
from autosched.spec.errors import SpecError
from autosched.spec.tvm_versions import LLVM
from autosched.spec.versions import VERSION
from autosched.store import tools as tools_module
from autosched.store.installed import installed_versions
from autosched.store.machine import this_machine
from autosched.store.recent import best_of, drifted, everything, reduced, since, undrifted
from autosched.store.tools import Drift, check_drift, compilers, drift_of, tools
from store_cases import failed, record, tiled, timed

if TYPE_CHECKING:
    from pathlib import Path

    from autosched.store.records import Record

HERE = this_machine()
versions = st.dictionaries(st.sampled_from(["spec", "apache-tvm", "linux", "governor"]), st.sampled_from("123"))


def made_of(found: dict[str, str]) -> tuple[Tool, ...]:
    return tuple(Tool(name=name, version=version) for name, version in found.items())


def test_what_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "governor").write_text("performance\n")
    (tmp_path / "nvidia").write_text("550.54.15\n")
    monkeypatch.setattr(tools_module, "_GOVERNOR", tmp_path / "governor")
    monkeypatch.setattr(tools_module, "_NVIDIA", tmp_path / "nvidia")
    monkeypatch.setattr(platform, "release", lambda: "6.1.0-13-made-by-anna")
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    found = {tool.name: tool.version for tool in tools(HERE)}
    assert found.keys() >= {"spec", "autosched"}
    assert found["spec"] == str(VERSION)
    assert (found["linux"], found["governor"], found["nvidia"]) == ("6.1.0", "performance", "550.54.15")
    assert "llvm" not in found or found["llvm"] == LLVM[found["apache-tvm"]]


def test_what_is_not_known_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "governor").write_text("no word, but a sentence\n")
    monkeypatch.setattr(tools_module, "_GOVERNOR", tmp_path / "governor")
    monkeypatch.setattr(tools_module, "_NVIDIA", tmp_path / "none")
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    found = {tool.name for tool in tools(HERE)}
    assert not found & {"linux", "governor", "nvidia"}


def test_of_another_machine_only_the_programs_are_known() -> None:
    names = {tool.name for tool in tools(attrs.evolve(HERE, cores=999))}
    assert not names & {"linux", "governor", "nvidia"}
    assert "autosched" in names
    assert compilers(tools(HERE)) == compilers(tools(attrs.evolve(HERE, cores=999)))


def test_no_name_of_who_or_where() -> None:
    said = " ".join(f"{tool.name} {tool.version}" for tool in tools(HERE))
    for name in (platform.node(), getpass.getuser()):
        assert not re.search(rf"\b{re.escape(name)}\b", said)


def test_drift_is_what_is_known_twice_and_differs() -> None:
    then = made_of({"apache-tvm": "0.27.0", "linux": "6.1.0", "governor": "powersave"})
    now = made_of({"apache-tvm": "0.28.0", "linux": "6.1.0", "llvm": "23"})
    assert drift_of(then, now) == (Drift(field="apache-tvm", then="0.27.0", now="0.28.0"),)


@given(versions, versions)
def test_drift_of_the_same_is_none_and_goes_both_ways(one: dict[str, str], other: dict[str, str]) -> None:
    assert drift_of(made_of(one), made_of(one)) == drift_of((), made_of(one)) == drift_of(made_of(one), ()) == ()
    there = {(d.field, d.then, d.now) for d in drift_of(made_of(one), made_of(other))}
    back = {(d.field, d.now, d.then) for d in drift_of(made_of(other), made_of(one))}
    assert there == back
    assert all(one[field] == then and other[field] == now for field, then, now in there)


def test_a_record_drifts_with_its_last_measurement() -> None:
    old, new = Tool(name="autosched", version="0.0"), tools(HERE)
    both = record(timed(0.1, tools=(old,), date="2026-01-01"), timed(0.1, tools=new, date="2026-01-02"))
    assert drifted(both) == ()
    assert [d.field for d in drifted(record(both.measurements[0]))] == ["autosched"]
    assert drifted(record(failed=failed())) == ()


def test_only_what_counts_is_left() -> None:
    old, new = timed(0.1, date="2026-01-01", tools=(Tool(name="autosched", version="0.0"),)), timed(0.2, tools=())
    both = record(old, new, failed=failed(date="2026-01-01"))
    assert reduced(both, everything) == both
    assert reduced(both, since("2026-06")) == record(new)
    assert reduced(both, undrifted(HERE)) == record(new, failed=both.failed)
    assert reduced(both, since("2027")) is None


def test_the_best_is_ranked_as_in_the_store() -> None:
    def of(factor: int, *samples: float, **changes: object) -> Record:
        return record(timed(*samples, **changes), schedule=tiled(factor=factor))

    fast, held, odd = of(4, 0.1), of(8, 0.2, baseline_s=(0.3,)), of(16, 0.01, accuracy="winograd")
    assert best_of((fast, held, odd), ("reassociated",)) == held
    assert best_of((odd, held), ("winograd",)) == odd
    assert best_of((), ("exact",)) is None


def test_other_words_are_refused() -> None:
    with pytest.raises(SpecError, match="drift: unknown policy for drift 'no'; allowed: trust, recheck, reject"):
        check_drift("no")


def test_what_is_installed_is_what_python_says() -> None:
    names = ("attrs", "apache-tvm-ffi", "no-such-distribution", "cattrs")
    known = [name for name in names if name != "no-such-distribution"]
    assert installed_versions(names) == {name: importlib.metadata.version(name) for name in known}


def test_the_first_place_on_the_path_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, version in (("a", "2.0"), ("b", "1.0")):
        described = tmp_path / folder / f"some_thing-{version}.dist-info"
        described.mkdir(parents=True)
        (described / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: some-thing\nVersion: {version}\n\nVersion: 9\n"
        )
    monkeypatch.setattr("sys.path", [str(tmp_path / "none"), str(tmp_path / "a"), str(tmp_path / "b")])
    assert installed_versions(["some-thing", "other"]) == {"some-thing": "2.0"}
    (tmp_path / "a" / "some_thing-3.0.dist-info").mkdir()  # a broken upgrade
    (tmp_path / "a" / "some_thing-3.0.dist-info" / "METADATA").write_text("Name: some-thing\nVersion: 3.0\n")
    assert installed_versions(["some-thing"])["some-thing"] == importlib.metadata.version("some-thing") != "1.0"
