"""What somebody may have meant by a name that is not there."""

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is nearest, or the same but for capitals; None where none is near."""
    import difflib

    known = tuple(known)
    close = difflib.get_close_matches(name, known, n=1) or [k for k in known if k.lower() == name.lower()]
    return close[0] if close else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`` (did you mean 'conv2d'?)`` where a known name is near; nothing where none is."""
    close = nearest(name, known)
    return f" (did you mean {close!r}?)" if close else ""
