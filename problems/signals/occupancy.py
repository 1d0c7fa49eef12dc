"""A solid as a function: find o on [-1, 1]^3 with o = 1 inside and o = 0 outside.

Labelled points near the surface and in the cube are given, others score the field (Mescheder et al., "Occupancy
networks", CVPR 2019; the sampling is that of Hertz et al., "SAPE", NeurIPS 2021). Without --mesh the solid is a ball
cut to a gyroid's wall, |sin kx cos ky + sin ky cos kz + sin kz cos kx| < c, whose labels are exact.

With --sdf the unknown is the signed distance d to the surface instead, negative inside: its values are given at the
same points, and |grad d| = 1 is a residual (the eikonal equation; Gropp et al., "Implicit geometric regularization for
learning shapes", ICML 2020, eq. 2).

    nfsolve run occupancy
    nfsolve run occupancy --sdf --mesh bunny.obj
    nfsolve run occupancy --mesh mesh_armadillo.npz --points occ_points_armadillo.npz --protocol preconditioners
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils._pytree import tree_map

from nfsolve import (
    MLP,
    Box,
    GaussianFourier,
    InputError,
    MissingExtra,
    Problem,
    Recipe,
    Sine,
    Stage,
    generator,
    main,
    unknown_name,
    weight_scaling,
)
from nfsolve.data.tables import find_file
from nfsolve.diff import partials
from nfsolve.fields import Gaussian, ReLU
from nfsolve.meshes import (
    Implicit,
    Mesh,
    Solid,
    View,
    around,
    chamfer,
    draw_mesh,
    level_set,
    read_points,
    root_cross_entropy,
)
from nfsolve.metrics import iou
from nfsolve.plot import panels
from nfsolve.problem import Batch, FieldFunction, SamplerState, in_pieces
from problems.signals._given import Given
from problems.signals._limits import check_least

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUICK, ALL = 2**13, 2**18  # at most this many points of each set are scored: for the progress line, at the end
WAVE, WALL, RADIUS = 7.0, 0.5, 0.85  # of the gyroid ball: k, c, and the ball's radius
NEAR, WIDE = 0.01, 0.1  # standard deviations of the points near the surface
SLICE = 192  # pixels along a side of the slice that is drawn
PROBABILITY = 0.5  # a point is inside where its occupancy is above
COMPARED = 30_000  # points of each surface from which the chamfer distance is taken
EIKONAL = 0.1  # weight of the eikonal equation, in parts of that of the distances, as in Gropp et al. 2020
FLAT = 1e-12  # added to the square of a slope, whose root has no derivative at 0
SLOW = 10.0  # frequency of the sines of a distance
SLOPES = 4  # times fewer points for it than in a mini-batch


@dataclass(frozen=True)
class Setting:
    """What a protocol decides besides field and optimizer.

    Attributes:
        loss: ``mse`` or ``bce``.
        batch: Points in a mini-batch.
        pool: Labelled training points.
        mix: Shares of points NEAR the surface, of points WIDE of it, and of uniform ones.
        fit: How a mesh is put into the cube, see `Mesh.frame`.
        reach: How far it reaches there.
        tests: Held-out points of each kind, where no file brings them.
        near: Standard deviation of the held-out points around the surface.
    """

    loss: str = "mse"
    batch: int = 4096
    pool: int = 300_000
    mix: tuple[float, float, float] = (1 / 3, 1 / 3, 1 / 3)
    fit: str = "box"
    reach: float = 0.9
    tests: int = 50_000
    near: float = NEAR


SETTINGS = {
    "default": Setting(),
    # Chng, Saratchandran & Lucey 2025. Their code scores the last training batch at logit 0.5, labels the outside 1,
    # draws ten sets and times optimizer.step only; here: held-out points, logit 0, inside 1, one set, whole steps
    "preconditioners": Setting("bce", 50_000, 1_000_000, fit="sphere", reach=0.95, tests=100_000),
    # Yeom, Lee & Lee 2025 tell only the metric: the batch is that of the line above, the rest our default
    "ws": Setting("mse", 50_000, 1_000_000, tests=100_000),
    # Tancik et al. 2020: the box is [0, 1]^3 there, so that N(0, 0.01) is 0.02 here; they draw new points each step
    "rwf": Setting("bce", 32_768, 2_000_000, mix=(0.0, 0.0, 1.0), reach=1.0, tests=2**18, near=0.02),
}


@dataclass
class Occupancy(Problem):
    """A solid from labelled points: inside or outside."""

    mesh: str = ""
    """watertight mesh: npz with vertices and faces, OBJ, PLY, STL or OFF; default a gyroid ball"""
    points: str = ""
    """npz with held-out points_uniform, occ_uniform, points_near, occ_near of the mesh; default drawn here"""
    protocol: Literal["default", "preconditioners", "ws", "rwf"] = "default"
    """set-up of a paper: preconditioners (arXiv 2402.08784), ws (ICLR 2025), rwf (arXiv 2210.01274)"""
    loss: Literal["mse", "bce"] | None = None
    """mse: the field is the occupancy; bce: the field is its logit, cross-entropy; default the protocol's"""
    batch: int | None = None
    """points in a mini-batch; 0 takes the whole pool; default the protocol's"""
    pool: int | None = None
    """labelled training points, drawn once; default the protocol's"""
    sdf: bool = False
    """find the signed distance to the surface, negative inside, instead of the occupancy"""
    eikonal: float | None = None
    """weight of |grad d| = 1, with sdf; default 0.1"""
    resolution: int = 128
    """points along each axis for the mesh that is extracted"""
    smallest: float = 0.01
    """area of a part of that mesh, in parts of the largest one's, below which it is left out; 0 keeps all"""
    azimuth: float = 210.0
    """side from which the picture shows the solid, degrees around the y axis"""

    domain = Box(x=(-1, 1), y=(-1, 1), z=(-1, 1))
    pointwise = True
    stage_factors = ()
    score = "iou_near"
    needs = "nothing; the extra 'mesh' for --mesh and for the extracted mesh"

    def __post_init__(self) -> None:
        for name, known in (("protocol", tuple(SETTINGS)), ("loss", (None, "mse", "bce"))):
            if getattr(self, name) not in known:
                raise unknown_name(name, str(getattr(self, name)), [k for k in known if k])
        pool, batch = self._setting("pool"), self._setting("batch")
        least = {"pool": 1, "batch": 0, "resolution": 8, "smallest": 0, "eikonal": 0}
        check_least(vars(self) | {"pool": pool, "batch": batch}, least)
        if self.smallest > 1:
            raise InputError(f"smallest must be at most 1, the largest part, got {self.smallest:g}")
        if self.eikonal is not None and not self.sdf:
            raise InputError("eikonal is for distances, but the occupancy is sought", do="give --sdf, or leave it out")
        if self.sdf and (self.loss or self.protocol != "default"):
            raise InputError(
                "a signed distance has no logit and no protocol, got "
                + (f"loss = {self.loss}" if self.loss else f"protocol = {self.protocol}"),
                do="leave it out, or leave sdf out",
            )
        if batch > pool:
            raise InputError(
                f"batch must be at most {pool}, the number of points in the pool, got {batch}",
                do="give a smaller --batch or a larger --pool; --batch 0 takes the whole pool",
            )
        if self.points and not self.mesh:
            raise InputError(
                f"points score a mesh, but '{self.points}' was given without one",
                do="give --mesh, the solid of the points",
            )

    @property
    def unknowns(self) -> str:  # type: ignore[override]
        """Occupancy, or distance."""
        return "d" if self.sdf else "o"

    def weights(self) -> dict[str, float]:
        """Return the weight of the eikonal equation."""
        return {"eikonal": EIKONAL if self.eikonal is None else self.eikonal} if self.sdf else {}

    def _setting(self, name: str) -> Any:
        """Return a parameter, or the protocol's value where it is None."""
        own = getattr(self, name, None)
        return getattr(SETTINGS[self.protocol], name) if own is None else own

    @property
    def level(self) -> float:
        """The field's value on the surface: distance 0, or that at which the occupancy is PROBABILITY."""
        if self.sdf:
            return 0.0
        return PROBABILITY if self._setting("loss") == "mse" else math.log(PROBABILITY / (1 - PROBABILITY))

    def load(self, device: str | torch.device, dtype: torch.dtype) -> Batch:
        """Draw the pool and the held-out points of the solid, and label them."""
        solid, centre, scale = self.solid()
        setting, pool = SETTINGS[self.protocol], self._setting("pool")
        near, wide = (round(share * pool) for share in setting.mix[:2])
        parts = zip((near, wide, pool - near - wide), (NEAR, WIDE, None), strict=True)
        train, test = generator(0, "occupancy training"), generator(0, "occupancy test")
        sets = {"pool": torch.cat([around(solid, n, deviation, train) for n, deviation in parts])}
        if not self.points:
            sets["uniform"] = around(solid, setting.tests, None, test)
            sets["near"] = around(solid, setting.tests, setting.near, test)
        data = {name: Given(x, values=solid.contains(x).double()) for name, x in sets.items()}
        if self.points:
            data |= self._held_out(solid, centre, scale)
        if self.sdf:
            held_out = torch.cat([data[name].points[:COMPARED] for name in ("uniform", "near")])
            data |= {"pool": self._measured(solid, data["pool"].points), "distances": self._measured(solid, held_out)}
        return tree_map(lambda column: column.to(device, dtype), data)

    def solid(self) -> tuple[Mesh | Implicit, np.ndarray, float]:
        """Return the solid in the cube, and where it came from: x there = scale x here + centre."""
        if not self.mesh:
            return Implicit(gyroid_ball), np.zeros(3), 1.0
        mesh = Mesh.read(find_file(self.mesh, type(self)))
        centre, scale = mesh.frame(self._setting("fit"), self._setting("reach"))
        return mesh.moved(centre, scale), centre, scale

    @staticmethod
    def _measured(solid: Solid, points: Tensor) -> Given:
        return Given(points, values=solid.distance(points))

    def _held_out(self, solid: Solid, centre: np.ndarray, scale: float) -> Batch:
        """Read labelled points, bring them into the cube, and try a few of them on the mesh."""
        path = find_file(self.points, type(self))
        sets = {}
        for name, (points, labels) in read_points(path, centre, scale).items():
            agree = (solid.contains(points[:2000]) == labels[:2000]).double().mean()
            if agree < 0.99:
                raise InputError(
                    f"the {name} points of '{path}' must be labelled by this mesh, but {100 * float(1 - agree):.0f} % "
                    "are labelled otherwise",
                    do="give the points of this very mesh, in the frame that the file's centre and scale say",
                )
            sets[name] = Given(points, values=labels.double())
        return sets

    def sample(self, data: Batch, state: SamplerState, generator: Generator) -> Batch:
        """Pick points at random out of the pool."""
        batch = self._setting("batch")
        some = data["pool"].sample(batch, generator)
        if not self.sdf:
            return {"occupancy": some}
        return {"distance": some, "eikonal": data["pool"].sample(-(-batch // SLOPES), generator)}

    def fresh(self, data: Batch, generator: Generator, batch: Batch) -> Batch:
        """Return the held-out points, uniform ones and those near the surface."""
        if self.sdf:
            return {"distance": data["distances"], "eikonal": data["distances"]}
        return {"occupancy": tree_map(lambda *columns: torch.cat(columns), data["uniform"], data["near"])}

    def residuals(self, field: FieldFunction, batch: Batch) -> dict[str, Tensor]:
        """Difference to the label, or the signed root of the cross-entropy; or to the distance, and |grad d| - 1."""
        if self.sdf:
            found = {}
            if (rows := batch.get("distance")) is not None:
                found["distance"] = field(rows.points) - rows.values
            if (rows := batch.get("eikonal")) is not None:
                found["eikonal"] = slope(field, rows.points) - 1
            return found
        values, labels = field(batch["occupancy"].points), batch["occupancy"].values
        mse = self._setting("loss") == "mse"
        return {"occupancy": values - labels if mse else root_cross_entropy(values, labels)}

    def metrics(self, field: FieldFunction, data: Batch) -> dict[str, Any]:
        """Score held-out points, uniform and near the surface, points of the pool, and the extracted surface.

        `chamfer` and `distance_error` are in the unit of the cube, whose side is 2; `slope_error` is the root mean
        square of |grad d| - 1 on held-out points.
        """
        scores: dict[str, Any] = self._scores(field, data, ALL)
        try:
            whole = self.whole_surface(field, data)
            mesh = whole.large_parts(self.smallest)
            scores["chamfer"] = chamfer(mesh, self.solid()[0], COMPARED, generator(0, "chamfer"))
            scores |= {"parts": mesh.parts, "parts_left_out": whole.parts - mesh.parts}
        except (MissingExtra, InputError) as error:
            scores["surface"] = f"none: {error}"
        if self.sdf:
            rows = data["distances"]
            scores["distance_error"] = float((in_pieces(field, rows.points) - rows.values).abs().mean())
            off = in_pieces(lambda points: slope(field, points), rows.points) - 1
            scores["slope_error"] = float(off.square().mean().sqrt())
        return scores

    def quick_metrics(self, field: FieldFunction, data: Batch) -> dict[str, Any]:
        """Score a part of the same points."""
        return self._scores(field, data, QUICK)

    def _scores(self, field: FieldFunction, data: Batch, most: int) -> dict[str, Any]:
        scores = {}
        for key, name in (("iou", "uniform"), ("iou_near", "near"), ("iou_train", "pool")):
            some = data[name][:: -(-len(data[name]) // most)]
            inside = (in_pieces(field, some.points) - self.level) * self._inwards > 0
            truth = (some.values < 0).to(some.values) if self.sdf and name == "pool" else some.values
            scores[key] = iou(inside.to(truth), truth)
        return scores

    @property
    def _inwards(self) -> int:
        """Sign of what the field does towards the inside: distances fall."""
        return -1 if self.sdf else 1

    def whole_surface(self, field: FieldFunction, data: Batch) -> Mesh:
        """Extract the field's surface by marching cubes, in the cube, with all of its parts."""

        def value(points: np.ndarray) -> np.ndarray:
            values = panels.array(in_pieces(field, torch.from_numpy(points).to(data["near"].points)))
            return self._inwards * values.reshape(-1)

        return level_set(value, self.resolution, self._inwards * self.level)

    def surface(self, field: FieldFunction, data: Batch) -> Mesh:
        """Extract the field's surface, without parts that are smaller than `smallest`."""
        return self.whole_surface(field, data).large_parts(self.smallest)

    def export(self, field: FieldFunction, data: Batch, folder: Path) -> None:
        """Write the field's surface as PLY, in the coordinates of the mesh that was given."""
        try:
            _, centre, scale = self.solid()
            whole = self.whole_surface(field, data)
            mesh = whole.large_parts(self.smallest)
            if len(mesh.faces) < len(whole.faces):
                left, faces = whole.parts - mesh.parts, len(whole.faces) - len(mesh.faces)
                print(
                    f"mesh: left out {left} small parts, {faces} of {len(whole.faces)} triangles (--smallest 0 keeps)"
                )
            mesh.moved(-centre / scale, 1 / scale).write(folder / "surface.ply")
        except (MissingExtra, InputError) as error:
            print(f"no mesh: {error}")

    def picture(self, field: FieldFunction, data: Batch, history: list[dict[str, Any]]) -> "Figure":
        """Draw the solid and the field, shaded and cut, and the history."""
        solid = self.solid()[0]
        figure = panels.new_figure(11, 7.1)
        axes = figure.subplots(2, 3)
        scores = self.metrics(field, data)
        self._view(
            axes[0, 0],
            f"solid: {Path(self.mesh).name or 'gyroid ball'}",
            lambda: solid if isinstance(solid, Mesh) else solid.mesh(self.resolution),
        )
        title = f"field: IoU {scores['iou']:.4f},\nnear the surface {scores['iou_near']:.4f}"
        if "chamfer" in scores:
            title += f", chamfer {scores['chamfer']:.2g}"
        self._view(axes[0, 1], title, lambda: self.surface(field, data))
        self._slices(axes[1], solid, field, data["near"].points)
        labels = {"iou": "uniform", "iou_near": "near the surface", "iou_train": "training points"}
        panels.score_panel(axes[0, 2], history, labels, "IoU")
        return figure

    def _view(self, axes: Any, title: str, surface: Callable[[], Mesh]) -> None:
        axes.set(title=title, xticks=[], yticks=[])
        try:
            draw_mesh(axes, surface(), View(azimuth=self.azimuth))
        except (MissingExtra, InputError) as error:
            axes.text(0.5, 0.5, str(error), ha="center", va="center", wrap=True, transform=axes.transAxes)

    def _slices(self, axes: Any, solid: Solid, field: FieldFunction, like: Tensor) -> None:
        """Draw labels, field and errors on the plane z = 0."""
        line = torch.linspace(-1, 1, SLICE, dtype=torch.float64)
        y, x = torch.meshgrid(line, line, indexing="ij")
        points = torch.stack([x, y, torch.zeros_like(x)], -1).reshape(-1, 3)
        truth = solid.contains(points).reshape(SLICE, SLICE).numpy()
        values = panels.array(in_pieces(field, points.to(like))).reshape(SLICE, SLICE)
        wrong = (self._inwards * (values - self.level) > 0).astype(float) - truth
        shown = {"origin": "lower", "extent": (-1, 1, -1, 1)}
        axes[0].imshow(truth, cmap="gray_r", **shown)
        axes[0].set(title="solid, cut at z = 0", xlabel="x", ylabel="y")
        if self.sdf:
            limit = float(np.abs(values).max())
            image = axes[1].imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, **shown)
            axes[1].contour(line, line, values, [0.0], colors="k", linewidths=0.8)
            panels.colour_bar(axes[1], image)
            axes[1].set(title="distance of the field\n(line: 0)", xlabel="x", ylabel="y")
        else:
            occupancy = values if self.level else 1 / (1 + np.exp(-values.clip(-50, 50)))
            axes[1].imshow(occupancy, cmap="gray_r", vmin=0, vmax=1, **shown)
            axes[1].set(title="occupancy of the field", xlabel="x", ylabel="y")
        axes[2].imshow(wrong, cmap="RdBu_r", vmin=-1, vmax=1, **shown)
        axes[2].set(title=f"wrong: {100 * abs(wrong).mean():.2f} %\n(red: too much)", xlabel="x", ylabel="y")

    def recipe(self) -> Recipe:
        """A sine network with scaled weights; or the protocol's field and optimizer."""
        adam = torch.optim.Adam
        if self.protocol == "preconditioners":  # sigma = 0.09; 200 epochs of 20 batches; ESGD there: lr = 0.15
            field = partial(MLP, width=256, depth=4, activation=Gaussian(1 / (math.sqrt(2) * 0.09)))
            return Recipe(field=field, stages=(Stage(partial(adam, lr=1e-4), steps=4000),))
        if self.protocol == "ws":  # field and rate of its image script; the steps are ours
            field = partial(MLP, width=512, depth=4, activation=Sine(30.0), init=weight_scaling(alpha=2.5))
            return Recipe(field=field, stages=(Stage(partial(adam, lr=1e-4), steps=1000),))
        if self.protocol == "rwf":
            encoding = GaussianFourier(features=256, scale=6.0)  # sigma = 12 on [0, 1]
            field = partial(MLP, width=256, depth=7, activation=ReLU(), encoding=encoding)
            return Recipe(field=field, stages=(Stage(partial(adam, lr=5e-4), steps=10_000, schedule="exponential"),))
        # a slope of 1 everywhere is also that of fast waves of no height, where networks that begin fast stay
        sine = Sine(SLOW if self.sdf else 30.0)
        return Recipe(
            field=partial(MLP, width=128, depth=4, activation=sine, init=weight_scaling(alpha=1.25)),
            stages=(Stage(partial(adam, lr=1e-3), steps=1000, schedule="cosine"),),
        )


def slope(field: FieldFunction, points: Tensor) -> Tensor:
    """Return |grad d| at points ``(n, 3)`` -> ``(n, 1)``."""
    found = partials(field, points, [(axis,) for axis in range(points.shape[1])])
    return (torch.cat(list(found.values()), 1).square().sum(1, keepdim=True) + FLAT).sqrt()


def gyroid_ball(x: Tensor) -> Tensor:
    """Evaluate the solid of the default, (n, 3) -> (n, 1), negative inside: the wall of a gyroid within a ball."""
    wave = WAVE * x
    gyroid = (torch.sin(wave) * torch.cos(wave.roll(-1, 1))).sum(1, keepdim=True)
    return torch.maximum(x.norm(dim=1, keepdim=True) - RADIUS, (gyroid.abs() - WALL) / WAVE)


if __name__ == "__main__":
    main(Occupancy)
