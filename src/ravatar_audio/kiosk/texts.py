"""The words of the page, by language; one JSON file each."""

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from ravatar_audio.errors import SettingsError

LANGUAGES = ("de", "en", "es", "fr", "uk")


def load_texts(language: str | None, file: str | None = None) -> Mapping[str, str]:
    """Load the words for a language code ("de", "de-AT"), English where there are none; those of `file` go before them.

    Raises SettingsError for a file that cannot be read, is not an object of texts, or has a name that is none of ours.
    """
    short = (language or "en").replace("_", "-").partition("-")[0].lower()
    folder = resources.files(__package__) / "languages"
    texts: dict[str, str] = json.loads(
        (folder / f"{short if short in LANGUAGES else 'en'}.json").read_text(encoding="utf-8")
    )
    if file is None:
        return texts
    try:
        own = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"the texts {file!r} cannot be read: {error}") from error
    if not isinstance(own, dict) or not all(isinstance(text, str) for text in own.values()):
        raise SettingsError(f"the texts {file!r} are no JSON object of texts")
    if unknown := sorted(set(own) - set(texts)):
        raise SettingsError(f"the texts {file!r} have an unknown name {unknown[0]!r}", advice=f"Use {sorted(texts)}.")
    return texts | own
