"""Inverse problem: find lambda1, lambda2 in u_t + lambda1 (u u_x + v u_y) = -p_x + lambda2 (u_xx + u_yy), likewise v.

The flow behind a cylinder at Re = 100, x in [1, 8], y in [-2, 2], t in [0, 20], of which 3 are used: velocities are
measured at random points, the pressure is not (Raissi, Perdikaris & Karniadakis, J. Comput. Phys. 378 (2019); lambda1 =
1, lambda2 = 0.01). The data are their simulation, file `cylinder_nektar_wake.mat`, as an archive with arrays X_star
(points, 2), t (times), U_star (points, 2, times) and p_star (points, times). Its first snapshot is left out: from there
to the second the flow moves as the equations say for 0.202, and not for 0.1 as between all others, which makes lambda1
larger by 0.04 / duration.

    nfsolve run wake --data FILE.npz
    nfsolve run wake --noise 0.01
"""

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from nfsolve import (
    MLP,
    PDE,
    Box,
    InputError,
    Recipe,
    RunOptions,
    Sine,
    Stage,
    Unknown,
    generator,
    interior,
    main,
    measured,
)
from nfsolve.data.tables import find_file, read_arrays
from nfsolve.metrics import relative_l2
from nfsolve.optim import GaussNewton

ARRAYS = ("X_star", "t", "U_star", "p_star")
FLOOR = 7e-4  # rms residual of the data in the equations by finite differences


