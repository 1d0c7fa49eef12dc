"""Measure what the prior of the weights does to intervals, on a linear problem whose exact posterior is known.

A function on a line, of 60 random features with normal weights, is blurred and seen at 41 points with noise. The table
says how often 95 % intervals hold it: those of the exact posterior, and those around two fits, of one weakly damped
step and of steps with less and less damping, with weights whose prior is as wide as they are, or as the evidence asks.

    python -m scripts.linear_coverage
"""

import math

import numpy as np

POINTS, FEATURES, NOISE, TRUTHS = 41, 60, 0.02, 300


def main() -> None:
    """Print the table."""
    chance = np.random.default_rng(0)
    x = np.linspace(0, 1, POINTS)
    blur = np.exp(-((x[:, None] - x) ** 2) / (2 * 0.08**2))
    blur /= blur.sum(1, keepdims=True)
    frequencies, phases = chance.normal(0, 12, FEATURES), chance.uniform(0, 2 * np.pi, FEATURES)
    basis = np.cos(np.outer(x, frequencies) + phases) * math.sqrt(2 / FEATURES)
    A = blur @ basis
    held: dict[str, list[float]] = {}
    for _ in range(TRUTHS):
        truth = chance.normal(size=FEATURES)
        data = A @ truth + NOISE * chance.normal(size=POINTS)

        def judge(name: str, found: np.ndarray, covariance: np.ndarray) -> None:
            error = np.abs(basis @ (found - truth))  # noqa: B023  # called at once
            deviation = np.sqrt(np.einsum("ni,ij,nj->n", basis, covariance, basis))
            held.setdefault(name, []).append(float((error < 1.96 * deviation).mean()))

        exact = np.linalg.inv(A.T @ A / NOISE**2 + np.eye(FEATURES))
        judge("exact posterior", exact @ A.T @ data / NOISE**2, exact)
        for fit, dampings in (("one step", [1e-4]), ("seven steps", 10.0 ** np.arange(0, -7, -1))):
            found = np.zeros(FEATURES)
            for damping in dampings:
                found += np.linalg.solve(A.T @ A + damping * np.eye(FEATURES), A.T @ (data - A @ found))
            for rule in ("their size", "the evidence"):
                judge(f"{fit}, prior by {rule}", found, covariance_of(A, data - A @ found, found, rule))
    for name, shares in held.items():
        print(f"{name:<40} {np.mean(shares):.1%} +- {np.std(shares) / math.sqrt(TRUTHS):.1%}")


def covariance_of(A: np.ndarray, left: np.ndarray, found: np.ndarray, rule: str) -> np.ndarray:
    """Return the covariance of weights, as `nfsolve.posterior` has it for a linear problem.

    Args:
        A: Matrix ``(m, n)``.
        left: What the fit leaves of the data ``(m,)``.
        found: The weights ``(n,)``.
        rule: Of the width of their prior.
    """
    typical, size, factor = np.sqrt((left**2).mean()), np.sqrt((found**2).mean()), 1.0
    squares = np.linalg.eigvalsh(A.T @ A).clip(0)
    for _ in range(0 if rule == "their size" else 30):
        factor = math.sqrt(len(found) / (squares / (squares + (typical / size / factor) ** 2)).sum())
    pull = (typical / size / factor) ** 2 * np.eye(len(found))
    inverse = np.linalg.inv(A.T @ A + pull)
    influence = A @ inverse @ A.T
    noise = (left @ left) / np.square(np.eye(len(left)) - influence).sum()
    return inverse @ (noise * A.T @ A + typical**2 * pull) @ inverse


if __name__ == "__main__":
    main()
