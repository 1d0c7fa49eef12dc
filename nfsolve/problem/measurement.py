"""A field seen through a measurement operator: find u with A(u) = data, up to noise."""

import math
import time
import warnings
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from nfsolve._core.errors import InputError, shortened
from nfsolve.domains import Box
from nfsolve.forward.operators import measure_with, real
from nfsolve.forward.radon.linear import LinearMap
from nfsolve.metrics import psnr, relative_l2, ssim
from nfsolve.problem.pde.evaluate import in_pieces
from nfsolve.problem.problem import Batch, FieldFunction, Problem
from nfsolve.problem.recipe import Recipe, RunOptions, Stage
from nfsolve.problem.unknowns import Unknown
from nfsolve.reconstruct import Reconstruction, classical_images, compared, root_gradient
from nfsolve.weighting import Constant, Evidence

SMALL = 1024  # points of a grid up to which the default is a small network under Gauss-Newton
DENSE = 1500  # rows or columns up to which the rank of an operator is computed
UNITS = 1e6  # factor by which the size of the field may differ from 1 before a user is told
DROWNED = 1e3  # size of the noise in units of the data, from which on a user is told
ROUNDING = 1e14  # size of the data in units of the noise, above which it is below rounding
SSIM_FROM = 11  # pixels along each side
SMOOTH = 1e-3  # weight of the slopes at the start, where the evidence finds it: too large a one can hold on to nothing


@dataclass(frozen=True, eq=False)
class Observed:
    """What was measured.

    Attributes:
        operator: The measurement operator: a matrix, a scipy linear operator, physics of deepinv (``A``,
            ``A_adjoint``), or a torch function that takes the values in the shape of the grid, with several unknowns on
            the last axis (see `nfsolve.forward.operators.measure_with`). Further arguments with the names of unknown
            scalars of the problem get their values: ``def blur(values, width)``.
        data: The measured data, an array of any shape, real or complex.
        noise: Standard deviation of the noise, a number or one for each entry; None if it is not known.
        mask: Which entries were measured, True for those, in the shape of the data; None for all.
        truth: True values in the shape of the grid, to score the field against; None if they are not known.
    """

    operator: Any
    data: Any
    noise: Any = None
    mask: Any = None
    truth: Any = None


