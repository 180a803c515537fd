"""For the tests of a product: a microphone without hardware, whose faults are written into the test.

device          FakeDevice: what it hears, its clock, and what goes wrong with it
microphone      FakeMicrophone: the real Microphone around such devices, in trio's time
system          the machine that has only these devices

Under trio's virtual clock (`trio.testing.MockClock`, pytest-trio's `autojump_clock`) hours take seconds. For what goes
wrong on the other side there is the emulator, whose scripted faults are here too.
"""

from ravatar_audio.emulator import Emulator, EmulatorSettings
from ravatar_audio.emulator.faults import Fault
from ravatar_audio.testing.device import FakeDevice
from ravatar_audio.testing.microphone import FakeMicrophone

__all__ = ["Emulator", "EmulatorSettings", "FakeDevice", "FakeMicrophone", "Fault"]
