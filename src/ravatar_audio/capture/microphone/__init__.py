"""The microphone: a device as an async iterator of frames, watched and opened again.

source                        what every source of frames is, and its statistics
capture_statistics            a source's counters
tee                           a second consumer's blocks
microphone                    the source that has a device
opener                        its device or the fallback, opened into a chain
supervisor                    the task that looks after its stream
reopening, retry              how it gets its device back
library_calls                 calls that may hang
hotplug_watch                 devices and sound servers that come
system                        the machine below it: time, devices, threads; a test has another
stall_detector                stalls, and when a stream must be opened again (pure)
sound_monitor, drift          what can go wrong without an error; the device's clock (pure)
delivery_ledger               what the frames delivered say beside their sound (pure)
retired_chains                what is left of devices that were used before
events                        what a source reports besides frames
"""
