"""What the page of a run holds for maps with sliders, against values computed directly."""

import base64
from dataclasses import dataclass

import numpy as np
import pytest
import torch

import nfsolve as nf
from nfsolve import PDE, Box, Disk, face, interior
from nfsolve.plot.explore import LEVELS, Quantity, explorer
from nfsolve.problem.pde.evaluate import as_field
from problems.ct.phantom import CTPhantom
from problems.measurements.deconvolution import Deconvolution
from problems.operators.antiderivative import Antiderivative
from problems.pde.lorenz_inverse import LorenzInverse
from problems.pde.poisson_5d import Poisson5D
from problems.signals.image import ImageFit

QUICK = {"steps": 1, "report": None, "device": "cpu"}


@dataclass
class Heat(PDE):
    domain = Box(t=(0, 0.2)) * Disk(x=0, y=0, radius=1)
    unknowns = "u"

    @interior
    def heat(self, u_t, u_xx, u_yy):
        return u_t - u_xx - u_yy

    @face(t=0)
    def start(self, u, x):
        return u - x

    def exact(self, x):
        return x


def unpacked(given):
    """Read a quantity as the page's program does."""
    steps = np.frombuffer(base64.b64decode(given["data"]), "<u2")
    values = given["low"] + steps / LEVELS * (given["high"] - given["low"])
    return np.where(steps == LEVELS + 1, np.nan, values)


def test_maps_of_a_disk_in_time_hold_the_field_its_error_and_its_residual():
    solution = nf.solve(Heat(n_points=50), **QUICK)
    found = explorer(solution)
    assert [axis.name for axis in found.axes] == ["x", "y"] and [axis.name for axis in found.sliders] == ["t"]
    names = [quantity.name for quantity in found.quantities]
    assert names == ["u", "reference u", "|u - reference|", "|residual heat|"]
    t, x, y = (axis.values for axis in (found.sliders[0], *found.axes))
    points = torch.from_numpy(np.stack(np.meshgrid(t, x, y, indexing="ij"), -1).reshape(-1, 3))
    inside = (points[:, 1:].square().sum(1) < 0.99).numpy()
    outside = (points[:, 1:].square().sum(1) > 1.01).numpy()
    with torch.no_grad():
        u = solution.field(points.to(solution.data["like"])).double().numpy()[:, 0]
    told = found.quantities[0].values.reshape(-1)
    np.testing.assert_allclose(told[inside], u[inside], atol=1e-6)
    assert np.isnan(told[outside]).all()
    np.testing.assert_allclose(
        found.quantities[2].values.reshape(-1)[inside], abs(u - points[:, 1].numpy())[inside], atol=1e-6
    )
    field = as_field(solution.field, ("t", "x", "y"))
    some = points[inside][::5000].to(solution.data["like"])
    direct = solution.problem.residuals(field, {"heat": nf.problem.rows.Rows(some)})["heat"].abs().detach().double()
    np.testing.assert_allclose(found.quantities[3].values.reshape(-1)[inside][::5000], direct[:, 0], rtol=1e-3)


def test_further_coordinates_have_sliders_or_stay_in_the_middle_which_is_said():
    found = explorer(nf.solve(Poisson5D(n_points=20), **QUICK))
    assert len(found.axes) == 2 and len(found.sliders) == 3 and not found.note
    assert all(len(axis.values) % 2 for axis in found.sliders)
    assert found.quantities[0].values.shape == tuple(len(axis.values) for axis in (*found.sliders, *found.axes))


def test_a_system_in_time_is_drawn_as_curves():
    found = explorer(nf.solve(LorenzInverse(n_points=20), **QUICK))
    assert [axis.name for axis in found.axes] == ["t"] and not found.sliders
    assert {"x", "reference x", "|x - reference|", "|residual first|"} <= {q.name for q in found.quantities}


def test_an_operator_shows_its_test_functions_from_best_to_worst():
    problem = Antiderivative(n_tests=30, n_functions=4, sensors=11, n_points=9, n_face=4)
    solution = nf.solve(problem, optimizer="adam", **QUICK)
    found = explorer(solution)
    rows = found.sliders[0].values.astype(int)
    errors = problem.errors(solution.field, solution.data).amax(1).numpy()
    assert (
        list(errors[rows]) == sorted(errors[rows])
        and errors[rows[0]] == errors.min()
        and errors[rows[-1]] == errors.max()
    )
    assert len(found.inputs["values"]) == len(rows) and len(found.inputs["at"]) == 11
    operator, truth, error = (quantity.values for quantity in found.quantities)
    np.testing.assert_allclose(error, abs(operator - truth))
    relative = np.linalg.norm(operator - truth, axis=1) / np.linalg.norm(truth, axis=1)
    np.testing.assert_allclose(relative, errors[rows], rtol=0.1)  # of a part of the points


@pytest.mark.parametrize(
    ("problem", "names"),
    [
        (CTPhantom(size=24, views=6), ["field", "reference", "|field - reference|"]),
        (Deconvolution(size=32), ["field", "truth", "|field - truth|"]),
        (ImageFit(size=32), ["field", "photograph", "|field - photograph|"]),
    ],
)
def test_images_stand_beside_what_is_known(problem, names, tmp_path):
    nf.solve(problem, optimizer="adam", out=tmp_path / "run", **QUICK)
    solution = nf.reopen(tmp_path / "run", bare=True)
    found = explorer(solution)
    by_name = {quantity.name: quantity for quantity in found.quantities}
    assert set(names) <= set(by_name) and found.image
    field, truth, error = (by_name[name].values for name in names)
    difference = abs(field - truth)
    np.testing.assert_allclose(error, difference.mean(-1) if difference.ndim == 3 else difference, atol=1e-6)


@pytest.mark.parametrize("values", [[1.0, np.nan, -3.0], [2.0, 2.0], [np.nan, np.nan], [0.0, 1e-9]])
def test_values_survive_their_packing(values):
    found = nf.plot.explore.Explorer([], [], [Quantity("u", np.array(values))]).plain()["quantities"][0]
    size = np.nanmax(np.abs(values)) if not np.isnan(values).all() else 1.0
    np.testing.assert_allclose(unpacked(found), values, atol=1e-4 * size)


def test_sizes_over_decades_are_packed_by_their_logarithm():
    found = nf.plot.explore.Explorer([], [], [Quantity("r", np.array([1e-9, 1.0, 0.0, 1e-3]), "log")]).plain()[
        "quantities"
    ][0]
    told = 10 ** unpacked(found)
    np.testing.assert_allclose(told[[0, 1, 3]], [1e-6, 1.0, 1e-3], rtol=1e-3)  # six decades at most
    assert np.isnan(told[2])
