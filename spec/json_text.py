"""JSON text: strict, bounded reading for files from strangers, and stable writing for people and for git."""

from __future__ import annotations

import json
import math
import re
from array import array
from collections import Counter
from itertools import accumulate
from typing import Final, NoReturn, TypeAlias

from .errors import SpecError, shortened

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

MAX_BYTES: Final = 8 * 2**20
MAX_DEPTH: Final = 64
MAX_DIGITS: Final = 20
LINE: Final = 110
"""What fits on a line of this many characters is written on one."""

_NOT_BRACKETS: Final = bytes(sorted(set(range(256)) - set(b"[]{}")))
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
"""A bracket as a signed byte: one level in, one level out."""
_ESCAPE: Final = re.compile(r"\\.", re.DOTALL)


def read_json(text: str | bytes) -> Json:
    """The value of a JSON text; SpecError says what is wrong and, for text that is not JSON, at which line and column.

    Refused beside broken JSON: more than 8 MiB, nesting deeper than 64, a key twice in one object, NaN and infinities
    (also numbers too large for a float), whole numbers of more than 20 digits, half of a surrogate pair.
    """
    decoded = _decoded(text)
    check_nesting(decoded)
    try:
        value: Json = _DECODER.decode(decoded)
    except json.JSONDecodeError as error:
        reason = error.msg.removesuffix(" at").removesuffix(" starting").lower()
        raise SpecError(f"not JSON at line {error.lineno}, column {error.colno}: {reason}; mend it there") from error
    if "\\u" in decoded:
        _check_surrogates(value)
    return value


def _decoded(text: str | bytes) -> str:
    if len(text) > MAX_BYTES:
        unit = "bytes" if isinstance(text, bytes) else "characters"
        raise SpecError(f"{len(text)} {unit}; at most {MAX_BYTES} are read")
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise SpecError(f"not UTF-8: byte {error.start} cannot be read; save the text as UTF-8") from error
    if text.startswith("\ufeff"):
        raise SpecError("a byte order mark at the start; save the text as UTF-8 without one")
    return text


def check_nesting(text: str) -> None:
    """Raises SpecError where brackets nest deeper than 64, before any recursive reader sees them.

    What stands inside strings does not count.
    """
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    plain = _ESCAPE.sub("", text) if "\\" in text else text
    brackets = "".join(plain.split('"')[::2]).encode("utf-8", "replace").translate(_STEPS, _NOT_BRACKETS)
    if max(accumulate(array("b", brackets)), default=0) > MAX_DEPTH:
        raise SpecError(f"brackets nest deeper than {MAX_DEPTH}; no spec needs that, write it flatter")


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise SpecError(f"key {twice!r} stands twice in one object; keep one of them")
    return found


def _whole_number(text: str) -> int:
    if len(text) > MAX_DIGITS and len(text.lstrip("-")) > MAX_DIGITS:
        raise SpecError(f"a whole number of {len(text.lstrip('-'))} digits; at most {MAX_DIGITS} are read")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise SpecError(f"number {shortened(text, 40)} is too large for a float")
    return value


def _no_number(name: str) -> NoReturn:
    raise SpecError(f"{name} is not JSON; leave the field out, or write a number")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_whole_number, parse_float=_number, parse_constant=_no_number
)


def _check_surrogates(value: Json) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise SpecError("a \\u escape is half of a surrogate pair; write the whole character") from error


def write_json(value: Json) -> str:
    """`value` as text with a line feed at the end: two spaces per level, one line for what fits in 110 characters.

    Keys stay in their order. Floats are written with the fewest digits that read back as the same number.
    """
    return _pretty(value, "", "") + "\n"


def _pretty(value: Json, indent: str, key: str) -> str:
    """The text of `value` after `key`, where a comma may follow; lines after the first begin with `indent`."""
    flat = key + _dumps(value)
    if not value or not isinstance(value, (list, dict)) or len(indent) + len(flat) < LINE:
        return flat
    deeper = indent + "  "
    if isinstance(value, list):
        lines = [_pretty(item, deeper, "") for item in value]
    else:
        lines = [_pretty(item, deeper, f"{_dumps(name)}: ") for name, item in value.items()]
    begin, end = "[]" if isinstance(value, list) else "{}"
    body = ",\n".join(deeper + line for line in lines)
    return f"{key}{begin}\n{body}\n{indent}{end}"


def _dumps(value: Json) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise SpecError("nan or an infinity cannot be written as JSON; leave the value out") from error


def compact_json(value: Json) -> str:
    """`value` as one line of ASCII without spaces, keys in their order."""
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except ValueError as error:
        raise SpecError("nan or an infinity cannot be written as JSON; leave the value out") from error
