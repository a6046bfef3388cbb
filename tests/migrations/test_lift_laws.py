"""Laws of the lift: it is a pure function of cells, `down` undoes `up`, and the way rows came about leaves no trace."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from debros import migration
from debros.migrations.lifter import Lifter
from debros.migrations.operations import Operation
from debros.migrations.stages import steps_of
from debros.models.declare import schema_of
from debros.replica.cells import Document
from debros.replica.lifting import ABSENT
from tests.support.versions import MIGRATIONS, VERSIONS

FIELDS = {"name": st.text(max_size=9), "city": st.none() | st.text(max_size=9), "age": st.integers(0, 150).map(str)}
NEW_FIELDS = {"email": st.text(max_size=9), "first": st.text(max_size=5), "last": st.text(max_size=5)}
NUMBERS = [1_000_000, 1_001_000, 1_002_000, 1_003_000, 2_000_000]
SCHEMA = schema_of(VERSIONS[4])
STEPS = steps_of(SCHEMA, MIGRATIONS)
ALL = frozenset(each.name for each in MIGRATIONS)
Put = tuple[str, int, int, Any]  # wire, clock, version, value


@st.composite
def puts(draw: st.DrawFn) -> list[Put]:
    """Writes of programs of any version, each of fields that its version has."""
    found: list[Put] = []
    for clock in range(1, draw(st.integers(1, 8)) + 1):
        version = draw(st.sampled_from(NUMBERS))
        known = ["name", "city", "age"] if version < 2_000_000 else ["age", "email", "first", "last"]
        if 1_000_000 < version < 2_000_000:
            known.append("email")
        wire = draw(st.sampled_from(known))
        value = draw({**FIELDS, **NEW_FIELDS}[wire])
        if wire == "age" and version >= 1_003_000:
            value = int(value)
        found.append((wire, clock, version, value))
    return found


def document(writes: list[Put]) -> Document:
    made = Document(lambda tie: int(tie).to_bytes(32, "big"))
    for wire, clock, version, value in writes:
        made.merge({"put": {wire: value}, "live": True}, clock << 16, clock, version)
    return made


@settings(max_examples=60)
@given(puts(), st.randoms(use_true_random=False))
def test_what_shows_does_not_depend_on_the_order_in_which_entries_came(writes: list[Put], random: Any) -> None:
    lift = Lifter(SCHEMA, STEPS, ALL, frozenset())
    shuffled = list(writes)
    random.shuffle(shuffled)
    assert lift("a", document(writes)) == lift("a", document(shuffled))


@settings(max_examples=60)
@given(puts())
def test_the_newest_cells_are_never_lifted_and_every_lifted_value_is_one_of_its_field(writes: list[Put]) -> None:
    lifted, whole = Lifter(SCHEMA, STEPS, ALL, frozenset())("a", document(writes))
    assert whole or "name" not in document(writes).registers  # `split` needs one
    for wire, register in document(writes).registers.items():
        if register[2] >= 2_000_000:
            assert wire not in lifted
    for wire, value in lifted.items():
        spec = next(spec for spec in SCHEMA.fields if spec.wire == wire)
        assert value is ABSENT or spec.codec.accepts(value)


@settings(max_examples=40)
@given(puts())
def test_a_document_of_the_newest_version_needs_no_lift(writes: list[Put]) -> None:
    made = [("email", 1, 0, ""), ("first", 1, 0, ""), ("last", 1, 0, ""), ("age", 1, 0, 0), *writes]
    newest = [(wire, clock, 2_000_000, int(v) if wire == "age" else v) for wire, clock, _, v in made]
    assert Lifter(SCHEMA, STEPS, ALL, frozenset())("a", document(newest)) == ({}, True)


@settings(max_examples=40)
@given(puts())
def test_a_field_without_a_cell_is_lifted_however_new_all_the_others_are(writes: list[Put]) -> None:
    old = [("name", 1, 1_000_000, "Ana Berg"), ("age", 1, 1_000_000, "7"), ("city", 1, 1_000_000, None)]
    later = [
        (wire, 1 + clock, 2_000_000, int(v) if wire == "age" else v) for wire, clock, _, v in writes if wire != "email"
    ]
    lifted, whole = Lifter(SCHEMA, STEPS, ALL, frozenset())("a", document([*old, *later]))
    name = next((v for wire, _, _, v in reversed(later) if wire == "name"), "Ana Berg")
    assert (lifted["email"], whole) == (f"{str(name).lower()}@example.org", True)


def test_a_field_that_a_newer_program_has_removed_is_no_flaw() -> None:
    picky = migration("picky", "1.1.0").transform("Person", up=lambda row: {**row, "email": row["phone"]})
    lift = Lifter(SCHEMA, steps_of(SCHEMA, [picky]), frozenset({"picky"}), frozenset())
    newer = document([("name", 1, 3_000_000, "Ana")])
    assert lift("a", newer) == ({}, True)
    assert lift("a", document([("name", 1, 1_000_000, "Ana")])) == ({}, False)


@settings(max_examples=40)
@given(puts(), st.integers(0, 3))
def test_after_a_rollback_old_cells_show_as_they_are_stored(writes: list[Put], kept: int) -> None:
    old = [put for put in writes if put[2] == 1_000_000]
    names = [each.name for each in MIGRATIONS]
    lift = Lifter(SCHEMA, STEPS, frozenset(names[:kept]), frozenset(names[kept:]))
    plain = Lifter(SCHEMA, STEPS, frozenset(names[:kept]), frozenset())
    assert lift("a", document(old)) == plain("a", document(old))


def random_row(random: Random) -> dict[str, Any]:
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(random.choices(letters, k=random.randint(1, 8))) for _ in range(random.randint(1, 2))]
    city = (
        None
        if random.random() < 0.3
        else "".join(random.choices(letters + "\u00e9\U0001f600 ", k=random.randint(0, 9)))
    )
    return {"id": "a", "name": " ".join(words), "age": str(random.randint(0, 150)), "city": city}


def through(operations: list[Operation], row: dict[str, Any], *, back: bool, late: dict[str, Any]) -> dict[str, Any]:
    for operation in reversed(operations) if back else operations:
        row = (operation.down if back else operation.up)(row, frozenset(), late)
    return row


def test_up_then_down_is_the_identity_on_thousands_of_random_documents() -> None:
    """The removed fields come back from their cells, as `late` gives them."""
    operations = [operation for each in MIGRATIONS for operation in each.operations]
    random = Random(8)
    for _ in range(5000):
        row = random_row(random)
        up = through(operations, dict(row), back=False, late={})
        assert set(up) == {"id", "first", "last", "age", "email"}
        down = through(operations, up, back=True, late={"town": row["city"]})
        assert down == row


def test_what_a_new_program_wrote_shows_lowered_after_a_rollback_as_far_as_its_declaration_can_show_it() -> None:
    random = Random(9)
    lift = Lifter(SCHEMA, STEPS, ALL - {"numbers", "names"}, frozenset({"numbers", "names"}))
    for _ in range(500):
        row = random_row(random)
        first, _, last = row["name"].partition(" ")
        cells = {"first": first, "last": last, "age": int(row["age"]), "email": "e@x"}
        made = document([(wire, n + 1, 2_000_000, value) for n, (wire, value) in enumerate(cells.items())])
        assert lift("a", made) == ({"first": ABSENT, "last": ABSENT}, True)  # `age` is text there: it shows as stored
