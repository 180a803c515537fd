"""The emulator's live path over a real socket: checked, recorded, counted, answered."""

import json
import wave

import trio
import trio.testing
from trio_websocket import WebSocketConnection

from ravatar_audio.emulator import Emulator, EmulatorSettings

from .emulator_client import Client, frame_pcm, open_client, open_emulator, open_raw


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
