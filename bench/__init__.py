"""Benchmarks: `python -m bench`. Each path of the library beside the physical limit it runs against, in the same run.

A time is CPU time of this process, all threads, and a ratio compares it with a yardstick measured in turn with it,
so a loaded machine changes both. `document` is what is saved, `measure` the clock, `yardsticks` the limits, `paths`
one file for each line of the first table, `peers` other libraries on the same document, `growth` the sizes.
"""
