"""The pages of the gallery: all problems have one, with a picture and a score within its bound."""

import json

import pytest

from nfsolve._core.installed import problem_names
from nfsolve.cli.catalogue import kind_of
from scripts import gallery_pages
from scripts.gallery_pages import CASES, FOLDER, KINDS, NEED_FILES, error, main

ROWS = {row["problem"]: row for row in json.loads((FOLDER / "rows.json").read_text())}


def test_every_problem_that_is_run_or_needs_a_file_has_a_page_and_a_line_in_the_list():
    names = {name for name, target in problem_names().items() if kind_of(target) in KINDS}
    described = set(CASES) | set(NEED_FILES)
    assert described <= names
    listed = (FOLDER / "index.md").read_text()
    assert [name for name in described if not (FOLDER / f"{name}.md").exists() or f"({name}.md)" not in listed] == []


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_picture_is_of_the_run_on_the_page_and_its_score_is_within_the_bound(name):
    row, case = ROWS[name], CASES[name]
    assert (row["options"], row["score"]) == (case.options, case.score)
    assert case.holds(row["value"])
    assert not case.holds(float("nan"))
    text = (FOLDER / f"{name}.md").read_text()
    assert f"    nfsolve run {name} {case.options}".rstrip() + "\n" in text
    assert f"({name}.webp)" in text and (FOLDER / f"{name}.webp").stat().st_size > 1000


def test_all_pictures_together_are_small():
    assert sum(path.stat().st_size for path in FOLDER.glob("*.webp")) < 2e6


def test_a_problem_is_run_once_and_a_score_outside_its_bound_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gallery_pages, "CASES", {"poisson": error("--steps 2 --dtype float32", 10.0)})
    assert main([], tmp_path) == 0
    page = (tmp_path / "poisson.md").read_text()
    assert "Relative L2 error" in page and "(../../problems/pde/poisson.py)" in page
    assert (tmp_path / "poisson.webp").exists()
    monkeypatch.setattr(gallery_pages, "run", None)  # a second run would call it
    assert main([], tmp_path) == 0
    monkeypatch.setattr(gallery_pages, "CASES", {"poisson": error("--steps 2 --dtype float32", 1e-9)})
    assert main([], tmp_path) == 1
    assert "poisson: Relative L2 error" in capsys.readouterr().err
