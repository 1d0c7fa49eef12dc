"""DiagGN: momentum steps divided by the diagonal of the Gauss-Newton Hessian 2 J^T J, without second derivatives.

E[(J^T w)^2] = diag(J^T J) for random signs w on the residuals (Martens, Sutskever & Swersky, arXiv 1206.6464, have
the like for curvature propagated backward). Unlike the squared gradient of Adam, (J^T r)^2, it is the diagonal of a
curvature whatever the residuals and the batch.
"""

from collections.abc import Iterable

from torch import Tensor

from nfsolve.curvature.estimator import Average, Correction, Probes
from nfsolve.optim.diagonal import DampingMode, Diagonal


class DiagGN(Diagonal):
    """Stochastic gradient descent with momentum, preconditioned by diag(2 J^T J), for losses |r|^2.

    A refresh is one more backward pass: it counts as 2 evaluations of an objective, the gradient included. There is
    nothing to guard, as all derivatives are first ones.

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate; a Newton-like scale, independent of that of the loss.
        momentum: Decay of the averaged gradient.
        beta2: Decay of the averaged squares, for each refresh.
        refresh_every: Steps between refreshes after the warm-up.
        warmup: First steps, each with a refresh.
        damping: Floor of the divisor; None takes 0.1 where it is relative and 1e-4 where it is absolute.
        weight_decay: Decoupled decay, times ``lr``.
        seed: Seed of the private generator of the probes.
        damping_mode: ``relative`` to the mean of the divisor over the parameter tensor, or ``absolute``.
        bias_correction: By the number of ``refreshes``, or of ``steps``, as for `ESGD`.
        probes: ``rademacher`` or ``gaussian``, for each residual.
        average: Over refreshes: ``ema``, ``mean`` or ``max``.

    Attributes:
        stop_reason: Why no further step makes sense, in words; empty while there is no reason.

    Raises:
        InputError: A setting is unknown or out of range.

    Reference:
        Martens, Sutskever & Swersky, Estimating the Hessian by back-propagating curvature, arXiv 1206.6464.
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
        bias_correction: Correction = "refreshes",
        probes: Probes = "rademacher",
        average: Average = "ema",
    ):
        super().__init__(
            params,
            seed,
            False,
            quantity="gauss_newton",
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
            method="autograd",
        )
