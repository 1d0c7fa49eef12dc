"""Classes by name: fields, activations, initialisations, factorizations, optimizers and weighting schemes."""

import inspect
from functools import partial
from typing import Any

from nfsolve import fields, optim, weighting
from nfsolve._core.errors import InputError, unknown

PARTS = ("field.activation", "field.encoding", "field.init", "field.branch")
KINDS = ("field", *PARTS, "factorization", "optimizer", "weighting")
LITTLE = {
    "ws": "weight_scaling",
    "rwf": "random_weight_factorization",
    "ff": "gaussian_fourier",
    "grid": "feature_grid",
    "cnn": "convolution",
    "attention": "scattered_operator",
}


def choose(kind: str, name: str) -> Any:
    """Find a class by the name that the command line uses.

    Args:
        kind: The option, e.g. ``"field.init"``.
        name: Its value, e.g. ``"ws"`` or ``"weight_scaling"``.

    Returns:
        The class, or the partial of one.

    Raises:
        InputError: There is no such class; the nearest name is suggested.
    """
    found = known(kind)
    name = name.replace("-", "_")
    name = name if name in found else LITTLE.get(name, name)
    if name not in found:
        raise unknown(kind.removeprefix("field.") if "." in kind else kind, name, found)
    return found[name]


def known(kind: str) -> dict[str, Any]:
    """Return the classes, or partials of one, of a kind of option, by the names that the command line uses."""
    if kind == "optimizer":
        return dict(optim.named())
    if kind == "weighting":
        return dict(weighting.named())
    base = {
        "field": fields.Field,
        "field.activation": fields.Activation,
        "field.encoding": fields.Encoding,
        "field.init": fields.Init,
        "field.branch": fields.Branch,
        "factorization": fields.Factorization,
    }[kind]
    found = (getattr(fields, name) for name in fields.__all__)
    classes = [c for c in found if inspect.isclass(c) and issubclass(c, base) and not inspect.isabstract(c)]
    return {_snake(c.__name__): c for c in classes if c is not base} | (fields.PRESETS if kind == "field" else {})


def _snake(name: str) -> str:
    known = {"MLP": "mlp", "FNO": "fno", "ReLU": "relu", "GELU": "gelu"}
    if name in known:
        return known[name]
    name = name.replace("MLP", "Mlp").replace("POD", "Pod").replace("PCA", "Pca").replace("DeepONet", "Deeponet")
    return "".join("_" + c.lower() if c.isupper() and i else c.lower() for i, c in enumerate(name))


def name_of(kind: str, cls: Any) -> str:
    """Return the name by which the command line chooses a class, or the class's own where it has none."""
    return next((name for name, found in known(kind).items() if found is cls), cls.__name__)


def by_name(kind: str, value: Any, rate: float | None = None) -> Any:
    """Return what a user means who gives a class or its name.

    Args:
        kind: A key of `KINDS`, e.g. ``"optimizer"``.
        value: A name as on the command line, or anything else, which is returned as it is.
        rate: Learning rate of an optimizer; None leaves it at its default.

    Returns:
        The class, or a partial of one with the learning rate.

    Raises:
        InputError: There is no class of that name, or the optimizer has no learning rate.

    Examples:
        >>> by_name("optimizer", "adam").__name__
        'Adam'
    """
    found: Any = choose(kind, value) if isinstance(value, str) else value
    if kind == "optimizer" and found is not None and not callable(found):
        name = type(found).__name__
        built = " that is built already" if hasattr(found, "step") else ""
        came = f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}{built}"
        raise InputError(
            f"optimizer must be a class, a partial of one, or its name, got {came}",
            do=f"write functools.partial({name}, lr=1e-3): it is built for the parameters of the field",
        )
    if rate is None:
        return found
    maker: Any = found
    if "lr" not in inspect.signature(maker).parameters:
        name = value if isinstance(value, str) else getattr(value, "__name__", repr(value))
        raise InputError(f"the optimizer '{name}' has no learning rate, got lr={rate:g}", do="leave lr out")
    return partial(maker, lr=rate)
