"""Nested settings put together. Oracle: by hand."""

from roberta_squad_pipeline.common.nested import merged


def test_what_stands_above_wins_and_nothing_is_changed() -> None:
    below = {"a": {"b": 1, "c": {"d": 2}}, "e": 3, "f": {"g": 4}}
    above = {"a": {"c": {"h": 5}, "b": 6}, "e": {"i": 7}, "f": None}
    assert merged(below, above) == {"a": {"b": 6, "c": {"d": 2, "h": 5}}, "e": {"i": 7}, "f": None}
    assert below == {"a": {"b": 1, "c": {"d": 2}}, "e": 3, "f": {"g": 4}}
