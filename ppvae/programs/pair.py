"""A model and a guide as one ``nn.Module`` with all their parameters.

A Pyro program is any callable with ``pyro.sample`` in it: a module, a method that calls
``pyro.module``, a function with ``pyro.param``. Here each becomes a plain module whose parameters a
first trace finds, so that optimizers, ``state_dict`` and distributed training need not know Pyro,
and Pyro's global parameter store stays unchanged.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import pyro
import torch
from pyro import poutine
from pyro.nn import PyroModule
from torch import Tensor, nn

from ppvae.errors import InputError
from ppvae.networks.evaluation_mode import evaluating
from ppvae.programs.function import Function
from ppvae.programs.signatures import Program, check_arguments, named_arguments
from ppvae.programs.sites import is_deterministic


def _is_plain(module: nn.Module) -> bool:
    """Whether a `PyroModule` has no Pyro parameters or samples, only networks.

    It is then called as a plain module, which avoids a Pyro statement through all handlers at each
    access of a parameter.
    """
    return isinstance(module, PyroModule) and not any(
        vars(part).get("_pyro_params") or vars(part).get("_pyro_samples")
        for part in module.modules()
    )


@contextmanager
def _new_tensors(dtype: torch.dtype) -> Iterator[None]:
    """Context in which a program's new tensors, as of ``torch.zeros(2)``, have type ``dtype``."""
    before = torch.get_default_dtype()
    if before == dtype:
        yield
        return
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _key(name: str) -> str:
    """The key of a parameter in an ``nn.ParameterDict``: no dot, and not the name of a method."""
    key = name.replace(".", "/")
    return f"/{key}" if key in dir(nn.ParameterDict) else key


