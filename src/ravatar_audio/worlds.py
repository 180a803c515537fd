"""Which event loop runs here, and which module is right for it: each front door asks, and says so where it is not."""

import asyncio

import trio

_MODULES = {
    "trio": "ravatar_audio itself",
    "asyncio": "ravatar_audio.asyncio",
    "no event loop": "ravatar_audio.blocking",
}


def current_world() -> str:
    """Return what runs in this thread: "trio", "asyncio" or "no event loop"."""
    if trio.lowlevel.in_trio_run():
        return "trio"
    return "no event loop" if asyncio._get_running_loop() is None else "asyncio"


def check_world(world: str, what: str) -> None:
    """Raise RuntimeError where `what`, which is made for one world, is used in another."""
    here = current_world()
    if here != world:
        raise RuntimeError(f"this {what} is made for {world}, and {here} runs here; use {_MODULES[here]}")
