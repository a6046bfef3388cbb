"""What a node alone does not use, it does not load."""

from __future__ import annotations

import subprocess
import sys


def test_a_node_that_neither_listens_nor_dials_loads_no_libp2p() -> None:
    code = """
import sys, trio, debros
async def main():
    async with debros.open(":memory:", models=[]):
        print([name for name in sys.modules if name.split(".")[0] in ("libp2p", "multiaddr", "debros.net.libp2p")])
trio.run(main)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
