"""What the CPUs of x86 can do, by LLVM's names for both, so that a target can be judged without LLVM.

Only the features that an intrinsic asks for. `tests/test_tensorize.py` compares the table with LLVM's own; of a CPU
that is not in it nothing is known here, and the compiler is asked when it is built for.
"""

from __future__ import annotations

from typing import Final

_AVX512: Final = frozenset((
    "cannonlake", "cascadelake", "cooperlake", "diamondrapids", "emeraldrapids", "graniterapids", "graniterapids-d",
    "icelake-client", "icelake-server", "novalake", "rocketlake", "sapphirerapids", "skylake-avx512", "skx",
    "tigerlake", "x86-64-v4", "znver4", "znver5",
))  # fmt: skip
_AVX2_ONLY: Final = frozenset((
    "alderlake", "arrowlake", "arrowlake-s", "bdver4", "broadwell", "clearwaterforest", "core-avx2", "gracemont",
    "grandridge", "haswell", "knl", "knm", "lunarlake", "meteorlake", "pantherlake", "raptorlake", "sierraforest",
    "skylake", "wildcatlake", "x86-64-v3", "znver1", "znver2", "znver3",
))  # fmt: skip
_OLDER: Final = frozenset((
    "amdfam10", "atom", "barcelona", "bdver1", "bdver2", "bdver3", "bonnell", "btver1", "btver2", "core-avx-i", "core2",
    "corei7", "corei7-avx", "generic", "goldmont", "goldmont-plus", "ivybridge", "k8", "k8-sse3", "nehalem", "nocona",
    "opteron", "opteron-sse3", "penryn", "sandybridge", "silvermont", "tremont", "westmere", "x86-64", "x86-64-v2",
))  # fmt: skip

FEATURES: Final[dict[str, frozenset[str]]] = {
    "avx2": _AVX2_ONLY | _AVX512,
    "avx512bw": _AVX512,
    "avx512vl": _AVX512,
    "avx512vnni": _AVX512 - {"cannonlake", "skylake-avx512", "skx", "x86-64-v4"},
    "avxvnni": frozenset((
        "alderlake", "arrowlake", "arrowlake-s", "clearwaterforest", "diamondrapids", "emeraldrapids", "gracemont",
        "grandridge", "graniterapids", "graniterapids-d", "lunarlake", "meteorlake", "novalake", "pantherlake",
        "raptorlake", "sapphirerapids", "sierraforest", "wildcatlake", "znver5",
    )),
    "avx512bf16": frozenset((
        "cooperlake", "diamondrapids", "emeraldrapids", "graniterapids", "graniterapids-d", "novalake",
        "sapphirerapids", "znver4", "znver5",
    )),
}  # fmt: skip
"""Feature → the CPUs that have it."""

CPUS: Final = _AVX512 | _AVX2_ONLY | _OLDER
"""The CPUs of which the table knows what they have."""


def features_of(cpu: str) -> frozenset[str] | None:
    """The features in the table that a CPU has; None of a CPU that is not in it."""
    return frozenset(name for name, cpus in FEATURES.items() if cpu in cpus) if cpu in CPUS else None
