"""A device that is not the CPU: errors that only a GPU would show, shown on a machine without.

`DeviceTensor` says that it lies on ``fake:0`` (torch's device for backends of others, renamed) and
holds a CPU tensor. Below autograd and autocast each operation is looked at: one that mixes devices
fails as it fails on CUDA, all others are done by the CPU. Which mixtures CUDA lets through is told
by the rules of torch's TensorIterator and of its indexing; `tests/devices/test_fake_device.py` has
them all, and asks a real GPU the same where there is one.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import ignite.distributed as idist
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import physml.cavities.inference.detector
import physml.nn.device

#: Name of the device.
NAME = "fake"
aten = torch.ops.aten
COMPOSITE = "CompositeImplicitAutograd"
AUTOCAST = "AutocastPrivateUse1"
#: What autocast does in few digits.
LOW_PRECISION = ("conv2d", "linear", "matmul", "mm", "bmm", "addmm", "baddbmm")
#: Bring values from one device to another.
TRANSFERS = {aten.copy_, aten._to_copy, aten._foreach_copy_, aten._foreach_copy, aten.copy}
#: Let indices be on the CPU, and a value be one CPU number.
INDEXING = {
    *(aten.index, aten._unsafe_index),
    *(aten.index_put, aten.index_put_, aten._index_put_impl_, aten._unsafe_index_put),
}
#: Take any number of CPU numbers, one of them or none being what most pointwise operations take.
SELECTING = {aten.where}
#: Take one CPU number although they are not pointwise by their tags.
FILLING = {aten.fill_, aten.fill, aten.masked_fill, aten.masked_fill_}


class DeviceTensor(torch.Tensor):
    """A tensor that says that it is on the device.

    Attributes
    ----------
    held : Tensor
        The values, on the CPU.
    """

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> DeviceTensor:
        self = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device(NAME, 0),
        )
        self.held = held
        return self

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})

    # With these two, a module that is moved keeps its parameters, as it does on CUDA.
    def __tensor_flatten__(self):
        return ["held"], None

    @staticmethod
    def __tensor_unflatten__(inner, meta, size, stride):
        return DeviceTensor(inner["held"])

    def tolist(self):
        """Numbers, as CUDA gives them too."""
        return self.held.tolist()

    def numpy(self, *, force=False):
        """Refuse, as CUDA does."""
        if force:
            return self.held.numpy(force=True)
        raise TypeError(
            f"can't convert {NAME}:0 device type tensor to numpy. Use Tensor.cpu() to copy the "
            "tensor to host memory first."
        )

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            made = self.detach().clone().requires_grad_(self.requires_grad)
            made.__dict__.update(
                {k: copy.deepcopy(v, memo) for k, v in vars(self).items() if k != "held"}
            )
            memo[id(self)] = made
        return memo[id(self)]

    def __reduce_ex__(self, protocol):
        return self.held.detach().__reduce_ex__(protocol)

    def __repr__(self, **_) -> str:
        return f"DeviceTensor({self.held!r})"


def place(value: Any) -> Any:
    """Everything in a structure brought to the device."""
    if isinstance(value, DeviceTensor):
        return value
    if isinstance(value, Tensor):
        return value.detach().to(NAME).requires_grad_(value.requires_grad)
    if isinstance(value, Mapping):
        return type(value)({k: place(v) for k, v in value.items()})
    return type(value)(map(place, value)) if isinstance(value, (list, tuple)) else value


def run(func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Do an operation on the CPU, once its devices are found to be right."""
    tensors = list(_tensors((args, kwargs)))
    on_device = [t for t in tensors if isinstance(t, DeviceTensor)]
    to = torch.device(kwargs["device"]) if kwargs.get("device") is not None else None
    _check_generators(args, kwargs, bool(on_device) or (to is not None and to.type == NAME))
    if not on_device and (to is None or to.type != NAME):
        return func(*args, **kwargs)
    packet = func.overloadpacket
    if on_device and len(on_device) < len(tensors):
        _check(func, packet, args, kwargs, tensors)
    target = on_device[0].device if on_device else torch.device("cpu")
    if packet in TRANSFERS and func is not aten._to_copy.default:
        target = tensors[0].device
    if to is not None:
        target, kwargs = to, {**kwargs, "device": "cpu"}
        kwargs |= {name: False for name in ("non_blocking", "pin_memory") if name in kwargs}
    known = {id(t.held): t for t in on_device} | {
        id(t): t for t in tensors if not isinstance(t, DeviceTensor)
    }
    out = func(*_unwrapped(args), **_unwrapped(kwargs))
    for t in on_device:
        if t.shape != t.held.shape or t.dtype != t.held.dtype:
            raise NotImplementedError(f"{func} changes the shape of a tensor of the fake device")
    # A view that is made in inference mode is an inference tensor where what it shows is one.
    views = any(r.alias_info and not r.alias_info.is_write for r in func._schema.returns)
    quiet = torch.is_inference_mode_enabled()
    with torch.inference_mode(on_device[0].is_inference() if views and on_device else quiet):
        return _wrapped(out, known, target)


