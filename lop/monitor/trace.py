"""Watching a forward pass: every activation function that runs is recorded with what went in and what came out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from lop.monitor.activations import RULES, Activation, rule_for
from lop.monitor.follow import follow
from lop.monitor.operations import is_function, is_wrapped, operation, version, writes
from lop.monitor.recurrent import can_show, show_recurrent
from lop.monitor.tags import Tag, Tags
from lop.monitor.unseen import OPAQUE, SCRIPTED, Below, hides_activation

Rules = Mapping[object, Activation | None]


@dataclass(eq=False)
class Record:
    """One call of an activation function. z, h: tensors of the module's own shapes; tag: where z comes from."""

    activation: Activation
    z: Tensor
    h: Tensor
    tag: Tag | None
    path: str
    gradients: dict[str, Tensor] = field(default_factory=dict)
    versions: tuple[int, int] = (0, 0)

    def note_versions(self) -> None:
        self.versions = (version(self.z), version(self.h))

    def was_overwritten(self) -> bool:
        return self.versions != (version(self.z), version(self.h))


@dataclass(eq=False)
class _Call:
    """A module that is running: its path, the user's rule for it if any, its input, how much was recorded before."""

    module: nn.Module
    path: str
    ruled: bool = False
    rule: Activation | None = None
    z: Tensor | None = None
    records_before: int = 0
    recurrent: bool = False


