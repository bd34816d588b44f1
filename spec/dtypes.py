"""The scalar types a workload may use, and the exact text of their constants."""

from __future__ import annotations

import math
import struct
from functools import lru_cache
from typing import Final

INDEX: Final = "index"
"""Type of axes and of bare integers in index expressions; stands for the workload's `index_dtype`."""

FLOATS: Final = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
SIGNED: Final = {"int8": 1, "int16": 2, "int32": 4, "int64": 8}
UNSIGNED: Final = {"bool": 1, "uint8": 1, "uint16": 2, "uint32": 4, "uint64": 8}
DTYPES: Final = {**FLOATS, **SIGNED, **UNSIGNED}
"""Name → size in bytes of every dtype a buffer may have."""


def size_bytes(dtype: str) -> int:
    """Bytes of one element."""
    return DTYPES[dtype]


def is_float(dtype: str) -> bool:
    """True for the floating-point dtypes."""
    return dtype in FLOATS


def is_integer(dtype: str) -> bool:
    """True for integer dtypes and the index type; bool is not one."""
    return dtype != "bool" and (dtype == INDEX or dtype in SIGNED or dtype in UNSIGNED)


@lru_cache(maxsize=64)
def integer_bounds(dtype: str) -> tuple[int, int]:
    """Least and greatest value of an integer dtype (the index type counts as int64)."""
    if dtype == "bool":
        return 0, 1
    bits = 8 * (8 if dtype == INDEX else DTYPES[dtype])
    return (0, 2**bits - 1) if dtype in UNSIGNED else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def round_to(dtype: str, value: float) -> float:
    """`value` rounded to the nearest number of a float dtype; beyond its range, an infinity."""
    if dtype == "float64" or not math.isfinite(value):
        return value
    if dtype == "bfloat16":
        (bits,) = struct.unpack("<I", struct.pack("<f", round_to("float32", value)))
        if bits & 0x7FFFFFFF == 0x7F800000:
            return math.copysign(math.inf, value)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
        return float(struct.unpack("<f", struct.pack("<I", bits))[0])
    code = "<e" if dtype == "float16" else "<f"
    try:
        return float(struct.unpack(code, struct.pack(code, value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def float_text(dtype: str, value: float) -> str:
    """The shortest decimal text that reads back as `value` rounded to `dtype`; ``inf`` and ``-inf`` for infinities."""
    value = round_to(dtype, value)
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if dtype == "float64":
        return repr(value)
    for digits in range(1, 18):
        text = repr(float(f"{value:.{digits}g}"))
        if round_to(dtype, float(text)) == value:
            return text
    return repr(value)
