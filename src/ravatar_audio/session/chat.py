"""Chat Mode: text and recorded voice go up as messages, replies come down as events."""

from collections.abc import AsyncIterator
from functools import partial

from ravatar_audio.api.http import Platform
from ravatar_audio.api.link import Link, LinkLimits
from ravatar_audio.api.results import Avatar, ChatItem
from ravatar_audio.session.choosing import choose_avatar
from ravatar_audio.session.conversation import Conversation
from ravatar_audio.settings import Settings


class ChatSession(Conversation):
    """A conversation by messages, as an async context manager:

        async with ChatSession(settings) as chat:
            await chat.send_text("Good morning")
            async for event in chat.events():
                if isinstance(event, Reply): ...

    Replies carry text, a file's URL, or sound. Entering raises one error of the RavatarError tree when the platform
    cannot be used; later the link is made again by itself, for as long as `reconnect_limit_s` allows (None: for ever).
    """

    def __init__(
        self,
        settings: Settings,
        *,
        platform: Platform | None = None,
        reconnect_limit_s: float | None = 120.0,
        limits: LinkLimits | None = None,
    ) -> None:
        super().__init__(settings, platform=platform, reconnect_limit_s=reconnect_limit_s, limits=limits)

    def _choose_avatar(self) -> Avatar:
        return choose_avatar(self.connection, self.settings.avatar_id)

    def history(self, *, per_page: int = 20) -> AsyncIterator[ChatItem]:
        """What was said before, page after page, in the platform's order; only while the session lasts."""
        self._check_usable()
        return self.platform.chat(per_page=per_page)

    async def _send(self, link: Link) -> None:
        self._outbox.begin_link(link.wire, tear=link.wire.tear)
        try:
            while True:
                await self._outbox.send_next(partial(self._send_made, link), self._send_no_frame)
        finally:
            self._outbox.end_link()

    async def _send_no_frame(self, parcel: object) -> None:
        raise AssertionError(f"{type(self).__name__} has no frames")
