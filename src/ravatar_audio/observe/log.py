"""The log of the platform's side, and what it never shows: tokens and LicenseIds."""

import logging
import re

from ravatar_audio.printable import one_line

LOGGER = logging.getLogger("ravatar_audio")
HIDDEN = "[hidden]"

_SHORTEST_SECRET = 6  # anything shorter would blank out ordinary words
_SECRETS_MAX = 256
_PATTERNS = [
    re.compile(r"(?<=token=)[^&\s\"']+"),
    re.compile(r"(?<=Bearer )[^\s\"']+"),
    re.compile(r"(?<![\w-])eyJ[\w-]+\.[\w-]+\.[\w-]*"),  # any JWT: base64url of '{"' begins so
    re.compile(r"(?<=\"LicenseId\": \")[^\"]+"),
    re.compile(r"(?<=[cC]ookie', b')[^']+"),  # as the HTTP library's own log has an answer's headers
]


def hide_patterns(text: str) -> str:
    """Return the text with whatever looks like a secret hidden."""
    for pattern in _PATTERNS:
        text = pattern.sub(HIDDEN, text)
    return text


class HidingFilter(logging.Filter):
    """For the loggers of libraries that log addresses, which may have a token in their query, and headers."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, with its secrets hidden."""
        record.msg, record.args = one_line(hide_patterns(record.getMessage())), ()
        return True


class _LineFilter(logging.Filter):
    """Makes each record one line: a device's name, or what a server says, must not begin one of its own."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass; the text is only made where it goes anywhere, as that is asked first."""
        record.msg, record.args = one_line(record.getMessage()), ()
        return True


_LINE_FILTER = _LineFilter()


def line_logger(name: str) -> logging.Logger:
    """Return the logger of this name, for a module of this package: whoever listens to it gets one line for each
    record.
    """
    logger = logging.getLogger(name)
    logger.addFilter(_LINE_FILTER)  # added once, however often
    return logger


class Log:
    """Writes to the logger "ravatar_audio": known secrets and whatever looks like one hidden, each line one line.

    One for each platform client, as the secrets are its own. Nothing is formatted while debug output is off.
    """

    def __init__(self) -> None:
        self._secrets: dict[str, None] = {}  # the oldest first

    def add_secret(self, secret: str) -> None:
        """Hide this text wherever it appears from now on; of many the newest 256, as each costs time at each line."""
        if len(secret) >= _SHORTEST_SECRET:
            self._secrets.pop(secret, None)
            self._secrets[secret] = None
            if len(self._secrets) > _SECRETS_MAX:
                del self._secrets[next(iter(self._secrets))]

    def redact(self, text: str) -> str:
        """Return the text with secrets hidden."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return hide_patterns(text)

    @property
    def is_debugging(self) -> bool:
        """Whether debug lines go anywhere; ask before computing something only for the log."""
        return LOGGER.isEnabledFor(logging.DEBUG)

    def debug(self, text: str, *values: object) -> None:
        """Log a request, a message, an event, with its timing."""
        self._write(logging.DEBUG, text, values)

    def warning(self, text: str, *values: object) -> None:
        """Log something that a user should look at; written on the edge, not each time."""
        self._write(logging.WARNING, text, values)

    def _write(self, level: int, text: str, values: tuple[object, ...]) -> None:
        if LOGGER.isEnabledFor(level):
            LOGGER.log(level, "%s", one_line(self.redact(text % values if values else text)))


def log_debug() -> None:
    """Log everything of this package; to standard error where the program has no handlers of its own."""
    LOGGER.setLevel(logging.DEBUG)
    if not LOGGER.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(message)s"))
        LOGGER.addHandler(handler)
