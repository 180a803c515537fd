"""Foreign text, made fit for a terminal, a journal and a log: what others say must not be taken for a command.

A reply, a close reason, a device's name or a server's error may hold terminal escapes, which move the cursor or set the
title, and line ends, which would begin a line of the log that we never wrote. Both are shown as in a Python string, and
so are the marks that turn the direction of writing for all that follows. Other text of any language stays as it is.
"""

import unicodedata

_TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # embeddings, overrides, isolates: Unicode TR 36, 2.3
_KINDS = frozenset({"Cc", "Cs", "Zl", "Zp"})


def one_line(text: object) -> str:
    """Return the text on one line, with control characters, line ends and lone surrogates shown as escapes, as
    `\\x1b`.
    """
    given = str(text)
    if given.isprintable():
        return given
    return "".join(_shown(letter) for letter in given)


def lines(text: object) -> str:
    """Do as one_line, but for its line ends: for text that was put together here of lines that are safe."""
    return "\n".join(map(one_line, str(text).split("\n")))


def _shown(letter: str) -> str:
    is_safe = letter.isprintable() or (unicodedata.category(letter) not in _KINDS and letter not in _TURNS)
    return letter if is_safe else letter.encode("unicode_escape").decode("ascii")
