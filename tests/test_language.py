"""The page of the schedule language: every block of docs/language.md is run, and every schedule in it is right.

``pytest tests/test_language.py --accept-goldens`` writes what is printed and lowered now into the page and into
tests/goldens/; read the difference before it is committed.
"""

from __future__ import annotations

import difflib
import doctest
import re
import shlex
from pathlib import Path
from typing import Any, get_args

import attrs
import pytest
import tvm
import tvm_ffi
from click.testing import CliRunner

from autosched.cli import main
from autosched.spec.algorithm import Algorithm
from autosched.spec.check import MAX_LANES, MAX_LOOPS, MAX_UNROLLED, check_schedule
from autosched.spec.check_gpu import MAX_VTHREADS
from autosched.spec.check_workload import MAX_RANK, MAX_STAGES, check_workload
from autosched.spec.convert import STAGINGS, structure
from autosched.spec.errors import SpecError
from autosched.spec.expr_text import MAX_TEXT
from autosched.spec.intrinsics import INTRINSICS
from autosched.spec.json_text import Json, read_json, write_json
from autosched.spec.nest import plan_from_nests
from autosched.spec.rewrite import MAX_NODES
from autosched.spec.schedule import (
    BINDINGS,
    MAX_AHEAD,
    MAX_ALIGN,
    SCOPES,
    TAILS,
    Align,
    At,
    Bind,
    Fuse,
    Nest,
    Schedule,
    Split,
    Tensorize,
)
from autosched.spec.show import text_from_plan
from autosched.spec.spec_file import SpecFile, spec_from_text, text_from_spec
from autosched.spec.task import Target, TargetOption, Task
from autosched.spec.testing_lowering import assert_lowers_correctly, assert_rewrites_correctly
from autosched.spec.tvm_lower import lower
from autosched.spec.versions import VERSION
from autosched.spec.workload import Workload
from corpus import intrinsics_lacking
from language_page import PAGE, Block, Example, accept, read_page

GOLDENS = Path(__file__).parent / "goldens"
THE_PAGE = read_page()
TARGETS = {"llvm": Target(), "cuda": Target(kind="cuda", options=(TargetOption(name="arch", value="sm_80"),))}

each_workload = pytest.mark.parametrize("example", THE_PAGE.workloads.values(), ids=lambda e: e.name)
each_schedule = pytest.mark.parametrize("example", THE_PAGE.right, ids=lambda e: e.name)
each_mistake = pytest.mark.parametrize("example", THE_PAGE.mistaken, ids=lambda e: e.name)


@pytest.fixture
def accepting(request: pytest.FixtureRequest) -> bool:
    """True where what there is now is to be written down as right."""
    return bool(request.config.getoption("--accept-goldens"))


def workload_of(name: str) -> Workload:
    return structure(read_json(THE_PAGE.workloads[name].source), Workload)


def task_of(example: Example) -> Task:
    return Task(
        workload=workload_of(example.on), target=TARGETS[example.target], threads=2, constants=example.constants
    )


def spec_of(example: Example) -> SpecFile:
    """The spec file that has the example as its schedule, read from text as a user's is."""
    text = text_from_spec(SpecFile(task=task_of(example), schedule=Schedule()))
    whole = {**as_object(text), "version": VERSION, "schedule": as_object(example.source)}
    return spec_from_text(write_json(whole))


def as_object(text: str) -> dict[str, Json]:
    value = read_json(text)
    assert isinstance(value, dict)
    return value


# --- what the page prints ---------------------------------------------------------------------------------------------


@each_workload
def test_a_workload_is_well_formed_and_prints_its_loops(example: Example, accepting: bool) -> None:
    workload = workload_of(example.name)
    check_workload(workload)
    printed = text_from_plan(plan_from_nests(workload, ())) + "\n"
    if accepting:
        accept(example.name, f"workload {example.name}", printed)
    else:
        assert printed == example.printed


@each_schedule
def test_a_schedule_prints_the_loops_that_the_page_shows(example: Example, accepting: bool) -> None:
    printed = text_from_plan(check_schedule(spec_of(example).schedule, task_of(example))) + "\n"
    if accepting:
        accept(example.name, f"{example.name} of", printed)
    else:
        assert printed == example.printed


