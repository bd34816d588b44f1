"""The fingerprint of the machine: the facts of its processor that decide which schedule is fastest.

Read from what the kernel says of the hardware: no compiler is asked, so an upgrade of LLVM changes nothing, and neither
clock rates nor addresses nor names enter, so that machines of one type share what they learn.
"""

from __future__ import annotations

import functools
import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from ..spec.claim import Machine

if TYPE_CHECKING:
    from collections.abc import Mapping

# Flags that change the code which a compiler makes or how fast it runs, by the kernel's names. A closed list: a kernel
# that learns to print one more flag must not turn every stored record into a miss.
X86_ISA: Final = frozenset((
    "pni", "ssse3", "sse4_1", "sse4_2", "sse4a", "popcnt", "movbe", "abm", "adx", "bmi1", "bmi2", "fma",
    "fma4", "xop", "f16c", "aes", "vaes", "pclmulqdq", "vpclmulqdq", "gfni", "sha_ni", "avx", "avx2",
    "avx_vnni", "avx512f", "avx512dq", "avx512cd", "avx512bw", "avx512vl", "avx512er", "avx512pf",
    "avx512ifma", "avx512vbmi", "avx512_vbmi2", "avx512_vnni", "avx512_bitalg", "avx512_vpopcntdq",
    "avx512_bf16", "avx512_fp16", "avx512_vp2intersect", "avx512_4vnniw", "avx512_4fmaps", "amx_tile",
    "amx_int8", "amx_bf16",
))  # fmt: skip
ARM_ISA: Final = frozenset((
    "neon", "vfpv4", "asimd", "asimdhp", "fphp", "asimdrdm", "asimddp", "asimdfhm", "fcma", "i8mm", "bf16",
    "atomics", "crc32", "aes", "pmull", "sha1", "sha2", "sha3", "sha512", "sve", "sve2", "svei8mm",
    "svebf16", "svef32mm", "svef64mm", "sveaes", "svebitperm", "sme", "smei8i32", "smef16f32", "smeb16f32",
    "smef32f32", "smef64f64",
))  # fmt: skip

_ARCHITECTURES: Final = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}
_CPUS: Final = "sys/devices/system/cpu"
_CPUINFO: Final = "proc/cpuinfo"
_CACHES: Final = 8
"""Caches of one CPU that are looked at."""

FACT_FILES: Final = (
    _CPUINFO,
    f"{_CPUS}/online",
    *(f"{_CPUS}/cpu0/cache/index{i}/{name}" for i in range(_CACHES) for name in ("level", "type", "size")),
)
"""The files below the root of Linux that a fingerprint is read from; not every machine has each."""

# The kernel writes /proc/cpuinfo as it is read, CPU by CPU; the first fits in this.
_FIRST_CPU_BYTES: Final = 8192

_UNITS: Final = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


@attrs.frozen(kw_only=True)
class Caches:
    """Sizes of one CPU's data caches in bytes; 0 where unknown."""

    l1d_bytes: int = 0
    l2_bytes: int = 0
    l3_bytes: int = 0


@functools.cache
def this_machine() -> Machine:
    """The fingerprint of the machine this process runs on; read once in a process.

    `cores` counts the CPUs that are switched on, hardware threads included: a fact of the machine, not of this process,
    whose affinity, container or environment may allow fewer (that is the task's `threads`).
    """
    arch = architecture()
    if not Path("/", _CPUINFO).exists():
        return machine_elsewhere(arch)
    return machine_from_files(Path("/"), arch)


def machine_from_files(root: Path, arch: str) -> Machine:
    """The fingerprint from Linux's files below `root`, which are those of the machine or copies of another's.

    OSError where there is no /proc/cpuinfo.
    """
    with (root / _CPUINFO).open("rb") as file:
        facts = first_cpu(file.read(_FIRST_CPU_BYTES).decode("ascii", "replace"))
    cpus = root / _CPUS
    return machine_from_facts(arch, facts, cores=online_cpus(cpus), caches=read_caches(cpus / "cpu0" / "cache"))


def architecture() -> str:
    """The instruction set's name as Linux spells it: x86_64, aarch64, ..."""
    return architecture_named(os.uname().machine if hasattr(os, "uname") else platform.machine())


