"""A CUDA device that is only pretended: what is said to be on it lies and computes on the CPU.

Which tensors are on it is noted at their storages, so views agree. Every operation, those of `backward`, too,
is refused where torch would refuse it on a GPU: tensors of two devices, NumPy's view of the device's memory.
Random numbers come from a generator of the device's own; what CUDA's autocast keeps in float32 is in float32.
Kernels, and so their sums, speed and memory, are the CPU's.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import checkpoint
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import lai_net

DEVICE = torch.device("cuda", 0)
_PROPERTIES: dict[Any, Any] = {Tensor.device: DEVICE, Tensor.is_cuda: True, Tensor.is_cpu: False}
_SOURCES = str(Path(lai_net.__file__).parent)

aten = torch.ops.aten
_COPIES = {aten.copy_, aten._to_copy}
_INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}
_WAITING = {
    aten._local_scalar_dense,
    aten.nonzero,
    aten.masked_select,
    aten._unique2,
    aten.unique_dim,
    aten.equal,
}
_FLOAT32 = {"layer_norm", "softmax", "log_softmax", "softplus", "log", "pow", "sum", "rsqrt", "norm"}
"""What the models use of what CUDA's autocast keeps in float32; losses are outside it."""


class MixedDevices(Exception):
    """An operation has tensors of the device and of the host."""


