"""Whether LLVM has the instructions of a function's intrinsics: asked first, because it ends the process where not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import tvm

from .errors import LoweringError
from .intrinsics import INTRINSICS, is_had, needs_text

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
    """Raises LoweringError where LLVM has no instruction for an intrinsic in a module on a target's CPU."""
    for func in mod.functions.values():
        names = (func.attrs or {}).get(ATTRIBUTE)
        for name in str(names).split(",") if names else ():
            intrinsic = INTRINSICS[name]
            is_llvm = target.kind.name == "llvm"
            has = tvm.get_global_func("target.llvm_get_cpu_features")(target) if is_llvm else {}
            if not is_had(intrinsic, {str(feature) for feature in has}):
                message = f"intrinsic {name} needs {needs_text(intrinsic)}, which the target's CPU lacks"
                raise LoweringError(f"{message}: {target}; build for another CPU, or leave tensorize out")
