"""Hypothesis profiles: `dev`, `ci` in `make test`, `wide` (HYPOTHESIS_PROFILE chooses); ``--accept-goldens``.

Tests of one file run in one process, where they share what its fixtures made; those that time the machine, or count its
processes, run in one and the same.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from types import ModuleType

pytest_plugins = ["cli_calls"]  # the fixtures that the tests of the command line share

# As in the workers: tvm_ffi would import torch where it is installed, for two seconds in each process.
sys.modules["torch"] = None  # type: ignore[assignment] # documented: "import halts with ModuleNotFoundError"

gc.disable()  # until all is collected: what modules leave behind lives to the end

# What judges a change draws the same examples twice, so that it is the change that fails; new ones are found while
# working, by `wide`, and by the day's slice of `make test`. A failure prints what reproduces it.
settings.register_profile("ci", derandomize=True, print_blob=True, deadline=None, max_examples=50)
settings.register_profile("dev", print_blob=True, deadline=None, max_examples=15)
settings.register_profile("wide", print_blob=True, deadline=None, max_examples=200)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


@pytest.fixture(scope="session")
def torch() -> ModuleType:
    """The peer itself, from here on for all tests of this process; what asks for it is skipped where there is none."""
    sys.modules.pop("torch", None)
    return pytest.importorskip("torch")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--accept-goldens``: what test_language.py compares with is written anew."""
    parser.addoption("--accept-goldens", action="store_true", help="write down what is printed and lowered as right")


@pytest.fixture(scope="session", autouse=True)
def _shared_spaces() -> None:
    """Searches of one task share a space in each process of tests."""
    from shared_spaces import share_spaces

    share_spaces()


def pytest_collection_finish() -> None:
    """The garbage collector need not walk what was collected again and again."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """What is lost is looked for once: at its end pytest collects five times, all spaces each time."""
    gc.collect()
    gc.freeze()


MACHINE: Final = (
    "test_measure_faults",
    "test_faults",
    "test_api",
    "test_measure",
    "test_bench",
    "test_readme",
    "test_measure_parts",
)
"""Files of tests that take the lock on the machine's timing or look at its processes; the longest first."""
COMPILER: Final = (
    "test_relax", "test_tensorize", "test_corpus", "test_language", "test_lowering", "test_counterexamples", "test_gpu",
    "test_wmma", "test_chains", "test_mutations", "test_pairs", "test_tvm_write", "test_tvm_read",
)  # fmt: skip
"""Files of tests that build hundreds of kernels to prove the compiler: `make compiler`."""
FAULTS: Final = ("test_measure_faults", "test_faults", "test_store_faults")
"""Files of tests that harm tuners, candidates and stores: the short forms of `make faults` and `make store-faults`."""
SEARCHES: Final = (
    "test_strategies", "test_replay", "test_auto", "test_tuner", "test_budget", "test_noise", "test_own_strategy",
    "test_tuner_failures", "test_tuner_starts", "test_regret",
)  # fmt: skip
"""Files of tests that search one space, that of `pretended_bench.LARGE`, whose candidates all of them use."""
LONG: Final = (
    "test_cli", "test_space", "test_seeding", "test_search_algorithms", "test_store_repair", "test_relax_modules",
    "test_store_hostile", "test_store_damage", "test_tvm_call", "test_store_processes", "test_bench_searches",
    "test_measurable", "test_once", "test_server", "test_cli_files", "test_tvm_vector_math", "test_tvm_refusals",
)  # fmt: skip
"""Files that take several seconds: begun early, so that no process works alone at the end."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves out files whose tests all have, or all lack, a marker that ``-m`` asks for: they are not even imported."""
    stem, wanted = collection_path.stem, config.option.markexpr.split(" and ")
    if collection_path.suffix != ".py":
        return None
    for marker, files in (("compiler", COMPILER), ("faults", FAULTS), ("system", ()), ("hypothesis", ())):
        if f"not {marker}" in wanted and stem in files:
            return True
        if marker in wanted and stem not in files and marker not in collection_path.read_text(encoding="utf-8"):
            return True
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; markers by file."""
    order = [*MACHINE, *COMPILER, *SEARCHES, *LONG]

    def rank(item: pytest.Item) -> int:
        stem = item.path.stem
        return order.index(stem) if stem in order else len(order)

    items.sort(key=rank)
    for item in items:
        stem = item.path.stem
        if stem in COMPILER:
            item.add_marker(pytest.mark.compiler)
        if stem in FAULTS:
            item.add_marker(pytest.mark.faults)


class ByFile(LoadScopeScheduling):
    """Tests of one file to one process, those of all files of `MACHINE` to the same, and of `SEARCHES` to the same.

    ``--dist loadgroup`` would do, but xdist 3.8 cannot mark the groups for pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        stem = Path(nodeid.partition("::")[0]).stem
        return "machine" if stem in MACHINE else "searches" if stem in SEARCHES else stem


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """Which process runs which tests, under ``-n 2``."""
    return ByFile(config, log)
