"""Values of settings: of their type, in their range. Pure."""

import os
from collections.abc import Mapping
from typing import Any, Literal, cast, get_args, get_origin

from ravatar_audio.errors import SettingsError

_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off", ""}


def checked(name: str, value: Any, kind: Any, rules: Mapping[str, Any]) -> Any:
    """Return the value of the setting `name` in its type `kind`; text, as from the environment, is converted.

    `rules` has its bounds `low` and `high`, the words that it is `one_of`, and whether it `is_secret`. Raises
    SettingsError.
    """
    optional = type(None) in get_args(kind)
    wanted = plain_type(kind)
    if value is None:
        if optional:
            return None
        raise SettingsError(f"{name} is None; it needs a value")
    try:
        if wanted is bool:
            value = _as_bool(value)
        elif wanted in (int, float):
            if isinstance(value, bool):
                raise ValueError
            value = wanted(value) if isinstance(value, str) or wanted is float else value
        if wanted is str and isinstance(value, os.PathLike):
            value = os.fspath(value)
        if not isinstance(value, wanted) or isinstance(value, bool) != (wanted is bool):
            raise ValueError
    except (TypeError, ValueError):
        shown = "of another type" if rules["is_secret"] else _shown(value)
        raise SettingsError(f"{name} is {shown}; it must be of type {wanted.__name__}") from None
    low, high, one_of = rules["low"], rules["high"], rules["one_of"]
    if low is not None and not low <= value <= high:
        raise SettingsError(f"{name} is {_shown(value)}; it must be {low} to {high}")
    if one_of and value not in one_of:
        raise SettingsError(f"{name} is {_shown(value)}; it is one of {', '.join(map(str, one_of))}")
    return value


def plain_type(kind: Any) -> type:
    """Return the class of a setting's values, None apart: of one that is a choice of words, str."""
    if get_origin(kind) is Literal:
        return str
    alternatives = [plain_type(each) for each in get_args(kind) if each is not type(None)]
    return alternatives[0] if alternatives else cast(type, kind)


def as_canceller(value: Any) -> Any:
    """Return the name of the canceller that yes or no means, as they are written anywhere; anything else as it is."""
    try:
        return "own" if _as_bool(value) else "off"
    except ValueError:
        return value


def _shown(value: Any) -> str:
    """Return a value as text; an integer of more digits than Python writes by its size."""
    try:
        return repr(value)
    except ValueError:
        return f"an integer of {value.bit_length()} bits" if isinstance(value, int) else "of another type"


def _as_bool(value: Any) -> bool:
    if isinstance(value, str) and value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    if isinstance(value, bool):
        return value
    raise ValueError
