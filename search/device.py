"""What a device tells of itself: its machine, from its own Linux, and what code for it has to be made for."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from ..spec.claim import Machine
from ..spec.errors import MeasureError
from ..spec.task import Target, TargetOption
from ..store.machine import FACT_FILES, architecture_named, cpus_from_text, machine_from_files
from .pinning import cpus_in_order, siblings_file

if TYPE_CHECKING:
    from collections.abc import Callable


_STATUS = "/proc/self/status"


@attrs.frozen(kw_only=True)
class Device:
    """A device as far as measuring on it goes.

    `machine` is the fingerprint that this package would find if it ran there; `cpu` and `triple` are LLVM's names;
    `cpus` are those that the server may use, in the order in which threads take them.
    """

    machine: Machine
    cpu: str
    triple: str
    cpus: tuple[int, ...]

    def target(self, asked: Target) -> Target:
        """`asked` with this CPU filled in, where it leaves open which one is meant."""
        if {"mcpu", "mtriple"} & {option.name for option in asked.options}:
            added = {"mtriple": self.triple}
        else:
            added = {"mcpu": self.cpu, "mtriple": self.triple}
        options = {**added, **{option.name: option.value for option in asked.options}}
        listed = tuple(TargetOption(name=name, value=value) for name, value in sorted(options.items()))
        return attrs.evolve(asked, options=listed)


def device_from_files(read: Callable[[str], bytes | None], cpu: str, triple: str) -> Device:
    """The device whose files `read` gives; MeasureError where they are not those of a Linux machine."""
    with tempfile.TemporaryDirectory(prefix="autosched-") as folder:
        root = Path(folder)
        for name in FACT_FILES:
            _copy(read, name, root)
        status = read(_STATUS)
        try:
            machine = machine_from_files(root, architecture_named(triple.partition("-")[0]))
            allowed = cpus_from_text(_field(status or b"", "Cpus_allowed_list"))
        except (OSError, ValueError) as error:
            raise MeasureError(
                "its files do not say which machine it is; only devices with Linux can be measured on"
            ) from error
        for number in allowed:
            _copy(read, siblings_file(number), root)
        return Device(machine=machine, cpu=cpu, triple=triple, cpus=cpus_in_order(allowed, root))


def _copy(read: Callable[[str], bytes | None], name: str, root: Path) -> None:
    content = read(f"/{name}")
    if content is not None:
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


def _field(status: bytes, name: str) -> str:
    """A field of /proc/self/status; empty where there is none."""
    lines = (line.partition(":") for line in status.decode("ascii", "replace").splitlines())
    return next((value.strip() for found, _, value in lines if found == name), "")
