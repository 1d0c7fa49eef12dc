"""Projectors without a matrix against the sparse ones, and which of both is taken."""

import math
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from nfsolve._core.errors import InputError
from nfsolve.forward.radon import ConeBeam, FanBeam, ParallelBeam, PixelGrid, Projector, VoxelGrid
from nfsolve.forward.radon.sparse import bytes_of_matrix
from nfsolve.reconstruct import cgls, fdk, sirt, total_variation
from tests.forward.radon.cases import (
    CASES,
    bin_averages,
    gaussian,
    gaussian_integrals,
    pixel_averages,
    random_column,
    relative,
)
from tests.forward.radon.test_linear import FIRST_JVP, check_derivatives

# views in all octants, some of them quarter turns or mirror images of others, exact diagonals, and two that are alone
ANGLES = (*(i * math.pi / 8 + 0.1 * (i % 3 == 0) for i in range(16)), -0.7, -3 * math.pi / 4, 2.5, math.pi / 4)
SHIFTS = {"centred": 0.0, "shifted": 0.05}
BEAMS = {
    "parallel": lambda shift, width: ParallelBeam(ANGLES, 11, 0.15 * width, shift),
    "fan": lambda shift, width: FanBeam(ANGLES, 11, 0.3 * width, 3.0, 5.0, shift),
    "cone": lambda shift, width: ConeBeam(ANGLES, (6, 9), (0.35 * width, 0.3 * width), 3.0, 5.0, (2 * shift, shift)),
}
GRIDS = {
    "even": (PixelGrid(6, 6, 0.21), VoxelGrid((4, 6, 6), 0.21)),
    "odd": (PixelGrid(7, 7, 0.13), VoxelGrid((3, 7, 7), 0.13)),
    "beyond the detector": (PixelGrid(7, 7, 0.43), VoxelGrid((12, 6, 6), 0.45)),
    "oblong": (PixelGrid(5, 7, 0.1, (0.1, 0.03)), VoxelGrid((4, 5, 7), 0.2)),
}


@pytest.mark.parametrize("width", [0.35, 1.0, 3.0])
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("beam", BEAMS)
def test_products_are_those_of_the_matrix_and_adjoints_are_exact(beam, shift, grid, width):
    pair = BEAMS[beam](SHIFTS[shift], width), GRIDS[grid][beam == "cone"]
    sparse, free = (Projector(*pair, form=form) for form in ("sparse", "matrix-free"))
    m, n = sparse.shape
    x, y = (torch.cat([random_column(k, 0), random_column(k, 1)], 1) for k in (n, m))
    assert relative(free(x), sparse(x)) < 1e-12
    assert relative(free.adjoint(y), sparse.adjoint(y)) < 1e-12
    left, right = float((free(x) * y).sum()), float((x * free.adjoint(y)).sum())
    assert abs(left - right) <= 1e-12 * float(free(x).norm() * y.norm())


@pytest.mark.parametrize("name", CASES)
def test_single_precision_is_double_precision_rounded(name):
    single, double = (Projector(*CASES[name], dtype=t, form="matrix-free") for t in (torch.float32, torch.float64))
    x, y = random_column(double.shape[1]), random_column(double.shape[0])
    assert single(x.float()).dtype == single.adjoint(y.float()).dtype == torch.float32
    assert relative(single(x.float()).double(), double(x)) < 2e-6
    assert relative(single.adjoint(y.float()).double(), double.adjoint(y)) < 2e-6


@pytest.mark.filterwarnings(FIRST_JVP)
def test_it_has_derivatives_and_batches_like_its_matrix():
    small = ParallelBeam(ANGLES[:2], 3, 0.3), PixelGrid(2, 3, 0.3)
    check_derivatives(Projector(*small, form="matrix-free"), Projector(*small).matrix.to_dense())


@pytest.mark.parametrize("name", CASES)
def test_images_of_several_blocks_are_those_of_one(name, monkeypatch):
    x = random_column(math.prod(CASES[name][1].shape))
    whole = Projector(*CASES[name], form="matrix-free")
    monkeypatch.setattr("nfsolve.forward.radon.matrix_free.BLOCK", 10)
    pieces = Projector(*CASES[name], form="matrix-free")
    assert relative(pieces(x), whole(x)) < 1e-14
    y = whole(x)
    assert relative(pieces.adjoint(y), whole.adjoint(y)) < 1e-14


def test_classical_methods_give_the_same_with_it():
    geometry, grid = ParallelBeam.half_turn(12, 16), PixelGrid(16, 16, 2 / 16)
    sparse, free = (Projector(geometry, grid, form=form) for form in ("sparse", "matrix-free"))
    y = sparse(((grid.centres() - 0.2).norm(dim=1, keepdim=True) < 0.5).double())
    for method, options in ((sirt, ()), (cgls, ()), (total_variation, (3e-4,))):
        ours, theirs = (method(A, y, grid.shape, *options, iterations=5).image for A in (free, sparse))
        assert relative(ours, theirs) < 1e-9


