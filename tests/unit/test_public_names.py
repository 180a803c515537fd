"""What a product can see of the package: every type that a public signature names can be imported from where it is."""

import dataclasses
import importlib
import inspect
import typing
from collections.abc import Iterator
from enum import Enum
from typing import Any

import pytest

WORLDS = ("ravatar_audio", "ravatar_audio.asyncio", "ravatar_audio.blocking")


def types_in(annotation: Any) -> Iterator[type]:
    """The classes that an annotation names, those within others included."""
    if isinstance(annotation, list | tuple):
        for item in annotation:
            yield from types_in(item)
        return
    if isinstance(annotation, type) and not typing.get_args(annotation):
        yield annotation
    origin = typing.get_origin(annotation)
    if isinstance(origin, type):
        yield origin
    if origin is not typing.Literal:
        for item in typing.get_args(annotation):
            yield from types_in(item)


def signatures(kind: Any) -> Iterator[tuple[str, Any]]:
    """(Where, annotation) of all that is public in a class or a function."""
    if inspect.isfunction(kind):
        yield from ((f"{kind.__name__}({name})", hint) for name, hint in hints(kind).items())
        return
    if not isinstance(kind, type) or issubclass(kind, Enum):
        return
    for base in kind.__mro__:
        if not base.__module__.startswith("ravatar_audio") or base.__module__.startswith("ravatar_audio.embedding"):
            continue
        if dataclasses.is_dataclass(base) or base.__annotations__:
            yield from ((f"{kind.__name__}.{name}", hint) for name, hint in hints(base).items() if name[0] != "_")
        for name, member in vars(base).items():
            function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            if (name.startswith("_") and name != "__init__") or not inspect.isfunction(function):
                continue
            yield from ((f"{kind.__name__}.{name}({item})", hint) for item, hint in hints(function).items())


def hints(item: Any) -> dict[str, Any]:
    """Names that are only there for type checkers stand for nothing."""
    names = dict(vars(importlib.import_module(item.__module__)))
    while True:
        try:
            return typing.get_type_hints(inspect.unwrap(item), names)
        except NameError as error:
            names[str(error.name)] = importlib.import_module("numpy") if error.name == "np" else list


def missing(module_name: str) -> dict[str, str]:
    """Types of this package that are named by what a module exports, and are not exported: where each is named."""
    module = importlib.import_module(module_name)
    exported = {getattr(module, name) for name in module.__all__ if isinstance(getattr(module, name), type)}
    found = {}
    for name in module.__all__:
        for where, annotation in signatures(getattr(module, name)):
            for kind in types_in(annotation):
                is_inner = kind.__name__.startswith("_") or kind.__module__.startswith("ravatar_audio.embedding")
                has_face = kind.__name__ in module.__all__ and module_name in WORLDS[1:]
                if kind.__module__.startswith("ravatar_audio") and kind not in exported and not (is_inner or has_face):
                    found[kind.__name__] = where
    return found


@pytest.mark.parametrize("module_name", WORLDS)
def test_every_type_in_a_public_signature_is_exported(module_name: str) -> None:
    assert missing(module_name) == {}