@each_mistake
def test_a_mistake_gets_the_message_that_the_page_shows(example: Example, accepting: bool) -> None:
    with pytest.raises(SpecError) as caught:
        spec_of(example)
    if accepting:
        accept(example.name, f"{example.name} of", f"{caught.value}\n")
    else:
        assert f"{caught.value}\n" == example.printed


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with the files that the page shows in it."""
    for name, text in THE_PAGE.files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("block", THE_PAGE.consoles, ids=lambda b: f"line {b.line}")
def test_a_command_prints_what_the_page_shows(block: Block, folder: Path) -> None:
    for said in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, printed = said.partition("\n")
        program, *words = shlex.split(command)
        assert program == "autosched"
        done = CliRunner().invoke(main, words, catch_exceptions=False)
        assert done.stdout + done.stderr == printed, command


@pytest.mark.parametrize("name", THE_PAGE.files)
def test_a_file_of_the_page_is_written_as_the_program_writes_it(name: str) -> None:
    assert text_from_spec(spec_from_text(THE_PAGE.files[name])) == THE_PAGE.files[name]


def test_the_python_of_the_page(folder: Path) -> None:
    runner, parser = doctest.DocTestRunner(), doctest.DocTestParser()
    names: dict[str, object] = {}
    for block in THE_PAGE.pythons:
        test = parser.get_doctest(block.text, names, PAGE.name, str(PAGE), block.line)
        assert test.examples, f"line {block.line}: nothing to run; write >>> before each statement"
        said: list[str] = []
        runner.run(test, out=said.append, clear_globs=False)
        assert not said, "".join(said)
        names.update(test.globs)


# --- what its schedules do --------------------------------------------------------------------------------------------


@each_schedule
def test_a_schedule_is_right_in_numbers(example: Example) -> None:
    assert_rewrites_correctly(spec_of(example).schedule, task_of(example))
    if lacking := intrinsics_lacking(spec_of(example).schedule):
        pytest.skip(f"this machine has no {lacking[0]}")
    assert_lowers_correctly(spec_of(example).schedule, task_of(example))


@each_schedule
def test_a_schedule_is_lowered_to_its_golden(example: Example, accepting: bool) -> None:
    check_golden(example.name, spec_of(example).schedule, task_of(example), accepting)


@each_workload
def test_a_workload_is_lowered_to_its_golden(example: Example, accepting: bool) -> None:
    task = Task(workload=workload_of(example.name), threads=2)
    check_golden(f"workload_{example.name}", Schedule(), task, accepting)


def check_golden(name: str, schedule: Schedule, task: Task, accepting: bool) -> None:
    """Compares what is lowered with the TVMScript that is kept, or keeps it."""
    path = GOLDENS / f"{name}.tir"
    mod = lower(schedule, task).mod
    if accepting:
        GOLDENS.mkdir(exist_ok=True)
        path.write_text(_without_header(mod.script()), encoding="utf-8")
    kept = tvm.script.from_source(path.read_text(encoding="utf-8"))
    if not tvm_ffi.structural_equal(mod, kept):
        pytest.fail(f"lowered to another program than {path.name}:\n{_difference(kept, mod)}", pytrace=False)


def _without_header(script: str) -> str:
    """TVMScript from its first decorator on: what stands above differs from version to version."""
    return script[script.index("@I.ir_module") :].rstrip() + "\n"


def _difference(kept: tvm.IRModule, mod: tvm.IRModule) -> str:
    lines = difflib.unified_diff(kept.script().splitlines(), mod.script().splitlines(), "golden", "now", lineterm="")
    return "\n".join(lines)


# --- that nothing is missing ------------------------------------------------------------------------------------------


def test_goldens_are_those_of_the_page() -> None:
    wanted = {f"{e.name}.tir" for e in THE_PAGE.right} | {f"workload_{name}.tir" for name in THE_PAGE.workloads}
    assert {path.name for path in GOLDENS.iterdir()} == wanted


def test_the_page_shows_every_word_of_the_language() -> None:
    shown: set[tuple[str, str]] = set()
    for example in THE_PAGE.right:
        schedule = spec_of(example).schedule
        records: list[Any] = [schedule]
        while records:
            record = records.pop()
            for field in attrs.fields(type(record)):
                value = getattr(record, field.name)
                if value != field.default:
                    shown.add((type(record).__name__, field.name))
                records += [v for v in (value if isinstance(value, tuple) else (value,)) if attrs.has(type(v))]
    classes = [Schedule, Algorithm, *STAGINGS.values(), Fuse, Split, Nest, Align, At, Tensorize, *get_args(Bind)]
    words = {(cls.__name__, field.name) for cls in classes for field in attrs.fields(cls)}
    assert words - shown == set()
    text = "".join(example.source for example in THE_PAGE.right)
    for value in (*BINDINGS, *TAILS[1:], *SCOPES[1:]):
        assert f'"{value}"' in text, value


def test_every_word_of_the_language_has_its_mistake() -> None:
    wrong = {example.name.removeprefix("wrong ") for example in THE_PAGE.mistaken}
    assert wrong >= {*STAGINGS, "splits", "order", "bind", "fuse", "at", "start", "unroll-limit", "tensorize", "once"}
    assert "algorithm" in wrong
    assert wrong >= {"blocks", "threads", "vthread", "scope", "align", "ahead", "fragments"}


def test_the_page_has_the_limits_of_the_checks() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for limit in (
        MAX_VTHREADS,
        MAX_ALIGN,
        MAX_AHEAD,
        MAX_LANES,
        MAX_UNROLLED,
        MAX_LOOPS,
        MAX_STAGES,
        MAX_RANK,
        MAX_TEXT,
        MAX_NODES,
    ):
        assert f"| {limit} |" in text


def test_the_page_has_every_intrinsic() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in INTRINSICS:
        assert f"`{name}`" in text or (name.startswith("madd.") and f"`_{name.rpartition('_')[2]}`" in text), name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```json a of b\n{}\n```\n", "no text after it"),
        ("```json a of b\n{}\n```\n\n```python\n```\n", "no text after it"),
        ("```sh\n```\n", "nothing runs a block of 'sh'"),
        (2 * "```json a of b\n{}\n```\n```text\n```\n", "a second a"),
    ],
)
def test_a_block_that_is_not_run_is_found(text: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        read_page(text)
