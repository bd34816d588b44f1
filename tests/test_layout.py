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
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

Node = TypeVar("Node", ast.ExceptHandler, ast.Call)

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

HEAVY = ("tvm", "tvm_ffi", "torch", "scipy", "hypothesis", "rich", "matplotlib", "xgboost", "optuna", "redis")
"""What a lookup by key must not pay for."""

MODULES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))


def module_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@functools.cache
def walked(tree: ast.Module) -> tuple[ast.AST, ...]:
    """Every node of a module; each rule reads them all."""
    return tuple(ast.walk(tree))


def package_of(path: Path) -> tuple[str, ...]:
    """Where a module's relative imports start: spec/a.py -> (autosched, spec), api/a.py -> (autosched,)."""
    layer, *folders = path.relative_to(ROOT).parent.parts
    return ("autosched", *([] if layer == "api" else [layer]), *folders)


def absolute_imports(tree: ast.Module) -> list[tuple[int, str]]:
    """Line and dotted name of each absolute import."""
    found = []
    for node in walked(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.append((node.lineno, node.module or ""))
    return found


def relative_imports(tree: ast.Module, package: tuple[str, ...]) -> list[tuple[int, tuple[str, ...]]]:
    """Line and resolved dotted path of each name that a relative import brings."""
    found = []
    for node in walked(tree):
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


def test_imports_point_down() -> None:
    assert [f"{module_id(path)}: {said}" for path in MODULES for said in upward_imports(tree_of(path), path)] == []


def importing(path: Path, packages: Collection[str]) -> list[str]:
    """Where a module imports one of the packages by its absolute name."""
    found = absolute_imports(tree_of(path))
    return [f"{module_id(path)}, line {line}" for line, name in found if name.split(".")[0] in packages]


def test_imports_inside_the_package_are_relative() -> None:
    wrong = [place for path in MODULES for place in importing(path, {"autosched", *LAYERS})]
    assert wrong == [], "write `from ..spec import x`, from api/ `from .spec import x`"


def test_tvm_is_imported_only_where_it_may() -> None:
    wrong = [place for path in MODULES if not is_tvm_module(path) for place in importing(path, TVM_PACKAGES)]
    assert wrong == [], "move them to a spec/tvm_*.py or extend TVM_MODULES"


def test_a_module_is_short() -> None:
    lines = {module_id(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {module: count for module, count in lines.items() if count >= MAX_LINES} == {}, "split them by subject"


def test_a_module_says_what_it_is() -> None:
    assert [module_id(path) for path in MODULES if not ast.get_docstring(tree_of(path))] == []


def test_a_module_is_named_by_its_subject() -> None:
    assert [module_id(path) for path in MODULES if path.stem in VAGUE_NAMES] == []


def nodes_of(path: Path, kind: type[Node]) -> Iterator[tuple[str, Node]]:
    """Every node of a kind in a module, with its place."""
    for node in walked(tree_of(path)):
        if isinstance(node, kind):
            yield f"{module_id(path)}, line {node.lineno}", node


def test_no_bare_except() -> None:
    handlers = [found for path in MODULES for found in nodes_of(path, ast.ExceptHandler)]
    assert len(handlers) > 100
    assert [place for place, handler in handlers if handler.type is None] == [], "name what is caught"


def test_only_the_command_line_prints() -> None:
    calls = [found for path in MODULES for found in nodes_of(path, ast.Call) if not module_id(path).startswith("api/")]
    assert len(calls) > 1000
    assert [place for place, call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"] == []


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
