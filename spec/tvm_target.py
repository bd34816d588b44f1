"""Whether this TVM can build for a target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tvm

from .errors import LoweringError, SpecError
from .tvm_build import tvm_target

if TYPE_CHECKING:
    from .task import Target


def check_target(target: Target) -> None:
    """Raises SpecError unless this TVM can build for `target`: knows kind and options, and generates its code."""
    try:
        tvm_target(target, threads=1)
    except LoweringError as error:
        raise SpecError(f"TVM {tvm.__version__} does not take it: {error}", "target") from error
    if tvm.get_global_func(f"target.build.{target.kind}", allow_missing=True) is None:
        raise SpecError(
            f"TVM {tvm.__version__} generates no code for {target.kind!r}; use 'llvm' or a kind it was built with",
            "target.kind",
        )
