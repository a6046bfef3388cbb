"""Programs that give no name to their application would meet strangers' logs: a node that listens or dials warns of it."""

from __future__ import annotations

import warnings

import pytest

import debros

NOBODY = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWF4prCAMENH3GF4egzcQrrBmXr1qntrAPQ64D3eEVzvbU"


async def test_a_node_that_dials_without_an_application_warns_and_says_what_to_write() -> None:
    with pytest.warns(UserWarning, match="app='default'.*debros init"):
        async with debros.open(":memory:", models=[], peers=[NOBODY]):
            pass


async def test_one_with_a_name_or_without_peers_does_not() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with debros.open(":memory:", models=[], app="named", peers=[NOBODY]):
            pass
        async with debros.open(":memory:", models=[]):
            pass
