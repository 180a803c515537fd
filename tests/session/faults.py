"""What goes wrong between a session and the platform, in each mode: every cell has a test that is marked with it.

`@pytest.mark.link_fault("reset", "live", "chat")` on a test, or on one of its parameters, says what it covers;
`test_fault_table.py` fails for a cell without a test or a reason, and for a mark that names no cell that is to be had.
"""

from typing import Final

MODES: Final = {"live": "LiveSession", "chat": "ChatSession"}

_NO_SLOT = {"chat": "Chat Mode has no slot"}

FAULTS: Final[dict[str, dict[str, str]]] = {
    "reset": {},
    "black hole": {},
    "platform restarted": {},
    "forgets the token": {},
    "forgets the conversation": {},
    "forgets the slot": _NO_SLOT,
    "refuses in other words": {},
    "refuses now and then": {},
    "accepts nothing any more": {},
    "fresh token refused": {},
    "refusals and pages at /jwt": {},
    "refusals and pages at /connection": {},
    "refusals and pages at the handshake": {},
    "token runs out": {},
    "no pongs": {},
    "unsent ping": {},
    "slow uplink": {},
    "dead name server": {},
    "proxy gone": {},
    "peer stops reading": {},
    "start interrupted": _NO_SLOT,
    "answer to the start lost": _NO_SLOT,
    "sessions left behind": _NO_SLOT,
}
"""For each fault the modes in which it needs no test of its own, and why; in all others a test has it."""
