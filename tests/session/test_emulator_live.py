"""The emulator's live path over a real socket: checked, recorded, counted, answered."""

import json
import sys
import wave
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE

import trio
import trio.testing
from trio_websocket import WebSocketConnection

from ravatar_audio.emulator import Emulator, EmulatorSettings

from ..frames import frame_pcm
from .emulator_client import Client, close_reason, open_client, open_emulator, open_raw


async def test_live_frames_are_recorded_and_answered() -> None:
    with trio.fail_after(10):
        async with Emulator() as emulator, open_client(emulator) as client:
            await client.start_live()
            async with client.socket() as socket:
                greeting = json.loads(await socket.get_message())
                assert greeting["type"] == "connection"
                sent = [frame_pcm(index) for index in range(24)]
                for pcm in sent:
                    await socket.send_message(client.pcm_message(pcm))
                heard = json.loads(await socket.get_message())
                assert heard["type"] == "incoming"
                assert "5.0 s of sound" in heard["answer"]
                await _until_frames(emulator, 24)
                live = emulator.statistics().live[0]
                assert live.wav is not None
                with wave.open(str(live.wav)) as file:  # while it is being written
                    assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
                    assert file.readframes(1_000_000) == b"".join(sent)
            await client.end_live()
        statistics = emulator.statistics()
    assert (statistics.frames, statistics.samples, statistics.violation_count) == (24, 24 * 4096, 0)
    assert statistics.live[0].state == "ended"
    assert statistics.close_codes == (1000,)


async def test_leaving_is_immediate_with_open_sockets_and_a_client_that_does_not_read() -> None:
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            async with Emulator(EmulatorSettings()) as emulator, open_client(emulator) as client:
                await nursery.start(_hold_open, client)
                emulator.send("x" * 8_000_000)  # more than the buffers in between take
                await trio.testing.wait_all_tasks_blocked(0.05)
                began_s = trio.current_time()
            left_s = trio.current_time() - began_s
            nursery.cancel_scope.cancel()
    assert left_s < 0.3
    assert emulator.statistics().connections[0].close_code == 1006


async def test_what_an_older_connection_brings_late_is_marked_in_the_recording() -> None:
    async with open_emulator() as (emulator, client):
        await client.start_live()
        async with client.socket() as one, client.socket() as two:
            for number, socket in enumerate((one, two, two, one)):
                await socket.send_message(client.pcm_message(frame_pcm(number)))
                await _until_frames(emulator, number + 1)
        live = emulator.statistics().live[0]
        assert [(mark.position_samples, mark.connection) for mark in live.marks] == [(4096, 2), (3 * 4096, 1)]
        assert live.connections == (1, 2)


_PROGRAM = """
import sys, trio
from ravatar_audio.emulator import Emulator, EmulatorSettings

async def main():
    async with Emulator(EmulatorSettings(wav_dir=sys.argv[1])) as emulator:
        print(emulator.port, flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


async def test_a_killed_process_leaves_a_valid_wav(tmp_path: Path) -> None:
    with trio.fail_after(20):
        process = await trio.lowlevel.open_process([sys.executable, "-c", _PROGRAM, str(tmp_path)], stdout=PIPE)
        assert process.stdout is not None
        async with process.stdout:
            port = int(await process.stdout.receive_some())
            async with open_client(_Elsewhere(port)) as client:
                await client.start_live()
                async with client.socket() as socket:
                    await socket.get_message()
                    for index in range(3):
                        await socket.send_message(client.pcm_message(frame_pcm(index)))
                    await socket.send_message(client.text_message("there?"))
                    await socket.get_message()
                    process.kill()
                    assert (await close_reason(socket)).code == 1006
            await process.wait()
    with wave.open(str(tmp_path / "live-1.wav")) as file:
        assert file.readframes(1 << 20) == b"".join(map(frame_pcm, range(3)))


@dataclass
class _Elsewhere:
    """An emulator in another process, as far as its clients look at it."""

    port: int
    settings: EmulatorSettings = field(default_factory=lambda: EmulatorSettings(tls=None))

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


async def test_a_server_that_pings_hears_the_pongs() -> None:
    async with open_emulator(ping_every_s=0.02) as (emulator, client), client.socket() as socket:
        await socket.ping()
        while emulator.statistics().connections[0].pongs < 3:
            await trio.lowlevel.checkpoint()
        assert emulator.statistics().connections[0].pings == 1


async def test_frames_that_come_before_the_handshake_is_answered_are_not_lost() -> None:
    async with open_emulator("socket delay=0.1") as (emulator, client), open_raw(emulator) as raw:
        await raw.upgrade(client.jwt)
        await raw.stream.send_all(b"\x81\x82\0\0\0\0{}" * 3)
        while emulator.statistics().violation_count < 3:
            await trio.lowlevel.checkpoint()


async def test_a_new_emulator_on_the_same_port_knows_nothing_of_the_old_one() -> None:
    async with open_emulator() as (old, client), client.socket():
        pass
    async with open_emulator(port=old.port, login=False) as (new, client_again):
        assert new.port == old.port
        client_again.jwt = client.jwt
        assert (await client_again.call("GET", "/connection")).status_code == 403


async def _hold_open(client: Client, task_status: "trio.TaskStatus[WebSocketConnection]") -> None:
    async with client.socket() as socket:
        task_status.started(socket)
        await trio.sleep_forever()


async def _until_frames(emulator: Emulator, frames: int) -> None:
    while emulator.statistics().frames < frames:
        await trio.lowlevel.checkpoint()


async def test_a_live_session_does_not_expire_while_a_silent_socket_of_its_user_is_open() -> None:
    with trio.fail_after(10):
        async with Emulator(EmulatorSettings(session_idle_s=0.3)) as emulator, open_client(emulator) as client:
            await client.start_live()
            async with client.socket() as socket:
                await socket.get_message()
                await trio.sleep(0.8)  # as an open microphone between turns
                assert emulator.statistics().slots_free == 3
                assert emulator.statistics().live[0].state == "active"
            await trio.sleep(0.8)
            assert emulator.statistics().slots_free == 4
            assert emulator.statistics().live[0].state == "expired"


async def test_a_socket_of_another_live_session_does_not_keep_an_orphan_alive() -> None:
    with trio.fail_after(10):
        async with Emulator(EmulatorSettings(session_idle_s=0.3)) as emulator, open_client(emulator) as client:
            await client.start_live()
            await client.start_live()
            async with client.socket() as socket:
                await socket.get_message()
                await socket.send_message(client.pcm_message(frame_pcm(0)))
                await _until_frames(emulator, 1)
                await trio.sleep(0.8)
                assert emulator.statistics().slots_free == 3
                assert [live.state for live in emulator.statistics().live] == ["expired", "active"]