@dataclass
class Measurement(Problem):
    """A problem whose field is measured on a grid by an operator; a subclass defines ``shape`` and `observe`.

    The residual "data" is the misfit in units of the noise, or of the rms of the data if no noise is given. Scores,
    picture and recipe have defaults. The domain is a box whose longest side is 1, with the coordinates x, y, z along
    the axes of the grid, unless the subclass has its own ``domain``.

    Attributes:
        tv: Weight of the total variation of the field on the grid, for fields of order one. `nfsolve.weighting`'s
            Discrepancy changes it until the misfit is that of the noise.
        tv_power: Exponent of the lengths of the differences; below 1 for bodies of constant value.
        slopes: Weight of the squared slopes of the field on the grid, for smooth fields. Discrepancy(penalty="slopes")
            changes it as well; error bars take it for the prior of the field. None is 0 where ``tv`` or a recipe of
            the subclass says what the field is like, and on grids of more than 1024 points; else the evidence finds it
            (see `nfsolve.weighting.Evidence`).
        shape: Points of the grid along each axis.

    Examples:
        >>> import numpy as np, nfsolve as nf
        >>> class Blurred(nf.Measurement):
        ...     shape = (32,)
        ...
        ...     def observe(self):
        ...         sharp = np.exp(-((np.arange(32) - 12) ** 2) / 8)
        ...         blur = np.exp(-(np.subtract.outer(np.arange(32), np.arange(32)) ** 2) / 18) / 7.5
        ...         return nf.Observed(blur, blur @ sharp, truth=sharp)
        >>> nf.solve(Blurred(), steps=30, report=None).metrics["relative_l2"] < 0.1
        True
    """

    tv: float = field(default=0.0, kw_only=True)
    tv_power: float = field(default=1.0, kw_only=True)
    slopes: float | None = field(default=None, kw_only=True)

    shape: ClassVar[tuple[int, ...]]
    unknowns = "u"
    resample_every = 0
    stage_factors = ()
    score = "psnr"

    @abstractmethod
    def observe(self) -> Observed:
        """Make or read what was measured, once for each run."""

    def rivals(self, observed: Observed, measure: Any) -> dict[str, Callable[[], Any]]:
        """Return classical methods to compare with.

        Args:
            observed: What `observe` gave.
            measure: The operator between columns ``(n, 1)`` and ``(m, 1)``, with its ``adjoint`` where it is linear;
                it takes unknown scalars by name, where the operator does.

        Returns:
            Name -> a function that gives an image in the shape of the grid, or a `nfsolve.reconstruct.Reconstruction`.
        """
        return {}

    @property
    def domain(self) -> Box:  # type: ignore[override]
        """A box of cells of equal sides."""
        shape = getattr(self, "shape", None)
        counts = shape if isinstance(shape, Sequence) else ()
        if not 1 <= len(counts) <= 4 or not all(isinstance(n, int | np.integer) and n >= 1 for n in counts):
            raise InputError(
                f"the shape of a grid must have 1 to 4 positive whole numbers, got {shape!r}",
                do="write shape = (64, 64), or a domain and points() of your own",
            )
        return Box(**{name: (0.0, n / max(self.shape)) for name, n in zip("xyzw", self.shape, strict=False)})

    def check(self) -> None:
        """Refuse what cannot be meant: weights that are no numbers, and names with two meanings."""
        super().check()
        for name in ("tv", "tv_power", "slopes"):
            weight = getattr(self, name)
            if not isinstance(weight, int | float) and not (name == "slopes" and weight is None):
                raise InputError(f"{name} must be a number, got {shortened(repr(weight))}", do="write 0.1, say")
        if not 0 < self.tv_power <= 1:
            raise InputError(f"tv_power must be above 0 and at most 1, got {self.tv_power:g}", do="write 1, or 0.75")
        if not isinstance(self.unknowns, str):
            raise InputError(
                f"unknowns must be a text of names, got {self.unknowns!r}", do='write unknowns = "u", or "u v"'
            )
        names = [*self.domain.names, *self.unknowns.split(), *self.unknown_scalars()]
        if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
            raise InputError(
                f"the name '{twice[0]}' has two meanings in {type(self).__name__}, whose coordinates are "
                f"{', '.join(self.domain.names)}, unknowns {self.unknowns} and unknown scalars "
                f"{', '.join(self.unknown_scalars()) or 'none'}",
                do="choose another name",
            )

    @property
    def resolution(self) -> int:
        """Number of points along the longest axis."""
        return max(self.shape)

    def points(self) -> Tensor:
        """Return the points ``(n, d)`` at which the operator reads the field: the centres of the cells of the grid."""
        sides = zip(self.domain.bounds, self.shape, strict=True)
        axes = [low + (high - low) * (torch.arange(n, dtype=torch.float64) + 0.5) / n for (low, high), n in sides]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))

    def load(self, device: str | torch.device, dtype: torch.dtype) -> Batch:
        """Read what was measured, and check that its parts fit.

        Raises:
            InputError: `observe` returns something other than an `Observed`, shapes do not fit each other, or the
                operator fails, gives values that are not finite, or does not see the field.
        """
        observed, points = self.observe(), self.points().to(device, dtype)
        if not isinstance(observed, Observed):
            raise InputError(
                f"observe() of {type(self).__name__} must return an Observed, got {type(observed).__name__}",
                do="write return nf.Observed(operator, data, noise=...)",
            )
        data = _array(observed.data, "data")
        measure = self._measure(observed.operator, data.shape, dtype, device)
        if isinstance(measure, LinearMap) and len(self.unknowns.split()) > 1:
            raise InputError(
                f"a linear operator acts on one unknown, and {type(self).__name__} has several ({self.unknowns})",
                do="write a function of torch, which gets their values on the last axis: lambda values: "
                "A @ values[..., 0].reshape(-1) + B @ values[..., 1].reshape(-1)",
            )
        values, kept = real(data).to(device, dtype), _kept(observed, data).to(device)
        if bad := int((~torch.isfinite(values[kept])).sum()):
            raise InputError(
                f"data must be finite, but {bad} of the {len(kept)} real numbers that count are NaN or infinite",
                do="leave them out by mask=",
            )
        trial = torch.rand(len(points), len(self.unknowns.split()), dtype=dtype, device=device)
        found = _tried(partial(measure, **self._scalars(measure)), measure, trial, self.shape)
        if found.numel() != values.numel():
            raise InputError(_lengths(found.numel(), data, self.shape), do=_remedy(found.numel(), data))
        if not bool(torch.isfinite(found).all()):
            bad = int((~torch.isfinite(found)).sum())
            raise InputError(
                f"the operator must give finite values, but for random values between 0 and 1 {bad} of {found.numel()} "
                "are NaN or infinite",
                do="look for NaN in its matrix, or for roots and logarithms of negative values",
            )
        if not found.abs().max() > 0:
            raise InputError("the operator must see the field, but it gives 0 for random values", do="check its matrix")
        scale = _scale(observed.noise, data, values, kept)
        for text in _absurd(found[kept], values[kept], scale, observed.noise is not None):
            warnings.warn(text, stacklevel=2)
        return {
            "points": points,
            "measure": measure,
            "kept": kept,
            "values": values[kept],
            "scale": scale,
            "observed": observed,
            "classical": {},
            **({} if observed.truth is None else {"truth": self._truth(observed.truth).to(device, dtype)}),
        }

    def _measure(self, operator: Any, shape: Sequence[int], dtype: torch.dtype, device: Any = "cpu") -> Any:
        return measure_with(operator, self.shape, shape, dtype, device, scalars=tuple(self.unknown_scalars()))

    def _scalars(self, measure: Any) -> dict[str, Any]:
        """Return the scalars that the operator takes: as they are found now, or where the search begins."""
        values = {name: getattr(self, name) for name in getattr(measure, "scalars", ())}
        return {
            n: torch.tensor(v.initial, dtype=torch.float64) if isinstance(v, Unknown) else v for n, v in values.items()
        }

    @property
    def _smooth(self) -> float:
        """The weight of the slopes, or where a search for it starts if nothing says what the field is like."""
        if self.slopes is not None:
            return self.slopes
        alone = type(self).recipe is Measurement.recipe and type(self).points is Measurement.points and not self.tv
        return SMOOTH if alone and 1 < math.prod(self.shape) <= SMALL else 0.0

    def _truth(self, truth: Any) -> Tensor:
        table = _array(truth, "truth")
        if table.is_complex():
            raise InputError("truth must be real, as fields are, got complex numbers", do="give its real part")
        if table.shape not in (torch.Size(self.shape), torch.Size((*self.shape, len(self.unknowns.split())))):
            raise InputError(f"truth must have the shape {self.shape} of the grid, got {tuple(table.shape)}")
        return table

    def residuals(self, field: FieldFunction, batch: Batch) -> dict[str, Tensor]:
        """Return the misfit; the squares of "variation" are lengths of differences between points of the grid."""
        values = in_pieces(field, batch["points"])
        found = {"data": self._misfit(values, batch)}
        if self.tv:
            columns = [root_gradient(column.reshape(self.shape), power=self.tv_power) for column in values.T]
            found["variation"] = torch.cat(columns, 1)
        if self._smooth:
            found["slopes"] = self._slopes(values)
        return found

    def _misfit(self, values: Tensor, data: Batch) -> Tensor:
        """Return the misfit of values on the grid ``(n, k)`` in units of the noise, ``(m, 1)``."""
        measure = data["measure"]
        found = measure(values, **self._scalars(measure)).reshape(-1, 1)
        return data["scale"] * (found[data["kept"]] - data["values"])

    def linear_part(self, batch: Batch) -> Callable[[Tensor], dict[str, Tensor]] | None:
        """Return what changes of the values on the grid do to the residuals, where these are linear in one unknown.

        Args:
            batch: What `sample` gave.

        Returns:
            Changes ``(n, p)``, one in each column, -> residual name -> its changes ``(m, p)``; None where a total
            variation, a function of torch, several unknowns or residuals of a subclass may be anything.
        """
        measure = batch["measure"]
        own = type(self).residuals is not Measurement.residuals
        if own or self.tv or not isinstance(measure, LinearMap) or len(self.unknowns.split()) > 1:
            return None

        def rows(changes: Tensor) -> dict[str, Tensor]:
            found = {"data": batch["scale"] * measure(changes)[batch["kept"]]}
            return found | ({"slopes": self._slopes(changes)} if self._smooth else {})

        return rows

    def _slopes(self, values: Tensor) -> Tensor:
        """Return the slopes between neighbours on the grid ``(l, k)``."""
        grid = values.reshape(*self.shape, -1)
        widths = [(high - low) / n for (low, high), n in zip(self.domain.bounds, self.shape, strict=True)]
        parts = [grid.diff(dim=i).reshape(-1, grid.shape[-1]) / width for i, width in enumerate(widths)]
        return torch.cat(parts)

    def weights(self) -> dict[str, float]:
        """Return the weights of the total variation and of the slopes."""
        return {"variation": self.tv} | ({"slopes": self._smooth} if self._smooth else {})

    def prior_residuals(self) -> tuple[str, ...]:
        """Return the slopes, which state a prior: that of a random field whose increments are independent."""
        return ("slopes",) if self._smooth else ()

    def noisy_residuals(self) -> tuple[str, ...]:
        """Return the name of the misfit, which has the noise."""
        return ("data",)

    def known_noise(self, batch: Batch) -> dict[str, float]:
        """Return 1 for the misfit, which is in units of the noise that was given."""
        return {} if batch["observed"].noise is None else {"data": 1.0}

    def noise_units(self, batch: Batch) -> dict[str, tuple[float, ...]]:
        """Return the unit of the noise, unless it differs from value to value."""
        scale = batch["scale"]
        return {"data": (float(1 / scale[0]),)} if bool((scale == scale[0]).all()) else {}

    def on_grid(self, field: FieldFunction, data: Batch) -> Tensor:
        """Return the values on the grid, in its shape, with the unknowns last where there are several.

        Args:
            field: Points ``(n, d)`` -> values ``(n, k)``.
            data: What `load` gave.
        """
        values = in_pieces(field, data["points"])
        return values.reshape(*self.shape, *values.shape[1:][: values.shape[1] > 1])

    def scores(self, image: Tensor, data: Batch) -> dict[str, Any]:
        """Score an image: its misfit, and its distance from the truth where that is known.

        Args:
            image: Values in the shape of the grid, as `on_grid` gives them.
            data: What `load` gave.

        Returns:
            ``misfit``, in units of the noise; with a truth also ``psnr``, ``relative_l2``, and ``ssim`` of an image.
        """
        image = image.to(data["values"])
        misfit = self._misfit(image.reshape(len(data["points"]), -1), data)
        found = {"misfit": float(misfit.square().mean().sqrt())}
        if "truth" in data:
            truth = data["truth"]
            image = image.reshape(truth.shape)
            found |= {"psnr": psnr(image, truth, float(truth.abs().max())), "relative_l2": relative_l2(image, truth)}
            if len(self.shape) == 2 and min(self.shape) >= SSIM_FROM:
                found["ssim"] = ssim(image.reshape(*self.shape, -1), truth.reshape(*self.shape, -1))
        return found

    def metrics(self, field: FieldFunction, data: Batch) -> dict[str, Any]:
        """Score the field, and the classical methods beside it; say how many values on the grid the data determine."""
        rank, n = _rank(data["measure"], data["kept"], data["points"]), len(data["points"])
        said = f"{rank} of {n} values on the grid; the others follow from the smoothness of the field"
        found = {"determined": said} if rank is not None and rank < n else {}
        if self._smooth and self.slopes is None:
            found["prior"] = "small slopes, weighed by the evidence, as nothing else was said (slopes=0 for none)"
        return found | compared(self.on_grid(field, data), classical_images(data), partial(self.scores, data=data))

    def quick_metrics(self, field: FieldFunction, data: Batch) -> dict[str, Any]:
        """Score the field alone."""
        return self.scores(self.on_grid(field, data), data)

    def baselines(self, data: Batch, check: Callable[[], None]) -> dict[str, Callable[[], Any]]:
        """Return the rivals, each of which gives a `Reconstruction`."""
        observed, measure, like = data["observed"], data["measure"], data["points"]
        if like.device.type != "cpu":  # where what was measured is, and the classical methods work
            measure = self._measure(observed.operator, _array(observed.data, "data").shape, like.dtype)
        methods = self.rivals(observed, measure)
        return {name: partial(self._timed, name, method, data["points"]) for name, method in methods.items()}

    def _timed(self, name: str, method: Callable[[], Any], like: Tensor) -> Reconstruction | None:
        """Return the image of a classical method with its seconds; None, and a warning, where it fails."""
        start = time.perf_counter()
        try:
            found = method()
            seconds, k = time.perf_counter() - start, len(self.unknowns.split())
            image = found.image if isinstance(found, Reconstruction) else _array(found, "its image").to(like)
            if image.numel() != k * len(like) or not bool(torch.isfinite(image).all()):
                raise InputError(
                    f"its image must have the shape {tuple(self.shape)} of the grid and finite values, got "
                    f"{tuple(image.shape)} with {int((~torch.isfinite(image)).sum())} that are not finite"
                )
            if not isinstance(found, Reconstruction):
                found = Reconstruction(image.reshape(*self.shape, *(k,) * (k > 1)), seconds, 1, "")
        except Exception as error:  # of the user: it costs the comparison, and not the run
            warnings.warn(f"the rival '{name}' is left out: {type(error).__name__}: {error}", stacklevel=2)
            return None
        return found

    def recipe(self) -> Recipe:
        """Return a small network under Gauss-Newton for small grids, else a grid of features under Adam."""
        from nfsolve.fields import MLP, pixel_grid
        from nfsolve.optim import GaussNewton

        if len(self.points()) <= SMALL:
            net, run = partial(MLP, width=16, depth=2), RunOptions(dtype="float64", log_every=10)
            weighting = Evidence() if self._smooth and self.slopes is None else Constant()
            return Recipe(net, (Stage(GaussNewton, steps=100),), weighting=weighting, run=run)
        adam = partial(torch.optim.Adam, lr=1e-2)
        net = pixel_grid(max(self.shape), len(self.shape))
        return Recipe(net, (Stage(adam, steps=600, schedule="cosine"),), run=RunOptions(log_every=25))


