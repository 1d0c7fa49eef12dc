"""The trials of fields: every table's methods are understood, and differ."""

import pytest

from nfsolve.options.request import read_request
from nfsolve.problem.registry import find
from scripts import choose_fields


def test_the_words_of_every_method_are_understood(monkeypatch: pytest.MonkeyPatch):
    made = []
    monkeypatch.setattr(choose_fields, "reproduce", lambda name, intro, tables, said: made.extend(tables))
    monkeypatch.setattr("sys.argv", ["choose_fields"])
    monkeypatch.delenv("NFSOLVE_DATA", raising=False)
    choose_fields.main()
    assert [table.name for table in made] == ["image", "pixels", "audio", "sphere", "occupancy"]
    for table in made:
        assert len({method.words for method in table.methods}) == len(table.methods)
        for method in table.methods:
            request = read_request(find(table.what), [*method.words, *table.options], "x")
            assert request.problem.score
