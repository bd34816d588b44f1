"""The versions of TVM that are known to work, each with the version of its FFI that goes with it.

Known without importing TVM: what is installed may be asked before it is loaded.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["DEFAULT", "LLVM", "PAIRS", "is_known_pair", "is_supported_pair", "minor"]

PAIRS: Final[dict[str, tuple[str, ...]]] = {
    "0.25.0": ("0.1.12",),
    "0.26.0": ("0.1.13.post3", "0.1.13.post2"),
    "0.27.0.post1": ("0.1.14.post1",),
}
"""apache-tvm → the versions of apache-tvm-ffi it was built for, the one to take first. Any other pair may crash."""

LLVM: Final = {"0.27.0.post1": "22"}
"""apache-tvm → the LLVM inside it, where that is known: to ask TVM is to import it."""

DEFAULT: Final = "0.27.0.post1"
"""The one that is installed with autosched, and that everything works on."""


def minor(version: str) -> tuple[int, int]:
    """The two numbers that names depend on: ``0.27.0.post1`` is (0, 27)."""
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is None:
        raise ValueError(f"{version!r} is no version of TVM")
    return int(found[1]), int(found[2])


def is_known_pair(tvm: str | None, ffi: str | None) -> bool:
    """True where spec files of every feature were lowered, built and right on this pair (docs/compatibility.md)."""
    return tvm is not None and ffi in PAIRS.get(tvm, ())


def is_supported_pair(tvm: str | None, ffi: str | None) -> bool:
    """True for the pair that autosched is installed with."""
    return tvm == DEFAULT and is_known_pair(tvm, ffi)
