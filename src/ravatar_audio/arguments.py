"""Checks of what a constructor is given, each with one wording."""

import math

from ravatar_audio.errors import SettingsError


def check_number(name: str, value: object, low: float, high: float) -> None:
    """Check a number that is to be `low` to `high`. Raises SettingsError for another one, and for what is no number."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise SettingsError(f"{name} is {value!r}; it must be {low:,} to {high:,}")


def check_time_s(name: str, value: object) -> None:
    """Check a time in seconds, from 0 on; None stands for one that is not set. Raises SettingsError for any other."""
    if value is not None:
        check_number(name, value, 0.0, math.inf)
