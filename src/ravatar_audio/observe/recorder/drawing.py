"""A recording as a picture: levels, turns, link, age and losses over time, as SVG. Pure."""

from collections.abc import Callable, Iterator
from html import escape
from typing import Final

from ravatar_audio.observe.recorder.story import losses, why
from ravatar_audio.observe.recorder.timeline import SessionTimeline, seconds

_LEFT, _RIGHT, _WIDTH = 96, 24, 1200
_FLOOR_DBFS: Final = -72.0
_AGE_S: Final = 3.0
_ROWS: Final = {"level": (40, 120), "turns": (176, 28), "link": (220, 28), "age": (264, 80), "losses": (360, 28)}
"""Top and height of each row."""
_HEIGHT: Final = 440
Scale = Callable[[float], float]
"""From seconds to where they are in the picture."""
_COLOURS: Final = {"device": "#8e44ad", "ring": "#d35400", "outbox": "#c0392b", "in_flight": "#e67e22"}


def drawing(session: SessionTimeline) -> str:
    """The picture of one session."""
    begin_s = min([session.begun_s, *(item.at_s for item in session.captured[:1])])
    scale = (_WIDTH - _LEFT - _RIGHT) / max(0.1, session.ended_s - begin_s)

    def x(at_s: float) -> float:
        return round(_LEFT + scale * (min(max(at_s, begin_s), session.ended_s) - begin_s), 2)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="12" role="img">',
        f"<title>Session {session.number}: {session.ended_s - begin_s:.1f} s</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        *_frame(),
        *(text for row in (_levels, _turns, _links, _ages, _lost) for text in row(session, x)),
        *_axis(begin_s, session.ended_s, x),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _frame() -> Iterator[str]:
    for name, (top, height) in _ROWS.items():
        yield f'<text x="8" y="{top + height / 2 + 4}">{name}</text>'
        yield (
            f'<rect x="{_LEFT}" y="{top}" width="{_WIDTH - _LEFT - _RIGHT}" height="{height}" fill="none" '
            'stroke="#ddd"/>'
        )
    for number, (cause, colour) in enumerate(_COLOURS.items()):
        left = _LEFT + 130 * number
        yield f'<rect x="{left}" y="12" width="12" height="12" fill="{colour}"/>'
        yield f'<text x="{left + 18}" y="22">lost: {cause}</text>'


def _levels(session: SessionTimeline, x: Scale) -> Iterator[str]:
    top, height = _ROWS["level"]
    for item in session.captured:
        share = min(1.0, max(0.0, 1 - item.values["rms_dbfs"] / _FLOOR_DBFS))
        end, begin = x(item.at_s), x(item.at_s - seconds(item.values["length_samples"]))
        tall = round(share * height, 1)
        colour = "#c0392b" if item.values["clipped"] else "#2980b9"
        width = max(0.5, round(end - begin, 2))
        place = f'x="{begin}" y="{top + height - tall}" width="{width}" height="{tall}"'
        yield f'<rect class="level" {place} fill="{colour}"/>'


def _turns(session: SessionTimeline, x: Scale) -> Iterator[str]:
    top, height = _ROWS["turns"]
    open_s: float | None = None
    for item in session.turns:
        kind = item.values["kind"]
        if kind == "started":
            open_s = item.at_s
        elif kind in ("ended", "capped", "cancelled") and open_s is not None:
            told = f"turn {item.values.get('turn')}: {kind}"
            yield _bar("turn", x(open_s), x(item.at_s), top, height, "#27ae60", told)
            open_s = None
    if open_s is not None:
        yield _bar("turn", x(open_s), x(session.ended_s), top, height, "#27ae60", "turn, open at the end")
    for item in session.replies:
        yield _bar("reply", x(item.at_s), x(item.at_s) + 3, top, height, "#34495e", item.values.get("text") or "answer")


def _links(session: SessionTimeline, x: Scale) -> Iterator[str]:
    top, height = _ROWS["link"]
    ups = [item.at_s for item in session.events if item.values["event"] == "LinkUp"]
    if ups:
        yield _bar("link", x(ups[0]), x(session.ended_s), top, height, "#a9dfbf", "connected")
    for outage in session.outages():
        up_s = session.ended_s if outage.up_s is None else outage.up_s
        told = f"no connection for {up_s - outage.dead_s:.1f} s: {outage.why}"
        yield _bar("outage", x(outage.dead_s), x(up_s), top, height, "#c0392b", told)


def _ages(session: SessionTimeline, x: Scale) -> Iterator[str]:
    top, height = _ROWS["age"]
    points = [
        f"{x(item.at_s)},{round(top + height * (1 - min(1.0, item.values['age_s'] / _AGE_S)), 1)}"
        for item in session.written
    ]
    if points:
        yield f'<polyline class="age" points="{" ".join(points)}" fill="none" stroke="#8e6e1f"/>'
    yield f'<text x="{_LEFT - 8}" y="{top + 10}" text-anchor="end" font-size="10">{_AGE_S:g} s</text>'


def _lost(session: SessionTimeline, x: Scale) -> Iterator[str]:
    top, height = _ROWS["losses"]
    outages = session.outages()
    first_up_s = next((item.at_s for item in session.events if item.values["event"] == "LinkUp"), None)
    for loss in losses(session):
        told = f"{seconds(loss.samples):.3f} s lost ({loss.cause}): {why(loss, outages, first_up_s)}"
        end = max(x(loss.at_s) + 2, x(loss.at_s + seconds(loss.samples)))
        yield _bar("loss", x(loss.at_s), end, top, height, _COLOURS[loss.cause], told)


def _axis(begin_s: float, end_s: float, x: Scale) -> Iterator[str]:
    step_s = next((step for step in (1, 2, 5, 10, 30, 60, 300, 600, 3_600) if (end_s - begin_s) / step <= 20), 7_200)
    for number in range(int((end_s - begin_s) / step_s) + 1):
        at = x(begin_s + number * step_s)
        yield f'<line x1="{at}" x2="{at}" y1="36" y2="396" stroke="#eee"/>'
        yield f'<text x="{at}" y="412" text-anchor="middle" font-size="10">{begin_s + number * step_s:.0f} s</text>'


def _bar(kind: str, begin: float, end: float, top: int, height: int, colour: str, told: str) -> str:
    width = max(1.0, round(end - begin, 2))
    return (
        f'<rect class="{kind}" x="{begin}" y="{top}" width="{width}" height="{height}" fill="{colour}">'
        f"<title>{escape(told)}</title></rect>"
    )
