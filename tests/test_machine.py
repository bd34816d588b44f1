"""The fingerprint: from the hardware, the same each time, without what says where or when."""

from __future__ import annotations

import getpass
import platform
import subprocess
import sys
import time
from pathlib import Path

import attrs
import pytest

from autosched.spec.claim import Machine
from autosched.spec.convert import structure, unstructure
from autosched.store.machine import (
    Caches,
    first_cpu,
    machine_elsewhere,
    machine_from_facts,
    online_cpus,
    read_caches,
    size_from_text,
    this_machine,
)

LINUX = pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="reads /proc and /sys")

ZEN5 = """\
processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 26
model\t\t: 2
model name\t: AMD EPYC 9B45
stepping\t: 1
microcode\t: 0xffffffff
cpu MHz\t\t: 2600.128
cache size\t: 1024 KB
physical id\t: 0
flags\t\t: fpu vme sse sse2 ht syscall nx pni fma sse4_1 avx avx2 avx512f avx512_vnni avx_vnni hypervisor new_flag
bogomips\t: 5200.25

processor\t: 1
vendor_id\t: AuthenticAMD
flags\t\t: none
"""
GRAVITON = """\
processor\t: 0
BogoMIPS\t: 2100.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimddp sve i8mm bf16
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x1
CPU part\t: 0xd40
CPU revision\t: 1

processor\t: 1
"""
RISCV = "processor\t: 0\nhart\t: 0\nisa\t: rv64imafdcv_zba_zbb\nmmu\t: sv39\nuarch\t: sifive,u74-mc\n"


def machine_of(cpuinfo: str, arch: str = "x86_64") -> Machine:
    return machine_from_facts(arch, first_cpu(cpuinfo), cores=4, caches=Caches(l1d_bytes=1, l2_bytes=2, l3_bytes=3))


def test_x86_is_read_from_the_first_cpu() -> None:
    assert machine_of(ZEN5) == Machine(
        arch="x86_64", vendor="AuthenticAMD", family=26, model=2,
        isa=("avx", "avx2", "avx512_vnni", "avx512f", "avx_vnni", "fma", "pni", "sse4_1"),
        cores=4, l1d_bytes=1, l2_bytes=2, l3_bytes=3,
    )  # fmt: skip


def test_arm_names_its_cores_by_implementer_and_part() -> None:
    machine = machine_of(GRAVITON, "aarch64")
    assert (machine.vendor, machine.family, machine.model) == ("0x41", 8, 0xD40)
    assert machine.isa == (
        "aes", "asimd", "asimddp", "asimdhp", "atomics", "bf16", "crc32", "fphp", "i8mm", "pmull", "sha1", "sha2",
        "sve",
    )  # fmt: skip


def test_an_unknown_architecture_still_has_a_fingerprint() -> None:
    machine = machine_of(RISCV, "riscv64")
    assert (machine.vendor, machine.family, machine.isa) == ("sifive,u74-mc", 0, ("rv64imafdcv", "zba", "zbb"))
    assert machine_of("", "loongarch64").vendor == "unknown"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2600.128", "3100.000"),  # clocks change while one looks
        ("5200.25", "5199.99"),
        ("0xffffffff", "0xa101148"),  # microcode
        ("EPYC 9B45", "EPYC 9B45 64-Core"),  # a name
        (" new_flag", " newer_flag"),  # what another kernel prints
        (" hypervisor", ""),
    ],
)
def test_what_changes_no_code_changes_no_fingerprint(old: str, new: str) -> None:
    assert old in ZEN5
    assert machine_of(ZEN5.replace(old, new)) == machine_of(ZEN5)


@pytest.mark.parametrize(
    ("old", "new"), [(" avx512_vnni", ""), ("family\t: 26", "family\t: 25"), ("model\t\t: 2", "model\t\t: 3")]
)
def test_what_changes_code_changes_the_fingerprint(old: str, new: str) -> None:
    assert old in ZEN5
    assert machine_of(ZEN5.replace(old, new)) != machine_of(ZEN5)


@pytest.mark.parametrize(
    ("text", "size"), [("32K", 32768), ("1024K", 2**20), ("32M", 2**25), ("512", 512), ("", 0), ("big", 0)]
)
def test_cache_sizes(text: str, size: int) -> None:
    assert size_from_text(text) == size


def test_caches_come_by_level_and_type(tmp_path: Path) -> None:
    for index, (level, kind, size) in enumerate(
        [("1", "Data", "48K"), ("1", "Instruction", "32K"), ("2", "Unified", "1024K"), ("3", "Unified", "32768K")]
    ):
        (tmp_path / f"index{index}").mkdir()
        for name, text in (("level", level), ("type", kind), ("size", size)):
            (tmp_path / f"index{index}" / name).write_text(text + "\n")
    assert read_caches(tmp_path) == Caches(l1d_bytes=49152, l2_bytes=2**20, l3_bytes=2**25)
    assert read_caches(tmp_path / "absent") == Caches()


@pytest.mark.parametrize(("text", "count"), [("0", 1), ("0-3", 4), ("0-3,8", 5), ("0,2-3,7-8", 5)])
def test_cpus_that_are_on_are_counted(tmp_path: Path, text: str, count: int) -> None:
    (tmp_path / "online").write_text(text + "\n")
    assert online_cpus(tmp_path) == count


def test_without_proc_there_is_still_a_machine() -> None:
    machine = machine_elsewhere("aarch64")
    assert machine.arch == "aarch64"
    assert machine.cores >= 1


@LINUX
def test_this_machine_is_the_same_for_who_may_use_one_core_only() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from autosched.store.machine import this_machine; print(this_machine())"
    )
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert seen.strip() == str(this_machine())


@LINUX
def test_this_machine_is_read_quickly() -> None:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        this_machine.__wrapped__()
        times.append(time.perf_counter() - start)
    assert min(times) < 0.005, "2 ms is the promise; more than twice that is no longer noise"


def test_this_machine_says_nothing_of_who_and_where() -> None:
    text = str(this_machine())
    names = (platform.node(), str(Path.home()), getpass.getuser())
    assert [name for name in names if len(name) > 3 and name in text] == []  # shorter ones may be in a word by chance


def test_this_machine_survives_json() -> None:
    machine = this_machine()
    assert structure(unstructure(machine), Machine) == machine
    assert attrs.asdict(machine)["isa"] == tuple(sorted(machine.isa))
