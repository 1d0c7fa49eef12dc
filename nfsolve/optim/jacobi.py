"""Jacobi: momentum steps divided by the magnitude of the diagonal of the Hessian.

The diagonal is estimated without bias by v * (H v) (Bekas, Kokiopoulou & Saad, Appl. Numer. Math. 57 (2007) 1214); the
signs are averaged before the magnitude is taken, as the noise of off-diagonal entries cancels only then.
"""

from collections.abc import Iterable
from typing import Literal

from torch import Tensor

from nfsolve.curvature.estimator import Method, Probes
from nfsolve.optim.diagonal import DampingMode, Diagonal


class Jacobi(Diagonal):
    """Stochastic gradient descent with momentum, preconditioned by |diag H|.

    With D the moving average of v * (H v) over refreshes and k the refreshes so far, the divisor is
    |D| / (1 - beta2^k) plus damping. A refresh counts as 3 evaluations, as for `ESGD`.

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate; a Newton-like scale. Smaller than for `ESGD`, as |H_ii| is at most the norm of row i.
        momentum: Decay of the averaged gradient.
        beta2: Decay of the averaged products, for each refresh.
        refresh_every: Steps between Hessian-vector products after the warm-up.
        warmup: First steps, each with a product.
        damping: Floor of the divisor; None takes 0.1 where it is relative and 1e-4 where it is absolute.
        weight_decay: Decoupled decay, times ``lr``.
        seed: Seed of the private generator of the probes.
        damping_mode: ``relative`` to the mean of the divisor over the parameter tensor, or ``absolute``.
        bias_correction: By the number of ``refreshes``, or of ``steps``, as for `ESGD`.
        probes: ``rademacher`` or ``gaussian``.
        average: Over refreshes: ``ema`` or ``mean``.
        method: The product, as for `ESGD`.
        guard: Compare the first product with finite differences.

    Attributes:
        stop_reason: Why no further step makes sense, in words; empty while there is no reason.

    Raises:
        InputError: A setting is unknown or out of range.

    Reference:
        Dauphin, de Vries & Bengio, NeurIPS 2015, arXiv 1502.04390, which compares it with equilibration.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.03,
        momentum: float = 0.9,
        beta2: float = 0.999,
        refresh_every: int = 100,
        warmup: int = 50,
        damping: float | None = None,
        weight_decay: float = 0.0,
        seed: int = 0,
        damping_mode: DampingMode = "relative",
        bias_correction: Literal["refreshes", "steps"] = "refreshes",
        probes: Probes = "rademacher",
        average: Literal["ema", "mean"] = "ema",
        method: Method = "autograd",
        guard: bool = True,
    ):
        super().__init__(
            params,
            seed,
            guard,
            quantity="diagonal",
            lr=lr,
            momentum=momentum,
            beta2=beta2,
            refresh_every=refresh_every,
            warmup=warmup,
            damping=damping,
            damping_mode=damping_mode,
            weight_decay=weight_decay,
            bias_correction=bias_correction,
            probes=probes,
            average=average,
            method=method,
        )
