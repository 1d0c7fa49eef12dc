"""Electrical impedance tomography: the conductivity of a plate from currents and voltages at 16 electrodes on its rim.

Currents are driven through pairs of electrodes, and the voltages at all of them are measured with noise (Cheney,
Isaacson & Newell, SIAM Review 41 (1999) 85). As in difference imaging, the data are changes against a plate of
conductivity 1. They come from bilinear finite elements on a fine grid, and are inverted with finite volumes on a
coarse one. The operator is not linear; it is a torch function that knows its own derivative. The classical rival is
the Gauss-Newton method for the logarithm of the conductivity on the grid, with the squares of its slopes, whose weight
leaves the misfit of the noise (Morozov's principle); that of the field is found by the evidence.

    nfsolve run impedance
    nfsolve run impedance --noise 0.02 --uncertainty
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import splu

from nfsolve import InputError, Measurement, Observed, RandomFeatures, Recipe, RunOptions, Stage, generator, main
from nfsolve.optim import GaussNewton
from nfsolve.weighting import Evidence
from problems.measurements._grid import differences

ELECTRODES = 16  # four on each side, without gaps
FINE = 80  # elements along each side where the data are made
TARGET = 0.95  # misfit in units of the noise, of the rival


@dataclass
class Impedance(Measurement):
    """The logarithm m of the conductivity from electrodes, compared with the classical Gauss-Newton method."""

    noise: float = 0.01
    """standard deviation of the noise, relative to the largest change of a voltage"""
    contrast: float = 1.0
    """how much better one body conducts than the plate, of conductivity 1; another conducts less by half of it"""
    slopes: float | None = 1.0
    """weight of the squared slopes of the logarithm at the start; then the evidence finds it"""
    noise_seed: int = 0
    """seed of the noise; the data do not depend on the seed of the run"""

    shape = (20, 20)
    unknowns = "m"

    def __post_init__(self):
        if not 0 < self.noise < math.inf or not 0 < self.contrast < 2:
            raise InputError(
                f"noise must be positive and contrast between 0 and 2, got {self.noise:g} and {self.contrast:g}",
                do="choose others, such as noise 0.01 and contrast 1",
            )

    def truth(self, side):
        """One body that conducts better and one that conducts worse, on the cells of a grid."""
        x, y = np.meshgrid(*2 * [(np.arange(side) + 0.5) / side], indexing="ij")
        first = np.exp(-((x - 0.3) ** 2 + (y - 0.35) ** 2) / (2 * 0.13**2))
        second = np.exp(-((x - 0.7) ** 2 + (y - 0.65) ** 2) / (2 * 0.13**2))
        return 1 + self.contrast * (first - 0.5 * second)

    def observe(self):
        """Measure the plate with and without its bodies."""
        exact = elements(self.truth(FINE)) - elements(np.ones((FINE, FINE)))
        spread = self.noise * abs(exact).max()
        noise = torch.randn(exact.shape, generator=generator(self.noise_seed, "noise"), dtype=torch.float64)
        return Observed(
            Voltages(self.shape[0]), exact + spread * noise.numpy(), spread, truth=np.log(self.truth(self.shape[0]))
        )

    def rivals(self, observed, measure):
        """The Gauss-Newton method on the grid."""
        return {"gauss_newton": lambda: gauss_newton(observed.operator, observed.data, TARGET * observed.noise)}

    def recipe(self):
        """Random features under Gauss-Newton in float64, with the weight of the slopes by the evidence."""
        return Recipe(
            partial(RandomFeatures, width=120, scale=8.0),
            (Stage(GaussNewton, steps=80),),
            weighting=Evidence(),
            run=RunOptions(dtype="float64", log_every=5),
        )


class Voltages:
    """Changes of the voltages for logarithms of conductivities on a grid, by finite volumes, as a function of torch.

    Faces between cells conduct the harmonic mean, and half a cell lies between its middle and an electrode.

    Args:
        side: Cells along each side.
    """

    def __init__(self, side: int):
        self.D = torch.as_tensor(differences(side))
        self.first, self.second = self.D.argmin(1), self.D.argmax(1)
        cells, electrodes = rim(side)
        self.cells, self.L = torch.as_tensor(cells), torch.zeros(side**2, ELECTRODES, dtype=torch.float64)
        self.share = torch.as_tensor(electrodes.T / (side // 4))  # of each electrode's current, by face of the rim
        self.L.index_add_(0, self.cells, self.share)
        self.P = torch.as_tensor(pairs())
        self.plate = self.linearised(torch.ones(side**2, dtype=torch.float64))[0]

    def linearised(self, sigma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return voltages ``(e p,)`` of e electrodes for p patterns, and their derivative, at sigma ``(n,)``."""
        first, second, cells, D, L, share, P = (
            x.to(sigma.device) for x in (self.first, self.second, self.cells, self.D, self.L, self.share, self.P)
        )
        a, b = sigma[first], sigma[second]
        c = 2 * a * b / (a + b)
        K = D.T @ (c[:, None] * D) + 1 / len(sigma)  # the last pins the mean, which no current changes
        V = torch.linalg.solve(K, L)
        G = D @ V
        R = L.T @ V + share.T @ (share / (2 * sigma[cells])[:, None])
        edges = -torch.einsum("fe,fq->efq", G, G)  # of voltages (e, q) by conductance
        slope_a, slope_b = 2 * (b / (a + b)) ** 2, 2 * (a / (a + b)) ** 2
        J = sigma.new_zeros(ELECTRODES, len(sigma), ELECTRODES)
        J.index_add_(1, first, edges * slope_a[:, None])
        J.index_add_(1, second, edges * slope_b[:, None])
        half = -torch.einsum("fe,fq->efq", share, share) / (2 * sigma[cells] ** 2)[:, None]
        J.index_add_(1, cells, half)
        centred = torch.eye(ELECTRODES, dtype=sigma.dtype, device=sigma.device) - 1 / ELECTRODES
        return (centred @ R @ P).reshape(-1), torch.einsum("de,enq,qp->dpn", centred, J, P).flatten(0, 1)

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Return the changes ``(e p,)``: their value and, by the second term, which is zero, their derivative."""
        sigma = image.reshape(-1).double().exp()
        at = sigma.detach()
        voltages, J = self.linearised(at)
        return (voltages - self.plate.to(voltages.device) + J @ (sigma - at)).to(image)


def elements(sigma: np.ndarray) -> np.ndarray:
    """Return the voltages ``(e p,)`` by bilinear finite elements of given conductivities ``(side, side)``."""
    side = len(sigma)
    i, j = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    corner = (i * (side + 1) + j).ravel()
    nodes = corner[:, None] + np.array([0, 1, side + 2, side + 1])
    stiffness = np.array([[4, -1, -2, -1], [-1, 4, -1, -2], [-2, -1, 4, -1], [-1, -2, -1, 4]]) / 6
    values = sigma.ravel()[:, None, None] * stiffness
    rows, columns = np.broadcast_arrays(nodes[:, :, None], nodes[:, None, :])
    K: Any = sparse.coo_array((values.ravel(), (rows.ravel(), columns.ravel())), shape=2 * ((side + 1) ** 2,)).tocsc()
    around = [(0, k) for k in range(side)] + [(k, side) for k in range(side)]
    around += [(side, side - k) for k in range(side)] + [(side - k, 0) for k in range(side)]
    ends = np.array([a * (side + 1) + b for a, b in around])
    L = np.zeros(((side + 1) ** 2, ELECTRODES))
    faces = np.arange(4 * side) // (side // 4)
    for nodes_of_faces in (ends, np.roll(ends, -1)):
        np.add.at(L, (nodes_of_faces, faces), 0.5 / (side // 4))
    P = pairs()
    V = np.zeros((len(L), P.shape[1]))
    V[1:] = splu(K[1:, 1:]).solve((L @ P)[1:])  # the first node is at voltage 0
    R = L.T @ V
    return (R - R.mean(0)).ravel()


def rim(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the cells at the faces of the rim, in turn ``(4 side,)``, and which electrode has each ``(e, 4 side)``."""
    grid = np.arange(side**2).reshape(side, side)
    cells = np.concatenate([grid[0], grid[:, -1], grid[-1, ::-1], grid[::-1, 0]])
    return cells, (np.arange(4 * side) // (side // 4) == np.arange(ELECTRODES)[:, None]).astype(float)


def pairs() -> np.ndarray:
    """Return the patterns of current ``(e, 8)``: in at one electrode, out at the opposite one."""
    half = np.eye(ELECTRODES)[:, : ELECTRODES // 2]
    return half - np.roll(half, ELECTRODES // 2, 0)


def gauss_newton(operator: Voltages, data: np.ndarray, misfit: float, steps: int = 8) -> np.ndarray:
    """Minimize |A(exp m) - data|^2 + weight |slopes of m|^2, with the weight that leaves the misfit.

    In each step the linearised misfit falls to a half at most (M. Hanke, Inverse Problems 13 (1997) 79).

    Args:
        operator: The voltages.
        data: Measured changes.
        misfit: Root mean square that is wanted.
        steps: Gauss-Newton steps.

    Returns:
        m ``(n,)``.
    """
    D = operator.D.numpy()
    bend = D.T @ D
    L = np.linalg.cholesky(bend + 1e-6 * np.trace(bend) / len(bend) * np.eye(len(bend)))
    m = np.zeros(len(L))
    for _ in range(steps):
        value, J = (x.numpy() for x in operator.linearised(torch.as_tensor(np.exp(m))))
        J, left = J * np.exp(m), data - (value - operator.plate.numpy())
        U, sizes, V = np.linalg.svd(np.linalg.solve(L, J.T).T, full_matrices=False)
        W, before = np.linalg.solve(L.T, V.T), J @ m
        seen, wanted = U.T @ (left + before), max(misfit, 0.5 * np.sqrt((left**2).mean()))
        for weight in sizes[0] ** 2 * np.exp(np.arange(2, -25, -0.1)):
            kept = sizes / (sizes**2 + weight) * seen
            if ((left + before - U @ (sizes * kept)) ** 2).mean() <= wanted**2:
                break
        m = W @ kept
    return m


if __name__ == "__main__":
    main(Impedance)
