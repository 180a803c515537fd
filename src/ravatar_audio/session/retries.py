"""When a link that ended is tried again, and when that is the end. Pure: the caller says what time it is.

Before a session has begun a refusal is final, and so are a few failures. Afterwards everything may pass: a firewall, a
gateway, a deployment that answers in the platform's place. Failures are tried again at most 10 s apart. Refusals (400,
401, 402, 403, from a proxy as well) are tried again at growing pauses of up to 5 minutes; they are final when the
platform itself says so in its own JSON, 8 times in a row and over 15 minutes.
"""

import math
from typing import Final

from ravatar_audio.api.backoff import Backoff
from ravatar_audio.api.link_end import LinkDown, Verdict

FIRST_TRIES: Final = 4
"""Tries of opening the WebSocket when the session begins; afterwards `reconnect_limit_s` counts."""

FINAL_REFUSALS: Final = 8
FINAL_AFTER_S: Final = 900.0
"""Number of refusals in the platform's own words, with nothing else between, and their duration, that are final."""

ASKED_WAIT_MAX_S: Final = 60.0
"""Longest wait that a server may ask for by Retry-After: a wrong date must not silence a session for weeks."""
REFUSED_WAIT_MAX_S: Final = 300.0
"""Longest pause between refusals, asked for or not."""


LEAST_REFUSED_LIMIT_S: Final = 2.0
"""The pause is drawn from no more than what the refusals have lasted so far, or this: so what passes soon costs no more
than as long again."""


class Retries:
    """The tries of one session: a LinkDown in, the pause before the next try out, or its error raised."""

    def __init__(self, limit_s: float, now_s: float) -> None:
        """`limit_s`: how long the link may be down."""
        self._limit_s = limit_s
        self._quick = Backoff()
        self._slow = Backoff(first_s=1.0, base_s=2.0, cap_s=REFUSED_WAIT_MAX_S)
        self._tries = 0
        self._up_s = now_s  # when a link that had lasted ended; flapping ones do not count
        self._is_fresh = False  # the token was renewed for a refusal, and nothing has shown since that it is good
        self._own_refusals = 0
        self._own_since_s = math.inf
        self._refused_since_s = now_s

    def pause_s(
        self, down: LinkDown, now_s: float, *, lasted_s: float | None, is_begun: bool, is_again: bool = False
    ) -> float:
        """Return how long to wait, in seconds; raises the error of `down` when it is final.

        `lasted_s`: how long the link was up; None when it did not come up. `is_begun`: one has been up before.
        `is_again`: what is sent is refused although all was renewed.
        """
        self._tries += 1
        if lasted_s is not None and lasted_s >= self._quick.stable_s:
            self._up_s = now_s
        for backoff in (self._quick, self._slow):
            backoff.note_success(lasted_s or 0.0)
        # A link that came up and ended for another reason shows that the fresh token was good.
        if lasted_s is not None and (lasted_s >= self._quick.stable_s or down.verdict is not Verdict.REFRESH):
            self._is_fresh = False
        is_refused = is_again or self._is_refused(down)
        if not is_begun and (is_refused or down.verdict is Verdict.FINAL or self._tries >= FIRST_TRIES):
            raise down.error() from down
        if is_begun and down.verdict is Verdict.FINAL and not (down.is_about_address or down.is_payment):
            raise down.error() from down
        self._is_fresh = self._is_fresh or down.verdict is Verdict.REFRESH
        self._count_own(down, now_s, is_refused)
        if is_refused:
            asked_s = min(down.retry_after_s, REFUSED_WAIT_MAX_S)
            if not self._slow.failures:
                self._refused_since_s = now_s
            delay_s = self._slow.next_delay_s(asked_s, max(LEAST_REFUSED_LIMIT_S, now_s - self._refused_since_s))
        else:
            asked_s = min(down.retry_after_s, ASKED_WAIT_MAX_S)
            delay_s = self._quick.next_delay_s(asked_s)
        left_s = self._up_s + self._limit_s - now_s
        if left_s <= 0 or asked_s > left_s or (delay_s > left_s and not is_refused):
            raise down.error() from down
        return min(delay_s, left_s)

    def _is_refused(self, down: LinkDown) -> bool:
        return down.is_payment or down.is_platform_refusal or (down.verdict is Verdict.REFRESH and self._is_fresh)

    def _count_own(self, down: LinkDown, now_s: float, is_refused: bool) -> None:
        if not (is_refused and down.is_own_word):
            self._own_refusals = 0
            return
        if not self._own_refusals:
            self._own_since_s = now_s
        self._own_refusals += 1
        if self._own_refusals >= FINAL_REFUSALS and now_s - self._own_since_s >= FINAL_AFTER_S:
            raise down.error() from down
