"""Threads, file descriptors and the process's memory; knows no device.

wakeup          the audio thread's wake-up of trio
blocking_call   calls that may block, in a thread with a deadline
stderr_capture  what sound libraries print on the process's stderr
memory_lock     keeping the process in memory
one_taker       one consumer at a time, in one thread
"""
