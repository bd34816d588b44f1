"""CPUs for which spaces are made and models asked; none of them has to be this one."""

from __future__ import annotations

import attrs

from autosched.spec.claim import Machine

AVX512 = Machine(
    arch="x86_64",
    vendor="AuthenticAMD",
    family=25,
    model=17,
    isa=("avx", "avx2", "avx512f", "fma"),
    cores=2,
    l1d_bytes=32768,
    l2_bytes=1048576,
    l3_bytes=33554432,
)
AVX2 = attrs.evolve(AVX512, model=1, isa=("avx", "avx2", "fma"), l2_bytes=524288)
NEON = Machine(
    arch="aarch64", vendor="ARM", family=8, model=1, isa=("asimd",), cores=4, l1d_bytes=65536, l2_bytes=0, l3_bytes=0
)
