"""Every message that reading and checking a spec can give is given by a file of tests/rejected/, or by a call here."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from autosched.spec import json_text
from autosched.spec.convert import unstructure
from autosched.spec.errors import SpecError
from autosched.spec.expr import Axis, Binary, Call, Load
from autosched.spec.infer import Scope, infer_dtype
from autosched.spec.json_text import compact_json, read_json, write_json
from autosched.spec.spec_file import load_spec, save_spec
from autosched.spec.task import Argument, OperatorCall, Target, TargetOption
from message_sites import Site, recorded, sites, unhit

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
SPEC = load_spec(HERE / "data" / "specs" / "gemm_packed.json")

OTHERWISE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a text too large": (lambda _: read_json("1" * (json_text.MAX_BYTES + 1)), "8388609 characters; at most 8388608"),
    "no file": (lambda folder: load_spec(folder / "none.json"), "no file '"),
    "a folder to read": (load_spec, "is a folder; name a spec file in it"),
    "a name too long to read": (lambda folder: load_spec(folder / ("x" * 300)), "cannot be read: File name too long"),
    "a folder to write": (lambda folder: save_spec(SPEC, folder), "is a folder; name a file in it"),
    "no folder to write in": (lambda folder: save_spec(SPEC, folder / "none" / "a.json"), "no folder '"),
    "a folder that is a file": (
        lambda folder: save_spec(SPEC, _file(folder / "file") / "a.json"),
        "cannot be written: Not a directory",
    ),
    "an infinity to write": (lambda _: write_json(float("inf")), "nan or an infinity cannot be written"),
    "nan in a line": (lambda _: compact_json([float("nan")]), "nan or an infinity cannot be written"),
    "an option twice": (
        lambda _: unstructure(Target(options=2 * (TargetOption(name="mcpu", value="znver5"),))),
        "an option is given twice, or called kind",
    ),
    "an argument twice": (
        lambda _: unstructure(
            attrs.evolve(SPEC.task, op=OperatorCall(name="gemm", args=2 * (Argument(name="N", value=1),)))
        ),
        "an argument is given twice; keep one of them",
    ),
    "a buffer unknown": (
        lambda _: infer_dtype(Load("Z", (Axis("i"),)), SCOPE),
        "no buffer 'Z' is known here",
    ),
    "an operator unknown": (
        lambda _: infer_dtype(Binary("xor", Axis("i"), Axis("i")), SCOPE),
        "unknown operator",
    ),
    "a function unknown": (lambda _: infer_dtype(Call("gamma", (Axis("i"),)), SCOPE), "no function gamma of 1 argum"),
}
"""What no file can bring about: what it does in a folder, and how its message begins or what is in it."""

SCOPE = Scope(buffers=SPEC.task.workload.buffers, axes=frozenset({"i"}))

UNREACHABLE = {
    "check.check_attached_producer: attach it further out": "plan_from_nests finds that reader, or refuses the place",
    "nest.visit: a nest of its own": "every two relatives that get so far agree; lowering relies on it",
    "strict_cattrs.located: cannot be read": "kept for what a later cattrs may raise; the hooks raise SpecErrors",
}
"""Module, function and words in the message → why nothing can bring it about."""


def _file(path: Path) -> Path:
    path.write_text("", encoding="utf-8")
    return path


@pytest.mark.parametrize("name", OTHERWISE)
def test_a_message_that_no_file_gives(name: str, tmp_path: Path) -> None:
    act, message = OTHERWISE[name]
    with pytest.raises(SpecError) as caught:
        act(tmp_path)
    assert message in str(caught.value)


@pytest.fixture(scope="module")
def never_made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, ...]:
    """The places of messages that neither a rejected file nor a case above comes to."""
    folder = tmp_path_factory.mktemp("messages")
    lines: set[tuple[str, int]] = set()
    actions: list[Callable[[], Any]] = [
        functools.partial(load_spec, path) for path in sorted((HERE / "rejected").glob("*.json"))
    ]
    actions += [functools.partial(act, folder) for act, _ in OTHERWISE.values()]
    with recorded(lines):
        for action in actions:
            with pytest.raises(SpecError):
                action()
    return unhit(lines)


def is_excused(site: Site) -> bool:
    excuses = (place.split(": ") for place in UNREACHABLE)
    return any(f"{site.module}.{site.function}" == where and words in site.words for where, words in excuses)


def test_every_message_is_made(never_made: tuple[Site, ...]) -> None:
    missing = [str(site) for site in never_made if not is_excused(site)]
    assert missing == [], "add a file to tests/rejected/, a case to OTHERWISE, or a reason to UNREACHABLE"


def test_nothing_is_excused_that_is_made(never_made: tuple[Site, ...]) -> None:
    excused = [site for site in never_made if is_excused(site)]
    assert len(excused) == len(UNREACHABLE)


def test_places_are_found() -> None:
    found = sites()
    assert len(found) > 150
    (one,) = (site for site in found if site.function == "check_predicate_tails")
    assert "use factors that divide the extent there" in one.words
