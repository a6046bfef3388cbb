"""Writing a segment of a log anew, without some of its sections, while nobody has the log open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

from debros.blocks import car
from debros.blocks.car import Damage, Section
from debros.blocks.files import Files
from debros.blocks.segments import segment_path, write_all

_BATCH = 4 << 20


def is_sound(files: Files, directory: str, number: int) -> bool:
    """Whether a segment is whole: every section hashes to its CID, and nothing else is in it.

    Raises:
        OSError: the disk refused.
    """
    with closing(files.open(segment_path(directory, number), write=False)) as handle:
        return not any(isinstance(found, Damage) for found in car.walk(handle.pread, handle.size(), number))


def rewrite(
    files: Files, directory: str, number: int, chosen: Callable[[Iterator[Section]], Iterator[Section]]
) -> int:  # fmt: skip
    """Write a sound segment anew with the sections that are chosen of it, in their order; return the bytes it lost.

    After a power cut at any moment the segment is the old one or the new one, whole.

    Raises:
        OSError: the disk refused; the segment is the old one.
    """
    path = segment_path(directory, number)
    with closing(files.open(path, write=False)) as old:
        size = old.size()
        head = car.position(number, car.HEADER_SIZE)
        sections = (found for found in car.walk(old.pread, size, number) if isinstance(found, Section))
        with closing(files.open(f"{path}.new", create=True)) as new:
            new.truncate(0)
            waiting = bytearray(car.segment_start(number, car.store_of(old.pread, number)))
            done = 0
            for section in chosen(found for found in sections if found.position != head):
                waiting += car.section_head(section.codec, section.digest, len(section.block)) + section.block
                if len(waiting) >= _BATCH:
                    write_all(new, bytes(waiting), done)
                    done += len(waiting)
                    waiting.clear()
            write_all(new, bytes(waiting), done)
            done += len(waiting)
            new.sync()
    if done == size:
        files.remove(f"{path}.new")
        return 0
    files.replace(f"{path}.new", path)
    files.sync_dir(directory)
    return size - done