def _array(values: Any, what: str) -> Tensor:
    """Return what a user has in memory as a tensor, real ones in float64."""
    try:
        table = values.detach().cpu() if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values))
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{what} must be an array of numbers, got {shortened(repr(values))}") from error
    if not table.numel():
        raise InputError(f"{what} must hold at least one number, got shape {tuple(table.shape)}")
    return table.to(torch.complex128 if table.is_complex() else torch.float64)


def _kept(observed: Observed, data: Tensor) -> Tensor:
    """Return the indices of the real values that count."""
    mask = observed.mask
    given = torch.ones(data.shape, dtype=torch.bool) if mask is None else _array(mask, "the mask")
    if not bool(((given == 0) | (given == 1)).all()):
        raise InputError(
            "the mask must hold True and False, or 1 and 0, got other values",
            do="give True for each entry that was measured, not its index",
        )
    table = given.bool()
    if table.shape != data.shape:
        raise InputError(
            f"the mask must have the shape {tuple(data.shape)} of the data, got {tuple(table.shape)}",
            do="give True for each entry that was measured",
        )
    for part in (observed.data, observed.noise):
        if isinstance(part, np.ma.MaskedArray) and part.shape == tuple(data.shape):
            table = table & ~torch.as_tensor(np.ma.getmaskarray(part))
    if not table.any():
        raise InputError("the mask must keep at least one entry of the data, but it keeps none")
    flat = table.reshape(-1)
    return torch.cat([flat, flat] if data.is_complex() else [flat]).nonzero()[:, 0]


