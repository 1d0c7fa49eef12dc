"""AdaHessian in the form that its published code has: Adam with (H v)^2 in the place of the squared gradient.

Yao et al., arXiv 2006.00719. The paper speaks of the diagonal of H, but |v_i (H v)_i| = |(H v)_i| for signs v, and the
code averages the squares of these: the second moment tends to the squared row norms of H, not to its diagonal. So
this is `ESGD` with a product in every step; `Jacobi` has the diagonal.
"""

from collections.abc import Iterable

from torch import Tensor

from nfsolve.curvature.estimator import Method, Probes
from nfsolve.optim.diagonal import DampingMode, Diagonal


class AdaHessian(Diagonal):
    """Adam with squared Hessian products as the second moment, one product a step.

    Every step counts as 3 evaluations of an objective that counts them.

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate; Chng et al. use 0.15 for fields.
        momentum: Decay of the averaged gradient.
        beta2: Decay of the averaged squared products.
        damping: Floor of the divisor; None takes 0.1 where it is relative and 1e-4 where it is absolute.
        weight_decay: Decoupled decay, times ``lr``; zero in all published runs with fields.
        seed: Seed of the private generator of the probes.
        damping_mode: ``relative`` to the mean of the divisor over the parameter tensor, or ``absolute``.
        probes: ``rademacher`` or ``gaussian``.
        method: The product, as for `ESGD`.
        guard: Compare the first product with finite differences.
        paper: "AdaHessian(E)" of Chng et al. exactly: absolute damping and Hessian products with signs, whatever else
            is said of these. There is no spatial averaging, as for their linear layers.
        paper_j: "AdaHessian(J)" of their released code exactly: as ``paper``, but divided by sqrt(mean |H v|). Meant as
            the Jacobi preconditioner, it estimates no diagonal and has the dimension of sqrt(curvature); it is here to
            reproduce their runs.

    Attributes:
        stop_reason: Why no further step makes sense, in words; empty while there is no reason.

    Raises:
        InputError: A setting is unknown or out of range.

    Reference:
        Yao, Gholami, Shen, Mustafa, Keutzer & Mahoney, AAAI 2021, arXiv 2006.00719; Chng, Saratchandran & Lucey,
        arXiv 2402.08784, released code.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.1,
        momentum: float = 0.9,
        beta2: float = 0.999,
        damping: float | None = None,
        weight_decay: float = 0.0,
        seed: int = 0,
        damping_mode: DampingMode = "relative",
        probes: Probes = "rademacher",
        method: Method = "autograd",
        guard: bool = True,
        paper: bool = False,
        paper_j: bool = False,
    ):
        if paper or paper_j:
            damping_mode, probes, method = "absolute", "rademacher", "autograd"
        super().__init__(
            params,
            seed,
            guard,
            quantity="root_magnitude" if paper_j else "row_norm",
            lr=lr,
            momentum=momentum,
            beta2=beta2,
            refresh_every=1,
            warmup=0,
            damping=damping,
            damping_mode=damping_mode,
            weight_decay=weight_decay,
            bias_correction="refreshes",
            probes=probes,
            average="ema",
            method=method,
        )
