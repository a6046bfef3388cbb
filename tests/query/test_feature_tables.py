"""Every row of the feature tables about queries, and the tests that hold it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent

NAMES = "test_names_of_the_builder.py::test_a_name_of_the_builder_means_its_expression"
MEANING = "test_conditions_mean_what_python_says.py::test_rows_that_fulfil_a_condition_show"
CACHE = "test_cache.py"
LOADING = "test_loading_relations.py"

BUILDING: dict[str, list[str]] = {
    "where(field, value), where(field, op, value), where(callback)": [NAMES],
    "orWhere(…), orWhere(callback), and() or() not() group(fn)": [NAMES],
    "whereIn whereNotIn whereNull whereNotNull whereBetween whereNot whereLike whereILike": [NAMES],
    "whereDate(field, op, date), whereDateBetween, whereYear whereMonth whereDay": [NAMES],
    "whereArrayContains, whereArrayLength, whereObjectHasKey, whereObjectPath": [NAMES],
    "whereUser(id), whereUserIn(ids)": ["test_names_of_the_builder.py::test_users_are_chosen_by_where_user_in_too"],
    "whereHas(relation, fn), whereDoesntHave(relation), whereExists, whereNotExists, whereColumn": [
        NAMES, "test_names_of_the_builder.py::test_an_exists_of_another_query_decides_for_all_rows",
    ],
    "whereRaw(expression, bindings)": [
        "test_raw_expressions.py::test_raw_conditions_use_fields_and_functions",
        "test_raw_expressions.py::test_everything_else_is_refused_where_it_is_written",
        "test_raw_expressions.py::test_a_raw_condition_does_not_leave_the_records_that_the_query_is_about",
    ],
    "orderBy orderByDesc orderByMultiple orderByRaw, orderBy('random')": [
        NAMES, "test_names_of_the_builder.py::test_random_orders_are_all_rows_and_a_seed_fixes_them",
    ],
    "limit/take, offset/skip, page(n, size), after(cursor)": [NAMES, "test_conditions_mean_what_python_says.py::test_pages_join_to_the_whole"],
    "paginate(page, perPage)": ["test_paging.py::test_numbered_pages"],
    "chunk(size, callback)": ["test_streams.py::test_a_chunk_that_answers_false_is_the_last"],
    "with(names, constraint) / load, loadNested(name, fn), withCount(names)": [
        "test_names_of_the_builder.py::test_names_of_relations_may_come_with_what_narrows_them",
        "test_names_of_the_builder.py::test_counting_relations_takes_one_lookup_each",
    ],
    "select, groupBy, having, distinct, countDistinct, join, leftJoin": [
        NAMES, "test_names_of_the_builder.py::test_other_names_of_the_terminals_give_the_same",
        "test_questions_on_a_history.py::test_every_question_has_the_answer_that_plain_python_finds",
    ],
    "count exists sum avg/average min max": ["test_conditions_mean_what_python_says.py::test_rows_come_in_order_and_are_cut"],
    "find get exec findOne first firstOrFail findOrFail": ["test_names_of_the_builder.py::test_other_names_of_the_terminals_give_the_same"],
    "cache(ttl, key), noCache(), fresh(), cacheTag(tags)": [f"{CACHE}::test_tags_add_up_and_fresh_asks_once_more"],
    "useIndex(name), preferShard(n), hint(text), fallback(fn)": [
        "../shards/test_reads_are_routed.py::test_a_condition_on_the_key_reads_its_shards_only",  # so none is left to prefer
        NAMES, "test_indexes.py::test_an_index_may_be_named_and_an_unknown_one_is_refused",
        "test_names_of_the_builder.py::test_a_fallback_answers_where_the_query_fails",
    ],
    "clone reset toSQL getParameters explain": [
        NAMES, "test_names_of_the_builder.py::test_the_sql_of_a_query_and_what_is_bound_can_be_looked_at",
        "test_explaining_queries.py::test_an_index_with_the_order_in_it_examines_only_what_is_shown",
    ],
    "checks": ["test_names_of_the_builder.py::test_what_is_wrong_is_refused_where_it_is_written", "test_names_of_the_builder.py::test_names_that_nobody_declared_are_refused"],
    "Query.batch().add(name, query)….execute()": ["test_names_of_the_builder.py::test_a_batch_runs_several_queries"],
}  # fmt: skip
OPERATORS: dict[str, list[str]] = {
    "comparison": [NAMES, MEANING],
    "sets and null": [NAMES, MEANING],
    "text": [NAMES, "test_conditions_mean_what_python_says.py::test_text_is_found_where_python_finds_it"],
    "arrays, objects, dates": [NAMES, MEANING, "test_conditions_mean_what_python_says.py::test_values_at_paths_compare_within_their_sort"],
}  # fmt: skip
EXECUTION: dict[str, list[str]] = {
    "single user / several users": ["test_explaining_queries.py::test_shards_are_the_logs_read"],
    "global index": ["test_explaining_queries.py::test_shards_are_the_logs_read"],
    "all users": ["test_building_queries.py::test_users_are_dids_and_numbers_only_inside"],
    "one / some / all shards": [
        "../shards/test_reads_are_routed.py::test_a_condition_on_the_key_reads_its_shards_only",
        "../shards/test_reads_are_routed.py::test_what_is_not_held_is_an_error_unless_allowed",
    ],
    "aggregation": ["test_questions_on_a_history.py::test_every_question_has_the_answer_that_plain_python_finds"],
    "control": [
        "test_long_queries.py::test_a_query_may_say_how_long_it_may_take",
        "test_long_queries.py::test_a_runaway_query_is_left_when_its_scope_is_cancelled",
        f"{CACHE}::test_a_second_look_reads_nothing_and_gives_records_of_its_own",
        f"{CACHE}::test_tags_add_up_and_fresh_asks_once_more",
    ],
    "plan": ["test_explaining_queries.py::test_an_index_with_the_order_in_it_examines_only_what_is_shown"],
    "optimizer": [
        "test_indexes.py::test_indexes_are_built_in_the_background_and_change_no_answer",
        "test_explaining_queries.py::test_a_condition_said_twice_is_asked_once",
    ],
    "advice": ["test_explaining_queries.py::test_a_plan_says_what_would_help"],
}  # fmt: skip
KEPT: dict[str, list[str]] = {
    "size and time": [f"{CACHE}::test_the_least_recently_used_entry_goes_first_by_number_and_by_bytes", f"{CACHE}::test_a_second_look_reads_nothing_and_gives_records_of_its_own"],
    "eviction": [f"{CACHE}::test_the_least_recently_used_entry_goes_first_by_number_and_by_bytes"],
    "invalidation": [f"{CACHE}::test_no_write_of_any_kind_leaves_a_stale_row", f"{CACHE}::test_entries_go_by_model_query_tag_key_owner_record_relation_and_kind"],
    "upkeep and stats": [f"{CACHE}::test_statistics_popular_entries_warming_and_expiry"],
}  # fmt: skip
RELATED: dict[str, list[str]] = {
    "lazy": [
        "../models/test_relations.py::test_awaiting_a_relation_to_one_loads_it_once_and_remembers",
        "../models/test_relations.py::test_what_is_not_loaded_says_how_to_load_it",
        "../models/test_relations.py::test_setting_the_key_forgets_what_was_loaded",
    ],
    "eager": [
        f"{LOADING}::test_every_kind_of_relation_loads_in_one_lookup",
        f"{LOADING}::test_ten_thousand_records_load_in_one_lookup",
        f"{LOADING}::test_conditions_order_and_limit_hold_per_record",
        f"{LOADING}::test_nested_relations_take_one_lookup_each_and_share_objects",
    ],
    "options": ["test_names_of_the_builder.py::test_names_of_relations_may_come_with_what_narrows_them", f"{CACHE}::test_relations_have_a_cache_of_the_same_kind"],
    "lazy collection": ["test_streams.py::test_a_lazy_collection_loads_pages_when_asked", "test_streams.py::test_related_records_load_lazily_too"],
    "cache": [f"{CACHE}::test_relations_have_a_cache_of_the_same_kind", f"{CACHE}::test_entries_go_by_model_query_tag_key_owner_record_relation_and_kind"],
}  # fmt: skip
TABLES = {
    "Query building": BUILDING, "Operators": OPERATORS, "Query execution": EXECUTION, "Query cache": KEPT,
    "Relationship loading": RELATED,
}  # fmt: skip


@pytest.mark.parametrize(
    ("table", "row"), [(table, row) for table, rows in TABLES.items() for row in rows], ids=lambda value: value[:40]
)
def test_every_row_of_the_tables_has_a_test(table: str, row: str) -> None:
    for place in TABLES[table][row]:
        file, _, name = place.partition("::")
        text = (HERE / file).read_text(encoding="utf-8")
        assert re.search(rf"^(async )?def {name or 'test_'}", text, re.MULTILINE), place
