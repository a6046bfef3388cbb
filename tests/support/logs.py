"""Log files for tests: deterministic randomness, blocks, and what a log holds."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from debros.blocks import cid
from debros.blocks.files import Files
from debros.blocks.logfile import Block, LogFile

DIRECTORY = "/home/log"


def block_of(content: bytes, codec: int = cid.DAG_CBOR) -> Block:
    return codec, cid.digest_of(content), content


def blocks_of(*contents: bytes) -> list[Block]:
    return [block_of(content) for content in contents]


def open_log(files: Files, applied: int = 0, *, max_segment: int = 1 << 20, seed: int = 0) -> LogFile:
    return LogFile.open(files, DIRECTORY, applied=applied, random_bytes=Random(seed).randbytes, max_segment=max_segment)


def contents(log: LogFile, start: int = 0) -> list[bytes]:
    return [section.block for section in log.scan(start)]


def is_subsequence(some: Iterable[bytes], of: Iterable[bytes]) -> bool:
    rest = iter(of)
    return all(one in rest for one in some)
