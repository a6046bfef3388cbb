"""`debros shards`: how the records of sharded models are spread."""

from __future__ import annotations

from pathlib import Path

from tests.support.projects import Project

MODELS = """
from __future__ import annotations

from debros import Field, Model, hash_shards, model


@model(scope="global", sharding=hash_shards("author", 4))
class Line(Model):
    author: Field[str]


@model(scope="global")
class Plain(Model):
    text: Field[str]
"""
FILL = """
for n in range(12):
    await Line.create(author=f"author-{n % 6}")
await db.shards[Line].resize(6)
await Line.create(author="author-1")
"""


def test_shards_tells_how_full_they_are(project: Project) -> None:
    models = next(Path().rglob("models.py"))
    models.write_text(MODELS, encoding="utf-8")
    project.run("makemigrations")
    project.run("shell", "--command", FILL)
    told = project.json("shards")
    assert list(told["models"]) == ["Line"]
    line = told["models"]["Line"]
    assert line["layouts"] == [{"kind": "hash", "shards": 4}, {"kind": "hash", "shards": 6}]
    assert [shard["number"] for shard in line["shards"]] == list(range(10))
    assert sum(shard["records"] for shard in line["shards"]) == 13
    assert line["skew"] > 1
    out, _ = project.run("shards", "Line")
    assert "Line  2 layouts, 13 records" in out
    assert "fullest to mean" in out
    _, err = project.run("shards", "Lines", code=2)
    assert "Lines is no sharded model of this project; did you mean 'Line'?" in err


def test_a_shard_is_moved_into_a_store_of_its_own(project: Project) -> None:
    models = next(Path().rglob("models.py"))
    models.write_text(MODELS, encoding="utf-8")
    project.run("makemigrations")
    project.run("shell", "--command", FILL)
    place = Path("elsewhere").absolute()
    out, _ = project.run("shards", "Line", "--move", "1", "--to", str(place))
    assert f"shard 1 of Line to {place}" in out
    assert (place / "log" / "000001.car").is_file()
    told = project.json("shards")["models"]["Line"]
    assert [shard["path"] for shard in told["shards"]] == ["", str(place), *[""] * 8]
    assert sum(shard["records"] for shard in told["shards"]) == 13
    _, err = project.run("shards", "--move", "1", code=2)
    assert "debros shards MODEL --move NUMBER --to PATH" in err


def test_a_check_looks_into_the_stores_of_shards_and_a_backup_says_that_it_does_not(project: Project) -> None:
    models = next(Path().rglob("models.py"))
    models.write_text(MODELS, encoding="utf-8")
    project.run("makemigrations")
    project.run("shell", "--command", FILL)
    whole = project.json("verify")["entries"]
    place = Path("elsewhere").absolute()
    number = next(s["number"] for s in project.json("shards")["models"]["Line"]["shards"] if s["records"])
    project.run("shards", "Line", "--move", str(number), "--to", str(place))
    assert project.json("verify")["entries"] > whole, "the copies that stayed behind are whole too"
    _, err = project.run("backup", "copy", code=1)
    assert "export_car" in err
    segment = place / "log" / "000001.car"
    good = segment.read_bytes()
    segment.write_bytes(good[:-20] + b"\0" + good[-19:])
    told = project.json("verify", code=1)["findings"]
    assert [finding["what"] for finding in told] == ["damage"]
    assert str(place) in told[0]["detail"]
    place.rename("aside")
    told = project.json("verify", code=1)["findings"]
    assert [finding["what"] for finding in told] == ["away"]
    looked = {one["what"]: one for one in project.json("doctor", "--quick", code=1)["findings"]}
    assert looked["stores"]["state"] == "bad"
    assert "bring the directory back" in looked["stores"]["detail"]