def _check(func: Any, packet: Any, args: tuple, kwargs: dict, tensors: list[Tensor]) -> None:
    """Refuse what CUDA refuses."""
    if packet in TRANSFERS:
        return
    if packet in INDEXING:
        _check_indexing(args)
        return
    scalars = [t for t in tensors if not isinstance(t, DeviceTensor) and t.ndim == 0]
    others = [t for t in tensors if not isinstance(t, DeviceTensor) and t.ndim > 0]
    pointwise = torch.Tag.pointwise in func.tags or packet in FILLING
    most = len(scalars) if packet in SELECTING else int(pointwise)
    written = [args[k] for k, a in enumerate(func._schema.arguments) if _is_written(a, k, args)]
    written += [kwargs[a.name] for a in func._schema.arguments if a.is_out and a.name in kwargs]
    spoiled = any(isinstance(t, Tensor) and not isinstance(t, DeviceTensor) for t in written)
    if others or spoiled or len(scalars) > most:
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, "
            f"{NAME}:0 and cpu! (in {func})"
        )


def _is_written(argument: Any, k: int, args: tuple) -> bool:
    return argument.alias_info is not None and argument.alias_info.is_write and k < len(args)


def _check_indexing(args: tuple) -> None:
    source, indices, *values = args
    if isinstance(source, DeviceTensor):
        wrong = [v for v in values[:1] if not isinstance(v, DeviceTensor) and v.ndim > 0]
    else:
        wrong = [v for v in values[:1] if isinstance(v, DeviceTensor) and v.ndim > 0]
        if any(isinstance(i, DeviceTensor) for i in indices):
            raise RuntimeError(
                "indices should be either on cpu or on the same device as the indexed tensor (cpu)"
            )
    if wrong:
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, "
            f"{NAME}:0 and cpu! (values that are put)"
        )


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for v in value:
            yield from _tensors(v)
    elif isinstance(value, dict):
        for v in value.values():
            yield from _tensors(v)


def _unwrapped(value: Any) -> Any:
    if isinstance(value, DeviceTensor):
        return value.held
    if isinstance(value, (list, tuple)):
        return type(value)(map(_unwrapped, value))
    return {k: _unwrapped(v) for k, v in value.items()} if isinstance(value, dict) else value


def _wrapped(value: Any, known: dict[int, Tensor], target: torch.device) -> Any:
    if isinstance(value, Tensor):
        if id(value) in known:
            return known[id(value)]
        # Down here torch no longer sees that a tensor waits to be conjugated or negated.
        return DeviceTensor(value.resolve_conj().resolve_neg()) if target.type == NAME else value
    if isinstance(value, (list, tuple)):
        return type(value)(_wrapped(v, known, target) for v in value)
    return value


#: Generators of the device.
_GENERATORS: set[int] = set()


class DeviceGenerator(torch.Generator):
    """Random numbers of the device, or of the CPU; drawn by the CPU."""

    def __new__(cls, device: Any = "cpu") -> DeviceGenerator:
        """Note the device."""
        self = super().__new__(cls)
        if torch.device(device).type == NAME:
            # An operation is given another object for the same numbers: known by their place.
            _GENERATORS.add(self._cdata)
            weakref.finalize(self, _GENERATORS.discard, self._cdata)
        return self


def _check_generators(args: tuple, kwargs: dict[str, Any], on_device: bool) -> None:
    wanted = NAME if on_device else "cpu"
    for value in (*args, *kwargs.values()):
        if isinstance(value, torch._C.Generator):
            found = NAME if value._cdata in _GENERATORS else "cpu"
            if found != wanted:
                raise RuntimeError(
                    f"Expected a '{wanted}' device type for generator but found '{found}'"
                )


class Factories(TorchDispatchMode):
    """Lets tensors be made on the device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Do one operation; in inference mode it may be one that is made of others."""
        kwargs = kwargs or {}
        if not any(map(_concerned, args)) and not any(map(_concerned, kwargs.values())):
            return func(*args, **kwargs)
        if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), COMPOSITE):
            with self:
                made = func.decompose(*args, **kwargs)
            if made is not NotImplemented:
                return made
        return run(func, args, kwargs)


