"""Whether a target has the instructions of a function's intrinsics: asked first, as LLVM ends the process where not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import tvm

from .errors import LoweringError
from .intrinsics import INTRINSICS, architectures, is_had, needs_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .intrinsics import Intrinsic

ATTRIBUTE: Final = "autosched.intrinsics"
"""The attribute of a function that names the intrinsics in it."""


def with_attribute(func: Any, intrinsics: Sequence[Intrinsic]) -> Any:
    """The function with the names of the intrinsics that will be in it."""
    names = sorted({intrinsic.name for intrinsic in intrinsics})
    return func.with_attr(ATTRIBUTE, ",".join(names)) if names else func


def check_buildable(mod: tvm.IRModule, target: tvm.target.Target) -> None:
    """Raises LoweringError where a target's CPU or GPU has no instruction for an intrinsic in a module."""
    for func in mod.functions.values():
        names = (func.attrs or {}).get(ATTRIBUTE)
        for name in str(names).split(",") if names else ():
            intrinsic = INTRINSICS[name]
            if not is_had(intrinsic, _features(target)):
                message = f"intrinsic {name} needs {needs_text(intrinsic)}, which the target lacks"
                raise LoweringError(f"{message}: {target}; build for another one, or leave tensorize out")


def _features(target: tvm.target.Target) -> frozenset[str]:
    """What a target has: LLVM's features of a CPU, the architectures of a GPU."""
    if target.kind.name == "llvm":
        return frozenset(map(str, tvm.get_global_func("target.llvm_get_cpu_features")(target)))
    return architectures(str(target.attrs.get("arch", "")))
