from dataclasses import replace

import pytest

import nfsolve as nf
from nfsolve.problem.registry import find
from scripts import ablate_gallery, measure_gallery
from scripts.measure_gallery import CASES


@pytest.mark.parametrize("name", CASES)
def test_every_case_names_a_problem_of_the_gallery(name):
    case = CASES[name]
    problem = find(case.what)(**case.parameters)
    assert problem.recipe().run.dtype == "float64"
    assert case.target > (case.stretch or 0.0)


def test_scores_are_errors_or_relative_distances_from_the_truth():
    assert CASES["poisson"].score({"relative_l2": 3e-9}) == 3e-9
    assert CASES["wake, lambda2"].score({"unknown/lambda2": 0.0101}) == pytest.approx(0.01)


def row(seed: int, error: float) -> dict:
    return {"case": "poisson", "parameters": {}, "seed": seed, "relative_l2": error, "reference_floor/u": 1e-15,
            "seconds": 20.0, "size": 697, "machine": "m", "version": "v", "date": "d"}  # fmt: skip


@pytest.mark.parametrize(
    ("error", "verdict"), [(2e-8, "| missed |"), (5e-9, "| met |"), (5e-10, "| met, stretch too |")]
)
def test_the_table_holds_seed_zero_against_the_target(error, verdict):
    text = measure_gallery.table([row(0, error), row(1, 1e-3), row(2, 1e-4)])
    assert verdict in text
    assert f"| {error:.1e} | 1.0e-04 | 3 |" in text


def test_a_recipe_found_by_trials_stands_before_a_hand_made_one():
    found = row(0, 1e-14) | {"recipe": "auto", "seconds": 2.0, "size": 201}
    text = measure_gallery.table([row(0, 5e-10), row(1, 7e-10), found])
    assert "| 1.0e-14 | 1.0e-14 | 1 |" in text
    assert text.strip().endswith("| 2 | 201 | found by trials | 6.0e-10 in 20 s |")


def test_a_table_without_seed_zero_meets_nothing():
    assert "| missed |" in measure_gallery.table([row(1, 1e-12)])


@pytest.mark.parametrize("name", ablate_gallery.CASES)
def test_every_variant_changes_the_recipe_and_can_be_built(name):
    problem = find(name)()
    recipe = problem.recipe()
    for label, change in ablate_gallery.CASES[name].items():
        changed, found = change(problem, recipe)
        assert (changed, found) == (problem, recipe) if label == "recipe" else (changed, found) != (problem, recipe)
        field = found.field.func.for_problem(changed, **found.field.keywords)
        made = found.stages[0].optimizer(list(field.double().parameters()))
        assert made.param_groups


def test_an_ablation_is_held_against_the_recipe():
    rows = [
        {"case": "helmholtz", "method": m, "seed": s, "budget": "20 s", "relative_l2": e,
         "machine": "m", "version": "v", "date": "d"}
        for m, s, e in (("recipe", 0, 1e-6), ("recipe", 1, 3e-6), ("recipe", 2, 2e-6), ("tanh", 0, 4e-5))
    ]  # fmt: skip
    assert "| tanh | 4.0e-05 | 4.0e-05 | 20 |" in ablate_gallery.table(rows)


def test_a_variant_runs():
    assert replace(find("helmholtz")(), a2=1) != find("helmholtz")()
    found = ablate_gallery.run("helmholtz", "tanh", 0, 0.5)
    assert found["stopped"] == "time limit: 0.5 s" and found["steps"] >= 1
    assert nf.__version__
