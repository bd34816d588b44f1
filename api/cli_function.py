"""What is in a user's own Python file: tasks, ``gemm.py:gemm 1024 1024 1024``, and strategies, ``search.py:mine``.

Only a file named on the command line is ever run; spec files never lead here.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import traceback
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

from .spec.errors import SpecError
from .spec.task import Task

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence
    from types import ModuleType

    from .search.methods import Method
    from .search.space import Space
    from .search.strategy import Strategy
    from .spec.task import Target

FUNCTION: Final = re.compile(r"(?P<path>.+\.py):(?P<name>[A-Za-z_]\w*)\Z")
"""A function in a file, as it is named on the command line."""

_ERRORS: Final = (Exception, SystemExit)
"""What a user's file may raise: anything, errors of its own and ``sys.exit()`` too. It gets one line for it."""

_CONSTANTS: Final = {"true": True, "false": False, "none": None}


def task_from_function(path: str, name: str, words: Sequence[str], *, target: Target, threads: int | None) -> Task:
    """The task of ``name(*words)`` in a Python file: TE tensors, inputs first, or a TensorIR function.

    Words that are numbers become numbers, and ``KEY=VALUE`` a keyword argument. SpecError where there is no such
    function or it fails; LoweringError where what it returns cannot be read.
    """
    found = _named(_module(path), path, name)
    positional, keywords = _arguments(words)
    if _is_primfunc(found):
        if words:
            raise SpecError(f"{path}:{name} is a TensorIR function, which takes no arguments; leave {words[0]!r} out")
        return Task.from_primfunc(found, target=target, threads=threads)
    try:
        made = found(*positional, **keywords)
    except _ERRORS as error:
        raise SpecError(f"{path}:{name} failed{_place(error, path)}: {_said(error)}") from error
    if _is_primfunc(made):
        return Task.from_primfunc(made, target=target, threads=threads)
    tensors = list(made) if isinstance(made, tuple) else made
    return Task.from_te(tensors, target=target, threads=threads)


def method_from_text(text: str) -> Method:
    """The method that ``--method`` says: a name, or ``search.py:mine`` for a function that makes a strategy."""
    found = FUNCTION.match(text)
    if found is None:
        return text
    own = _named(_module(found["path"]), found["path"], found["name"])

    def made(space: Space, rng: random.Random) -> Strategy:
        strategy: Strategy = own(space, rng)
        return strategy

    made.__module__, made.__qualname__ = Path(found["path"]).stem, found["name"]  # what records call it
    return made


def _module(path: str) -> ModuleType:
    place = Path(path)
    if not place.is_file():
        raise SpecError(f"no file {path!r}; check the name and the folder you are in")
    # A name of its own: the file may be called as a module that is loaded already.
    found = importlib.util.spec_from_file_location(f"autosched_file_{place.stem}", place)
    assert found is not None  # it ends in .py
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[module.__name__] = module  # dataclasses and TVMScript look up the module they stand in
    sys.path.insert(0, str(place.resolve().parent))  # as for `python path.py`: it may import its neighbours
    writes_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # nothing is left in the user's folder
    try:
        found.loader.exec_module(module)
    except _ERRORS as error:
        raise SpecError(f"{path} cannot be imported{_place(error, path)}: {_said(error)}") from error
    finally:
        sys.path.pop(0)
        sys.dont_write_bytecode = writes_bytecode
    return module


def _is_primfunc(value: object) -> bool:
    """True for a TensorIR function; told by its class's name, for TVM may not be imported here."""
    return type(value).__name__ == "PrimFunc"


def _named(module: ModuleType, path: str, name: str) -> Callable[..., Any]:
    found = getattr(module, name, None)
    if not callable(found):
        defined = [
            n for n, v in vars(module).items() if isinstance(v, FunctionType) and v.__module__ == module.__name__
        ]
        reason = f"no function {name!r}" if found is None else f"{name!r} is a {type(found).__name__}, not a function"
        raise SpecError(f"{path}: {reason}; functions there: {', '.join(defined) or 'none'}")
    function: Callable[..., Any] = found
    return function


def _arguments(words: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if equals and name.isidentifier():
            keywords[name] = _value(text)
        elif keywords:
            raise SpecError(f"found {word!r} after KEY=VALUE; give words without a key first")
        else:
            positional.append(_value(word))
    return positional, keywords


def _value(text: str) -> Any:
    """The number or constant that a word is, or the word itself."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return _CONSTANTS.get(text.lower(), text)


def _place(error: BaseException, path: str) -> str:
    """The last line of the user's file that led to an error."""
    if isinstance(error, SyntaxError):
        return f" at line {error.lineno}"
    here = str(Path(path))
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith(here)]
    return f" at line {lines[-1]}" if lines else ""


def _said(error: BaseException) -> str:
    first = str(error).strip().splitlines()
    return f"{type(error).__name__}: {first[0][:200]}" if first else type(error).__name__
