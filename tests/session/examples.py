"""The examples of a page of the documentation, to be executed as they stand."""

import re
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

import ravatar_audio
from ravatar_audio import Settings, SyntheticSource

ROOT = Path(__file__).parents[2]


class ShortMicrophone(SyntheticSource):
    """Stands where an example says Microphone, as there is none on every machine; 2.5 s of speech, then it ends."""

    def __init__(self, device: str | None = None) -> None:
        assert device in (None, "USB")
        super().__init__("speech", duration_s=2.5)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        return cls()


def page(name: str) -> str:
    """A page's text, by its path in the project."""
    return (ROOT / name).read_text(encoding="utf-8")


def examples(text: str) -> list[str]:
    """Its Python examples, in order."""
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def defined(example: str, name: str) -> Callable[..., Awaitable[Any]]:
    """The function of that name which a whole program defines; the program's own start is left out."""
    names: dict[str, Any] = {}
    exec(compile(example.replace("trio.run(main)", ""), name, "exec"), names)
    found: Callable[..., Awaitable[Any]] = names[name]
    return found


def fragment(example: str, returned: str, **given: Any) -> Callable[[], Awaitable[Any]]:
    """Lines of an example as a coroutine function with the package's public names and those given."""
    names: dict[str, Any] = {name: getattr(ravatar_audio, name) for name in ravatar_audio.__all__} | given
    body = textwrap.indent(example + f"return {returned}", "    ")
    exec(compile(f"async def example():\n{body}", "example", "exec"), names)
    found: Callable[[], Awaitable[Any]] = names["example"]
    return found
