"""What goes wrong between a session and the platform, in each mode: every cell has a test that is marked with it.

`@pytest.mark.link_fault("reset", "live", "chat")` on a test, or on one of its parameters, says what it covers;
`test_fault_table.py` fails for a cell without a test or a reason, and for a mark that names no cell that is to be had.
"""

from typing import Final

MODES: Final = {"live": "LiveSession", "chat": "ChatSession"}

_NO_SLOT = {"chat": "Chat Mode has no slot"}
_NO_SOUND = {"chat": "Chat Mode sends no sound"}
_SAME_LINK = {"chat": "the same code keeps its link: session/linking.py has no mode in it"}

FAULTS: Final[dict[str, dict[str, str]]] = {
    "reset": _SAME_LINK,
    "black hole": _SAME_LINK,
    "platform restarted": _SAME_LINK,
    "forgets the token": {},
    "forgets the conversation": {},
    "forgets the slot": _NO_SLOT,
    "refuses in other words": {},
    "refuses now and then": _SAME_LINK,
    "accepts nothing any more": _SAME_LINK,
    "fresh token refused": _SAME_LINK,
    "refusals and pages at /jwt": _SAME_LINK,
    "refusals and pages at /connection": _SAME_LINK,
    "refusals and pages at the handshake": _SAME_LINK,
    "token runs out": _SAME_LINK,
    "start interrupted": _NO_SLOT,
    "answer to the start lost": _NO_SLOT,
    "sessions left behind": _NO_SLOT,
    "peer stops reading": _NO_SOUND,
}
"""For each fault the modes in which it needs no test of its own, and why; in all others a test has it."""
