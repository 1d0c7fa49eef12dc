"""Choice of device and floating-point type by name."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from nfsolve._core.errors import InputError, unknown

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def choose_device(name: str | torch.device) -> torch.device:
    """Turn a name into a device that is there.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:1``, ``mps`` or ``auto`` (CUDA where there is one).

    Raises:
        InputError: The name is not a device, or the device is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise unknown("device", str(name), ("auto", "cpu", "cuda")) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(
            f"device '{name}' needs a GPU that this PyTorch can use, and there is none",
            do="use --device cpu, or install a CUDA build of PyTorch",
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise InputError(f"there is no device '{name}'", do=f"choose one of cuda:0 to cuda:{count - 1}")
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"device must be cpu or cuda, got '{name}'", do="use --device cpu")
    return device


def choose_dtype(name: str | torch.dtype | type) -> torch.dtype:
    """Turn a name into a floating-point type.

    Args:
        name: ``float32`` or ``float64``, or the type itself, of torch, numpy or Python.

    Raises:
        InputError: Another name.
    """
    given = "float64" if name is float else getattr(name, "__name__", str(name)).removeprefix("torch.")
    if given not in DTYPES:
        raise unknown("dtype", given, DTYPES)
    return DTYPES[given]


def in_double(tree: Any) -> Any:
    """Return a tree of tensors in which those of real numbers are float64; integers, masks and others stay."""
    return tree_map_only(Tensor, lambda leaf: leaf.double() if leaf.is_floating_point() else leaf, tree)
