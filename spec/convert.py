"""Records to JSON values and back: the one converter of all records, and the forms that differ from plain objects.

| record | form |
|---|---|
| expression | its text, ``"A[i, k] * B[k, j]"`` |
| stage | `body` is one text, or a list of texts where there are several outputs |
| axis | ``"i: 1024"``: a list of these is short, and keeps its order in programs that sort keys |
| staging | ``{"accumulate": {...}}``, by its kind |
| bind | ``{"loop": "ji", "to": "vectorize"}`` or ``{"fuse": ["jo", "io"], "as": "p", "to": "parallel"}`` |
| target | ``{"kind": "llvm", "mcpu": "znver5"}`` |
| operator | ``{"op": "gemm", "args": {"M": 1024}}``; a task holds these two keys itself |
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cattrs.gen import override

from .claim import Effort, Protocol, Tool
from .errors import SpecError
from .expr import Const, Expr
from .expr_text import expr_from_text, text_from_expr
from .schedule import (
    Accumulate,
    At,
    Bind,
    BindFused,
    BindLoop,
    Fuse,
    Inline,
    Pack,
    Partial,
    Reindex,
    Split,
    Staging,
)
from .strict_cattrs import (
    FAULTS,
    Hook,
    check_keys,
    list_of,
    located,
    new_converter,
    record_hook,
    record_writer,
    remembered,
    unfit,
)
from .task import Argument, OperatorCall, Target, TargetOption, Task
from .workload import IterAxis, Stage, Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    import cattrs
    from cattrs.gen._consts import AttributeOverride

    from .json_text import Json

Record = TypeVar("Record")

STAGINGS: Final[Mapping[str, type[Staging]]] = {
    "inline": Inline,
    "accumulate": Accumulate,
    "reindex": Reindex,
    "pack": Pack,
    "partial": Partial,
}
"""Tag → record of every staging."""

MAX_ARGUMENTS: Final = 256
_WORKLOAD_BYTES: Final = 8192
"""Workloads up to this size are remembered: most of a spec file, and the same in all files of a task."""
_TOOLS_BYTES: Final = 1024
"""So are the tools of a measurement, all together: the same ones took part in the others of their day."""
_AXIS: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_.]*): ([1-9][0-9]{0,18})\Z")


def structure(value: Json, cls: type[Record]) -> Record:
    """The record that a JSON value says; SpecError with the path of the first thing that does not fit.

    Nothing is coerced: ``"3"``, ``3.0`` and ``true`` are not the number 3. A whole number will do for a float.
    """
    try:
        return _FAST.structure(value, cls)
    except FAULTS as error:
        raise _explained(value, cls) from error


def _explained(value: Json, cls: type[Any]) -> SpecError:
    try:
        _detailed().structure(value, cls)
    except FAULTS as error:
        return located(error)
    raise AssertionError(f"{cls.__name__}: the two converters disagree")


def unstructure(record: object) -> Json:
    """The JSON value of a record; `structure` reads it back to an equal one."""
    value: Json = _FAST.unstructure(record)
    return value


# --- expressions and axes ---------------------------------------------------------------------------------------------

_parsed: Final = lru_cache(maxsize=512)(expr_from_text)
"""A workload's expressions recur from file to file, and Python's parser is a third of the time of reading one."""


def _read_expr(value: object, _: object = None) -> Expr:
    if type(value) is not str:
        raise unfit(value, "an expression as text")
    return _parsed(value)


def _read_const(value: object, _: object) -> Const:
    expr = _read_expr(value)
    if not isinstance(expr, Const):
        raise unfit(value, 'a typed constant, as "float32(0.0)"')
    return expr


def _read_body(value: object, _: object) -> tuple[Expr, ...]:
    if type(value) is str:
        return (_parsed(value),)
    if type(value) is not list or len(value) == 1:
        raise unfit(value, "an expression as text, or a list of them where there are several outputs")
    found = []
    for position, entry in enumerate(value):
        try:
            found.append(_read_expr(entry))
        except SpecError as error:
            raise error.under(f"[{position}]") from error
    return tuple(found)


def _write_body(body: tuple[Expr, ...]) -> Json:
    texts: list[Json] = [text_from_expr(expr) for expr in body]
    return texts[0] if len(texts) == 1 else texts


def _read_axis(value: object, _: object) -> IterAxis:
    found = _AXIS.match(value) if type(value) is str else None
    if found is None:
        raise unfit(value, 'a text "name: extent", as "i: 1024"')
    return IterAxis(name=found[1], extent=int(found[2]))


def _write_axis(axis: IterAxis) -> str:
    return f"{axis.name}: {axis.extent}"


# --- unions -----------------------------------------------------------------------------------------------------------


def _read_tagged(tags: Collection[str], hook_of: Callable[[str], Hook]) -> Hook:
    """The hook of ``{"tag": {...}}``. Paths leave the tag out, as those of the checks do: they follow the records."""

    def read(value: object, _: object) -> Any:
        if type(value) is not dict or len(value) != 1:
            raise unfit(value, f"an object with one key, one of {', '.join(tags)}")
        ((tag, body),) = value.items()
        if tag not in tags:
            check_keys(value, tags)
        return hook_of(tag)(body, None)

    return read


def _write_tagged(tag: str, write: Callable[[Any], Json]) -> Callable[[Any], Json]:
    return lambda record: {tag: write(record)}


def _read_binds(record: Callable[[type[Any]], Hook], detailed: bool) -> Hook:
    loop, fused = record(BindLoop), record(BindFused)

    def read(value: object, _: object) -> Bind:
        if type(value) is not dict:
            raise unfit(value, "an object with loop and to, or with fuse, as and to")
        bind: Bind = (fused if "fuse" in value else loop)(value, None)
        return bind

    return read if detailed else remembered(read)


# --- tasks ------------------------------------------------------------------------------------------------------------


def _read_target(value: object, _: object) -> Target:
    if type(value) is not dict or "kind" not in value:
        raise unfit(value, 'an object with a kind and options, as {"kind": "llvm"}')
    kind = value["kind"]
    if type(kind) is not str:
        raise unfit(kind, "a target kind as text").under("kind")
    if len(value) > MAX_ARGUMENTS:
        raise SpecError(f"{len(value)} options; at most {MAX_ARGUMENTS}")
    options = []
    for name in sorted(value.keys() - {"kind"}):
        if type(value[name]) not in (str, int, bool):
            raise unfit(value[name], "text, a whole number, true or false").under(name)
        try:
            options.append(TargetOption(name=name, value=value[name]))
        except SpecError as error:
            raise SpecError(error.message, name) from error
    return Target(kind=kind, options=tuple(options))


def _write_target(target: Target) -> Json:
    options = {option.name: option.value for option in target.options}
    if len(options) != len(target.options) or "kind" in options:
        raise SpecError("an option is given twice, or called kind; options have names of their own", "options")
    return {"kind": target.kind, **options}


def _read_call(value: object, _: object) -> OperatorCall:
    check_keys(value, ("op", "args"))
    assert isinstance(value, dict)
    if "op" not in value:
        raise SpecError("arguments without an operator; add its name as op, or leave args out", "args")
    if type(value["op"]) is not str:
        raise unfit(value["op"], "an operator's name").under("op")
    args = value.get("args", {})
    if type(args) is not dict:
        raise unfit(args, "an object of arguments").under("args")
    if len(args) > MAX_ARGUMENTS:
        raise SpecError(f"{len(args)} arguments; at most {MAX_ARGUMENTS}", "args")
    found = tuple(_argument(name, arg) for name, arg in args.items())
    try:
        return OperatorCall(name=value["op"], args=found)
    except SpecError as error:
        raise SpecError(error.message, "op") from error


def _argument(name: str, value: object) -> Argument:
    given = _argument_value(name, value)
    try:
        return Argument(name=name, value=given)
    except SpecError as error:
        raise SpecError(error.message, f"args.{name}") from error


def _argument_value(name: str, value: object) -> Any:
    if type(value) is list:
        for position, entry in enumerate(value):
            if type(entry) is not int:
                raise unfit(entry, "a whole number").under(f"args.{name}[{position}]")
        return tuple(value)
    if type(value) not in (int, str, bool, float):
        raise unfit(value, "a number, text, true, false or a list of whole numbers").under(f"args.{name}")
    return value


def _write_call(call: OperatorCall) -> dict[str, Json]:
    args: dict[str, Json] = {a.name: list(a.value) if isinstance(a.value, tuple) else a.value for a in call.args}
    if len(args) != len(call.args):
        raise SpecError("an argument is given twice; keep one of them", "args")
    return {"op": call.name, **({"args": args} if args else {})}


def _read_task(plain: Hook) -> Hook:
    """A task is an object whose operator call is not nested: its keys stand beside the others."""

    def read(value: object, kind: object) -> Any:
        if type(value) is dict and ("op" in value or "args" in value):
            call = {key: value[key] for key in ("op", "args") if key in value}
            value = {key: entry for key, entry in value.items() if key != "args"}
            value["op"] = _read_call(call, None)
        return plain(value, kind)

    return read


def _write_task(plain: Callable[[Task], dict[str, Json]]) -> Callable[[Task], Json]:
    def write(task: Task) -> Json:
        rest = plain(task)
        workload = rest.pop("workload")
        call = _write_call(task.op) if task.op is not None else {}
        return {**call, **rest, "workload": workload}

    return write


# --- the converters ---------------------------------------------------------------------------------------------------


def _converter(detailed: bool) -> cattrs.Converter:
    """Hooks are made when they are first needed: each is a function that is compiled, and most processes need few."""
    converter = new_converter(detailed)
    read, write = converter.register_structure_hook, converter.register_unstructure_hook

    def record(cls: type[Any], **special: AttributeOverride) -> Hook:
        return record_hook(cls, converter, detailed, special)

    # Cached, because cattrs makes the hook of a field anew for each record that has one of that kind.
    def read_by(classes: Collection[object], make: Callable[[Any], Hook]) -> None:
        converter.register_structure_hook_factory(lambda kind: kind in classes, cache(make))

    def write_by(classes: Collection[object], make: Callable[[Any], Callable[[Any], Json]]) -> None:
        converter.register_unstructure_hook_factory(lambda kind: kind in classes, cache(make))

    read(Const, _read_const)
    write(Const, text_from_expr)
    read(IterAxis, _read_axis)
    write(IterAxis, _write_axis)
    read(Target, _read_target)
    write(Target, _write_target)
    read(OperatorCall, _read_call)
    write(OperatorCall, _write_call)
    if not detailed:
        read_by((Split, Fuse, At, Tool, Effort), lambda cls: remembered(record(cls)))
        read_by(
            (tuple[Tool, ...],),
            lambda _: remembered(list_of(converter.get_structure_hook(Tool), Tool, detailed), _TOOLS_BYTES),
        )
        read_by((Workload,), lambda cls: remembered(record(cls), _WORKLOAD_BYTES))
    body = override(struct_hook=_read_body, unstruct_hook=_write_body)
    read_by((Stage,), lambda cls: record(cls, body=body))
    write_by((Stage,), lambda cls: record_writer(cls, converter, {"body": body}))
    # How a time was measured is written in full: a later default must not change what an old file says.
    write_by((Protocol,), lambda cls: record_writer(cls, converter, whole=True))

    load = override(struct_hook=_read_expr, unstruct_hook=text_from_expr)
    special: Mapping[object, Mapping[str, AttributeOverride]] = {Reindex: {"load": load}}
    tags = {cls: tag for tag, cls in STAGINGS.items()}
    staging = cache(lambda tag: record(STAGINGS[tag], **special.get(STAGINGS[tag], {})))
    read_by((Staging,), lambda _: _read_tagged(STAGINGS, staging))
    read_by(tags, lambda cls: _read_tagged((tags[cls],), staging))
    write_by(tags, lambda cls: _write_tagged(tags[cls], record_writer(cls, converter, special.get(cls, {}))))
    read_by((Bind,), lambda _: _read_binds(record, detailed))

    call = override(struct_hook=lambda value, _: value)
    read_by((Task,), lambda cls: _read_task(record_hook(cls, converter, detailed, {"op": call}, also=("args",))))
    unwritten = {"op": override(omit=True), "target": override(omit_if_default=False)}
    write_by((Task,), lambda cls: _write_task(record_writer(cls, converter, unwritten)))
    return converter


_FAST: Final = _converter(detailed=False)


@cache
def _detailed() -> cattrs.Converter:
    """Made for the first fault: most processes see none, and making it takes as long as a small file's reading."""
    return _converter(detailed=True)