class Pair(nn.Module):
    """A model p(x, z) and a guide q(z | x), called on the same batch.

    Args:
        model: a Pyro program.
        guide: another, called with the same arguments.
        batch: one batch, ``{"x": (batch, ...), ...}``, on which both are run once to find their
            parameters.

    Attributes:
        model: the model as a module; ``pair.program("model")`` is the program that was given.
        guide: the guide as a module.
        params: parameters made by ``pyro.param`` outside any module, unconstrained, by name (with
            ``/`` for a dot, which names in modules cannot have, and before a name that is also a
            method of modules, such as "half"). Model and guide share parameters of the same name,
            as in Pyro.

    Raises:
        InputError: if neither program has a parameter to learn, or one has arguments that the batch
            does not have.
    """

    def __init__(self, model: Program, guide: Program, batch: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.model = model if isinstance(model, nn.Module) else Function(model)
        self.guide = guide if isinstance(guide, nn.Module) else Function(guide)
        self._programs = {"model": model, "guide": guide}
        for role, program in self._programs.items():
            check_arguments(role, program, batch)
        self._names = {role: named_arguments(p) for role, p in self._programs.items()}
        self._constraints: dict[str, Any] = {}
        self.params = nn.ParameterDict()
        self._is_plain = {"model": _is_plain(self.model), "guide": _is_plain(self.guide)}
        self._example = self._first()
        with evaluating(self):
            self._find_parameters(batch)
        self._example = self._first()
        if not any(p.requires_grad for p in self.parameters()):
            raise InputError(
                "neither the model nor the guide has a parameter to learn; "
                "make one with nn.Parameter, pyro.param or pyro.module"
            )

    def program(self, role: str) -> Program:
        """The program as given; ``role`` is ``"model"`` or ``"guide"``."""
        return self._programs[role]

    @property
    def owners(self) -> list[nn.Module]:
        """The modules of the two programs: themselves, their owners, or those used; each once."""
        owners: list[nn.Module] = []
        for role, module in (("model", self.model), ("guide", self.guide)):
            owner = getattr(self._programs[role], "__self__", None)
            is_method = isinstance(owner, nn.Module) and isinstance(module, Function)
            owners.append(cast("nn.Module", owner) if is_method else module)
        return list({id(module): module for module in owners}.values())

    def call_model(self, x: Tensor, **extras: Tensor) -> Any:
        """Run the model on a batch, with those ``extras`` that its signature names."""
        with self._parameter_store():
            return self._call("model", x, extras)

    def call_guide(self, x: Tensor, **extras: Tensor) -> Any:
        """Run the guide on a batch, with those ``extras`` that its signature names.

        Values recorded by ``pyro.deterministic`` are hidden from handlers outside of the guide, as
        Pyro's bounds would take them for latents.
        """
        with self._parameter_store(), poutine.block(hide_fn=is_deterministic):
            return self._call("guide", x, extras)

    def names(self, role: str) -> frozenset[str]:
        """Arguments in the program's signature besides x."""
        return self._names[role]

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type of the parameters, to which batches are converted."""
        return self._example[0].dtype if self._example else torch.get_default_dtype()

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self._example[0].device if self._example else torch.device("cpu")

    def _first(self) -> tuple[Tensor, ...]:
        """The first parameter, if any, in a tuple, as an attribute would register it twice."""
        return tuple(p for p in self.parameters() if p.is_floating_point())[:1]

    def _call(self, role: str, x: Tensor, extras: Mapping[str, Tensor]) -> Any:
        dtype = self.dtype
        x, *values = (t.to(dtype) if t.is_floating_point() else t for t in (x, *extras.values()))
        names = self._names[role]
        given = {name: t for name, t in zip(extras, values, strict=True) if name in names}
        module = self.model if role == "model" else self.guide
        with _new_tensors(dtype):
            if self._is_plain[role]:
                return nn.Module.__call__(module, x, **given)
            return module(x, **given)

    @contextmanager
    def _parameter_store(self) -> Iterator[dict[str, Any]]:
        """Pyro's store with our own parameters in it, for one call; restored afterwards.

        Each call has its own scope, so that parameters of the same name in two modules are not
        merged.
        """
        state: dict[str, Any] = {
            "params": {
                key.removeprefix("/").replace("/", "."): p for key, p in self.params.items()
            },
            "constraints": dict(self._constraints),
        }
        with pyro.get_param_store().scope(cast("Any", state)):
            yield state

    def _find_parameters(self, batch: Mapping[str, Tensor]) -> None:
        """Run guide and model once; parameters that they register and no module owns are ours."""
        x, extras = batch["x"], {name: value for name, value in batch.items() if name != "x"}
        for role in ("guide", "model"):
            module = self.guide if role == "guide" else self.model
            registered: set[int] = set()
            # Errors of a site are reported later, when the site is known.
            unchecked = pyro.validation_enabled(False)
            with self._parameter_store() as store, poutine.block(), unchecked:
                self._call(role, x, extras)
            # Looked up after the call, in which a module may have made parameters of its own.
            owned = {id(p) for p in self.parameters()}
            for name, value in store["params"].items():
                registered.add(id(value))
                if id(value) not in owned:
                    self._constraints[name] = store["constraints"][name]
                    is_made = isinstance(value, nn.Parameter)
                    self.params[_key(name)] = value if is_made else nn.Parameter(value.detach())
            if isinstance(module, Function):
                # As under Pyro's own SVI, a network that a function uses but that no pyro.module
                # registers is not trained.
                kept = [m for m in module.uses if any(id(p) in registered for p in m.parameters())]
                module.uses = nn.ModuleList(kept)


def traces(pair: Pair, batch: Mapping[str, Tensor]) -> tuple[Any, Any]:
    """The traces of guide and model on a batch, the latter at the draws of the former.

    Gradients, modes and random state are left to the caller.
    """
    guide = poutine.trace(pair.call_guide).get_trace(**batch)
    model = poutine.trace(poutine.replay(pair.call_model, trace=guide)).get_trace(**batch)
    return guide, model
