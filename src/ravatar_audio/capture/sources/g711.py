"""G.711: telephone sound of eight bits, by table. After ITU-T Recommendation G.711 (11/1988), tables 1a to 2b."""

import array
from typing import Final


def _mu_law(code: int) -> int:
    code = ~code & 0xFF
    exponent, mantissa = code >> 4 & 7, code & 15
    magnitude = (((mantissa << 3) + 132) << exponent) - 132
    return -magnitude if code & 0x80 else magnitude


def _a_law(code: int) -> int:
    code ^= 0x55
    exponent, mantissa = code >> 4 & 7, code & 15
    magnitude = (mantissa << 4) + 8 if exponent == 0 else ((mantissa << 4) + 264) << exponent - 1
    return magnitude if code & 0x80 else -magnitude


MU_LAW: Final = tuple(map(_mu_law, range(256)))
"""The sample, as int16, of each code; full scale is 32,124."""

A_LAW: Final = tuple(map(_a_law, range(256)))
"""The sample, as int16, of each code; full scale is 32,256."""


def decoded(data: bytes, table: tuple[int, ...]) -> bytes:
    """Return the samples as int16 in the machine's byte order."""
    return array.array("h", map(table.__getitem__, data)).tobytes()
