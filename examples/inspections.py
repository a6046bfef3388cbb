"""Inspections in the field, over a web API on asyncio: a CSV of sites, a photo, comments, tags, pages, numbers, errors.

Run: `python examples/inspections.py [home]` (in memory when none is given; needs `debros[web]` and httpx). The program asks its own
Starlette application, and prints exactly:
    imported: 3 sites
    created: 201 Roof is wet
    refused: 422 {'title': 'a value is required'}
    refused: 404 no Site with id 'nowhere'
    photo: 201 12 bytes, image/png
    comments: ['dry again', 'looks bad']
    open at northern sites: ['Roof is wet', 'Paint is off']
    page: ['Roof is wet', 'Door sticks'] then ['Paint is off']
    by site: [('Depot', 1, 4.0), ('Mill', 2, 2.5)]
    closed: 1, and who asks at once for 20 records gets them: True
"""

from __future__ import annotations

import asyncio
import csv
import io
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Literal, TypeVar

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import debros
import debros.asyncio
from debros import Field, File, Index, Many, Model, One, belongs_to, field, has_many, model

T = TypeVar("T")


@model()
class Site(Model):
    name: Field[str] = field(min_length=1)
    region: Field[str] = field(index=True)
    inspections: Many[Inspection] = has_many("site_id", order_by="-at")


@model(indexes=[Index("site_id", "-at")])
class Inspection(Model):
    title: Field[str] = field(min_length=1, max_length=100)
    state: Field[Literal["open", "closed"]] = field(default="open", index=True)
    grade: Field[int] = field(default=3, ge=1, le=5)
    tags: Field[set[str]] = field(default_factory=set, index=True)
    photos: Field[list[File]] = field(default_factory=list)
    at: Field[datetime] = field(default_factory=debros.now, index=True)
    site_id: Field[str]
    site: One[Site] = belongs_to("site_id", on_delete="restrict")
    comments: Many[Comment] = has_many("inspection_id", order_by="text")


@model()
class Comment(Model):
    inspection_id: Field[str] = field(index=True)
    text: Field[str] = field(min_length=1)
    inspection: One[Inspection] = belongs_to("inspection_id", on_delete="cascade")


TABLE = "id,name,region\nmill,Mill,north\ndepot,Depot,south\nyard,Yard,north\n"


def run(request: Request, awaitable: Awaitable[T]) -> Awaitable[T]:
    """The node lives in a loop of its own: what is awaited there goes through `run`."""
    db: debros.Bridge = request.app.state.db
    return db.run(awaitable)


async def create(request: Request) -> Response:
    async def made() -> Inspection:  # in the node's loop: one way there and back, however much is awaited
        found = Inspection.from_dict(body)
        await Site.get(found.site_id)
        return await found.save()

    body = await request.json()
    return JSONResponse((await run(request, made())).to_dict(mode="json"), 201)


async def comment(request: Request) -> Response:
    body = await request.json()
    made = await run(request, Comment.create(inspection_id=request.path_params["id"], text=body["text"]))
    return JSONResponse({"id": made.id}, 201)


async def photo(request: Request) -> Response:
    data, kind = await request.body(), request.headers["content-type"]

    async def added() -> File:
        file = await File.add(data, name="photo", content_type=kind)
        inspection = await Inspection.get(request.path_params["id"])
        inspection.photos.append(file)
        await inspection.save()
        return file

    file = await run(request, added())
    return JSONResponse({"cid": file.cid, "size": file.size, "type": file.content_type}, 201)


async def listed(request: Request) -> Response:
    query = Inspection.query().order_by("-at").limit(2)
    if region := request.query_params.get("region"):
        query = query.where(Inspection.state == "open", Inspection.site.any(Site.region == region))
    if word := request.query_params.get("q"):
        query = query.where(Inspection.title.icontains(word))
    page = await run(request, query.include(Inspection.comments).page(after=request.query_params.get("after")))
    rows = [{**one.to_dict(mode="json"), "comments": [each.text for each in one.comments.value]} for one in page.rows]
    return JSONResponse({"rows": rows, "next": page.next})


async def told(request: Request, error: Exception) -> Response:
    if isinstance(error, debros.ValidationError):
        return JSONResponse({one.field: one.message for one in error.errors}, 422)
    return JSONResponse({"error": str(error).partition(":")[0]}, 404)


def application(home: str) -> Starlette:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with debros.asyncio.open(home, app="inspections", models=[Site, Inspection, Comment]) as db:
            app.state.db = db
            yield

    routes = [
        Route("/inspections", create, methods=["POST"]),
        Route("/inspections", listed),
        Route("/inspections/{id}/comments", comment, methods=["POST"]),
        Route("/inspections/{id}/photos", photo, methods=["POST"]),
    ]
    errors = {debros.ValidationError: told, debros.NotFoundError: told}
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers=errors)


async def visit(db: debros.Bridge, client: httpx.AsyncClient) -> None:
    sites = await db.run(Site.create_many(list(csv.DictReader(io.StringIO(TABLE)))))
    print(f"imported: {len(sites)} sites")
    for title, site, grade in (("Paint is off", "mill", 3), ("Door sticks", "depot", 4)):
        await client.post("/inspections", json={"title": title, "site_id": site, "grade": grade})
    made = await client.post(
        "/inspections", json={"title": "Roof is wet", "site_id": "mill", "grade": 2, "tags": ["roof"]}
    )
    print(f"created: {made.status_code} {made.json()['title']}")
    for wrong in ({"site_id": "mill"}, {"title": "x", "site_id": "nowhere"}):
        refused = await client.post("/inspections", json=wrong)
        print(f"refused: {refused.status_code} {refused.json().get('error', refused.json())}")
    place = f"/inspections/{made.json()['id']}"
    shot = await client.post(f"{place}/photos", content=b"not a photo\n", headers={"content-type": "image/png"})
    print(f"photo: {shot.status_code} {shot.json()['size']} bytes, {shot.json()['type']}")
    for text in ("looks bad", "dry again"):
        await client.post(f"{place}/comments", json={"text": text})
    [found] = (await client.get("/inspections", params={"q": "ROOF"})).json()["rows"]
    print(f"comments: {found['comments']}")
    north = (await client.get("/inspections", params={"region": "north"})).json()["rows"]
    print(f"open at northern sites: {[one['title'] for one in north]}")
    first = (await client.get("/inspections")).json()
    rest = (await client.get("/inspections", params={"after": first["next"]})).json()
    print(f"page: {[one['title'] for one in first['rows']]} then {[one['title'] for one in rest['rows']]}")
    names = {site.id: site.name for site in sites}
    groups = Inspection.query().group_by(Inspection.site_id).order_by(Inspection.site_id.asc())
    stats = groups.aggregate(debros.count(), debros.avg(Inspection.grade))
    print(f"by site: {[(names[site], n, mean) for site, n, mean in await db.run(stats)]}")
    async with db.using(db.node.transaction()):
        closed = await db.run(Inspection.where(Inspection.tags.contains("roof")).update(state="closed"))
    every = await asyncio.gather(*[db.run(Site.get("yard")) for _ in range(20)])
    print(f"closed: {closed}, and who asks at once for 20 records gets them: {every == [sites[2]] * 20}")


async def main(home: str) -> None:
    app = application(home)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client,
    ):
        await visit(app.state.db, client)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else ":memory:"))
