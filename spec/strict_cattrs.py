"""cattrs made strict: converters that coerce nothing, refuse unknown keys, and say where a value is wrong.

A record is an object with its fields as keys; a field `as_` has the key ``as``; what holds its default is left out.
A fast converter reads, a detailed one is asked again only to find the place of a fault: `convert.py` owns the two.
"""

from __future__ import annotations

import marshal
import types
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, Union, get_args, get_origin

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from .errors import SpecError, shortened
from .near_words import nearest

if TYPE_CHECKING:
    from cattrs.gen._consts import AttributeOverride

MAX_ITEMS: Final = 4096
"""Items of a list, numbers apart, and keys of an object whose keys are free."""

Hook = Callable[[Any, Any], Any]
"""A cattrs hook: (value, type) to what it stands for."""

FAULTS: Final = (
    SpecError,
    cattrs.BaseValidationError,
    cattrs.ForbiddenExtraKeysError,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
)
"""What the converters raise on a value that does not fit."""

NOTHING_SPECIAL: Final[Mapping[str, AttributeOverride]] = {}


def described(value: object) -> str:
    """A JSON value in words, short enough for a message."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, (list, tuple)):
        return "a list"
    short = shortened(repr(value), 60)
    return f"the text {short}" if isinstance(value, str) else f"the number {short}"


def key_of(name: str) -> str:
    """The JSON key of a field: its name, without the underscore that keeps it from being a Python keyword."""
    return name.removesuffix("_")


def unfit(value: object, allowed: str) -> SpecError:
    """The error for a value of the wrong kind."""
    return SpecError(f"found {described(value)}; allowed: {allowed}")


def check_count(value: Collection[object]) -> None:
    """Raises SpecError for more items, or keys, than a spec has use for."""
    if len(value) > MAX_ITEMS:
        raise SpecError(f"{len(value)} entries; at most {MAX_ITEMS} are read")


def check_keys(value: object, allowed: Collection[str], required: Collection[str] = ()) -> None:
    """Raises SpecError unless `value` is an object that has all `required` keys and none that is not `allowed`."""
    listed = ", ".join(allowed)
    if type(value) is not dict:
        raise unfit(value, f"an object with {listed}")
    for key in value:
        if key not in allowed:
            close = nearest(key, allowed)
            meant = f"did you mean {close!r}? Allowed" if close else "allowed"
            raise SpecError(f"unknown key {key[:60]!r}; {meant}: {listed}")
    for key in required:
        if key not in value:
            raise SpecError(f"key {key!r} is missing; required: {', '.join(required)}")


def located(error: Exception) -> SpecError:
    """The first fault of a detailed conversion as a SpecError with its path."""
    if isinstance(error, SpecError):
        return error
    if not isinstance(error, cattrs.BaseValidationError):
        return SpecError(f"cannot be read: {error}")
    first = error.exceptions[0]
    notes = [n for n in getattr(first, "__notes__", ()) if isinstance(n, cattrs.AttributeValidationNote)]
    found = located(first)
    if notes:
        return found.under(key_of(notes[0].name))
    head, _, rest = found.path.partition("[")
    return SpecError(found.message, key_of(head) + (f"[{rest}" if rest else ""))


# --- plain values -----------------------------------------------------------------------------------------------------


def _text(value: object, _: object) -> str:
    if type(value) is str:
        return value
    raise unfit(value, "text")


def _whole(value: object, _: object) -> int:
    if type(value) is int:
        return value
    raise unfit(value, "a whole number")


def _truth(value: object, _: object) -> bool:
    if value is True or value is False:
        return value
    raise unfit(value, "true or false")


def _number(value: object, _: object) -> float:
    """A float; whole numbers count, because other programs write 2.0 as 2."""
    if type(value) is float:
        return value
    if type(value) is int:
        return float(value)
    raise unfit(value, "a number")


PLAIN: Final[dict[type, Hook]] = {str: _text, int: _whole, bool: _truth, float: _number}


# --- lists ------------------------------------------------------------------------------------------------------------


def _is_tuple(kind: Any) -> bool:
    return get_origin(kind) is tuple and len(get_args(kind)) == 2 and get_args(kind)[1] is Ellipsis


def _is_optional(kind: Any) -> bool:
    return get_origin(kind) in (Union, types.UnionType) and len(get_args(kind)) == 2 and type(None) in get_args(kind)


def optional(hook: Hook, inner: Any) -> Hook:
    """The hook of what may be null."""
    return lambda value, _: None if value is None else hook(value, inner)


def list_of(hook: Hook, item: Any, detailed: bool) -> Hook:
    """The hook of a list whose items `hook` reads."""

    def read(value: object, _: object) -> tuple[Any, ...]:
        if type(value) is not list:
            raise unfit(value, "a list")
        check_count(value)
        return tuple([hook(entry, item) for entry in value])

    def read_exactly(value: object, _: object) -> tuple[Any, ...]:
        if type(value) is not list:
            raise unfit(value, "a list")
        check_count(value)
        if set(map(type, value)) - {item}:
            raise SpecError(f"a list whose items are not all {item.__name__}")
        return tuple(value)

    def read_numbers(value: object, _: object) -> tuple[Any, ...]:
        if type(value) is list and set(map(type, value)) == {float}:
            return tuple(value)
        return read_each(value, None)

    def read_each(value: object, _: object) -> tuple[Any, ...]:
        if type(value) is not list:
            raise unfit(value, "a list")
        if item is not float:
            check_count(value)
        entries = []
        for position, entry in enumerate(value):
            try:
                entries.append(hook(entry, item))
            except FAULTS as error:
                raise located(error).under(f"[{position}]") from error
        return tuple(entries)

    # Names, factors and samples are most of a record: their types are compared all at once, which saves a fifth.
    if detailed:
        return read_each
    return read_exactly if item in (str, int) else read_numbers if item is float else read


# --- what is read again and again -------------------------------------------------------------------------------------

_REMEMBERED_BYTES: Final = 2**20


def remembered(hook: Hook, most_bytes: int = 256) -> Hook:
    """`hook`, which knows records by what they were read from: a store's schedules share most of their parts.

    Frozen records may be shared. Those of up to `most_bytes` are kept, as many as have keys of a megabyte together. The
    key is what `marshal` makes of the value, in a fifth of the time that reading takes: it tells 1 from 1.0 and from
    true. It is never read back.
    """
    known: dict[bytes, Any] = {}
    most = _REMEMBERED_BYTES // most_bytes

    def read(value: Any, kind: object) -> Any:
        key = marshal.dumps(value, 2)  # version 2: equal values have equal bytes, however they are shared
        found = known.get(key)
        if found is None:
            found = hook(value, kind)
            if len(key) <= most_bytes:
                if len(known) >= most:
                    known.clear()
                known[key] = found
        return found

    return read


# --- records ----------------------------------------------------------------------------------------------------------


def _overrides(cls: type[Any], special: Mapping[str, AttributeOverride]) -> dict[str, Any]:
    """What cattrs is told of the fields of `cls` with a key that is not their name, or a form of their own."""
    keys = {f.name: override(rename=key_of(f.name)) for f in attrs.fields(cls) if f.name.endswith("_")}
    return {**keys, **special}


def record_hook(
    cls: type[Any],
    converter: cattrs.Converter,
    detailed: bool,
    special: Mapping[str, AttributeOverride] = NOTHING_SPECIAL,
    also: Collection[str] = (),
) -> Hook:
    """The hook that reads an object into `cls`; `also` names keys that the caller takes out, for messages."""
    fields = attrs.fields(cls)
    generated = make_dict_structure_fn(
        cls,
        converter,
        _cattrs_forbid_extra_keys=True,
        _cattrs_detailed_validation=detailed,
        **_overrides(cls, special),
    )
    if not detailed:
        return generated
    allowed = [*(key_of(f.name) for f in fields), *also]
    required = [key_of(f.name) for f in fields if f.default is attrs.NOTHING]

    def read(value: object, kind: object) -> Any:
        check_keys(value, allowed, required)
        return generated(value, kind)  # type: ignore[arg-type] # check_keys: it is an object

    return read


def record_writer(
    cls: type[Any],
    converter: cattrs.Converter,
    special: Mapping[str, AttributeOverride] = NOTHING_SPECIAL,
    *,
    whole: bool = False,
) -> Callable[[Any], dict[str, Any]]:
    """The function that writes a `cls` as an object; with `whole`, fields that hold their default too."""
    generated = make_dict_unstructure_fn(cls, converter, _cattrs_omit_if_default=not whole, **_overrides(cls, special))
    order = [key_of(f.name) for f in attrs.fields(cls)]

    def write(record: Any) -> dict[str, Any]:
        # cattrs writes the fields without a default first; people expect the order of the record.
        found = generated(record)
        return {key: found[key] for key in order if key in found}

    return write


def new_converter(detailed: bool) -> cattrs.Converter:
    """A converter that knows plain values, lists and any record; special forms are added by the caller."""
    converter = cattrs.Converter(
        detailed_validation=detailed, forbid_extra_keys=True, unstruct_collection_overrides={tuple: list}
    )
    for kind, hook in PLAIN.items():
        converter.register_structure_hook(kind, hook)

    # A whole number in a float's place would be another text than what is read back.
    converter.register_unstructure_hook(float, float)

    def of_tuple(kind: Any) -> Hook:
        item = get_args(kind)[0]
        return list_of(converter.get_structure_hook(item), item, detailed)

    def of_optional(kind: Any) -> Hook:
        (inner,) = (each for each in get_args(kind) if each is not type(None))
        return optional(converter.get_structure_hook(inner), inner)

    def of_record(cls: type[Any]) -> Hook:
        return record_hook(cls, converter, detailed)

    def writer(cls: type[Any]) -> Callable[[Any], dict[str, Any]]:
        return record_writer(cls, converter)

    converter.register_structure_hook_factory(_is_tuple, of_tuple)
    converter.register_structure_hook_factory(_is_optional, of_optional)
    converter.register_structure_hook_factory(attrs.has, of_record)
    converter.register_unstructure_hook_factory(attrs.has, writer)
    return converter
