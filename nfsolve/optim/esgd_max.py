"""ESGDMax: row norms of the Hessian by a decaying maximum over products, as Adamax has it over gradients.

Listed as ESGD-max beside Chng et al., arXiv 2402.08784, after the ESGD-M of K. Crowson (github.com/crowsonkb/esgd).
"""

from collections.abc import Iterable

from torch import Tensor

from nfsolve.curvature.estimator import Method, Probes
from nfsolve.optim.diagonal import DampingMode, Diagonal


class ESGDMax(Diagonal):
    """ESGD with the larger of the decayed old and the new squared product, and a momentum that looks ahead.

    D <- max(beta2 D, (H v)^2) at a refresh, without bias correction; the step is
    lr (1 - rate_warmup^k) (momentum m + (1 - momentum) g) / (1 - momentum^(t+1)) / (sqrt(D) + damping) with k the
    refreshes so far. A maximum lies above the row norm, so the rate is larger than that of `ESGD`. A refresh counts as
    3 evaluations, as there.

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate.
        momentum: Decay of the averaged gradient.
        beta2: Decay of the maximum, for each refresh.
        refresh_every: Steps between Hessian-vector products after the warm-up; the released default is 10.
        warmup: First steps, each with a product; the released default is 20.
        damping: Floor of the divisor; None takes 0.1 where it is relative and 1e-4 where it is absolute.
        weight_decay: Decoupled decay, times ``lr``.
        seed: Seed of the private generator of the probes.
        damping_mode: ``relative`` to the mean of the divisor over the parameter tensor, or ``absolute``.
        rate_warmup: The rate grows with the refreshes k as 1 - rate_warmup^k; 0 has no such warm-up.
        nesterov: Look ahead: average the gradient into the momentum once more for the step.
        probes: ``rademacher`` or ``gaussian``.
        method: The product, as for `ESGD`.
        guard: Compare the first product with finite differences.
        paper: The released algorithm exactly: ``damping_mode="absolute"``, ``rate_warmup=0.99``, ``nesterov`` and
            Hessian products with signs, whatever else is said of these.

    Attributes:
        stop_reason: Why no further step makes sense, in words; empty while there is no reason.

    Raises:
        InputError: A setting is unknown or out of range.

    Reference:
        Chng, Saratchandran & Lucey, arXiv 2402.08784, released code.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.5,
        momentum: float = 0.9,
        beta2: float = 0.999,
        refresh_every: int = 100,
        warmup: int = 50,
        damping: float | None = None,
        weight_decay: float = 0.0,
        seed: int = 0,
        damping_mode: DampingMode = "relative",
        rate_warmup: float = 0.99,
        nesterov: bool = True,
        probes: Probes = "rademacher",
        method: Method = "autograd",
        guard: bool = True,
        paper: bool = False,
    ):
        if paper:
            damping_mode, rate_warmup, nesterov, probes, method = "absolute", 0.99, True, "rademacher", "autograd"
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
            bias_correction="refreshes",
            probes=probes,
            average="max",
            method=method,
            rate_warmup=rate_warmup,
            nesterov=nesterov,
        )