def architecture_named(name: str) -> str:
    """An instruction set as Linux spells it, by any of its names."""
    return _ARCHITECTURES.get(name.lower(), name.lower())


def machine_elsewhere(arch: str) -> Machine:
    """What can be known of a machine that has no /proc: enough for a key of its own, less than Linux tells."""
    return Machine(
        arch=arch,
        vendor=platform.processor() or platform.system() or "unknown",
        family=0,
        model=0,
        isa=(),
        cores=os.cpu_count() or 1,
        l1d_bytes=0,
        l2_bytes=0,
        l3_bytes=0,
    )


def machine_from_facts(arch: str, facts: Mapping[str, str], cores: int, caches: Caches) -> Machine:
    """The fingerprint from the fields of /proc/cpuinfo (`first_cpu`), which are other ones on x86 and on Arm.

    On machines with several kinds of core the first CPU stands for all.
    """
    if "vendor_id" in facts and "flags" in facts:
        vendor, family, model = facts["vendor_id"], _number(facts, "cpu family"), _number(facts, "model")
        isa = X86_ISA.intersection(facts["flags"].split())
    elif "CPU implementer" in facts:
        vendor, family, model = (
            facts["CPU implementer"], _number(facts, "CPU architecture"), _number(facts, "CPU part"),
        )  # fmt: skip
        isa = ARM_ISA.intersection(facts.get("Features", "").split())
    else:
        vendor = next((facts[name] for name in ("uarch", "cpu", "cpu model", "vendor_id") if name in facts), "unknown")
        family, model = 0, 0
        isa = frozenset(re.split(r"[\s_]+", facts["isa"]) if facts.get("isa") else ())
    return Machine(
        arch=arch, vendor=vendor, family=family, model=model, isa=tuple(sorted(isa)), cores=cores,
        l1d_bytes=caches.l1d_bytes, l2_bytes=caches.l2_bytes, l3_bytes=caches.l3_bytes,
    )  # fmt: skip


def first_cpu(cpuinfo: str) -> dict[str, str]:
    """The fields of the first CPU in the text of /proc/cpuinfo."""
    facts: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            facts.setdefault(name.strip(), value.strip())
        elif facts:
            break
    return facts


def online_cpus(cpus: Path) -> int:
    """How many CPUs are switched on: ``0-3,8`` in the file `online` is 5."""
    try:
        text = (cpus / "online").read_text(encoding="ascii").strip()
    except OSError:
        return os.cpu_count() or 1
    return len(cpus_from_text(text))


def cpus_from_text(text: str) -> tuple[int, ...]:
    """The kernel's lists of CPUs: ``0-3,8`` is 0, 1, 2, 3, 8. ValueError for what is none."""
    found: list[int] = []
    for span in text.strip().split(","):
        first, _, last = span.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return tuple(found)


def read_caches(folder: Path) -> Caches:
    """One CPU's cache sizes from its folder in /sys; a virtual machine may show none."""
    found: dict[tuple[str, str], int] = {}
    for index in range(_CACHES):
        cache = folder / f"index{index}"
        try:
            level, kind, size = (
                (cache / name).read_text(encoding="ascii").strip() for name in ("level", "type", "size")
            )
        except OSError:
            break
        found[level, kind] = size_from_text(size)
    return Caches(
        l1d_bytes=found.get(("1", "Data"), found.get(("1", "Unified"), 0)),
        l2_bytes=found.get(("2", "Unified"), found.get(("2", "Data"), 0)),
        l3_bytes=found.get(("3", "Unified"), 0),
    )


def size_from_text(text: str) -> int:
    """The kernel's cache sizes in bytes: ``32K`` is 32768; 0 for what does not look like one."""
    match = re.fullmatch(r"(\d+)([KMG]?)", text)
    return int(match[1]) * _UNITS[match[2]] if match else 0


def _number(facts: Mapping[str, str], name: str) -> int:
    """A decimal or 0x… number of /proc/cpuinfo; 0 where it is absent or a word (old Arm kernels: ``AArch64``)."""
    text = facts.get(name, "")
    return int(text, 0) if re.fullmatch(r"0[xX][0-9a-fA-F]+|0|[1-9]\d*", text) else 0
