"""How long to wait before the next try. Pure: no clock, no sleep; the caller says what time it is."""

import email.utils
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Backoff:
    """Full-jitter exponential backoff: a delay is drawn evenly from 0 to a limit that doubles with each failure.

    The first limit is `first_s`, the second `base_s`, and then it doubles up to `cap_s`. A success only resets the
    count when it has lasted `stable_s`, so that a peer which accepts and drops at once cannot defeat the growth.

    Full jitter: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    first_s: float = 0.05
    base_s: float = 0.5
    cap_s: float = 10.0
    stable_s: float = 5.0
    draw: Callable[[], float] = field(default=random.random, repr=False)
    """Evenly distributed over [0, 1)."""
    failures: int = 0

    def next_delay_s(self, at_least_s: float = 0.0, at_most_s: float = math.inf) -> float:
        """Count a failure, and say how long to wait; `at_least_s` is what the peer asked for (Retry-After).

        `at_most_s` is another limit of what is drawn.
        """
        # The exponent is bounded, as 2.0 ** 1024 overflows after some hours of failures.
        limit_s = self.first_s if self.failures == 0 else self.base_s * 2.0 ** min(self.failures - 1, 60)
        self.failures += 1
        return max(at_least_s, self.draw() * min(limit_s, self.cap_s, at_most_s))

    def note_success(self, lasted_s: float) -> None:
        """Note that what was tried has worked for `lasted_s` and then ended."""
        if lasted_s >= self.stable_s:
            self.failures: int = 0


def parse_retry_after(text: str, date: str = "") -> float:
    """Return the seconds of a Retry-After header: a number, or an HTTP date (RFC 9110, 10.2.3); 0 for anything else.

    `date` is the answer's own Date header: by the server's clock, where it has one; this machine's may be wrong.
    """
    try:
        seconds = float(text)
    except ValueError:
        try:
            until_s = email.utils.parsedate_to_datetime(text).timestamp()
        except (ValueError, TypeError, OverflowError):
            return 0.0
        try:
            now_s = email.utils.parsedate_to_datetime(date).timestamp()
        except (ValueError, TypeError, OverflowError):
            now_s = time.time()
        seconds = until_s - now_s
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0