def _concerned(value: Any) -> bool:
    """Whether the device has to do with an argument."""
    if isinstance(value, (list, tuple)):
        return any(map(_concerned, value))
    return isinstance(value, (DeviceTensor, torch.device, torch._C.Generator))


def _load(load: Any) -> Any:
    """`torch.load` that brings all to the device where it is asked to, as that of CUDA does."""

    def loaded(file: Any, map_location: Any = None, **options: Any) -> Any:
        there = map_location is not None and torch.device(map_location).type == NAME
        content = load(file, map_location="cpu" if there else map_location, **options)
        return place(content) if there else content

    return loaded


class _Guard(torch._C._acc.DeviceGuard):
    """What torch asks of the device's driver, which has nothing to do."""

    def type_(self):
        """Kind of the device."""
        return torch._C._autograd.DeviceType.PrivateUse1


class _Backend:
    """Module ``torch.fake``, as ``torch.cuda`` is one."""

    active = False

    def is_available(self) -> bool:
        """Whether there is one now."""
        return self.active

    is_initialized = is_available

    def _is_in_bad_fork(self) -> bool:
        return False

    def device_count(self) -> int:
        """Number of devices."""
        return int(self.active)

    def current_device(self) -> int:
        """Number of the only device."""
        return 0

    def manual_seed_all(self, seed: int) -> None:
        """Do nothing: the CPU draws its random numbers."""

    def get_rng_state(self, device: object = None) -> Tensor:
        """Random state, which is that of the CPU."""
        return torch.get_rng_state()

    def set_rng_state(self, state: Tensor, device: object = None) -> None:
        """Do nothing: the CPU's is set beside it."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        """Types of autocast."""
        return [torch.bfloat16, torch.float16]


class _Hook(torch._C._acc.PrivateUse1Hooks):
    def is_available(self) -> bool:
        return _BACKEND.active

    def has_primary_context(self, device: int) -> bool:
        return _BACKEND.active

    def is_built(self) -> bool:
        return True


_BACKEND = _Backend()
_LIBRARIES: list[Any] = []


@cache
def _register() -> None:
    """Make the device known to torch; a process can do that once."""
    torch.utils.rename_privateuse1_backend(NAME)
    torch._register_device_module(NAME, _BACKEND)
    torch._C._acc.register_python_privateuseone_hook(_Hook())
    torch._C._acc.register_python_privateuseone_device_guard(_Guard())
    everything = torch.library.Library("_", "IMPL")
    everything.fallback(torch.library.fallthrough_kernel, AUTOCAST)
    operations = torch.library.Library("aten", "IMPL")
    for name in LOW_PRECISION:
        operations.impl(name, _low_precision(getattr(aten, name).default), AUTOCAST)
    _LIBRARIES.extend([everything, operations])  # they undo their work when they are dropped


def _low_precision(operation: Any) -> Any:
    """Kernel of autocast: the operation on arguments of its type."""
    keys = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, AUTOCAST))

    def kernel(*args: Any, **kwargs: Any) -> Any:
        to = torch.get_autocast_dtype(NAME)
        cast = [a.to(to) if isinstance(a, Tensor) and a.is_floating_point() else a for a in args]
        with torch._C._ExcludeDispatchKeyGuard(keys):
            return operation(*cast, **kwargs)

    return kernel


@contextmanager
def device() -> Iterator[torch.device]:
    """Device that a program finds as it finds a user's GPU: a real one, or the fake."""
    if torch.cuda.is_available():
        yield torch.device("cuda")
        return
    _register()
    made = torch.device(NAME)
    with pytest.MonkeyPatch.context() as patch, torch.autograd.set_multithreading_enabled(False):
        patch.setattr(_BACKEND, "active", True)
        patch.setattr(torch, "load", _load(torch.load))
        patch.setattr(torch.Tensor, "pin_memory", _pinned)
        patch.setattr(torch, "Generator", DeviceGenerator)
        for module in (idist, idist.utils):
            patch.setattr(module, "device", lambda: made)
        for module in (physml.nn.device, physml.cavities.inference.detector):
            patch.setattr(module, "available", lambda: made)
        before = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)  # numbers of Python become tensors on the CPU
        try:
            with Factories():
                yield made
        finally:
            torch._C._set_only_lift_cpu_tensors(before)


def _pinned(tensor: Tensor) -> Tensor:
    if tensor.device.type != "cpu":
        raise RuntimeError(f"cannot pin '{tensor.type()}' only dense CPU tensors can be pinned")
    return tensor.clone()
