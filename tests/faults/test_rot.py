"""Bits rot anywhere in a small log: it is noticed, never served, and nothing acknowledged is cut."""

from __future__ import annotations

import pytest

from debros.blocks import car, cid
from debros.blocks.car import Damage
from debros.blocks.files import MemoryFiles
from debros.errors import CorruptionError
from tests.support.logs import DIRECTORY, blocks_of, contents, open_log

ONE = f"{DIRECTORY}/000001.car"
WRITTEN = [b"first", bytes(200), b"third", b"", b"the last one"]


@pytest.fixture(scope="module")
def written() -> tuple[bytes, list[int], int]:
    """The file of a log, the position of each block, and its end."""
    files = MemoryFiles()
    log = open_log(files)
    positions = [log.append(blocks_of(content), durable=True)[0] for content in WRITTEN]
    end = log.end
    log.close()
    return bytes(files.files[ONE]), positions, end


def section_length(file: bytes, offset: int) -> bytes:
    return file[offset : offset + 2] if file[offset] > 127 else file[offset : offset + 1]


def disk_with(content: bytes) -> MemoryFiles:
    files = MemoryFiles()
    files.makedirs(DIRECTORY)
    files.files[ONE] = bytearray(content)
    return files


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_rot_in_any_byte_that_the_view_knows_is_noticed_and_nothing_is_cut(
    written: tuple[bytes, list[int], int], flip: int
) -> None:
    file, positions, end = written
    offsets = [car.split(position)[1] for position in positions]
    codecs = {offset + len(section_length(file, offset)) + 1 for offset in offsets}
    for at in range(len(file)):
        rotten = file[:at] + bytes([file[at] ^ flip]) + file[at + 1 :]
        if at in codecs and rotten[at] in cid.CODECS:
            continue  # the one byte that no digest covers; see the test below
        hit = max((n for n, offset in enumerate(offsets) if offset <= at), default=None)
        left = [content for n, content in enumerate(WRITTEN) if n != hit]
        for applied in (0, positions[2], end):
            files = disk_with(rotten)
            log = open_log(files, applied)
            assert contents(log) == left
            if applied == end or hit != len(WRITTEN) - 1:
                assert files.files[ONE] == rotten
                assert [found for found in log.verify() if isinstance(found, Damage)]
            else:  # in the last section, and no view to tell: saved aside
                assert file[: offsets[-1]] == files.files[ONE]
                assert files.files[log.report[0].saved] == rotten[offsets[-1] :]
            if hit is not None:
                with pytest.raises(CorruptionError):
                    log.read(positions[hit])
            assert {n for n, position in enumerate(positions) if n != hit and log.read(position) == WRITTEN[n]} == {
                n for n in range(len(WRITTEN)) if n != hit
            }
            log.close()


def test_a_codec_that_rots_into_another_codec_of_ours_changes_no_block(written: tuple[bytes, list[int], int]) -> None:
    file, positions, _ = written
    at = car.split(positions[0])[1] + 2
    assert file[at] == cid.DAG_CBOR
    log = open_log(disk_with(file[:at] + bytes([cid.DAG_PB]) + file[at + 1 :]))
    assert contents(log) == WRITTEN
    assert log.read_section(positions[0])[0] == cid.DAG_PB
    log.close()


def test_a_log_cut_at_any_byte_opens_and_keeps_what_is_whole(written: tuple[bytes, list[int], int]) -> None:
    file, positions, end = written
    offsets = [car.split(position)[1] for position in positions]
    for size in range(len(file)):
        whole = [content for n, content in enumerate(WRITTEN) if [*offsets, len(file)][n + 1] <= size]
        for applied in (0, end):
            files = disk_with(file[:size])
            log = open_log(files, applied)
            assert contents(log) == whole
            assert applied == 0 or files.files[ONE] == file[:size]
            log.append(blocks_of(b"next"), durable=True)
            log.close()
            assert contents(open_log(files, 0)) == [*whole, b"next"]


def test_a_lost_byte_costs_one_block(written: tuple[bytes, list[int], int]) -> None:
    file, positions, _ = written
    offsets = [car.split(position)[1] for position in positions]
    head = file[car.HEADER_SIZE + 37 : offsets[0]]  # it has moved too, and what has moved is told
    for at in range(len(file)):
        hit = max((n for n, offset in enumerate(offsets) if offset <= at), default=None)
        for changed in (file[:at] + file[at + 1 :], file[:at] + b"\xaa" + file[at:]):
            log = open_log(disk_with(changed))
            held = [section for section in log.scan() if section.block != head]
            assert {found.block for found in held} >= {content for n, content in enumerate(WRITTEN) if n != hit}
            assert {found.block for found in held} <= set(WRITTEN)
            assert all(found.doubtful for found in held if hit is None or WRITTEN.index(found.block) > hit)
            log.close()
