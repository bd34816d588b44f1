"""The house rules that no linter knows: which folder may import which, where TVM may appear, sizes and names.

    spec <- store <- search <- nn <- api <- bench

A folder imports itself and what stands left of it. Imports inside functions count as well.
"""

from __future__ import annotations

import ast
import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("spec", "store", "search", "nn", "api", "bench")  # lowest first
FOLDERS = tuple(layer for layer in LAYERS if layer != "api")  # those below the root of the package
MAX_LINES = 400
VAGUE_NAMES = {"common", "helper", "helpers", "misc", "util", "utils"}

TVM_PREFIX = "spec/tvm_"
"""A module of spec/ whose name starts with tvm_ may import TVM."""
TVM_MODULES = {"search/worker.py", "bench/peers/ansor.py", "bench/peers/example.py", "bench/peers/metaschedule.py"}
"""The other modules that may. When TVM renames something, these files follow and no other."""
TVM_PACKAGES = {"tvm", "tvm_ffi"}

HEAVY = ("tvm", "tvm_ffi", "torch", "scipy", "hypothesis", "rich", "matplotlib", "xgboost", "optuna")
"""What a lookup by key must not pay for."""

MODULES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))


def module_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def package_of(path: Path) -> tuple[str, ...]:
    """Where a module's relative imports start: spec/a.py -> (autosched, spec), api/a.py -> (autosched,)."""
    layer, *folders = path.relative_to(ROOT).parent.parts
    return ("autosched", *([] if layer == "api" else [layer]), *folders)


def absolute_imports(tree: ast.Module) -> list[tuple[int, str]]:
    """Line and dotted name of each absolute import."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.append((node.lineno, node.module or ""))
    return found


def relative_imports(tree: ast.Module, package: tuple[str, ...]) -> list[tuple[int, tuple[str, ...]]]:
    """Line and resolved dotted path of each name that a relative import brings."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level > 0:
            base = package[: len(package) - (node.level - 1)]
            module = tuple((node.module or "").split(".")) if node.module else ()
            found += [(node.lineno, (*base, *module, alias.name)) for alias in node.names]
    return found


def layer_of(imported: tuple[str, ...]) -> str:
    """The folder an imported path lives in: autosched.spec.x -> spec, autosched.cli -> api, () -> outside."""
    if imported[:1] != ("autosched",):
        return "outside the package"
    return imported[1] if imported[1] in FOLDERS else "api"


def is_tvm_module(path: Path) -> bool:
    return module_id(path).startswith(TVM_PREFIX) or module_id(path) in TVM_MODULES


def upward_imports(tree: ast.Module, path: Path) -> list[str]:
    layer = path.relative_to(ROOT).parts[0]
    allowed = LAYERS[: LAYERS.index(layer) + 1]
    return [
        f"line {line} imports {'.'.join(imported)} of {layer_of(imported)}; allowed: {', '.join(allowed)}"
        for line, imported in relative_imports(tree, package_of(path))
        if layer_of(imported) not in allowed
    ]


each_module = pytest.mark.parametrize("path", MODULES, ids=module_id)


@each_module
def test_imports_point_down(path: Path) -> None:
    assert upward_imports(tree_of(path), path) == []


@each_module
def test_imports_inside_the_package_are_relative(path: Path) -> None:
    wrong = [line for line, name in absolute_imports(tree_of(path)) if name.split(".")[0] in {"autosched", *LAYERS}]
    assert wrong == [], (
        f"{module_id(path)}: lines {wrong}; write `from ..spec import x`, from api/ `from .spec import x`"
    )


@each_module
def test_tvm_is_imported_only_where_it_may(path: Path) -> None:
    lines = [line for line, name in absolute_imports(tree_of(path)) if name.split(".")[0] in TVM_PACKAGES]
    assert lines == [] or is_tvm_module(path), (
        f"{module_id(path)}: lines {lines} import TVM; move them to a spec/tvm_*.py or extend TVM_MODULES"
    )


@each_module
def test_a_module_is_short_and_has_a_docstring(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines < MAX_LINES, f"{module_id(path)} has {lines} lines; split it by subject"
    assert ast.get_docstring(tree_of(path)), f"{module_id(path)} does not say what it is"


@each_module
def test_a_module_is_named_by_its_subject(path: Path) -> None:
    assert path.stem not in VAGUE_NAMES


@each_module
def test_no_bare_except(path: Path) -> None:
    lines = [n.lineno for n in ast.walk(tree_of(path)) if isinstance(n, ast.ExceptHandler) and n.type is None]
    assert lines == [], f"{module_id(path)}: lines {lines}; name what is caught"


@pytest.mark.parametrize("path", [p for p in MODULES if not module_id(p).startswith("api/")], ids=module_id)
def test_only_the_command_line_prints(path: Path) -> None:
    calls = (n for n in ast.walk(tree_of(path)) if isinstance(n, ast.Call))
    lines = [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    assert lines == [], f"{module_id(path)}: lines {lines}"


def test_every_folder_is_a_typed_package() -> None:
    for layer in LAYERS:
        assert (ROOT / layer / "__init__.py").is_file(), layer
        assert (ROOT / layer / "py.typed").is_file(), layer


def test_roots_without_init() -> None:
    assert not (ROOT / "__init__.py").exists(), "it would make the checkout itself a package, and mypy fail"
    assert not (ROOT / "tests" / "__init__.py").exists()


def test_no_module_of_api_hides_a_folder() -> None:
    names = {path.stem for path in (ROOT / "api").iterdir()}
    assert names.isdisjoint(LAYERS), "api/ is the root of the package: its modules and the folders share one namespace"


def test_every_tvm_module_named_exists() -> None:
    missing = {name for name in TVM_MODULES if not (ROOT / name).is_file()}
    assert missing == set(), "take them out of TVM_MODULES"


@pytest.mark.parametrize("module", ["autosched", "autosched.spec", "autosched.store"])
def test_import_is_light(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True, text=True, check=False, timeout=60, cwd=os.path.sep,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [], f"import {module} pays for these"


# The rules above are only as good as their reading of imports, so that is tested too.
@pytest.mark.parametrize(
    ("where", "line", "broken"),
    [
        ("spec/a.py", "from .b import x", False),
        ("spec/deep/a.py", "from ..b import x", False),
        ("spec/a.py", "from ..store import x", True),
        ("spec/a.py", "from .. import store", True),
        ("spec/deep/a.py", "from ...store.keys import x", True),
        ("store/a.py", "from ..spec.b import x", False),
        ("store/a.py", "from .. import spec", False),
        ("store/a.py", "def f():\n    from ..search import x", True),
        ("search/a.py", "from ..nn import x", True),
        ("nn/a.py", "from ..cli import main", True),
        ("nn/a.py", "from .. import Task", True),
        ("nn/a.py", "from ..search import x", False),
        ("nn/a.py", "from ...other import x", True),
        ("api/a.py", "from .nn import x", False),
        ("api/a.py", "from . import spec", False),
        ("api/a.py", "from ..other import x", True),
        ("api/a.py", "from .bench import x", True),
        ("api/a.py", "from . import bench", True),
        ("bench/a.py", "from .. import Task", False),
        ("bench/deep/a.py", "from ...cli import main", False),
        ("bench/deep/a.py", "from ... import lookup", False),
        ("nn/a.py", "from ..bench import x", True),
    ],
)
def test_the_reading_of_imports(where: str, line: str, broken: bool) -> None:
    assert bool(upward_imports(ast.parse(line), ROOT / where)) == broken
