"""The sets of choices that make equal content have equal CIDs, by name.

`unixfs-v1-2025` and `unixfs-v0-2015` are those of IPIP-0499 (https://specs.ipfs.tech/ipips/ipip-0499/); `kubo-v1-2018` is
what Kubo did before them for `ipfs add --cid-version=1`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from debros.errors import ContentError, did_you_mean


@dataclass(frozen=True, slots=True)
class Profile:
    """How content becomes blocks.

    A directory is sharded when it is larger than `shard_over` bytes: of its whole block (`by_block`), or of the names
    and CIDs in it; of that size already when `shard_at`.
    """

    name: str
    version: int  # of CIDs
    chunk: int  # bytes of content in a leaf
    width: int  # links in a node of a file
    raw_leaves: bool
    by_block: bool
    shard_at: bool = False
    shard_over: int = 256 * 1024
    fanout: int = 256


V1_2025: Final = Profile("unixfs-v1-2025", 1, 1 << 20, 1024, raw_leaves=True, by_block=True)
V0_2015: Final = Profile("unixfs-v0-2015", 0, 1 << 18, 174, raw_leaves=False, by_block=False)
KUBO_V1: Final = Profile("kubo-v1-2018", 1, 1 << 18, 174, raw_leaves=True, by_block=False, shard_at=True)

PROFILES: Final = {profile.name: profile for profile in (V1_2025, V0_2015, KUBO_V1)}


def named(name: str) -> Profile:
    """Return a profile.

    Raises:
        ContentError: there is none of this name.
    """
    found = PROFILES.get(name)
    if found is None:
        raise ContentError(f"no profile {name!r}{did_you_mean(name, PROFILES) or ': ' + ', '.join(PROFILES)}")
    return found
