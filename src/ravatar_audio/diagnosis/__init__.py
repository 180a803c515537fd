"""Every examination of the doctor, for products too: what is wrong, and what to do about it.

    for finding in await ravatar_audio.diagnose(settings):
        if finding.status == "error":
            show(finding.name, finding.message, finding.advice)

finding       Finding: name, status, message, advice
examination   diagnose(): all of it, in the order in which it must work
platform      name, address, TLS, clock, token, connection data, WebSocket, live slot
sound         permission, sound server, devices, who has the one we want
listening     some seconds of the microphone, and what they say about it (pure but for the listening)
machine       limits of the audio thread, memory, a Raspberry Pi's power
"""

from ravatar_audio.diagnosis.examination import diagnose
from ravatar_audio.diagnosis.finding import Finding, Status

__all__ = ["Finding", "Status", "diagnose"]
