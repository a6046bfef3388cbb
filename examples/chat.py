"""A chat in the terminal between two nodes: lines are records, who is here is presence, who is typing a message.

Run: `python examples/chat.py [home]` (in memory when none is given; needs `debros[net]`). Two nodes on loopback talk, and it
prints exactly:
    here: ['ana', 'bo']
    bo sees that ana is typing
    bo sees <ana> hello
    ana sees <bo> hi ana
    kept by both: ['hello', 'hi ana']

`python examples/chat.py talk HOME NAME [ADDRESS]` opens a node that listens, says where, and joins the one at the address.
"""

from __future__ import annotations

import os
import sys

import trio

import debros
from debros import Field, Model, model

LOOPBACK = "/ip4/127.0.0.1/tcp/0"


@model(scope="global", write="owner")
class Line(Model):
    room: Field[str]
    name: Field[str]
    text: Field[str]


async def here(node: debros.Debros, people: int) -> list[str]:
    """Wait until so many are in the room, and return their names."""
    while len(names := sorted(one.data["name"] for one in node.events.here("lobby"))) < people:  # noqa: ASYNC110 - presence is asked
        await trio.sleep(0.05)
    return names


async def demonstrate(home: str) -> None:
    def place(name: str) -> str:
        return home if home == ":memory:" else os.path.join(home, name)

    async with (
        debros.open(place("ana"), app="chat", models=[Line], listen=LOOPBACK) as ana,
        debros.open(place("bo"), app="chat", models=[Line], peers=ana.addresses) as bo,
        ana.events.present("lobby", {"name": "ana"}, ttl_s=3),
        bo.events.present("lobby", {"name": "bo"}, ttl_s=3),
    ):
        await here(ana, 2)
        print(f"here: {await here(bo, 2)}")
        async with (
            bo.events.subscribe("chat.*") as typing,
            bo.events.subscribe(Line, on="create", where=lambda event: event.origin == "remote") as to_bo,
            ana.events.subscribe(Line, on="create", where=lambda event: event.origin == "remote") as to_ana,
        ):
            await ana.events.publish("chat.lobby.typing", {"name": "ana"}, priority="high")
            print(f"bo sees that {(await anext(typing)).data['name']} is typing")
            with ana.current():
                await Line.create(room="lobby", name="ana", text="hello")
            print(f"bo sees {spoken((await anext(to_bo)).row)}")
            with bo.current():
                await Line.create(room="lobby", name="bo", text="hi ana")
            print(f"ana sees {spoken((await anext(to_ana)).row)}")
        kept = []
        for node in (ana, bo):
            with node.current():
                kept.append([line.text for line in await Line.query().order_by(Line.meta.created_at.asc()).all()])
        assert kept[0] == kept[1]
        print(f"kept by both: {kept[0]}")


def spoken(line: Line | None) -> str:
    return "" if line is None else f"<{line.name}> {line.text}"


async def talk(home: str, name: str, peers: list[str]) -> None:
    async with (
        debros.open(home, app="chat", models=[Line], listen=LOOPBACK, peers=peers) as node,
        node.events.present("lobby", {"name": name}),
        trio.open_nursery() as nursery,
    ):
        print(f"others join with: python examples/chat.py talk HOME NAME {node.addresses[0]}")
        nursery.start_soon(show, node)
        while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            await Line.create(room="lobby", name=name, text=line.strip())
        nursery.cancel_scope.cancel()


async def show(node: debros.Debros) -> None:
    async with node.events.subscribe(Line, on="create", since="start") as lines:
        async for event in lines:
            if event.row is not None:
                print(f"{event.at:%H:%M} {spoken(event.row)}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["talk"]:
        trio.run(talk, sys.argv[2], sys.argv[3], sys.argv[4:])
    else:
        trio.run(demonstrate, sys.argv[1] if len(sys.argv) > 1 else ":memory:")
