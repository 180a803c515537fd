"""A stored file as an answer, whole or in part: players seek by ranges (RFC 9110, 14), and some need them to play."""

import re
from collections.abc import Mapping

from starlette.responses import Response

from ravatar_audio.emulator.contract import media_type

_ONE_RANGE = re.compile(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.ASCII | re.IGNORECASE)


def file_answer(data: bytes, etag: str, headers: Mapping[str, str]) -> Response:
    """Return what a request with these headers gets: 200 with all of it, 206 with a range, 416 for one that is not
    there.

    Several ranges at once, what is no range, and an `If-Range` for something else get all of it, as the RFC allows.
    """
    given = {"Accept-Ranges": "bytes", "ETag": etag}
    match = _ONE_RANGE.fullmatch(headers.get("range", ""))
    if match is None or match[1] == match[2] == "" or headers.get("if-range", etag) != etag:
        return Response(data, media_type=media_type(data), headers=given)
    size = len(data)
    if match[1]:
        first, last = int(match[1]), min(int(match[2] or size), size - 1)
        if match[2] and int(match[2]) < first:  # not a range at all
            return Response(data, media_type=media_type(data), headers=given)
    else:
        first, last = max(0, size - int(match[2])), size - 1
    if first > last:
        return Response(status_code=416, headers=given | {"Content-Range": f"bytes */{size}"})
    part = data[first : last + 1]
    return Response(part, 206, given | {"Content-Range": f"bytes {first}-{last}/{size}"}, media_type(data))
