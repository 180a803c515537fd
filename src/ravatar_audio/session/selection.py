"""Which avatar, language and mode a conversation has: the settings' wish against what the platform offers. Pure."""

from ravatar_audio.api.results import Avatar, Connection, Language
from ravatar_audio.errors import SettingsError
from ravatar_audio.turns import TurnMode


def choose_avatar(connection: Connection, wanted: str | None) -> Avatar:
    """Choose the avatar with this id or name, or the first. Raises SettingsError when there is none."""
    names = ", ".join(f"{avatar.id} ({avatar.name})" for avatar in connection.avatars) or "none"
    found = next((avatar for avatar in connection.avatars if wanted in (None, avatar.id, avatar.name)), None)
    if found is None:
        raise SettingsError(f"avatar_id {wanted!r} is unknown; there are: {names}")
    return found


def choose_live_avatar(connection: Connection, wanted: str | None) -> Avatar:
    """Choose the avatar with this id or name, or the first with Live Mode. Raises SettingsError when there is none."""
    live = [avatar for avatar in connection.avatars if avatar.has_live_mode]
    names = ", ".join(f"{avatar.id} ({avatar.name})" for avatar in live) or "none"
    if wanted is None:
        if not live:
            raise SettingsError("no avatar of this project has Live Mode", advice="Switch Live Mode on for an avatar.")
        return live[0]
    found = next((avatar for avatar in connection.avatars if wanted in (avatar.id, avatar.name)), None)
    if found is None:
        raise SettingsError(f"avatar_id {wanted!r} is unknown; with Live Mode there are: {names}")
    if not found.has_live_mode:
        raise SettingsError(f"avatar_id {wanted!r} has no Live Mode; these have: {names}")
    return found


def choose_language(connection: Connection, wanted: str | None) -> Language:
    """Choose the language with this code, or the first.

    Raises SettingsError for one that the platform does not offer.
    """
    if wanted is None:
        if not connection.languages:
            raise SettingsError("the platform names no language; set language")
        return connection.languages[0]
    found = next((language for language in connection.languages if language.code == wanted), None)
    if found is None and connection.languages:
        codes = ", ".join(language.code for language in connection.languages)
        raise SettingsError(f"language {wanted!r} is unknown; the platform offers {codes}")
    return found or Language(wanted, wanted)


def choose_mode(connection: Connection, wanted: str) -> TurnMode:
    """Choose how turns are taken: as wanted; with "auto" by a button, or by an open microphone where `vadEnabled` is
    true.
    """
    if wanted == "auto":
        return TurnMode.OPEN if connection.vad_enabled else TurnMode.PTT
    return TurnMode(wanted)
