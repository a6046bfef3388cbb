"""The live page in a real browser: what one node writes appears in a page that another serves, and the other way round.

Needs Debian's `chromium` and `chromium-driver`; `make test-integration` installs them where apt-get can.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import httpx
import trio

import debros
from debros import Field, Model, field, model
from tests.support.programs import ROOT


@model(scope="global")
class Note(Model):  # as in examples/live_page.py
    text: Field[Annotated[str, debros.MaxLen(200)]]
    created_at: Field[datetime] = field(default_factory=debros.now, index=True)


FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@contextmanager
def program(*command: str) -> Iterator[str]:
    """Run a program for the block; gives the first line that it prints."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            process.communicate(timeout=30)


@contextmanager
def browser(folder: Path) -> Iterator[httpx.Client]:
    """A session of headless Chromium, over WebDriver."""
    driver = shutil.which("chromedriver")
    assert driver is not None, "install it: apt-get install chromium chromium-driver"
    with subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = (
            next(line for line in process.stdout if "started successfully on port" in line)
            .rstrip(".\n")
            .rsplit(" ", 1)[1]
        )
        try:
            options = {"args": [*FLAGS, f"--user-data-dir={folder}"], "binary": shutil.which("chromium")}
            wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                session = client.post("/session", json=wanted).json()["value"]["sessionId"]
                place = f"http://127.0.0.1:{port}/session/{session}"
                client.base_url = httpx.URL(place)
                try:
                    yield client
                finally:
                    client.delete(place)  # without a slash at its end, at which the driver would know no session
        finally:
            process.terminate()
            process.wait(timeout=30)


async def shown(client: httpx.Client) -> list[str]:
    script = {"script": "return [...document.querySelectorAll('li')].map((item) => item.textContent)", "args": []}
    found: Any = (await trio.to_thread.run_sync(lambda: client.post("/execute/sync", json=script))).json()["value"]
    return list(found)


async def until_shown(client: httpx.Client, wanted: list[str]) -> None:
    with trio.fail_after(30):
        while await shown(client) != wanted:  # noqa: ASYNC110 - a browser is asked
            await trio.sleep(0.1)


def element(client: httpx.Client, css: str) -> str:
    found = client.post("/element", json={"using": "css selector", "value": css}).json()["value"]
    return str(next(iter(found.values())))


async def test_a_write_in_one_node_appears_in_a_page_served_by_another(tmp_path: Path) -> None:
    async with debros.open(tmp_path / "writer", app="live-page", models=[Note], listen="/ip4/127.0.0.1/tcp/0") as node:
        note = await Note.create(text="there before")
        serving = [sys.executable, "examples/live_page.py", "serve", str(tmp_path / "server"), "0", node.addresses[0]]
        with program(*serving) as url, browser(tmp_path / "profile") as client:
            await trio.to_thread.run_sync(lambda: client.post("/url", json={"url": url}))
            await until_shown(client, ["there before"])
            await Note.create(text="from the other node")
            await until_shown(client, ["from the other node", "there before"])
            await note.update(text="changed there")
            await until_shown(client, ["from the other node", "changed there"])
            field, button = element(client, "input"), element(client, "button")
            client.post(f"/element/{field}/value", json={"text": "typed into the page"})
            client.post(f"/element/{button}/click", json={})
            await until_shown(client, ["typed into the page", "from the other node", "changed there"])
            await node.synced(timeout_s=20)
            assert await Note.count() == 3
            await note.delete()
            await until_shown(client, ["typed into the page", "from the other node"])
