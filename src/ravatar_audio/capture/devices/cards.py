"""The sound cards that the kernel has, by identity: from /proc and /sys, without opening any of them."""

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CaptureDevice:
    """One capture device of a card. Empty strings are what the system does not report."""

    card_number: int
    """Changes when cards are plugged in another order; the rest stays."""
    card_id: str
    device_number: int
    name: str
    usb_id: str
    """Vendor and product, as "2886:0018"."""
    serial: str
    port: str
    """Where it is plugged in, as "1-1.2"."""

    @property
    def pcm(self) -> str:
        """ALSA's name for it, which outlives replugging."""
        return f"hw:CARD={self.card_id},DEV={self.device_number}"

    @property
    def node(self) -> str:
        """Its file under /dev/snd."""
        return f"pcmC{self.card_number}D{self.device_number}c"


def list_capture_devices(root: Path = Path("/")) -> list[CaptureDevice]:
    """List what can capture, in the kernel's order; empty where there is no ALSA. `root` is for tests."""
    found = []
    for info in sorted(root.glob("proc/asound/card*/pcm*c/info"), key=lambda path: _numbers(str(path))):
        card = info.parent.parent
        card_number, device_number = _numbers(f"{card.name} {info.parent.name}")
        fields = dict(line.split(": ", 1) for line in read_text(info).splitlines() if ": " in line)
        usb = _usb_folder(root / f"sys/class/sound/card{card_number}/device")
        found.append(
            CaptureDevice(
                card_number=card_number,
                card_id=read_text(card / "id") or str(card_number),
                device_number=device_number,
                name=_card_name(root, card_number) or fields.get("name", "") or fields.get("id", ""),
                usb_id=read_text(card / "usbid"),
                serial=read_text(usb / "serial") if usb else "",
                port=usb.name if usb else "",
            )
        )
    return found


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"(?:card|pcm)(\d+)", text)]


def read_text(path: Path) -> str:
    """Read a small file of /proc or /sys, stripped; empty where it cannot be read."""
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace").strip()
    return ""


def _card_name(root: Path, number: int) -> str:
    """Its name in /proc/asound/cards: " 1 [Array          ]: USB-Audio - ReSpeaker 4 Mic Array"."""
    found = re.search(rf"^ *{number} \[.*?\]: .*? - (.+)$", read_text(root / "proc/asound/cards"), re.MULTILINE)
    return found[1].strip() if found else ""


def _usb_folder(device: Path) -> Path | None:
    """The folder of the USB device that a card's interface belongs to."""
    with contextlib.suppress(OSError):
        for folder in list(device.resolve(strict=True).parents)[:3]:
            if (folder / "idVendor").exists():
                return folder
    return None
