"""Whether the system's privacy settings keep this program from the microphone: asked of macOS and Windows themselves.

PortAudio does not say. On Windows a refused microphone is -9999, -9996, -9985 or -9997, as the interface has it
(PortAudio's issues 293 and 360); on macOS it is -9986 (issue 514), or a stream of zeros. Read from the systems'
documentation, and tested with made-up answers only.
"""

import ctypes
import sys
from collections.abc import Callable

from ravatar_audio.errors import PermissionDeniedError

_CONSENT = r"Software\Microsoft\Windows\CurrentVersion\CapabilityAccessManager\ConsentStore\microphone"
_SWITCHES = {
    ("HKEY_LOCAL_MACHINE", _CONSENT): "'Microphone access' is off for this machine",
    ("HKEY_CURRENT_USER", _CONSENT): "'Let apps access your microphone' is off",
    ("HKEY_CURRENT_USER", rf"{_CONSENT}\NonPackaged"): "'Let desktop apps access your microphone' is off",
}
"""Switches of Windows 10 (1903) and 11: each key's value "Value" is Allow or Deny."""

_REFUSALS = {
    1: "this machine's management (a profile, Screen Time) forbids the microphone",
    2: "the microphone was refused to the program that runs this",
}
"""AVAuthorizationStatus of AVCaptureDevice; 0 is not asked yet, which opening does, and 3 authorised."""


def privacy_error(
    system: str = sys.platform,
    *,
    read_switch: Callable[[str, str], str | None] = lambda hive, path: _read_switch(hive, path),
    read_status: Callable[[], int | None] = lambda: _read_status(),
) -> PermissionDeniedError | None:
    """Return the error for a microphone that the privacy settings refuse; None when they do not, or do not say.

    `system` is as sys.platform has it; all arguments are for tests.
    """
    why: str | None = None
    if system == "win32":
        why = next((said for switch, said in _SWITCHES.items() if read_switch(*switch) == "Deny"), None)
    elif system == "darwin":
        why = _REFUSALS.get(read_status() or 0)
    if why is None:
        return None
    return PermissionDeniedError(
        f"the privacy settings refuse the microphone: {why}", advice=PermissionDeniedError.advice_on(system)
    )


def _read_switch(hive: str, path: str) -> str | None:
    import winreg  # on Windows only

    registry: dict[str, object] = vars(winreg)
    try:
        with registry["OpenKey"](registry[hive], path) as key:  # type: ignore[operator]
            return str(registry["QueryValueEx"](key, "Value")[0])  # type: ignore[operator]
    except OSError:  # never set: allowed
        return None


def _read_status() -> int | None:
    """[AVCaptureDevice authorizationStatusForMediaType: AVMediaTypeAudio]; None where that cannot be asked."""
    try:
        runtime = ctypes.CDLL("/usr/lib/libobjc.A.dylib")
        frameworks = "/System/Library/Frameworks/AVFoundation.framework/AVFoundation"
        audio = ctypes.c_void_p.in_dll(ctypes.CDLL(frameworks), "AVMediaTypeAudio")
    except (OSError, ValueError):
        return None
    for name in ("objc_getClass", "sel_registerName"):
        function = getattr(runtime, name)
        function.restype, function.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    kind = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    send = ctypes.cast(runtime.objc_msgSend, kind)
    device = runtime.objc_getClass(b"AVCaptureDevice")
    return int(send(device, runtime.sel_registerName(b"authorizationStatusForMediaType:"), audio)) if device else None
