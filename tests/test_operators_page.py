"""docs/operators.md has every operator, by families.

``pytest tests/test_operators_page.py --accept-goldens`` writes the page.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from autosched.nn import registry
from autosched.nn.registry import Operator, get_operator

if TYPE_CHECKING:
    import pytest

PAGE = Path(__file__).resolve().parent.parent / "docs" / "operators.md"
HEAD = """\
# Operators

What `autosched tune`, `lookup` and `get_task` know by name. Shapes, options and sources are in the functions'
docstrings, in `nn/` under the heading's name. `stride`, `padding`, `dilation` and `output_padding` are a number for all
dimensions or one for each, `stride=1,2` on a command line; arguments without a default must be given. This page is
written from the code.

Operators of your own, and of other packages: [extending.md](extending.md).
"""


def written() -> str:
    parts = [HEAD]
    families: dict[str, list[Operator]] = {}
    for name, module in registry._MODULES.items():
        families.setdefault(module, []).append(get_operator(name))
    for module, operators in families.items():
        subject = (inspect.getdoc(sys.modules[f"autosched.nn.{module}"]) or "").splitlines()[0]
        parts.append(f"\n## {module}\n\n{subject}\n\n| operator | arguments | what it computes |\n|---|---|---|\n")
        for operator in operators:
            arguments = ", ".join(map(str, operator.parameters))
            formula = operator.summary.replace("``", "`").replace("|", "\\|")
            parts.append(f"| `{operator.name}` | {arguments} | {formula} |\n")
    return "".join(parts)


def test_the_page_has_every_operator(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--accept-goldens"):
        PAGE.write_text(written(), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == written()
