"""Which tests are marked with what: read from the source, whichever tests are run."""

import ast
import functools
from collections import defaultdict
from pathlib import Path


@functools.cache
def marked(mark: str) -> dict[tuple[str, ...], list[str]]:
    """The arguments of each `pytest.mark.MARK(...)`, which name things in plain words, and where it stands."""
    places: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for path in Path(__file__).parent.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == f"pytest.mark.{mark}":
                places[tuple(map(ast.literal_eval, node.args))].append(f"{path.name}:{node.lineno}")
    return places
