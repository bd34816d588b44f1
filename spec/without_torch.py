"""TVM without PyTorch, in processes of our own."""

from __future__ import annotations

import sys


def leave_torch_out() -> None:
    """Keeps the import of TVM from importing PyTorch, where nothing else did so before.

    tvm_ffi imports torch where it is installed, for two seconds and hundreds of megabytes; None in its place makes that
    an ImportError, which it expects. Only for processes that run no code of users.
    """
    # Documented: "a None value in sys.modules makes the import halt with a ModuleNotFoundError".
    sys.modules.setdefault("torch", None)  # type: ignore[arg-type]
