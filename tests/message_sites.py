"""Where messages are made: every ``SpecError(...)`` of the modules that read and check specs, and which were made."""

from __future__ import annotations

import ast
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from autosched.spec.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

SPEC = Path(__file__).resolve().parent.parent / "spec"
MODULES = (
    "attach", "check", "check_attached", "check_gpu", "check_skip", "check_task", "check_tensorize", "check_workload",
    "claim", "convert", "infer", "json_text", "layout", "nest", "once", "overflow", "printable", "region", "rewrite",
    "schedule", "spec_file", "strict_cattrs", "workload",
)  # fmt: skip
MAKERS = {"SpecError", "unfit"}
"""What makes an error: the class, and the function that words values of the wrong kind."""


@attrs.frozen
class Site:
    """A place in the source where a message is made: module, function, its lines, and the message's literal parts."""

    module: str
    function: str
    first: int
    last: int
    words: str

    def __str__(self) -> str:
        return f"{self.module}.{self.function}: {self.words}"


def sites() -> tuple[Site, ...]:
    """Every place of every module, in their order."""
    found: list[Site] = []
    for module in MODULES:
        tree = ast.parse((SPEC / f"{module}.py").read_text(encoding="utf-8"))
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef) and function.name not in MAKERS:
                found += [_site(module, function.name, call) for call in _own_calls(function)]
    return tuple(found)


def _own_calls(function: ast.FunctionDef) -> Iterator[ast.Call]:
    """The makers called in a function, those of functions inside it apart."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.FunctionDef):
            continue
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MAKERS:
            yield node
        waiting += ast.iter_child_nodes(node)


def _site(module: str, function: str, call: ast.Call) -> Site:
    parts = (part.value for part in ast.walk(call) if isinstance(part, ast.Constant) and isinstance(part.value, str))
    return Site(module, function, call.lineno, call.end_lineno or call.lineno, " … ".join(parts))


@contextmanager
def recorded(into: set[tuple[str, int]]) -> Iterator[None]:
    """Notes module and line of each frame from which an error is made."""
    original = SpecError.__init__

    def noting(self: SpecError, message: str, path: str = "") -> None:
        frame = sys._getframe(1)
        if frame.f_code.co_name != "under":
            while frame is not None and Path(frame.f_code.co_filename).parent.name == "spec":
                into.add((Path(frame.f_code.co_filename).stem, frame.f_lineno))
                frame = frame.f_back  # type: ignore[assignment] # None at the end
        original(self, message, path)

    SpecError.__init__ = noting  # type: ignore[method-assign]
    try:
        yield
    finally:
        SpecError.__init__ = original  # type: ignore[method-assign]


def unhit(lines: set[tuple[str, int]]) -> tuple[Site, ...]:
    """The places from which no error was made."""
    return tuple(
        site
        for site in sites()
        if not any(module == site.module and site.first <= line <= site.last for module, line in lines)
    )
