"""`explain` says which index a query uses, counts the rows it looks at, and warns."""

from __future__ import annotations

from tests.support.tabular import ANA, BO, Node, schema

POST = schema("Post", {"author_id": str, "likes": int, "text": str}, indexes=["author_id", ("author_id", "-likes")])
NOTE = schema("Note", {"text": str}, scope="user", indexes=["text"])


def posts() -> Node:
    node = Node(POST, NOTE)
    node.add("Post", *({"id": f"p{n:03}", "author_id": f"a{n % 10}", "likes": n, "text": "x"} for n in range(100)))
    node.add("Note", *({"id": f"n{n}", "text": str(n)} for n in range(5)), log=11)
    return node


async def test_an_index_with_the_order_in_it_examines_only_what_is_shown() -> None:
    plan = await posts().query("Post").where("author_id", "a3").order_by("likes", "desc").limit(4).explain()
    assert plan.index == ("i_Post_1",)
    assert plan.shards == (0,)
    assert plan.rows_examined == 4
    assert "warning" not in plan.text
    assert str(plan) == plan.text
    assert "SELECT" in plan.text


async def test_a_filter_without_an_index_warns_and_counts_what_it_reads() -> None:
    plan = await posts().query("Post").where("text", "y").explain()
    assert plan.rows_examined == 100
    assert "warning: reads every row of Post" in plan.text


async def test_an_order_without_an_index_warns() -> None:
    plan = await posts().query("Post").where("author_id", "a3").order_by("text").limit(2).explain()
    assert plan.rows_examined == 10
    assert "warning: sorts" in plan.text


async def test_shards_are_the_logs_read() -> None:
    node = posts()
    plan = await node.query("Note").where_user(ANA, BO).where("text", "3").explain()
    assert plan.shards == (0, 1)
    assert plan.index == ("i_Note_0", "i_Note_0")
    assert plan.rows_examined == 1
    assert (await node.query("Note").order_by("text").explain()).rows_examined == 5


async def test_tuples_and_conditions_with_bound_paths_are_explained_too() -> None:
    node = Node(schema("Doc", {"data": dict[str, int]}))
    node.add("Doc", {"id": "a", "data": {"n": 1}}, {"id": "b", "data": {"n": 2}})
    path = node.column("Doc.data").path("n")
    plan = await node.query("Doc").where(path == 2).select(path).order_by(path.desc()).explain()
    assert plan.rows_examined == 2


async def test_a_condition_said_twice_is_asked_once() -> None:
    query = posts().query("Post").where("likes", ">", 90).where("text", "x")
    again = query.where("likes", ">", 90).where("likes", ">", 91).where("text", "x")
    assert again.to_sql().count("?") == 3
    assert [row.id for row in await again.all()] == [f"p{n:03}" for n in range(92, 100)]
    either = posts().query("Post").where("likes", 3).or_where("likes", 3).or_where("likes", 4)
    assert either.to_sql().count("?") == 2
    assert await either.count() == 2


async def test_a_plan_says_what_would_help() -> None:
    node = posts()
    node.add("Post", *({"id": f"q{n:04}", "author_id": "b", "likes": -n, "text": "y"} for n in range(1_500)))
    plan = await node.query("Post").where("text", "x").hint("front page").explain()
    assert plan.strategy == "scan"
    assert plan.rows == 100
    assert plan.text.startswith("front page\n")
    assert plan.warnings == (
        "reads every row of Post; an index on what it filters by would help",
        "looked at 1,600 rows to find 100",
    )
    assert (await node.query("Post").explain()).advice == (
        "limit(n), page() or stream(): all rows are in memory at once",
    )
    either = await node.query("Post").where("text", "x").or_where("likes", 3).explain()
    assert "an OR of different fields" in either.advice[0]
    assert either.operations[0].startswith("SCAN m_Post")
    private = Node(schema("Diary", {"text": str}, scope="user"))
    everybody = await private.query("Diary").all_users().where("text", "like", "%9").order_by("text").explain()
    assert everybody.advice == ("where_user(did) reads one user's records instead of everybody's",)
