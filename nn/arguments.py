"""What an operator's arguments may be: each kind checks a value, gives it one form and reads it from text.

An operator says it in the annotations of its function, which also give the order and the defaults:
``def gemm(*, N: Size, K: Size, M: Size, dtype: FloatDtype = "float32")``.
"""

import math
import re
import reprlib
from typing import Annotated, TypeAlias

import attrs

from ..spec.dtypes import FLOATS
from ..spec.errors import SpecError

Value: TypeAlias = int | bool | str | float | tuple[int, ...]

GREATEST = 2**31 - 1
_NUMBER = re.compile(r"[0-9]*\.?[0-9]+([eE][+-]?[0-9]+)?")
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


@attrs.frozen(kw_only=True)
class WholeNumber:
    """A whole number from `least` to `GREATEST`; True and 1.0 are none."""

    least: int

    @property
    def allowed(self) -> str:
        """What may stand here, in words."""
        return f"a whole number from {self.least} to {GREATEST}"

    def accepts(self, value: object) -> bool:
        """True for what may stand here."""
        return _is_whole(value, self.least)

    def normal(self, value: Value) -> Value:
        """The one form that equal values share."""
        return value

    def read(self, text: str) -> Value:
        """The value that a text on the command line means; the text itself where it means none."""
        return _whole_from_text(text)


@attrs.frozen(kw_only=True)
class PerDimension:
    """A whole number for each of `rank` dimensions, or one for all; (2, 2) and 2 are the same."""

    least: int
    rank: int

    @property
    def allowed(self) -> str:
        """What may stand here, in words."""
        return f"a whole number from {self.least} to {GREATEST}, or a tuple of {self.rank} of them"

    def accepts(self, value: object) -> bool:
        """True for what may stand here."""
        if type(value) is tuple:
            return len(value) == self.rank and all(_is_whole(entry, self.least) for entry in value)
        return _is_whole(value, self.least)

    def normal(self, value: Value) -> Value:
        """The one form that equal values share."""
        return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value

    def read(self, text: str) -> Value:
        """The value that a text on the command line means; the text itself where it means none."""
        if "," not in text:
            return _whole_from_text(text)
        entries = [_whole_from_text(entry) for entry in text.split(",")]
        numbers = tuple(entry for entry in entries if isinstance(entry, int))
        return numbers if len(numbers) == len(entries) else text


@attrs.frozen(kw_only=True)
class Flag:
    """True or False; 1 and 0 are neither, but on the command line they are."""

    @property
    def allowed(self) -> str:
        """What may stand here, in words."""
        return "True or False"

    def accepts(self, value: object) -> bool:
        """True for what may stand here."""
        return type(value) is bool

    def normal(self, value: Value) -> Value:
        """The one form that equal values share."""
        return value

    def read(self, text: str) -> Value:
        """The value that a text on the command line means; the text itself where it means none."""
        return _FLAGS.get(text.lower(), text)


@attrs.frozen(kw_only=True)
class OneOf:
    """One of a few words, or of a few whole numbers; True is not 1."""

    words: tuple[str | int, ...]

    @property
    def allowed(self) -> str:
        """What may stand here, in words."""
        return ", ".join(map(str, self.words))

    def accepts(self, value: object) -> bool:
        """True for what may stand here."""
        return any(type(value) is type(word) and value == word for word in self.words)

    def normal(self, value: Value) -> Value:
        """The one form that equal values share."""
        return value

    def read(self, text: str) -> Value:
        """The value that a text on the command line means; the text itself where it means none."""
        return next((word for word in self.words if str(word) == text), text)


@attrs.frozen(kw_only=True)
class PositiveNumber:
    """A finite number above 0; whole ones are made floats."""

    @property
    def allowed(self) -> str:
        """What may stand here, in words."""
        return "a number above 0"

    def accepts(self, value: object) -> bool:
        """True for what may stand here."""
        return type(value) in (int, float) and 0 < value < math.inf  # type: ignore[operator] # a number by now

    def normal(self, value: Value) -> Value:
        """The one form that equal values share."""
        return float(value) if isinstance(value, int) else value

    def read(self, text: str) -> Value:
        """The value that a text on the command line means; the text itself where it means none."""
        return float(text) if _NUMBER.fullmatch(text) else text


Kind: TypeAlias = WholeNumber | PerDimension | Flag | OneOf | PositiveNumber

Size: TypeAlias = Annotated[int, WholeNumber(least=1)]
"""An extent."""
Step1d: TypeAlias = Annotated[int | tuple[int, ...], PerDimension(least=1, rank=1)]
"""A stride or dilation along a line."""
Margin1d: TypeAlias = Annotated[int | tuple[int, ...], PerDimension(least=0, rank=1)]
"""Padding at both ends of a line."""
Step2d: TypeAlias = Annotated[int | tuple[int, ...], PerDimension(least=1, rank=2)]
"""A stride or dilation over (rows, columns)."""
Margin2d: TypeAlias = Annotated[int | tuple[int, ...], PerDimension(least=0, rank=2)]
"""Padding on both sides of (rows, columns)."""
Step3d: TypeAlias = Annotated[int | tuple[int, ...], PerDimension(least=1, rank=3)]
"""A stride or dilation over (depth, rows, columns)."""
Margin3d: TypeAlias = Annotated[int | tuple[int, ...], PerDimension(least=0, rank=3)]
"""Padding on both sides of (depth, rows, columns)."""
Switch: TypeAlias = Annotated[bool, Flag()]
"""A part that may be left out."""
Bit: TypeAlias = Annotated[int, OneOf(words=(0, 1))]
"""One of two, by number."""
Tile: TypeAlias = Annotated[int, OneOf(words=(2, 4))]
"""Rows and columns of a tile of Winograd's results."""
Positive: TypeAlias = Annotated[float, PositiveNumber()]
"""A number that keeps a divisor from 0."""
Arithmetic: TypeAlias = Annotated[str, OneOf(words=("multiply", "add", "subtract", "divide", "maximum", "minimum"))]
"""What is done with two elements."""
FloatDtype: TypeAlias = Annotated[str, OneOf(words=tuple(FLOATS))]
"""The dtype of every buffer of an operator, and of its sums."""


@attrs.frozen(kw_only=True)
class Parameter:
    """An argument that an operator takes; `default` is None where it must be given."""

    name: str
    kind: Kind
    default: Value | None = None

    def __str__(self) -> str:
        return self.name if self.default is None else f"{self.name}={self.default}"

    def checked(self, value: object) -> Value:
        """`value` in its normal form; SpecError where it is not allowed."""
        if not self.kind.accepts(value):
            raise SpecError(f"found {reprlib.repr(value)}; allowed: {self.kind.allowed}", self.name)
        assert isinstance(value, int | str | float | tuple)
        return self.kind.normal(value)

    def read(self, text: str) -> Value:
        """The value of ``NAME=text``; SpecError where it is not allowed."""
        return self.checked(self.kind.read(text))


def _is_whole(value: object, least: int) -> bool:
    return type(value) is int and least <= value <= GREATEST


def _whole_from_text(text: str) -> int | str:
    """The number; or the text itself, for the message. Python's ``1_0`` and spaces are not numbers here."""
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else text