def _scale(noise: Any, data: Tensor, values: Tensor, kept: Tensor) -> Tensor:
    """Return the factor on each value that counts, ``(m, 1)``: 1 / noise, or 1 / rms of the data."""
    if noise is None:
        size = float(values[kept].double().square().mean().sqrt())
        return torch.full_like(values[kept], 1 / (size or 1.0))
    if isinstance(noise, bool):
        raise InputError(f"noise must be a standard deviation, got {noise}", do="leave it out if it is not known")
    spread = _array(noise, "noise")
    spread = spread.reshape(()) if spread.numel() == 1 else spread
    if spread.is_complex():
        raise InputError(
            "noise must be real, got complex numbers", do="give the standard deviation of each part, real and imaginary"
        )
    if spread.dim() and spread.shape != data.shape:
        raise InputError(
            f"noise must be a number, or have the shape {tuple(data.shape)} of the data, got {tuple(spread.shape)}",
            do="give standard deviations"
            + (
                "; with a covariance, multiply operator and data by the inverse of its Cholesky factor"
                if spread.shape == (data.numel(), data.numel())
                else ""
            ),
        )
    column = spread.expand(data.shape).reshape(-1, 1)
    used = (torch.cat([column, column]) if data.is_complex() else column).to(values)[kept]
    if not bool(((used > 0) & torch.isfinite(used)).all()):
        raise InputError(
            f"noise must be positive, because misfits are divided by it, got {float(used.min()):g}",
            do="leave it out if it is not known",
        )
    return 1 / used


