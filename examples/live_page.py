"""A page that shows notes as they come, by server-sent events, and writes them over a WebSocket.

Run: `python examples/live_page.py [home]` (in memory when none is given; needs `debros[web]` and httpx). It serves on a free
loopback port under trio, visits itself, and prints exactly:
    page: 200 text/html
    rows: ['first']
    added at 0: second
    changed at 0: second!
    removed: first

`python examples/live_page.py serve HOME PORT [PEER ...]` serves until interrupted, beside nodes at these addresses.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Annotated, Any

import httpx
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

import debros
from debros import Field, MaxLen, Model, field, model


@model(scope="global")
class Note(Model):
    text: Field[Annotated[str, MaxLen(200)]]
    created_at: Field[datetime] = field(default_factory=debros.now, index=True)


PAGE = """<!doctype html>
<title>notes</title>
<h1>Notes</h1>
<form><input name="text" autofocus autocomplete="off"> <button>Write</button></form>
<ol id="notes"></ol>
<script>
const list = document.getElementById("notes");
const of = (id) => [...list.children].find((item) => item.dataset.id === id);
function put(note, index) {
  of(note.id)?.remove();
  const item = document.createElement("li");
  item.dataset.id = note.id;
  item.textContent = note.text;
  list.insertBefore(item, list.children[index] ?? null);
}
const changes = new EventSource("/changes");
changes.addEventListener("rows", (event) => {  // again after a lost connection
  list.replaceChildren();
  JSON.parse(event.data).forEach(put);
});
for (const kind of ["added", "changed"])
  changes.addEventListener(kind, (event) => { const { note, index } = JSON.parse(event.data); put(note, index); });
changes.addEventListener("removed", (event) => of(JSON.parse(event.data).note.id)?.remove());
const socket = new WebSocket(`ws://${location.host}/write`);
document.forms[0].addEventListener("submit", (event) => {
  event.preventDefault();
  socket.send(JSON.stringify({ text: event.target.text.value }));
  event.target.reset();
});
</script>
"""


async def page(request: Request) -> Response:
    return HTMLResponse(PAGE)


async def changes(request: Request) -> Response:
    most = int(request.query_params.get("most", "0"))  # changes, then the stream ends; 0: it does not

    async def lines() -> AsyncIterator[str]:
        left = most
        newest_first = Note.query().order_by(Note.created_at.desc()).limit(20)
        async with newest_first.live() as view:
            yield told("rows", [note.to_dict(mode="json") for note in view.rows])
            async for change in view:
                yield told(change.kind, {"note": change.row.to_dict(mode="json"), "index": change.index})
                left -= 1
                if left == 0:
                    break

    return StreamingResponse(lines(), media_type="text/event-stream")


def told(kind: str, data: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n"


async def write(socket: WebSocket) -> None:
    await socket.accept()
    try:
        while True:
            try:
                note = await Note.from_dict(await socket.receive_json()).save()
                await socket.send_json({"id": note.id})
            except (debros.ValidationError, ValueError) as error:
                await socket.send_json({"error": str(error)})
    except WebSocketDisconnect:
        return


async def create(request: Request) -> Response:
    note = await Note.from_dict(await request.json()).save()
    return JSONResponse({"id": note.id}, 201)


def application(home: str, peers: Sequence[str]) -> Starlette:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with debros.open(home, app="live-page", models=[Note], peers=peers):
            yield

    routes = [
        Route("/", page),
        Route("/changes", changes),
        Route("/notes", create, methods=["POST"]),
        WebSocketRoute("/write", write),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


async def visit(url: str) -> None:
    async with httpx.AsyncClient(base_url=url) as client:
        shown = await client.get("/")
        print(f"page: {shown.status_code} {shown.headers['content-type'].split(';')[0]}")
        first = (await client.post("/notes", json={"text": "first"})).json()["id"]
        async with client.stream("GET", "/changes", params={"most": 3}) as stream:
            kind = ""
            async for line in stream.aiter_lines():
                name, _, value = line.partition(": ")
                if name == "event":
                    kind = value
                elif name == "data" and kind == "rows":
                    print(f"rows: {[note['text'] for note in json.loads(value)]}")
                    await Note.create(text="second")
                elif name == "data":
                    change = json.loads(value)
                    at = "" if change["index"] is None else f" at {change['index']}"
                    print(f"{kind}{at}: {change['note']['text']}")
                    if kind == "added":
                        await (await Note.get(change["note"]["id"])).update(text="second!")
                    elif kind == "changed":
                        await (await Note.get(first)).delete()


async def main(home: str, port: int = 0, peers: Sequence[str] = (), forever: bool = False) -> None:
    config = Config()
    config.bind, config.loglevel = [f"127.0.0.1:{port}"], "ERROR"
    async with trio.open_nursery() as nursery:
        start: Any = partial(serve, application(home, peers), config)
        urls: list[str] = await nursery.start(lambda task_status: start(task_status=task_status))
        if forever:
            print(urls[0], flush=True)
            await trio.sleep_forever()
        await visit(urls[0])
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        trio.run(partial(main, sys.argv[2], int(sys.argv[3]), sys.argv[4:], forever=True))
    else:
        trio.run(main, sys.argv[1] if len(sys.argv) > 1 else ":memory:")
