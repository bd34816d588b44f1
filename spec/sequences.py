"""Records whose sequences are tuples, whatever they were made of: people write lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import attrs


def as_tuples(_: type, fields: list[attrs.Attribute[Any]]) -> list[attrs.Attribute[Any]]:
    """Attrs' `field_transformer` of such a record: a list in the place of a tuple becomes one."""
    return [field.evolve(converter=_tuple) if str(field.type).startswith("tuple[") else field for field in fields]


def _tuple(value: Any) -> Any:
    return tuple(value) if type(value) is list else value