class Trace(TorchFunctionMode):
    """Records of one forward pass. rules: by module class, module path or torch function; None: leave that one out.

    with_gradients: also catch the gradients of z and h when a backward pass follows. only_inside: leave out what runs
    outside the module's own calls, such as other networks in a loss. thorough: also look for activations that run
    without Python seeing them (scripted functions, C++ extensions), which takes some microseconds an operation.
    unseen: (path, kind) of what may be an activation, but has no rule or cannot be seen into.
    """

    def __init__(
        self,
        module: nn.Module,
        rules: Rules,
        with_gradients: bool = False,
        only_inside: bool = False,
        thorough: bool = False,
    ):
        super().__init__()
        self.records: list[Record] = []
        self.entered: set[str] = set()
        children = dict(module.named_modules())
        scripted = [path for path, child in children.items() if isinstance(child, torch.jit.ScriptModule)]
        self.unseen: dict[tuple[str, str], None] = {(path, SCRIPTED): None for path in scripted}
        # a compiled wrapper runs what is inside it, and that has hooks of its own
        self._hooked = [m for path, m in children.items() if path not in scripted and not hasattr(m, "_orig_mod")]
        self._paths = {id(child): path.replace("_orig_mod.", "") for path, child in children.items()}
        self.tags = Tags(dict(module.named_parameters()) | dict(module.named_buffers()))
        self._rules, self._with_gradients, self._only_inside = rules, with_gradients, only_inside
        self._functions = {operation(key): rule for key, rule in rules.items() if is_function(key)}
        self._calls: list[_Call] = []
        self._below = Below(self._note_hidden) if thorough else contextlib.nullcontext()
        self._running_function = False

    @contextlib.contextmanager
    def running(self) -> Iterator[Trace]:
        """Watch whatever runs inside; the hooks are removed at the end, also after an error."""
        handles = [handle for module in self._hooked for handle in self._hooks(module)]
        try:
            with self._below, self:
                yield self
        finally:
            for handle in handles:
                handle.remove()
        for record in self.records:
            if record.was_overwritten():
                self._note(f"an operation in place after {record.activation.name}", record.path)

    def _hooks(self, module: nn.Module) -> list[RemovableHandle]:
        return [
            module.register_forward_pre_hook(self._enter, prepend=True),
            module.register_forward_hook(self._leave, always_call=True),
        ]

    @property
    def path(self) -> str:
        return self._calls[-1].path if self._calls else ""

    def __torch_function__(self, func: Callable, types: object, args: tuple = (), kwargs: dict | None = None) -> object:
        kwargs = kwargs or {}
        name = operation(func)
        if any(call.ruled for call in self._calls):
            return self._run(func, args, kwargs)
        if any(isinstance(x, Tensor) and is_wrapped(x) for x in args):
            if name.removesuffix("_") in RULES:
                self._note(f"{name} under vmap or another transform")
            return self._run(func, args, kwargs)
        in_place = writes(func, name, args, kwargs)
        if in_place:
            self._keep_from_overwriting((*args, *kwargs.values()))
        watched = self._calls or not self._only_inside
        rule, z = self._rule(name, args, kwargs) if watched else (None, None)
        if rule is None or z is None:
            out = self._run(func, args, kwargs)
            follow(self.tags, name, func, args, kwargs, out, self.path)
            if self._looks_unseen(func, name, args, kwargs, out):
                self._note(name)
            return out
        record = Record(rule, z.detach().clone() if in_place else z, z, self.tags.get(z), self.path)
        self._catch_gradient(record, "z", z)
        out = self._run(func, args, kwargs)
        record.h = out if isinstance(out, Tensor) else z  # a custom operation in place may return nothing
        self._add(record)
        return out

    def _run(self, func: Callable, args: tuple, kwargs: dict) -> object:
        self._running_function = True
        try:
            return func(*args, **kwargs)
        finally:
            self._running_function = False

    def _note(self, kind: str, path: str | None = None) -> None:
        self.unseen.setdefault((self.path if path is None else path, kind))

    def _note_hidden(self, func: Callable, args: tuple, kwargs: dict) -> None:
        """An operation that no Python function asked for: named if it is an activation."""
        if self._running_function or not args or any(call.ruled for call in self._calls):
            return
        name = operation(func)
        if name in OPAQUE or rule_for(name, *args[1:], **kwargs):
            self._note(f"{name} inside compiled code")

    def _looks_unseen(self, func: Callable, name: str, args: tuple, kwargs: dict, out: object) -> bool:
        if name in self._functions:
            return False
        if name in OPAQUE:
            return not (self._calls and self._calls[-1].recurrent)
        return hides_activation(self.tags, func, name, args, kwargs, out)

    def _rule(self, name: str, args: tuple, kwargs: dict) -> tuple[Activation | None, Tensor | None]:
        """The rule of this call and its input; a zero in front, as in maximum(0, x), is looked past."""
        options = {key: value for key, value in kwargs.items() if key not in ("input", "self")}
        given = args or tuple(value for key, value in kwargs.items() if key in ("input", "self"))
        if not given or not isinstance(given[0], Tensor) or not given[0].is_floating_point():
            return None, None
        if name in self._functions:
            return self._functions[name], given[0]
        if name in ("maximum", "max") and len(given) == 2 and isinstance(given[1], Tensor) and given[0].numel() == 1:
            given = given[::-1]
        return rule_for(name, *given[1:], **options), given[0]

    def _add(self, record: Record) -> None:
        """Note one activation; its result keeps the axis of units, and no weights."""
        self.records.append(record)
        record.note_versions()
        self._catch_gradient(record, "h", record.h)
        self.tags.set(record.h, Tag(record.tag.axis) if record.tag and record.h.ndim == record.z.ndim else None)

    def _catch_gradient(self, record: Record, name: str, tensor: Tensor) -> None:
        # before an operation in place, or the gradient would be that of its result
        if self._with_gradients and tensor.requires_grad:
            # the dict alone: a hook that holds the record would hold its own graph, in a cycle that is never collected
            gradients = record.gradients
            tensor.register_hook(lambda gradient: gradients.update({name: gradient.detach()}))

    def _keep_from_overwriting(self, targets: tuple) -> None:
        """Copy what was recorded before an in-place operation changes it."""
        written = {x.untyped_storage().data_ptr() for x in targets if isinstance(x, Tensor) and not is_wrapped(x)}
        for record in self.records:
            for name in ("z", "h"):
                tensor = getattr(record, name)
                if tensor.untyped_storage().data_ptr() in written:
                    setattr(record, name, tensor.detach().clone())
                    record.note_versions()

    def _enter(self, module: nn.Module, args: tuple) -> None:
        path = self._paths.get(id(module))
        path = self.path if path is None else path
        self.entered.add(path)
        call = _Call(module, path, records_before=len(self.records), recurrent=can_show(module, args))
        for key in (type(module), path):
            if key in self._rules and not call.ruled:
                call.ruled, call.rule = True, self._rules[key]
        call.z = args[0] if args and isinstance(args[0], Tensor) else None
        if call.ruled and call.z is not None:
            call.z = call.z.clone()  # the module may write to it
        self._calls.append(call)

    def _leave(self, module: nn.Module, args: tuple, out: object) -> None:
        while self._calls and self._calls[-1].module is not module:
            self._calls.pop()
        if not self._calls:
            return
        call = self._calls[-1]
        if call.ruled and call.rule is not None and isinstance(out, Tensor) and call.z is not None:
            self._add(Record(call.rule, call.z, out, self.tags.get(args[0]), call.path))
        elif call.recurrent and not call.ruled and not any(outer.ruled for outer in self._calls):
            self._record_recurrent(call, args)
        elif not call.ruled and len(self.records) == call.records_before and self._looks_like_activation(call, out):
            self.unseen = {key: None for key in self.unseen if key[0] != call.path}  # its class says more
            self._note(type(module).__name__)
        self._calls.pop()

    def _record_recurrent(self, call: _Call, args: tuple) -> None:
        """The gates of a recurrent module; the steps of one gate share a key, so that they become one layer."""

        def show(gate: str, operation: str, z: Tensor, h: Tensor) -> None:
            tag = Tag(z.ndim - 1, key=(call.path, gate), source=call.path)
            self._add(Record(RECURRENT_RULES[operation], z, h, tag, f"{call.path}.{gate}".lstrip(".")))

        self._running_function = True  # what is computed again here is no activation of the module's own
        try:
            with torch._C.DisableTorchFunction():
                show_recurrent(call.module, args, show)
        finally:
            self._running_function = False

    def _looks_like_activation(self, call: _Call, out: object) -> bool:
        """Whether an unknown module without parameters or children changed an input that came straight from weights."""
        module, z = call.module, call.z
        tag = self.tags.get(z)
        from_torch = type(module).__module__.startswith("torch.nn.")
        if not isinstance(out, Tensor) or z is None or tag is None or tag.matrix is None or from_torch:
            return False
        has_parts = next(module.children(), None) is not None or next(module.parameters(), None) is not None
        return not has_parts and out.shape == z.shape and out.is_floating_point() and not torch.equal(out, z)


RECURRENT_RULES = {name: rule for name in ("relu", "tanh", "sigmoid") if (rule := rule_for(name))}
