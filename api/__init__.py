"""Schedules as data: a declarative schedule-spec compiler with a caching store, for TVM.

Every name is imported on first use: a lookup must not pay for NumPy or TVM.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .lowering import lower, rewrite
    from .nn.registry import get_task
    from .other_formats import export_metaschedule, import_flextensor
    from .question import NothingMeasuredError
    from .rechecking import recheck, verify
    from .result import Answer, Result
    from .search.tracker import Remote
    from .sharing import export_specs, import_specs, merge_specs, rebuild, save_spec
    from .spec.claim import Failure, Machine, Protocol
    from .spec.errors import AutoschedError, LoweringError, MeasureError, SpecError, StoreError
    from .spec.schedule import Schedule
    from .spec.spec_file import SpecFile, load_spec
    from .spec.task import Target, Task, ValueRange
    from .store.records import Record
    from .store.store import Store
    from .tuning import answer, lookup, lookup_or_tune
    from .ways import default_schedule

__all__ = [
    "Answer",
    "AutoschedError",
    "Failure",
    "LoweringError",
    "Machine",
    "MeasureError",
    "NothingMeasuredError",
    "Protocol",
    "Record",
    "Remote",
    "Result",
    "Schedule",
    "SpecError",
    "SpecFile",
    "Store",
    "StoreError",
    "Target",
    "Task",
    "ValueRange",
    "answer",
    "default_schedule",
    "export_metaschedule",
    "export_specs",
    "get_task",
    "import_flextensor",
    "import_specs",
    "load_spec",
    "lookup",
    "lookup_or_tune",
    "lower",
    "merge_specs",
    "rebuild",
    "recheck",
    "rewrite",
    "save_spec",
    "verify",
]

_HOMES: Final = {
    "Answer": "result",
    "AutoschedError": "spec.errors",
    "Failure": "spec.claim",
    "LoweringError": "spec.errors",
    "Machine": "spec.claim",
    "MeasureError": "spec.errors",
    "NothingMeasuredError": "question",
    "Protocol": "spec.claim",
    "Record": "store.records",
    "Remote": "search.tracker",
    "Result": "result",
    "Schedule": "spec.schedule",
    "SpecError": "spec.errors",
    "SpecFile": "spec.spec_file",
    "Store": "store.store",
    "StoreError": "spec.errors",
    "Target": "spec.task",
    "Task": "spec.task",
    "ValueRange": "spec.task",
    "answer": "tuning",
    "default_schedule": "ways",
    "export_metaschedule": "other_formats",
    "export_specs": "sharing",
    "get_task": "nn.registry",
    "import_flextensor": "other_formats",
    "import_specs": "sharing",
    "load_spec": "spec.spec_file",
    "lookup": "tuning",
    "lookup_or_tune": "tuning",
    "lower": "lowering",
    "merge_specs": "sharing",
    "rebuild": "sharing",
    "recheck": "rechecking",
    "rewrite": "lowering",
    "save_spec": "sharing",
    "verify": "rechecking",
}
"""Name → the module it is imported from."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("autosched")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
