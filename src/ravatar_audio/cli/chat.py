"""`ravatar-audio chat`: a conversation by what is written, or said, in Chat Mode."""

import contextlib
import sys
from typing import Any

import click
import trio

from ravatar_audio.api.messages import Reply
from ravatar_audio.cli.controls import KEYS, control
from ravatar_audio.cli.live import PLATFORM, REST, SOUND, TURNS, as_plain, as_text
from ravatar_audio.cli.output import echo
from ravatar_audio.cli.run import Seconds, SectionedCommand, json_lines, load_settings, run_reporting, settings_options
from ravatar_audio.cli.streaming import play_answer
from ravatar_audio.errors import SettingsError
from ravatar_audio.playback import Player
from ravatar_audio.session import ChatSession
from ravatar_audio.turns import TurnEvent, TurnEventKind

LINE_BYTES_MAX = 1 << 20
"""Longest line that is read at once; what a message may have is checked when it is sent."""


@click.command(name="chat", cls=SectionedCommand)
@click.argument("text", nargs=-1)
@click.option(
    "--talk",
    "source",
    is_flag=False,
    flag_value="mic",
    help="Talk instead: each turn is sent when it has ended. "
    "Another source than the microphone may follow, as for live.",
)
@click.option("--play", "is_played", is_flag=True, help="Play the sound of the avatar's answers, until a turn begins.")
@click.option("--wait", type=Seconds(0), default=10.0, show_default=True, help="Seconds to wait for the last answer.")
@click.option("--json", "as_json", is_flag=True, help="Events as JSON lines, the summary last.")
@settings_options(platform=PLATFORM, microphone=SOUND, turns=TURNS, other=REST)
def command(
    text: tuple[str, ...],
    source: str | None,
    is_played: bool,
    wait: float,
    as_json: bool,
    settings_file: str | None,
    **given: Any,
) -> None:
    """Write to the avatar and read what it answers.

    TEXT is sent as one message, and the command ends with its answer. Without TEXT each line of standard input is a
    message; an empty line is left out, and the end of the input (Ctrl-D) ends the conversation. With --talk nothing is
    read: hold the space bar and speak, or use --mode vad.
    """
    if text and source is not None:
        raise SettingsError("TEXT and --talk exclude each other", advice="Write, or talk.")
    settings = load_settings(settings_file, given)
    emit = json_lines(as_json)
    sent = answered = 0

    async def work() -> None:
        nonlocal sent, answered
        answer = trio.Event()
        async with contextlib.AsyncExitStack() as stack:
            player = await stack.enter_async_context(Player() if is_played else contextlib.nullcontext())

            def note_turn(event: TurnEvent) -> None:
                nonlocal sent
                sent += event.kind is TurnEventKind.ENDED
                if player is not None and event.kind is TurnEventKind.STARTED:
                    player.interrupt()
                emit(as_plain(event))

            chat = await stack.enter_async_context(ChatSession.open(settings, source, on_turn=note_turn))
            nursery = await stack.enter_async_context(trio.open_nursery())

            async def report() -> None:
                nonlocal answered, answer
                async for event in chat.events():
                    emit(as_plain(event))
                    if not as_json and (line := as_text(event)):
                        echo(line)
                    if isinstance(event, Reply):
                        answered += 1
                        answer.set()
                        answer = trio.Event()
                        if player is not None and event.audio:
                            nursery.start_soon(play_answer, player, event)

            nursery.start_soon(report)
            if source is not None:
                if await nursery.start(control, chat.turns):
                    echo(KEYS, err=True)
                await chat.wait_finished()
            elif text:
                await chat.send_text(" ".join(text))
                sent += 1
            else:
                sent += await _send_lines(chat)
            with trio.move_on_after(wait):
                while answered < sent:
                    await answer.wait()
                if player is not None:
                    await player.wait_silent()
            nursery.cancel_scope.cancel()

    run_reporting(work, emit)
    emit({"event": "summary", "messages_sent": sent, "answers": answered})


async def _send_lines(chat: ChatSession) -> int:
    """Each line of standard input as a message; how many there were."""
    sent = 0
    while line := await trio.to_thread.run_sync(sys.stdin.readline, LINE_BYTES_MAX, abandon_on_cancel=True):
        if line.strip():
            await chat.send_text(line.strip())
            sent += 1
    return sent
