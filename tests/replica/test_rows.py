"""What shows of what the log holds: rights in ids, readable rows, bounds, and what is remarkable about a row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import trio

from debros.identity.did import tag
from debros.replica.tables import (
    DELETED,
    NOT_UNIQUE,
    OUT_OF_BOUNDS,
    OVERFLOW,
    REWRITTEN,
    UNREADABLE,
    WRONG_ID,
)
from debros.schema import ComputedSpec, Schema
from debros.values import describe
from tests.support.entries import A, U
from tests.support.stores import as_columns_keep, cells_of, deliver, opened, post, schemas, shown
from tests.support.worlds import LOGS, World

ADMIN, USER_U, USER_V, STRANGER, ADMINS_DEVICE, DEVICE_OF_U = range(6)  # authors of the open log
SKIPPED = ("", "")
MINE = f"d~{tag(U.public)}"


def whole(**put: Any) -> dict[str, Any]:
    """A create of a Post that one change makes whole."""
    fields: dict[str, Any] = {
        "title": "t", "body": None, "n": 1, "score": None, "flag": None, "price": None, "about": {}, "slug": None,
        "cat": None, "lang": "en",
    }  # fmt: skip
    return {"live": True, "put": fields | put, "keep": {"note": [None, []]}}


def rows_of(world: World, models: list[Schema] | None = None) -> dict[tuple[str, str], Any]:
    """What shows, the same after several orders of arrival; at `SKIPPED` how many changes were left out."""
    outcomes: list[Any] = []

    async def main(seed: int) -> None:
        store = opened(models or schemas(world.manifest.scope), flush_rows=1 if seed % 2 else 500).store
        replica = store.replica(world.manifest)
        for made in world.shuffled(seed) if seed else world.entries:
            await deliver(store, replica, [made])
        outcomes.append((shown(store, replica), replica.skipped))

    for seed in range(6):
        trio.run(main, seed)
    assert all(outcome == outcomes[0] for outcome in outcomes)
    rows, skipped = outcomes[0]
    return {**rows, SKIPPED: skipped}


def open_log() -> World:
    return LOGS[0]()


# -- who may write is in the id -------------------------------------------------------------------------------------


def test_a_change_of_anothers_document_is_skipped() -> None:
    world = open_log()
    world.write(USER_U, [["Own", 1, MINE, {"live": True, "put": {"title": "mine", "at": None}}]])
    for author in (USER_V, STRANGER):
        world.write(author, [["Own", 1, MINE, {"put": {"title": "seized"}}], ["Own", 1, "x", {"live": True}]], ahead=9)
    rows = rows_of(world)
    assert rows["Own", MINE]["values"]["title"] == "mine"
    assert rows[SKIPPED] == 2


@pytest.mark.parametrize("beside", [0, 2])
def test_a_new_document_that_is_anothers_by_its_id_is_skipped_alone_and_among_others(beside: int) -> None:
    new = {"live": True, "put": {"title": "t", "at": None}}
    world = open_log()
    world.write(STRANGER, [*(["Own", 1, f"a{n}", new] for n in range(beside)), ["Own", 1, MINE, new]])
    rows = rows_of(world)
    assert ("Own", MINE) not in rows
    assert rows[SKIPPED] == 1


@pytest.mark.parametrize(("author", "title"), [(DEVICE_OF_U, "new"), (ADMIN, "new"), (ADMINS_DEVICE, "new")])
def test_the_owners_devices_and_admins_write_an_owned_document(author: int, title: str) -> None:
    world = open_log()
    first = world.write(USER_U, [["Own", 1, MINE, {"live": True, "put": {"title": "mine", "at": None}}]])
    world.write(author, [["Own", 1, MINE, {"put": {"title": title}}]], next=[first])
    rows = rows_of(world)
    assert rows["Own", MINE]["values"]["title"] == title
    assert rows[SKIPPED] == 0


def test_only_admins_write_admin_documents() -> None:
    world = open_log()
    for author in (USER_U, ADMINS_DEVICE, STRANGER):
        world.write(author, [["Adm", 1, "d~admin", {"live": True, "inc": {"likes": 1}}]])
    rows = rows_of(world)
    assert rows["Adm", "d~admin"]["values"]["likes"] == 1
    assert rows["Adm", "d~admin"]["created"][2] == A.public
    assert rows[SKIPPED] == 2


def test_a_row_shows_only_under_an_id_of_the_form_its_model_declares() -> None:
    world = open_log()
    forms = {"Post": "d", "Own": MINE, "Adm": "d~admin"}
    for n, id in enumerate([*forms.values(), "a~b"]):
        for model in forms:
            change = whole() if model == "Post" else {"live": True, "put": {"title": "t", "at": None}}
            world.write(ADMIN, [[model, 1, id, change]], ahead=n + 1)
    rows = rows_of(world)
    for (model, id), row in rows.items():
        if (model, id) != SKIPPED:
            assert row["hidden"] == (0 if id == forms[model] else WRONG_ID), (model, id)
    assert len(rows) == 13


def test_in_a_users_own_log_ids_are_plain_whatever_the_model_says() -> None:
    world = LOGS[2]()
    for id in ("d", MINE, "d~admin"):
        world.write(0, [["Own", 1, id, {"live": True}]])
    rows = rows_of(world)
    assert [rows["Own", id]["hidden"] for id in ("d", MINE, "d~admin")] == [0, WRONG_ID, WRONG_ID]


def test_a_users_own_log_shows_no_records_of_global_models_nor_the_other_way_round() -> None:
    async def main() -> None:
        store = opened([post(), post("user", "Mine")]).store
        for logs, (model, other) in ((LOGS[2], ("Mine", "Post")), (LOGS[1], ("Post", "Mine"))):
            world = logs()
            world.write(0, [[model, 1, "d", whole()], [other, 1, "x", whole()]])
            replica = store.replica(world.manifest)
            await deliver(store, replica, world.entries)
            assert shown(store, replica).keys() == {(model, "d")}
            assert replica.skipped == 1, "it is left out, and counted"

    trio.run(main)


@pytest.mark.parametrize(
    "bad", [5, None, [], {"put": 5}, {"live": 1}, {"inc": {"n": 2**63}}, {"put": {"": 1}, "live": True}]
)
def test_who_is_told_of_an_entry_is_told_of_its_changes_of_good_form_alone(bad: Any) -> None:
    async def main() -> None:
        store, told = opened([post()]).store, []
        store.on_admitted.append(lambda admitted: told.extend([c.id for _, _, changes, _ in admitted for c in changes]))
        world = LOGS[0]()
        world.write(USER_U, [["Post", 1, "a", whole()], ["Post", 1, "b", bad], ["Post", 1, "c", {"live": True}]])
        world.write(USER_U, [["Post", 1, "d", bad]])
        replica = store.replica(world.manifest)
        await deliver(store, replica, world.entries)
        assert (told, replica.skipped, shown(store, replica).keys()) == (["a", "c"], 2, {("Post", "a"), ("Post", "c")})

    trio.run(main)


# -- what can be read -----------------------------------------------------------------------------------------------


def test_a_row_without_a_required_value_is_left_out_until_a_later_write_gives_it() -> None:
    world = open_log()
    world.write(USER_U, [["Post", 1, "d", {"live": True, "put": {"body": "b"}}]])
    assert rows_of(world)["Post", "d"]["hidden"] == UNREADABLE
    world.write(USER_U, [["Post", 1, "d", {"put": {"title": 5}}]])
    assert rows_of(world)["Post", "d"]["hidden"] == UNREADABLE
    world.write(USER_U, [["Post", 1, "d", {"put": {"title": "t"}}]])
    row = rows_of(world)["Post", "d"]
    assert row["hidden"] == 0
    assert row["values"]["text"] == "b"
    world.write(USER_U, [["Post", 1, "d", {"put": {"title": None}}]])
    assert rows_of(world)["Post", "d"]["hidden"] == UNREADABLE


def test_a_value_of_another_type_reads_as_a_missing_one() -> None:
    world = open_log()
    world.write(USER_U, [["Post", 1, "d", whole(n="many", score=1, flag=1, price="1,5", about=[], lang=None)]])
    values = rows_of(world)["Post", "d"]["values"]
    wanted: dict[str, Any] = {"n": 7, "score": None, "flag": None, "price": None, "about": {}, "lang": "en"}
    assert {name: values[name] for name in wanted} == wanted


def test_an_element_of_another_type_does_not_show_and_stays() -> None:
    world = open_log()
    first = world.write(USER_U, [["Post", 1, "d", whole() | {"add": {"tags": ["x", 3, "x"], "nums": [1.5, "x", 1]}}]])
    row = rows_of(world)["Post", "d"]
    assert (row["values"]["tags"], row["values"]["nums"]) == (["x"], [1.5])
    world.write(USER_U, [["Post", 1, "d", {"rem": {"tags": [["x", [first.digest]], [3, [first.digest]]]}}]])
    assert rows_of(world)["Post", "d"]["values"]["tags"] == []


def test_an_end_of_minus_zero_ends_minus_zero() -> None:
    world = open_log()
    first = world.write(USER_U, [["Post", 1, "d", whole() | {"add": {"nums": [-0.0]}}]])
    world.write(USER_V, [["Post", 1, "d", {"rem": {"nums": [[-0.0, [first.digest]]]}}]])
    assert rows_of(world)["Post", "d"]["values"]["nums"] == []


def test_of_two_declarations_each_finds_its_own_kind_of_cell() -> None:
    world = open_log()
    world.write(USER_U, [["Post", 1, "d", whole(likes=9) | {"inc": {"n": 5, "likes": 2}}]])
    values = rows_of(world)["Post", "d"]["values"]
    assert (values["n"], values["likes"]) == (1, 2)


def test_a_model_that_nobody_opened_shows_once_it_is_opened() -> None:
    world = open_log()
    world.write(USER_U, [["Later", 1, "d", whole()], ["Post", 1, "d", whole()]])
    assert ("Later", "d") not in rows_of(world)
    assert rows_of(world, [post(name="Later")])["Later", "d"]["hidden"] == 0


# -- what is remarkable ---------------------------------------------------------------------------------------------


def test_a_counter_beyond_64_bits_shows_the_nearest_bound_and_is_flagged() -> None:
    world = open_log()
    world.write(USER_U, [["Post", 1, "d", whole() | {"inc": {"likes": 2**63 - 1}}]])
    assert rows_of(world)["Post", "d"]["flags"] == 0
    world.write(USER_V, [["Post", 1, "d", {"inc": {"likes": 1}}]])
    row = rows_of(world)["Post", "d"]
    assert (row["values"]["likes"], row["flags"]) == (2**63 - 1, OVERFLOW)
    world.write(STRANGER, [["Post", 1, "d", {"inc": {"likes": -(2**63)}}]])
    row = rows_of(world)["Post", "d"]
    assert (row["values"]["likes"], row["flags"]) == (0, 0), "the sum is exact all the time"
    for author in (USER_U, USER_V):
        world.write(author, [["Post", 1, "d", {"inc": {"likes": -(2**63)}}]])
    row = rows_of(world)["Post", "d"]
    assert (row["values"]["likes"], row["flags"]) == (-(2**63), OVERFLOW)


def test_a_value_beyond_its_bounds_shows_and_is_flagged() -> None:
    world = open_log()
    world.write(USER_U, [["Post", 1, "over", whole(n=101)], ["Post", 1, "under", whole(n=-1)]])
    world.write(USER_U, [["Post", 1, "least", whole(n=0)], ["Post", 1, "most", whole(n=100)]])
    rows = rows_of(world)
    flags = {id: rows["Post", id]["flags"] for id in ("over", "under", "least", "most")}
    assert flags == {"over": OUT_OF_BOUNDS, "under": OUT_OF_BOUNDS, "least": 0, "most": 0}
    assert rows["Post", "over"]["values"]["n"] == 101


def test_an_event_that_more_than_one_entry_wrote_is_flagged() -> None:
    world = open_log()
    first = world.write(USER_U, [["Event", 1, "d", {"live": True, "put": {"title": "t", "at": None}}]])
    assert rows_of(world)["Event", "d"]["flags"] == 0
    second = world.write(USER_V, [["Event", 1, "d", {"put": {"title": "forged"}}]], next=[first])
    assert rows_of(world)["Event", "d"]["flags"] == REWRITTEN
    world.write(ADMIN, acts=[["cut", world.authors[second.author].key.public, []]])
    row = rows_of(world)["Event", "d"]
    assert (row["values"]["title"], row["flags"]) == ("t", 0), "a void entry wrote nothing"


def test_a_record_whose_only_entry_is_void_is_gone_and_comes_back_when_the_cut_is_lifted() -> None:
    world = open_log()
    world.write(USER_V, [["Post", 1, "d", whole()]])
    cut = world.write(ADMIN, acts=[["cut", world.authors[USER_V].user, []]])
    assert ("Post", "d") not in rows_of(world)
    world.write(USER_U, [["Post", 1, "d", {"put": {"title": "edit"}}]])
    row = rows_of(world)["Post", "d"]
    assert (row["hidden"], row["created"]) == (DELETED, None)
    world.write(ADMIN, acts=[["cut", world.authors[USER_V].user, None]], next=[cut])
    row = rows_of(world)["Post", "d"]
    assert (row["hidden"], row["created"][2]) == (0, world.authors[USER_V].user)


def test_an_encrypted_entry_of_a_cut_key_has_no_documents_to_fold_again() -> None:
    world = open_log()
    world.write(USER_V, encrypted=True)
    world.write(USER_V, [["Post", 1, "d", whole()]])
    world.write(ADMIN, acts=[["cut", world.authors[USER_V].user, []]])
    assert ("Post", "d") not in rows_of(world)


def test_values_kept_at_once_are_all_held_and_the_greatest_stamp_shows() -> None:
    world = open_log()
    first = world.write(USER_U, [["Post", 1, "d", whole()]])
    left = world.write(USER_U, [["Post", 1, "d", {"keep": {"note": ["left", [first.digest]]}}]])
    right = world.write(
        USER_V, [["Post", 1, "d", {"keep": {"note": ["right", [first.digest]]}}]], next=[first], ahead=5
    )
    assert rows_of(world)["Post", "d"]["values"]["note"] == "right"
    assert kept(world) == [right.digest, left.digest]
    both = sorted([left.digest, right.digest])
    last = world.write(ADMIN, [["Post", 1, "d", {"keep": {"note": ["both", both]}}]], next=[left, right])
    assert rows_of(world)["Post", "d"]["values"]["note"] == "both"
    assert kept(world) == [last.digest]


def kept(world: World) -> list[bytes]:
    found: list[bytes] = []

    async def main() -> None:
        store = opened([post()]).store
        replica = store.replica(world.manifest)
        await deliver(store, replica, world.shuffled(1))
        model = store.models["Post"]
        row = store.view.row(model.rows, replica.n, "d")
        assert row is not None
        found.extend(dot for _, dot in as_columns_keep(cells_of(model.states.load(row)))["note", "keep"])

    trio.run(main)
    return found


# -- unique values --------------------------------------------------------------------------------------------------


def flagged(world: World) -> set[str]:
    rows = rows_of(world)
    return {id for (model, id), row in rows.items() if model == "Post" and row["flags"] & NOT_UNIQUE}


def test_of_those_who_claim_a_value_the_smallest_stamp_holds_it() -> None:
    world = open_log()
    world.write(USER_U, [["Post", 1, "late", whole(slug="s")]], ahead=9)
    world.write(USER_V, [["Post", 1, "early", whole(slug="s")]], ahead=2)
    world.write(STRANGER, [["Post", 1, "other", whole(slug="t")], ["Post", 1, "null", whole()]])
    world.write(STRANGER, [["Post", 1, "null2", whole()]])
    assert flagged(world) == {"late"}


def test_a_claim_is_as_old_as_the_value_and_goes_with_it() -> None:
    world = open_log()
    old = world.write(USER_U, [["Post", 1, "old", whole(slug="t")]])
    world.write(USER_V, [["Post", 1, "new", whole(slug="s")]], ahead=3)
    moved = world.write(USER_U, [["Post", 1, "old", {"put": {"slug": "s"}}]], ahead=5)
    assert flagged(world) == {"old"}, "the record is older, the claim is not"
    deleted = world.write(STRANGER, [["Post", 1, "new", {"live": False}]], next=[old, moved])
    assert flagged(world) == set(), "what is deleted claims nothing"
    world.write(STRANGER, [["Post", 1, "new", {"live": True}]], next=[deleted])
    assert flagged(world) == {"old"}
    world.write(USER_U, [["Post", 1, "old", {"put": {"slug": None}}]], ahead=9)
    assert flagged(world) == set()


def test_a_value_is_unique_together_with_those_it_is_declared_with() -> None:
    world = open_log()
    world.write(USER_U, [["Post", 1, "a", whole(cat="c")]])
    world.write(USER_V, [["Post", 1, "b", whole(cat="c", lang="fr")]], ahead=2)
    world.write(STRANGER, [["Post", 1, "c", whole(cat=None)], ["Post", 1, "d", whole(cat=None)]], ahead=3)
    assert flagged(world) == set()
    world.write(USER_V, [["Post", 1, "b", {"put": {"lang": "en"}}]], ahead=5)
    assert flagged(world) == {"b"}


def test_two_records_of_one_entry_are_told_apart_by_their_ids() -> None:
    world = open_log()
    world.write(USER_U, [["Post", 1, "b", whole(slug="s")], ["Post", 1, "a", whole(slug="s")]])
    assert flagged(world) == {"b"}


def test_what_is_computed_of_a_zero_without_a_sign_is_what_is_computed_of_its_column() -> None:
    async def main() -> list[Any]:
        text = describe(str).codec
        sign = ComputedSpec("sign", text, True, True, lambda values: str(values["score"]), "1")
        schema = replace(post(), computed=(sign,), indexes=())
        found: list[Any] = []
        for again in (False, True):
            world = LOGS[0]()
            world.write(0, [["Post", 1_000_000, "d1", whole(score=-0.0)]])
            if again:  # it is folded from what the columns hold
                world.write(0, [["Post", 1_000_000, "d1", {"put": {"title": "u"}}]])
            store = opened([schema]).store
            replica = store.replica(world.manifest)
            for made in world.entries:
                await deliver(store, replica, [made])
                store.flush()
            [row] = store.view.read('SELECT "c_sign" FROM "m_Post"', ())
            found.append(row)
        return found

    assert trio.run(main) == [("0.0",), ("0.0",)]
