"""A pipecat pipeline that hears by our microphone: RavatarInputTransport is an input transport like any other.

Argument: another source than the microphone. Needs pipecat-ai.
"""

import asyncio
import sys
from typing import Any

from pipecat.frames.frames import CancelFrame, EndFrame, EndWorkerFrame, Frame, InputAudioRawFrame, StartFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

from ravatar_audio.asyncio import RATE_HZ, Gate, RavatarError, Settings, Source, TurnSource, open_source

BLOCK_S = 0.020
"""What pipecat's own transports give."""


class RavatarInputTransport(BaseInputTransport):
    """A source of ours as a pipecat input: 16 kHz mono in blocks of 20 ms. The pipeline ends when the source does."""

    def __init__(self, source: Source[Any]) -> None:
        super().__init__(TransportParams(audio_in_enabled=True, audio_in_sample_rate=RATE_HZ))
        self._source = source
        self._capture: asyncio.Task[None] | None = None

    async def start(self, frame: StartFrame) -> None:
        """Begin to capture, with the pipeline."""
        await super().start(frame)
        await self.set_transport_ready(frame)
        self._capture = asyncio.create_task(self._run())

    async def stop(self, frame: EndFrame) -> None:
        """End with the pipeline."""
        await self._end()
        await super().stop(frame)

    async def cancel(self, frame: CancelFrame) -> None:
        """End at once."""
        await self._end()
        await super().cancel(frame)

    async def _run(self) -> None:
        try:
            await self._hear()
        except RavatarError as error:
            await self.push_error(f"{error}. {error.advice}", exception=error)
        await self.push_frame(EndWorkerFrame(), FrameDirection.UPSTREAM)

    async def _hear(self) -> None:
        blocks = self._source.tee(BLOCK_S)
        async with TurnSource(self._source, Gate("open")) as turns:  # behind a gate a tee's blocks come as they end

            async def take() -> None:
                async for _ in turns:
                    pass

            taking = asyncio.create_task(take())
            try:
                async for block in blocks:
                    await self.push_audio_frame(InputAudioRawFrame(block.pcm, RATE_HZ, 1))
                await self._audio_in_queue.join()
            finally:
                taking.cancel()
                await asyncio.gather(taking, return_exceptions=True)

    async def _end(self) -> None:
        if self._capture is not None and self._capture is not asyncio.current_task():
            self._capture.cancel()
            await asyncio.gather(self._capture, return_exceptions=True)


class Meter(FrameProcessor):
    """Stands for the rest of a pipeline: speech to text, a language model, ..."""

    def __init__(self) -> None:
        super().__init__()
        self.heard_samples = 0

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Count sound, and pass everything on."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            self.heard_samples += len(frame.audio) // 2
        await self.push_frame(frame, direction)


async def main(what: str) -> None:
    meter = Meter()
    source = open_source(Settings.load(), what)
    worker = PipelineWorker(Pipeline([RavatarInputTransport(source), meter]), cancel_on_idle_timeout=False)
    runner = WorkerRunner(handle_sigint=True)
    await runner.add_workers(worker)
    await runner.run()
    print(f"the pipeline has heard {meter.heard_samples} samples")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "mic"))
