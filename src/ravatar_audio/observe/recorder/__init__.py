"""The flight recorder (extra "record"): what was captured, what became of it, and when, in MCAP files.

entries    what a recording holds: topics, schemas, and how each thing is written (pure)
mcap_file  the only module that knows MCAP: writes a file, and reads one that is cut short
folder     files of one folder within limits of size and age
recorder   an observer with a bounded queue, and the thread that writes
timeline   a recording as sessions with frames, turns, link and losses (pure)
story      a time line in words (pure)
drawing    the same as a picture (SVG, pure)
"""
