"""A device that is not the CPU and yet computes: its tensors have real values and refuse to mix with those of the CPU.

PyTorch lets other programs bring a device of their own (PrivateUse1). Here its memory is that of the CPU under another
name: tensors go over by DLPack, with the kind of device in the exchanged header changed, and every operation is done by
the CPU's own. What a GPU refuses is refused: tensors of two devices in one operation, a generator of the other device,
NumPy, and operations that only the CPU has.
"""

import ctypes
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils import backend_registration
from torch.utils._pytree import tree_map

NAME = "gpu"
CPU, OTHER = 1, 12  # kDLCPU and kDLExtDev of DLPack
COPIES = ("aten::_copy_from", "aten::_copy_from_and_resize")
MAY_MIX = ("aten::index", "aten::index_put", "aten::_index_put_impl_")  # indices may be on the CPU, as with CUDA
CPU_ONLY = ("aten::histogram", "aten::_histogramdd_from_bin_cts", "aten::_histogramdd_bin_edges")


class _Header(ctypes.Structure):
    """The beginning of a tensor of DLPack."""

    _fields_ = (("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32))


_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)


def _under(tensor: Tensor, kind: int) -> Tensor:
    """Return the same memory as a tensor of another device."""
    for is_lazy, other in ((tensor.is_conj(), torch.conj), (tensor.is_neg(), torch._neg_view)):
        if is_lazy:  # DLPack knows no numbers that stand for their conjugates or negatives
            return other(_under(other(tensor), kind))
    capsule = torch._C._to_dlpack(tensor)  # type: ignore[attr-defined]
    header = _Header.from_address(_pointer(capsule, b"dltensor"))
    header.device_type, header.device_id = kind, 0
    return torch._C._from_dlpack(capsule)  # type: ignore[attr-defined]


class _Call:
    """One operation, brought to the CPU and back."""

    def __init__(self, name: str):
        self.name, self.here = name, dict[int, tuple[Tensor, Tensor]]()

    def bring(self, value: Any) -> Any:
        """Return an argument as the CPU takes it."""
        if isinstance(value, Tensor) and value.device.type == NAME:
            here = _under(value, CPU)
            self.here[id(here)] = here, value
            return here
        if isinstance(value, Tensor) and value.dim() and self.name not in MAY_MIX:
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found at least two devices, {NAME}:0 and cpu! "
                f"(in {self.name})"
            )
        if isinstance(value, Generator):
            raise RuntimeError(f"Expected a '{NAME}' device type for generator but found '{value.device.type}'")
        return torch.device("cpu") if isinstance(value, torch.device) and value.type == NAME else value

    def back(self, value: Any) -> Any:
        """Return a result as a tensor of the device; what was an argument is that argument."""
        if not isinstance(value, Tensor):
            return value
        if id(value) in self.here:
            return self.here[id(value)][1]
        return _under(torch.zeros_like(value, memory_format=torch.preserve_format) if _is_zero(value) else value, OTHER)


def _is_zero(value: Tensor) -> bool:
    return torch._is_zerotensor(value)  # without memory


def _do(operation: Any, *arguments: Any, **options: Any) -> Any:
    """Do an operation of the device with that of the CPU."""
    name = operation._schema.name
    if name in COPIES:
        source, target = (_under(x, CPU) if x.device.type == NAME else x for x in arguments[:2])
        target.copy_(source)
        return arguments[1]
    if name == "aten::set_":
        return _set(*arguments)
    if name in CPU_ONLY or (name == "aten::linalg_lstsq" and options.get("driver", "gels") not in (None, "gels")):
        raise NotImplementedError(f"{name} with {options} is not there on a GPU")
    call = _Call(name)
    own, given = tree_map(call.bring, arguments), tree_map(call.bring, options)
    outs = [x.name for x in operation._schema.arguments if x.is_out and x.name in options]
    for out in outs:
        given[out] = torch.empty(0, dtype=options[out].dtype)  # which may grow
    result = operation(*own, **given)
    for out in outs:
        made, asked = given[out], options[out]
        if made.shape == asked.shape:
            _under(asked, CPU).copy_(made)
        else:
            asked.data = _under(made, OTHER)
        call.here[id(made)] = made, asked
    return tree_map(call.back, result)


def _set(tensor: Tensor, source: Any, offset: int = 0, size: Any = None, stride: Any = ()) -> Tensor:
    """Let a tensor stand on a storage, as `torch.save` does to copy one."""
    if isinstance(source, Tensor):
        tensor.data = source
        return tensor
    whole = torch.empty(0, dtype=tensor.dtype)
    if source.nbytes():
        memory = (ctypes.c_uint8 * source.nbytes()).from_address(source.data_ptr())
        memory.owner = source  # lives as long as what stands on it
        whole = torch.frombuffer(memory, dtype=tensor.dtype)
    tensor.data = _under(whole if size is None else whole.as_strided(size, stride, offset), OTHER)
    return tensor


def _convolved_back(gradient: Tensor, x: Tensor, weight: Tensor, *arguments: Any) -> Any:
    """Differentiate a convolution; the CPU's own takes the sizes of the bias as well."""
    return _do(torch.ops.aten.convolution_backward.default, gradient, x, weight, [weight.shape[0]], *arguments)


def _copied(tensor: Tensor, memo: dict[Any, Any]) -> Tensor:
    """Copy a tensor for `copy.deepcopy`, which for other devices copies what is under it."""
    if tensor.device.type != NAME:
        return _copy_of_others(tensor, memo)
    return memo.setdefault(id(tensor), tensor.detach().clone().requires_grad_(tensor.requires_grad))


_copy_of_others = Tensor.__deepcopy__


def register() -> None:
    """Bring the device into this process, for good."""
    backend_registration._setup_privateuseone_for_python_backend(NAME)  # type: ignore[attr-defined]
    Tensor.__deepcopy__ = _copied  # type: ignore[method-assign]
    everything, some = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    everything.fallback(_do, "PrivateUse1")
    some.impl("convolution_overrideable", partial(_do, torch.ops.aten.convolution.default), "PrivateUse1")
    some.impl("convolution_backward_overrideable", _convolved_back, "PrivateUse1")
    for lazy in ("Conjugate", "Negative"):  # which PyTorch resolves by a copy, and a copy by resolving, without end
        some.impl("_copy_from", torch.library.fallthrough_kernel, lazy)
    _LIBRARIES.extend((everything, some))


_LIBRARIES: list[Any] = []  # whose registrations end with them