@dataclass
class Wake(PDE):
    """Coefficients of the Navier-Stokes equations from velocities behind a cylinder."""

    lambda1: Unknown = Unknown(0.5)  # noqa: RUF009  # frozen
    """coefficient of advection; its true value is 1"""
    lambda2: Unknown = Unknown(0.05, positive=True)  # noqa: RUF009  # frozen
    """coefficient of diffusion; its true value is 0.01"""
    data: str = "pde_cylinder_wake_nektar.npz"
    """file of the simulation, looked for at this path and under $NFSOLVE_DATA"""
    start: float = 0.1
    """time from which on measurements are used; the snapshot at 0 is wrong"""
    duration: float = 3.0
    """time span of the measurements that are used, up to 20; vortices are shed every 6 or so"""
    n_data: int = 3000
    """number of measurements, at random points and times"""
    noise: float = 0.0
    """standard deviation of the noise, relative to that of each velocity"""
    data_weight: float = 100.0
    """weight of the measurements in the loss"""
    noise_seed: int = 0
    """seed of points and noise; the data do not depend on the seed of the run"""
    n_points: int = field(default=1200, kw_only=True)
    """points inside the domain"""

    unknowns = "u v p"
    needs = "pde_cylinder_wake_nektar.npz (11 MB, see problems.pde.wake) at --data or under $NFSOLVE_DATA"

    @property
    def domain(self):
        """Time, and the part of the plane that was measured."""
        return Box(t=(self.start, self.start + self.duration), x=(1, 8), y=(-2, 2))

    def __post_init__(self):
        super().__post_init__()
        if not 0.2 <= self.duration <= 20 or not 0 <= self.start < math.inf:
            raise InputError(
                f"duration must be between 0.2 and 20, and start not negative, got {self.duration:g} and "
                f"{self.start:g}",
                do="choose 3 and 0.1, say",
            )
        if self.n_data < 1 or not 0 <= self.noise < math.inf:
            raise InputError(
                f"n_data must be at least 1 and noise must not be negative, got {self.n_data} and {self.noise:g}",
                do="choose others, such as 3000 measurements and noise 0.01",
            )

    @interior
    def along(self, u, v, u_t, u_x, u_y, u_xx, u_yy, p_x):
        """u_t + lambda1 (u u_x + v u_y) + p_x - lambda2 (u_xx + u_yy) = 0."""
        return u_t + self.lambda1 * (u * u_x + v * u_y) + p_x - self.lambda2 * (u_xx + u_yy)

    @interior
    def across(self, u, v, v_t, v_x, v_y, v_xx, v_yy, p_y):
        """v_t + lambda1 (u v_x + v v_y) + p_y - lambda2 (v_xx + v_yy) = 0."""
        return v_t + self.lambda1 * (u * v_x + v * v_y) + p_y - self.lambda2 * (v_xx + v_yy)

    @interior
    def incompressible(self, u_x, v_y):
        """u_x + v_y = 0."""
        return u_x + v_y

    def observe(self):
        """Pick measurements, and add noise."""
        arrays, times = self._read()
        n = len(arrays["X_star"])
        source = generator(self.noise_seed, "measurements")
        if self.n_data > n * times:
            raise InputError(
                f"the file has {n * times} values in that time, but n_data asks for {self.n_data}",
                do="take fewer, or a longer duration",
            )
        chosen = torch.randperm(n * times, generator=source)[: self.n_data].numpy()
        seen = snapshot(arrays, chosen // times, chosen % times)
        columns = dict(zip("txy", seen["points"].T, strict=True))
        for i, name in enumerate("uv"):
            noise = torch.randn(seen[name].shape, generator=source, dtype=torch.float64)
            columns[name] = seen[name] + self.noise * arrays["U_star"][:, i].std() * noise
        return columns

    @measured(observe)
    def measurements(self, u, v, u_data, v_data):
        """Velocities are as measured."""
        return torch.cat([u - u_data, v - v_data], -1)

    def load(self, device, dtype):
        """Take the snapshot in the middle as well, to score the field on."""
        arrays, times = self._read()
        n = len(arrays["X_star"])
        middle = snapshot(arrays, np.arange(n), np.full(n, times // 2))
        return super().load(device, dtype) | {"middle": {k: v.to(device, dtype) for k, v in middle.items()}}

    def _read(self):
        """Return the arrays of the file at the times that are used, and their number."""
        arrays = read_wake(self.data)
        t = arrays["t"].ravel()
        used = (t >= self.start - 1e-9) & (t <= self.start + self.duration + 1e-9)
        of_times = {"t": t[used], "U_star": arrays["U_star"][..., used], "p_star": arrays["p_star"][:, used]}
        return arrays | of_times, int(used.sum())

    def weights(self):
        """Weigh equations and measurements."""
        return super().weights() | {"measurements": self.data_weight}

    def metrics(self, field, data):
        """Return the errors in the snapshot in the middle; of the pressure up to a constant."""
        middle = data["middle"]
        with torch.no_grad():
            values = field(middle["points"])
        scores: dict[str, Any] = {}
        for i, name in enumerate("uvp"):
            found, truth = values[:, i : i + 1], middle[name]
            if name == "p":
                found, truth = found - found.mean(), truth - truth.mean()
            scores[f"relative_l2/{name}"] = relative_l2(found, truth)
            scores[f"reference_floor/{name}"] = FLOOR
        return {"relative_l2": max(scores["relative_l2/u"], scores["relative_l2/v"])} | scores

    def recipe(self):
        """A sine network under Gauss-Newton in float64."""
        return Recipe(
            field=partial(MLP, width=24, depth=3, activation=Sine(2.0)),
            stages=(
                Stage(GaussNewton, steps=60, points=0.5),
                Stage(partial(GaussNewton, damping=1e-6), steps=140),
            ),
            run=RunOptions(dtype="float64", log_every=5),
        )


def read_wake(name: str) -> dict[str, np.ndarray]:
    """Read the simulation's file.

    Args:
        name: Path or name.

    Returns:
        The four arrays.

    Raises:
        InputError: There is no such file, or its arrays are others.
    """
    path = find_file(name, Wake, ("", ".npz"))
    arrays = read_arrays(path)
    shapes = {key: value.shape for key, value in arrays.items()}
    n, times = shapes.get("X_star", (0,))[0], math.prod(shapes.get("t", (0,)))
    expected = {"X_star": (n, 2), "U_star": (n, 2, times), "p_star": (n, times)}
    if not n * times or any(shapes.get(key) != shape for key, shape in expected.items()):
        raise InputError(
            f"data file '{path}' must hold X_star (points, 2), t (times), U_star (points, 2, times) and "
            f"p_star (points, times), but it holds {shapes}",
            do="convert cylinder_nektar_wake.mat as the head of problems/pde/wake.py says",
        )
    return {key: arrays[key].astype(np.float64) for key in ARRAYS}


def snapshot(arrays: dict[str, np.ndarray], places: np.ndarray, times: np.ndarray) -> dict[str, torch.Tensor]:
    """Return points (t, x, y), velocities and pressure at indices of places and times ``(n,)``."""
    columns = [arrays["t"].ravel()[times], *arrays["X_star"][places].T]
    u, v = arrays["U_star"][places, :, times].T
    table = {"points": np.stack(columns, 1), "u": u[:, None], "v": v[:, None]}
    table["p"] = arrays["p_star"][places, times][:, None]
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in table.items()}


if __name__ == "__main__":
    main(Wake)
