"""How a device's samples become frames: one object for whatever captures or converts, and the arguments for it."""

import math
from dataclasses import dataclass
from typing import Self, TypedDict

from ravatar_audio.choices import Phase, Profile
from ravatar_audio.deprecation import renamed_argument
from ravatar_audio.frames import FRAME_SAMPLES, RATE_HZ
from ravatar_audio.native import Chain, ChainStatistics, ChannelsHeard, channels_asked
from ravatar_audio.settings import Settings


class ConversionOptions(TypedDict, total=False):
    """Arguments of everything that converts; see Conversion."""

    channels_heard: ChannelsHeard
    profile: Profile
    phase: Phase
    gain_db: float
    dc_block: bool
    dither: bool
    heard: ChannelsHeard
    """The old name of `channels_heard`."""


class CaptureOptions(ConversionOptions, total=False):
    """Arguments of everything that captures: there is a ring as well."""

    ring_s: float


def options_of(settings: Settings) -> CaptureOptions:
    """What the settings say of it."""
    return {
        "channels_heard": settings.heard_channels,
        "profile": settings.profile,
        "gain_db": settings.gain_db,
        "dc_block": settings.dc_block,
        "ring_s": settings.ring_ms / 1000,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """Which channels are heard, how they are resampled, and what holds the frames.

    `channels_heard` are the channels that are averaged: numbers from 0, or "all"; None: both of two, and the first of
    more. `profile` is balanced, low_latency or high, `phase` linear or minimum, `gain_db` -60 to 60. `dc_block` removes
    a constant offset, `dither` adds triangular noise of one step before quantisation. The ring holds `ring_s` seconds,
    as whole frames. Raises SettingsError for a word that channels_heard cannot be; the rest is checked by chain().
    """

    channels_heard: ChannelsHeard = None
    profile: Profile = "balanced"
    phase: Phase = "linear"
    gain_db: float = 0.0
    dc_block: bool = False
    dither: bool = False
    ring_s: float = 2.048

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels_heard", channels_asked(self.channels_heard))

    @classmethod
    def asked(cls, options: CaptureOptions | ConversionOptions) -> Self:
        """From a constructor's arguments, the old name among them."""
        named = {name: value for name, value in options.items() if name != "heard"}
        if "heard" in options:
            asked = options.get("channels_heard")
            named["channels_heard"] = renamed_argument("heard", options["heard"], "channels_heard", asked, stacklevel=3)
        return cls(**named)  # type: ignore[arg-type]  # CaptureOptions has their types

    @property
    def capacity_frames(self) -> int:
        """Of the ring: whole frames that hold at least `ring_s`."""
        return max(1, math.ceil(self.ring_s * RATE_HZ / FRAME_SAMPLES))

    def chain(
        self,
        rate_hz: int,
        channels: int,
        format: str,
        *,
        least_frames: int = 1,
        wake_fd: int = -1,
        after: ChainStatistics | None = None,
    ) -> Chain:
        """Make the chain that does it, with room for `least_frames` at least; the rest as Chain's own."""
        return Chain(
            rate_hz=rate_hz,
            channels=channels,
            format=format,
            channels_heard=self.channels_heard,
            capacity_frames=max(least_frames, self.capacity_frames),
            profile=self.profile,
            phase=self.phase,
            gain_db=self.gain_db,
            dc_block=self.dc_block,
            dither=self.dither,
            wake_fd=wake_fd,
            after=after,
        )
