"""What somebody may have meant by a name that is not there."""

from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`` (did you mean 'conv2d'?)`` where a known name is near; nothing where none is."""
    import difflib

    known = tuple(known)
    close = difflib.get_close_matches(name, known, n=1) or [k for k in known if k.lower() == name.lower()]
    return f" (did you mean {close[0]!r}?)" if close else ""