class PretendedCuda(TorchFunctionMode):
    """Answers for the device where Python asks; `watch` looks at what torch computes.

    Attributes:
        generator: state of the device's.
        waits: where the host waited for the device: a file of ours and what was called there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.watch = _Watch(self)
        self.generator = torch.Generator().get_state()
        self.waits: list[str] = []

    def note_wait(self, name: str) -> None:
        """The host waits for the device."""
        frame = sys._getframe()
        while frame.f_back is not None and not frame.f_code.co_filename.startswith(_SOURCES):
            frame = frame.f_back
        self.waits.append(f"{Path(frame.f_code.co_filename).name} {name}")

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.to:
            return self._moved(args[0], *torch._C._nn._parse_to(*args[1:], **kwargs)[:3])
        if func is Tensor.cpu:
            return self._moved(args[0], torch.device("cpu"), None, False)
        if func is Tensor.pin_memory:
            pinned = args[0].clone()
            pinned.untyped_storage().is_pinned_here = True
            return pinned
        owner = getattr(func, "__self__", None)
        if owner in _PROPERTIES and func.__name__ == "__get__" and is_on_device(args[0]):
            return _PROPERTIES[owner]
        if func in (Tensor.numpy, Tensor.__array__) and is_on_device(args[0]):
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu()")
        device = kwargs.get("device")
        if device is not None and torch.device(device).type == "cuda":
            if func in (torch.tensor, torch.as_tensor):
                self.note_wait("tensor")
            return _placed(func(*args, **kwargs | {"device": "cpu"}))
        if torch.is_autocast_enabled("cpu") and getattr(func, "__name__", "") in _FLOAT32:
            with torch.amp.autocast("cpu", enabled=False):
                return func(*map(_widened, args), **kwargs)
        return func(*args, **kwargs)

    def _moved(self, tensor: Tensor, device: Any, dtype: Any, non_blocking: bool) -> Tensor:
        """`Tensor.to`."""
        dtype = dtype or tensor.dtype
        if device is None or (device.type == "cuda") == is_on_device(tensor):
            return tensor.to(dtype=dtype)
        if not (non_blocking and getattr(tensor.untyped_storage(), "is_pinned_here", False)):
            self.note_wait("to")
        with self.watch.paused():
            moved = tensor.to(dtype=dtype, copy=True)
        return _placed(moved) if device.type == "cuda" else moved


class _Watch(TorchDispatchMode):
    """Sees every operation: refuses what is mixed, and notes what comes out as being on the device."""

    def __init__(self, device: PretendedCuda) -> None:
        super().__init__()
        self._device = device
        self._is_paused = False

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Inside, nothing is looked at."""
        self._is_paused = True
        try:
            yield
        finally:
            self._is_paused = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunction():
            inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            if self._is_paused or not any(map(is_on_device, inputs)):
                return func(*args, **kwargs)
            packet = func.overloadpacket
            if packet in _COPIES:
                if not all(map(is_on_device, inputs)):
                    self._device.note_wait(packet.__name__)
            else:
                _refuse_mixed(packet, args, inputs)
            if packet in _WAITING or (packet in _INDEXING and any(map(_is_mask, args[1]))):
                self._device.note_wait(packet.__name__)
            is_random = torch.Tag.nondeterministic_seeded in func.tags
            result = self._drawn(func, args, kwargs) if is_random else func(*args, **kwargs)
            if packet is aten.copy_:
                return result
            for made in tree_leaves(result):
                _placed(made)
            return result

    def _drawn(self, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """What is drawn from the device's generator."""
        host = torch.get_rng_state()
        torch.set_rng_state(self._device.generator)
        result = func(*args, **kwargs)
        self._device.generator = torch.get_rng_state()
        torch.set_rng_state(host)
        return result


def is_on_device(value: object) -> bool:
    """Whether it is a tensor there."""
    return isinstance(value, Tensor) and getattr(value.untyped_storage(), "is_on_device", False)


def _placed(value: Any) -> Any:
    if isinstance(value, Tensor):
        value.untyped_storage().is_on_device = True  # type: ignore[attr-defined]
    return value


def _refuse_mixed(packet: Any, args: Any, inputs: list[Tensor]) -> None:
    """As torch: of the host may be numbers (without axes, not in lists), and what indexes the device's."""
    in_lists = packet.__name__.startswith(("_fused", "_foreach"))
    indices = tree_leaves(args[1]) if packet in _INDEXING and is_on_device(args[0]) else []
    for tensor in inputs:
        is_index = any(tensor is index for index in indices)
        if not (is_on_device(tensor) or is_index or (tensor.ndim == 0 and not in_lists)):
            raise MixedDevices(f"{packet}: a tensor {tuple(tensor.shape)} is on the host, others are not")


def _is_mask(index: Tensor | None) -> bool:
    return index is not None and index.dtype == torch.bool and is_on_device(index)


def _widened(value: Any) -> Any:
    return value.float() if is_on_device(value) and value.dtype == torch.bfloat16 else value


@contextlib.contextmanager
def pretended_cuda() -> Iterator[PretendedCuda]:
    """Inside, `cuda` is to be had."""
    device = PretendedCuda()
    engine, group = torch.autograd._engine_run_backward, torch._C._group_tensors_by_device_and_dtype

    def seed(number: int) -> None:
        device.generator = torch.Generator().manual_seed(number).get_state()

    def go_back(*args: Any, **kwargs: Any) -> Any:
        with device:  # which torch has left; checkpointing computes there again
            return engine(*args, **kwargs)

    def grouped(*args: Any, **kwargs: Any) -> Any:
        found = group(*args, **kwargs).items()
        return {(DEVICE if is_on_device(one[0][0][0]) else on, dtype): one for (on, dtype), one in found}

    class Autocast(torch.autocast):
        def __init__(self, kind: str, *args: Any, **kwargs: Any) -> None:
            super().__init__("cpu" if kind == "cuda" else kind, *args, **kwargs)

    replaced = {
        "is_available": lambda: True,
        "is_bf16_supported": lambda **_: True,
        "device": lambda _: contextlib.nullcontext(),
        "manual_seed_all": seed,
        "get_rng_state": lambda *_: device.generator.clone(),
        "set_rng_state": lambda state, *_: setattr(device, "generator", state.clone()),
    }
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.multiple(torch.cuda, **replaced))
        stack.enter_context(mock.patch.object(torch, "autocast", Autocast))
        stack.enter_context(mock.patch.object(torch.autograd, "_engine_run_backward", go_back))
        stack.enter_context(mock.patch.object(torch._C, "_group_tensors_by_device_and_dtype", grouped))
        # Checkpointing compares tensors' devices, but asks within operations, where torch does not ask us.
        stack.enter_context(
            mock.patch.dict(
                checkpoint._allowed_determinism_checks_to_fns, default=lambda tensor: tensor.shape
            )
        )
        stack.enter_context(device)
        stack.enter_context(device.watch)
        yield device