def _tried(measure: Any, operator: Any, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return what an operator gives for some values, and refuse one from which nothing can be learned."""
    if isinstance(operator, LinearMap):
        return operator(values)
    try:
        first = measure(values)  # where it takes no tensor, this says it in plainer words than the next line would
        found = measure(values.requires_grad_())
    except InputError:
        raise
    except Exception as error:
        do = "write it with functions of torch, or give a matrix or a LinearOperator of scipy"
        if "'Unknown'" in str(error):
            do = "take unknown scalars as arguments of the operator, by their names, as in def blur(values, width)"
        elif "dtype" in str(error) or "scalar type" in str(error):
            do = f"the values come in {values.dtype}: bring constants to it, as in matrix.to(values)"
        raise InputError(
            f"the operator failed for values on a grid of shape {shape}: {type(error).__name__}: {error}", do=do
        ) from error
    if not found.requires_grad:
        raise InputError(
            "the operator must be differentiable, but what it gives does not depend on its argument",
            do="use functions of torch without detach(), item() or numpy()",
        )
    first, found = first.detach(), found.detach()
    if not torch.allclose(first, found, rtol=1e-3, atol=1e-6 * float(found.abs().max()), equal_nan=True):
        raise InputError(
            "the operator must give the same for the same values, but two calls differ",
            do="draw what is random once in observe(), and add noise to the data alone",
        )
    return found


def _lengths(m: int, data: Tensor, shape: tuple[int, ...]) -> str:
    kind, size = ("complex ", 2 * data.numel()) if data.is_complex() else ("", data.numel())
    return (
        f"the operator gives {m} real numbers for a grid of shape {shape}, but the {kind}data {tuple(data.shape)} have "
        f"{size}"
    )


def _remedy(m: int, data: Tensor) -> str:
    if data.is_complex() and m == data.numel():
        return "a real operator has real data: give their real part, or an operator with complex values"
    if not data.is_complex() and m == 2 * data.numel():
        return "a complex operator has complex data: give both of their parts, or the real part of the operator"
    return "give data in the shape that the operator gives"


def _absurd(found: Tensor, values: Tensor, scale: Tensor, known: bool) -> list[str]:
    """Say where units or the noise cannot be right: `found` are the measurements of values between 0 and 1."""
    seen, size = float(found.double().square().mean().sqrt()), float(values.double().square().mean().sqrt())
    if not seen > 0 or not size > 0:
        return []
    said = []
    if not 1 / UNITS < size / seen < UNITS:
        said.append(
            f"data of size {size:.1e} and an operator that takes values of order 1 to {seen:.1e} mean a field of order "
            f"{size / seen:.0e}, which a network fits badly: choose units in which it is of order 1"
        )
    ratio = float((scale * values).double().square().mean().sqrt())
    if known and ratio < 1 / DROWNED:
        said.append(
            f"the noise is {1 / ratio:.1e} times as large as the data, which then say next to nothing: check its units"
        )
    if known and ratio > ROUNDING:
        said.append(f"the noise is {1 / ratio:.0e} of the data, below the rounding of numbers: check its units")
    return said


def _rank(measure: Any, kept: Tensor, like: Tensor) -> int | None:
    """Return the rank of a linear operator on its measured rows, of a large one an upper bound; None of a function."""
    if not isinstance(measure, LinearMap):
        return None
    if max(measure.shape) > DENSE:
        return min(len(kept), measure.shape[1])
    rows = measure(torch.eye(measure.shape[1], dtype=like.dtype, device=like.device))[kept]
    return int(torch.linalg.matrix_rank(rows.double(), rtol=1e-6))