def test_the_form_follows_the_memory_and_is_said(monkeypatch):
    geometry, grid = CASES["parallel"]
    size = 2 * 12 * len(Projector(geometry, grid).matrix.values())
    for memory, form in ((80 * size, "sparse"), (2 * size, "matrix-free")):
        monkeypatch.setattr("nfsolve.forward.radon.projector.memory", lambda memory=memory: memory)
        found = Projector(geometry, grid)
        assert found.form == form
        said = "by a sparse matrix of about" if form == "sparse" else "without a matrix, in about"
        assert found.choice.startswith(f"line integrals in 5 views of 7 x 5 pixels are computed {said}")


def test_a_large_matrix_is_not_kept_where_memory_is_ample(monkeypatch):
    geometry, grid = ParallelBeam.half_turn(8, 16), PixelGrid(16, 16, 2 / 16)
    size = bytes_of_matrix(geometry, grid, torch.float64)
    for most, form in ((size, "sparse"), (size - 1, "matrix-free")):
        monkeypatch.setattr("nfsolve.forward.radon.projector.MOST", most)
        assert Projector(geometry, grid).form == form


@pytest.mark.parametrize("form", ["sparse", "matrix-free"])
def test_a_helix_is_the_bin_average_of_its_rays_through_a_gaussian(form):
    helix = replace(CASES["cone"][0], pitch=0.5, angles=(*ANGLES[:4], 2 * math.pi + ANGLES[1]))
    helix = replace(helix, n_bins=(24, 24), spacing=(0.12, 0.12))
    grid = VoxelGrid((30, 30, 30), 2 / 30)
    image = pixel_averages(gaussian, grid, 2)
    errors, exact = [], []
    for geometry in (helix, replace(helix, pitch=0.0)):
        exact.append(bin_averages(gaussian_integrals, geometry, 4))
        errors.append(relative(Projector(geometry, grid, form=form)(image).reshape(helix.shape), exact[-1]))
    assert errors[0] < 1.2 * errors[1]  # that of voxels, as on a circle
    assert relative(exact[1], exact[0]) > 10 * errors[0]


def test_a_helix_is_the_same_without_a_matrix_and_has_the_exact_adjoint():
    helix, grid = replace(BEAMS["cone"](0.0, 1.0), pitch=0.3), GRIDS["even"][1]
    sparse, free = (Projector(helix, grid, form=form) for form in ("sparse", "matrix-free"))
    x, y = (random_column(n) for n in reversed(sparse.shape))
    assert relative(free(x), sparse(x)) < 1e-12 and relative(free.adjoint(y), sparse.adjoint(y)) < 1e-12
    assert float((free(x) * y).sum()) == pytest.approx(float((x * free.adjoint(y)).sum()), rel=1e-11)
    with pytest.raises(InputError, match=r"FDK takes a source that turns on a circle, and this one rises by 0.3"):
        fdk(y.reshape(helix.shape), helix, grid)
    with pytest.raises(InputError, match=r"the pitch of a helix must be finite"):
        replace(helix, pitch=math.inf)


def test_bad_forms_are_worded():
    geometry, grid = CASES["parallel"]
    with pytest.raises(InputError, match=r"unknown form of a projector 'dense'"):
        Projector(geometry, grid, form="dense")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r'keeps no matrix. Give form="sparse"'):
        _ = Projector(geometry, grid, form="matrix-free").matrix
    with pytest.raises(InputError, match=r"no ray of the ParallelBeam meets the grid"):
        Projector(replace(geometry, centre=40.0), grid, form="matrix-free")
    with pytest.raises(InputError, match=r"no ray of the ConeBeam meets the grid"):
        Projector(replace(CASES["cone"][0], centre=(40.0, 0.0)), CASES["cone"][1], form="matrix-free")
    with pytest.raises(InputError, match=r"outside the grid in every view"):
        Projector(replace(CASES["fan"][0], source_origin=0.8), grid, form="matrix-free")


PEAK = """
import resource, sys, torch
from nfsolve.forward.radon import ParallelBeam, PixelGrid, Projector
torch.set_num_threads(1)
pair = ParallelBeam.half_turn(int(sys.argv[2]), 128), PixelGrid(128, 128, 2 / 128)
A = Projector(*pair, torch.float32, form=sys.argv[1])
A.adjoint(A(torch.ones(128**2, 1)))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux only")
def test_its_memory_does_not_grow_with_the_matrix():
    def peak(form, views):
        words = [sys.executable, "-c", PEAK, form, str(views)]
        said = subprocess.run(words, capture_output=True, text=True, check=True, env=os.environ)
        return int(said.stdout) / 1024

    assert peak("matrix-free", 360) - peak("matrix-free", 4) < 30  # MB; the matrices have 180
