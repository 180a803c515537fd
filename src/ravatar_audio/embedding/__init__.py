"""A trio loop in a thread of its own, and what lives in it, for programs that run no trio themselves.

`ravatar_audio.asyncio` and `ravatar_audio.blocking` are made of this; nothing here is public.
"""
