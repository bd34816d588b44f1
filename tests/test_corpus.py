"""Old spec files: each still checks, lowers and gives the right numbers, and each word of the language has one.

The files of tests/data/specs are written once, and never again: what a file of version 1 says is what it said on the
day it was written, whatever later versions add. A test that fails here is a compiler that broke somebody's files; mend
the compiler. A new word gets a new file, named by the feature, in the form that ``autosched`` writes.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from autosched.spec.spec_file import SpecFile, load_spec
from autosched.spec.testing_lowering import assert_lowers_correctly, assert_rewrites_correctly
from autosched.spec.tvm_lower import lower
from autosched.spec.versions import version_needed
from corpus import FILES, intrinsics_lacking, needs_device, task_for_here, try_file
from corpus_words import VOCABULARIES, Word, all_words, records, words_in

if TYPE_CHECKING:
    from pathlib import Path

spec_of = functools.lru_cache(maxsize=None)(load_spec)

UNTOLD = {
    ("Effort", "exhausted"): "no search that a claim here tells of came to the end of its space",
    ("Effort", "started_from"): "no search that a claim here tells of began with what others had found",
}
"""Fields that say the same in every file, and why: no word of the schedule language may stand here."""


each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
each_file_where_it_runs = pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.device] if needs_device(path) else [], id=path.stem) for path in FILES],
)


@each_file
def test_a_file_checks_and_lowers(path: Path) -> None:
    spec = spec_of(path)
    assert lower(spec.schedule, spec.task) is not None


@each_file
def test_a_file_is_right_without_tvm(path: Path) -> None:
    spec = spec_of(path)
    assert_rewrites_correctly(spec.schedule, spec.task)


@each_file_where_it_runs
def test_a_file_builds_and_its_numbers_are_right(path: Path) -> None:
    spec = spec_of(path)
    if lacking := intrinsics_lacking(spec.schedule):
        pytest.skip(f"this machine has no {lacking[0]}")
    assert_lowers_correctly(spec.schedule, task_for_here(spec.task))


# --- that nothing is missing ------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1)
def words_of_the_corpus() -> frozenset[Word]:
    return frozenset().union(*(words_in(spec_of(path)) for path in FILES))


def text_of(word: Word) -> str:
    record, field, value = word
    return f"{record}.{field}" + (f" = {value!r}" if value else "")


def test_every_word_of_the_language_is_in_a_file() -> None:
    missing = {word for word in all_words() - words_of_the_corpus() if word[:2] not in UNTOLD}
    assert sorted(map(text_of, missing)) == [], "write a small file for each, named by the feature, to tests/data/specs"


def test_nothing_is_excused_that_a_file_says() -> None:
    said = {word[:2] for word in words_of_the_corpus()}
    assert sorted(said & UNTOLD.keys()) == []


def test_every_record_is_known_and_fields_that_choose_are_fields() -> None:
    known = records()
    assert {"SpecFile", "Task", "Workload", "Stage", "Load", "Accumulate", "Nest", "BindFused", "Claim"} <= known.keys()
    for cls, field in VOCABULARIES:
        assert field in {each.name for each in attrs.fields(known[cls])}


def test_every_field_that_chooses_from_words_is_known() -> None:
    """A record refuses what is in no list; what it names in the refusal must be in ours."""
    for (cls, field), values in VOCABULARIES.items():
        if (cls, field) in {("Split", "tail"), ("BindLoop", "to"), ("Reducer", "op")}:
            refused = _refusal(records()[cls], field)
            assert set(re.findall(r"[\w.]+", refused.split("allowed: ")[1])) == set(values)


def _refusal(cls: type[Any], field: str) -> str:
    samples: dict[str, Any] = {"axis": "i", "into": ("io",), "factors": (4,), "loop": "i", "init": ()}
    arguments = {each.name: samples[each.name] for each in attrs.fields(cls) if each.name in samples}
    with pytest.raises(ValueError, match="allowed: ") as caught:
        cls(**arguments, **{field: "no such word"})
    return str(caught.value)


def test_every_version_of_the_language_has_a_file() -> None:
    """A version that brought no word yet has none: a file is written in the lowest version that can say it."""
    brought = {getattr(cls, "SINCE", 1) for cls in records().values()}
    for cls in records().values():
        for field in attrs.fields(cls):
            brought |= {field.metadata.get("since", 1), *field.metadata.get("since_of", {}).values()}
    assert {version_needed(spec_of(path)) for path in FILES} == brought | {1}


def test_names_of_files_are_plain() -> None:
    assert [path.name for path in FILES if not re.fullmatch(r"[a-z][a-z0-9_]*\.json", path.name)] == []


# --- the trial that the other versions of TVM are put to --------------------------------------------------------------


def test_a_trial_says_what_is_right_and_what_is_not(tmp_path: Path) -> None:
    good = next(path for path in FILES if path.stem == "order")
    assert try_file(good) == {"lowers": True, "right": True, "problem": ""}
    bad = tmp_path / "bad.json"
    bad.write_text(good.read_text(encoding="utf-8").replace('"ki", "j"]', '"ki"]'), encoding="utf-8")
    found = try_file(bad)
    assert (found["lowers"], found["right"]) == (False, False)
    assert "loop 'j' is left out" in str(found["problem"])


def test_a_trial_names_wrong_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    import corpus

    def wrong(*_: object) -> None:
        raise AssertionError("Not equal to tolerance")

    monkeypatch.setattr(corpus, "assert_lowers_correctly", wrong)
    assert try_file(FILES[0]) == {"lowers": True, "right": False, "problem": "Not equal to tolerance"}


def test_words_are_read_from_records() -> None:
    spec = spec_of(next(path for path in FILES if path.stem == "splits_predicate"))
    said = words_in(spec)
    assert ("Split", "tail", "predicate") in said
    assert ("Nest", "start", "") not in said
    assert isinstance(spec, SpecFile)
