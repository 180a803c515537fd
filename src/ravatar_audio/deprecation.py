"""Old names that still work: a DeprecationWarning says what to use instead, and which version removes them."""

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

REMOVED_IN = "0.2.0"
"""The version in which the old names of this one are gone (docs/compatibility.md)."""


def warn_renamed(what: str, old: str, new: str, *, stacklevel: int) -> None:
    """Warn the caller `stacklevel` frames up (1: the one of this function) that `old` is now `new`."""
    warnings.warn(
        f"the {what} {old!r} is now {new!r}; the old name goes in {REMOVED_IN}",
        DeprecationWarning,
        stacklevel=stacklevel + 1,
    )


def renamed_argument(old: str, old_value: T | None, new: str, new_value: T, *, stacklevel: int) -> T:
    """Return the argument's value, from either of its names; None: the old one was not used, which warns."""
    if old_value is None:
        return new_value
    warn_renamed("argument", old, new, stacklevel=stacklevel + 1)
    return old_value


def renamed_names(module: str, renamed: dict[str, str], load: Callable[[str], Any]) -> Callable[[str], Any]:
    """Make a `__getattr__` for a module whose names were `renamed` (old to new); `load` gives the new name's value."""

    def __getattr__(name: str) -> Any:  # noqa: N807 - what the module is given
        if name not in renamed:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warn_renamed("name", f"{module}.{name}", f"{module}.{renamed[name]}", stacklevel=2)
        return load(renamed[name])

    return __getattr__
