"""The usual pipeline, written out: what a good engineer makes of the libraries' own examples, without this package.

PyAudio's or sounddevice's callback puts blocks into a queue of the event loop; a task takes them out, mixes them to
mono, converts them with python-soxr, cuts them into messages of 4,096 samples, writes them with json and base64, and
sends them: with `websockets` on asyncio (`asyncio_pipeline`), with trio-websocket on trio (`trio_pipeline`). Each
reconnects as its library's documentation shows. The stages are the same; only how threads hand over and what sends
differs. tests/session/test_baselines.py proves that what arrives is what this package sends.

Where a choice would slow them down they get the better one: no compression, TLS context and resampler made once, small
blocks, no logging.
"""
