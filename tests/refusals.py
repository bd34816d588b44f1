"""What is said to who hands over what cannot be read."""

from __future__ import annotations

from typing import Any

import pytest

from autosched.spec.errors import LoweringError
from autosched.spec.tvm_read import workload_from_primfunc
from autosched.spec.tvm_te import workload_from_te


def refusal(func: Any) -> str:
    with pytest.raises(LoweringError) as caught:
        workload_from_primfunc(func)
    return str(caught.value)


def te_refusal(*tensors: Any) -> str:
    with pytest.raises(LoweringError) as caught:
        workload_from_te(tensors)
    return str(caught.value)
