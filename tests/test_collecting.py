"""The collector of cycles is left as it was found, whatever happens in between."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from autosched.search.collecting import YOUNG, rare_collections

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


@pytest.mark.parametrize("threshold", [(700, 10, 10), (0, 10, 10), (10 * YOUNG, 5, 5)])
def test_what_was_set_comes_back(threshold: tuple[int, int, int]) -> None:
    gc.set_threshold(*threshold)
    with rare_collections():
        within = gc.get_threshold()
    assert gc.get_threshold() == threshold
    assert within[1:] == threshold[1:]
    assert within[0] == (0 if threshold[0] == 0 else max(YOUNG, threshold[0])), "off stays off"


def test_also_where_the_work_fails() -> None:
    gc.set_threshold(700, 10, 10)
    with pytest.raises(KeyboardInterrupt), rare_collections():
        raise KeyboardInterrupt
    assert gc.get_threshold() == (700, 10, 10)


def test_searches_within_one_another() -> None:
    gc.set_threshold(700, 10, 10)
    with rare_collections():
        with rare_collections():
            assert gc.get_threshold()[0] == YOUNG
        assert gc.get_threshold()[0] == YOUNG
    assert gc.get_threshold()[0] == 700
