"""ESGD: momentum steps divided by equilibrated curvature, sqrt(E[(H v)^2]), the row norms of the Hessian.

Equilibration by Dauphin et al., arXiv 1502.04390; moving average and Rademacher probes as in Chng et al., arXiv
2402.08784. Two things differ from their released code unless ``paper=True``: the bias of the average is corrected by
the number of refreshes, not of steps, and the damping is relative to the mean curvature.
"""

from collections.abc import Iterable

from torch import Tensor

from nfsolve.curvature.estimator import Average, Correction, Method, Probes
from nfsolve.optim.diagonal import DampingMode, Diagonal


class ESGD(Diagonal):
    """Stochastic gradient descent with momentum, preconditioned by the row norms of the Hessian.

    With D the moving average of (H v)^2 over refreshes, k the refreshes so far, m the momentum and
    R = sqrt(D / (1 - beta2^k)), theta <- theta - lr m / (1 - momentum^t) / (R + damping * mean(R)).

    A refresh counts as 3 evaluations of an objective that counts them: one for the loss and its gradient, which every
    step has, and two for the product (by double backward, by 2 J^T J v, or by two more gradients). The first one
    also compares the product with finite differences where the graph holds operations that are not torch's own.

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate; a Newton-like scale, independent of that of the loss. The paper uses 0.15.
        momentum: Decay of the averaged gradient.
        beta2: Decay of the averaged squared products, for each refresh.
        refresh_every: Steps between Hessian-vector products after the warm-up.
        warmup: First steps, each with a product.
        damping: Floor of the divisor; None takes 0.1 where it is relative and 1e-4 where it is absolute.
        weight_decay: Decoupled decay, times ``lr``.
        seed: Seed of the private generator of the probes.
        damping_mode: ``relative`` to the mean of the divisor over the parameter tensor, or ``absolute``.
        bias_correction: By the number of ``refreshes``, or of ``steps``: the latter divides by 1 - beta2^t where D
            has seen k < t updates, which multiplies the learning rate by sqrt((1 - beta2^t) / (1 - beta2^k)): with
            the default schedule 1 until step 50, 1.4 at 100, 3.6 at 2000, and 1.1 at 200 000.
        probes: ``rademacher`` or ``gaussian``.
        average: Over refreshes: ``ema``, ``mean`` (as Dauphin et al.) or ``max``.
        method: The product: ``autograd``, ``gauss_newton`` (2 J^T J v, for losses |r|^2) or ``finite_difference``
            (no second derivative, any deterministic closure).
        guard: Compare the first product with finite differences.
        paper: The released algorithm exactly: ``bias_correction="steps"``, ``damping_mode="absolute"`` and a moving
            average of Hessian products with signs, whatever else is said of these. Set ``lr=0.15`` (image and
            occupancy; 0.1 for ReLU) as well.

    Attributes:
        stop_reason: Why no further step makes sense, in words; empty while there is no reason.

    Raises:
        InputError: A setting is unknown or out of range.

    Reference:
        Dauphin, de Vries & Bengio, NeurIPS 2015, arXiv 1502.04390; Chng, Saratchandran & Lucey, arXiv 2402.08784.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.1,
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
        method: Method = "autograd",
        guard: bool = True,
        paper: bool = False,
    ):
        if paper:
            damping_mode, bias_correction, probes, average, method = PAPER
        super().__init__(
            params,
            seed,
            guard,
            quantity="row_norm",
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


PAPER: tuple[DampingMode, Correction, Probes, Average, Method] = ("absolute", "steps", "rademacher", "ema", "autograd")
