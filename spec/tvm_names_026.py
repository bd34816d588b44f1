"""What TVM 0.26 calls things, where other versions differ: what 0.25 does, but its expressions have types."""

from __future__ import annotations

from typing import Any, Final

from .tvm_names_025 import (
    IF_OP,
    LIKELY_OP,
    RENAMED_OPS,
    SIMPLIFY,
    MatchBufferRegion,
    SBlock,
    SBlockRealize,
    bit_nodes,
    buffer_of,
    prim,
    scope_of,
)
from .tvm_typed_nodes import call_node, data_address, dtype_of, handle_of, pointer_to, scalar_var

__all__ = [
    "BIT_NODES",
    "IF_OP",
    "LIKELY_OP",
    "RENAMED_OPS",
    "SIMPLIFY",
    "MatchBufferRegion",
    "SBlock",
    "SBlockRealize",
    "buffer_of",
    "call_node",
    "data_address",
    "dtype_of",
    "handle_of",
    "pointer_to",
    "prim",
    "scalar_var",
    "scope_of",
]

BIT_NODES: Final[dict[str, Any]] = bit_nodes(call_node)
