"""Versions of TVM: which pairs are known, what the doctor says of them, and that each has its table of names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import tvm

from autosched import cli_doctor
from autosched.spec import tvm_names
from autosched.spec.errors import LoweringError
from autosched.spec.task import Task
from autosched.spec.tvm_versions import DEFAULT, LLVM, PAIRS, is_known_pair, is_supported_pair, minor

ROOT = Path(__file__).resolve().parent.parent
TABLES = {path.stem.removeprefix("tvm_names_"): path for path in sorted((ROOT / "spec").glob("tvm_names_*.py"))}


def pair(tvm_version: str, ffi: str) -> dict[str, str]:
    return {"apache-tvm": tvm_version, "apache-tvm-ffi": ffi}


def test_the_pair_that_is_installed_with_us_is_the_one_that_is_pinned() -> None:
    pinned = re.findall(r'"apache-tvm(?:-ffi)?==([^"]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert pinned == [DEFAULT, PAIRS[DEFAULT][0]]
    assert is_supported_pair(*pinned)


def test_a_pair_is_known_as_a_pair() -> None:
    assert all(is_known_pair(each, ffi) for each, ffis in PAIRS.items() for ffi in ffis)
    assert not is_known_pair("0.26.0", PAIRS[DEFAULT][0])
    assert not is_known_pair("0.24.0", "0.1.12")
    assert not is_known_pair(None, None)
    assert not is_supported_pair("0.26.0", PAIRS["0.26.0"][0])


@pytest.mark.parametrize(("version", "numbers"), [("0.27.0.post1", (0, 27)), ("0.26.dev3", (0, 26)), ("1.0", (1, 0))])
def test_the_numbers_that_names_depend_on(version: str, numbers: tuple[int, int]) -> None:
    assert minor(version) == numbers


def test_llvm_is_what_tvm_has_inside() -> None:
    assert str(tvm.get_global_func("target.llvm_version_major")()) == LLVM[DEFAULT]


def test_what_is_no_version_has_no_numbers() -> None:
    with pytest.raises(ValueError, match="'main' is no version of TVM"):
        minor("main")


@pytest.mark.parametrize("version", [v for v in PAIRS if v != DEFAULT])
def test_the_doctor_takes_an_older_pair_and_says_what_it_lacks(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_doctor, "installed", pair(version, PAIRS[version][0]).get)
    assert list(cli_doctor.wrong_versions()) == []
    text = cli_doctor.pair_text(version, PAIRS[version][0])
    assert text.startswith("known: spec files lower, build, run")
    assert f"needs {DEFAULT}" in text


def test_the_doctor_refuses_a_mixed_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_doctor, "installed", pair("0.26.0", PAIRS[DEFAULT][0]).get)
    (line,) = cli_doctor.wrong_versions()
    assert line.startswith(f"apache-tvm is 0.26.0, needs {DEFAULT}")
    assert cli_doctor.pair_text("0.26.0", PAIRS[DEFAULT][0]).startswith("unknown, and may crash; known: 0.25.0 with ")


def test_each_version_has_its_table_and_all_have_the_same_names() -> None:
    assert {f"{major}{small:02}" for major, small in map(minor, PAIRS)} == TABLES.keys()
    listed = {version: _listed(path) for version, path in TABLES.items()}
    assert len(set(listed.values())) == 1, listed
    for path in TABLES.values():
        assert set(_listed(path)) <= _defined(path), path.name


def _listed(path: Path) -> tuple[str, ...]:
    """The names in ``__all__``."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__":
            return tuple(ast.literal_eval(node.value))
    raise AssertionError(f"{path.name} has no __all__")


def _defined(path: Path) -> set[str]:
    """The names that a module defines or imports."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


def test_only_the_choice_of_the_table_asks_for_a_version() -> None:
    allowed = {"tvm_names.py", "tvm_versions.py", "cli_doctor.py", "tools.py"}  # the last asks for LLVM's
    modules = [path for folder in ("spec", "store", "search", "nn", "api") for path in (ROOT / folder).glob("*.py")]
    assert [path.name for path in modules if "tvm_versions" in path.read_text() and path.name not in allowed] == []


def test_an_older_tvm_reads_no_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tvm, "__version__", "0.26.0")
    with pytest.raises(LoweringError, match=r"TVM 0\.26\.0 is installed, and TE and TensorIR are read with 0\.27"):
        Task.from_te([])
    with pytest.raises(LoweringError, match="install that, or pass a spec file"):
        tvm_names.check_reads()
