"""Models with settings in Python state, changed from outside, which a graph could freeze."""

import types
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from tests.support.captures import COLUMNS
from tests.support.python_state import Model

__all__ = ["HANDLES", "SETTINGS", "Setting"]

Change = Callable[[], Any]


class Setting(NamedTuple):
    """A model, and a function that changes it from outside."""

    model: nn.Module
    change: Change


class ByClass(Model):
    beta: Any = 1.0

    def __init__(self) -> None:
        super().__init__(lambda self: self.beta)


def overridden() -> Setting:
    model = ByClass()
    return Setting(model, lambda: setattr(model, "beta", 0.1))


def of_the_class() -> Setting:
    class Own(ByClass):
        beta = 1.0

    return Setting(Own(), lambda: setattr(Own, "beta", 0.1))


def attribute(before: Any, after: Any, read: Callable[[Any], Any] = lambda value: value) -> Any:
    def make() -> Setting:
        model = Model(lambda self: read(self.setting))
        model.setting = before
        return Setting(model, lambda: setattr(model, "setting", after))

    return make


def added_later() -> Setting:
    model = Model(lambda self: getattr(self, "temperature", 1.0))
    return Setting(model, lambda: setattr(model, "temperature", 0.1))


@dataclass
class Options:
    beta: float = 1.0
    more: list[Any] = field(default_factory=lambda: [1.0])


class Slotted:
    __slots__ = ("beta",)

    def __init__(self) -> None:
        self.beta = 1.0


class Helper:
    def __init__(self) -> None:
        self.options = Options()

    @property
    def beta(self) -> float:
        return float(self.options.beta * self.options.more[0])


def held(thing: Any, read: Callable[[Any], Any], change: Callable[[Any], Any]) -> Any:
    """An object held by a model, changed in place."""

    def make() -> Setting:
        own = thing()
        model = Model(lambda self: read(self.setting))
        model.setting = own
        return Setting(model, lambda: change(own))

    return make


def function_attribute() -> Setting:
    def factor(self: Any) -> Any:
        return cast("Any", factor).scale

    cast("Any", factor).scale = 1.0
    return Setting(Model(factor), lambda: setattr(factor, "scale", 0.1))


def closure() -> Setting:
    scale = 1.0

    def factor(self: Any) -> float:
        return scale

    def change() -> None:
        nonlocal scale
        scale = 0.1

    return Setting(Model(factor), change)


def default() -> Setting:
    def factor(self: Any, scale: float = 1.0) -> float:
        return scale

    return Setting(Model(factor), lambda: setattr(factor, "__defaults__", (0.1,)))


SCALE = [1.0]
SCALES = {"now": 1.0}


def by_global() -> Setting:
    global NUMBER
    NUMBER = 1.0

    def change() -> None:
        global NUMBER
        NUMBER = 0.1

    return Setting(Model(lambda _: NUMBER), change)


NUMBER = 1.0


def by_global_dict() -> Setting:
    SCALES["now"] = 1.0
    return Setting(Model(lambda _: SCALES["now"]), lambda: SCALES.update(now=0.1))


constants = types.ModuleType("constants_of_a_user")


def by_module() -> Setting:
    vars(constants)["SCALE"] = 1.0
    return Setting(Model(lambda _: constants.SCALE), lambda: vars(constants).update(SCALE=0.1))


class OfGlobal(Model):
    def __init__(self) -> None:
        super().__init__(lambda self: self.beta)

    @property
    def beta(self) -> float:
        return SCALE[0]


def by_property() -> Setting:
    SCALE[0] = 1.0
    return Setting(OfGlobal(), lambda: SCALE.__setitem__(0, 0.1))


def list_of_tensors() -> Setting:
    model = Model(lambda self: self.scales[0])
    model.scales = [torch.tensor(1.0)]
    return Setting(model, lambda: model.scales.__setitem__(0, torch.tensor(0.1)))


def tensor_in_a_list() -> Setting:
    model = Model(lambda self: self.scales[0])
    model.scales = [torch.tensor(1.0)]
    return Setting(model, lambda: model.scales[0].fill_(0.1))


def array() -> Setting:
    model = Model(lambda self: torch.tensor(self.scales[0]))
    model.scales = np.ones(1, np.float32)
    return Setting(model, lambda: model.scales.fill(0.1))


def submodule() -> Setting:
    model = Model()

    def change() -> None:
        torch.manual_seed(7)
        model.net = nn.Linear(2, COLUMNS)

    return Setting(model, change)


def wider() -> Setting:
    model = Model()

    def change() -> None:
        torch.manual_seed(7)
        model.net = cast("Any", nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, COLUMNS)))

    return Setting(model, change)


def parameter() -> Setting:
    model = Model(lambda self: getattr(self, "scale", 1.0))
    return Setting(
        model, lambda: model.register_parameter("scale", nn.Parameter(torch.tensor(0.1)))
    )


def buffer() -> Setting:
    model = Model(lambda self: getattr(self, "scale", 1.0))
    return Setting(model, lambda: model.register_buffer("scale", torch.tensor(0.1)))


def no_bias() -> Setting:
    model = Model()
    return Setting(model, lambda: setattr(model.net, "bias", None))


def hook() -> Setting:
    model = Model()
    return Setting(model, lambda: model.net.register_forward_hook(lambda *call: call[2] * 0.1))


def pre_hook() -> Setting:
    model = Model()
    return Setting(
        model, lambda: model.net.register_forward_pre_hook(lambda _, given: (given[0] * 0.1,))
    )


HANDLES: list[Any] = []


def hook_on_all() -> Setting:
    def change() -> None:
        HANDLES.append(
            register_module_forward_hook(
                lambda module, _, out: out * 0.5 if isinstance(module, nn.Linear) else None
            )
        )

    return Setting(Model(), change)


def training() -> Setting:
    model = Model(lambda self: 1.0 if self.net.training else 0.1)
    return Setting(model, lambda: model.net.eval())


def class_of_a_module() -> Setting:
    class Scaled(Model):
        def forward(self, x: Tensor) -> None:
            super().forward(x * 0.1)

    model = Model()
    return Setting(model, lambda: setattr(model, "__class__", Scaled))


def replaced_method() -> Setting:
    model = Model(lambda self: self.beta())
    model.beta = lambda: 1.0  # type: ignore[assignment]  # as a user might
    return Setting(model, lambda: setattr(model, "beta", lambda: 0.1))


SETTINGS: dict[str, Callable[[], Setting]] = {
    "class attribute overridden": overridden,
    "class attribute": of_the_class,
    "from None to a float": attribute(None, 0.1, lambda value: 1.0 if value is None else value),
    "from an int to a float": attribute(1, 1.5),
    "float": attribute(1.0, 0.1),
    "np.float32": attribute(np.float32(1.0), np.float32(0.1)),
    "tuple": attribute((1.0, 2), (0.1, 2), lambda value: value[0]),
    "frozen set": attribute(frozenset({1.0}), frozenset({0.1}), lambda value: min(value)),
    "partial": attribute(partial(float, "1"), partial(float, ".1"), lambda value: value()),
    "function": attribute(lambda: 1.0, lambda: 0.1, lambda value: value()),
    "added later": added_later,
    "dict": held(lambda: {"a": 1.0}, lambda own: own["a"], lambda own: own.update(a=0.1)),
    "nested dict": held(
        lambda: {"a": [{"b": 1.0}]},
        lambda own: own["a"][0]["b"],
        lambda own: own["a"][0].update(b=0.1),
    ),
    "list that grows": held(lambda: [1.0], sum, lambda own: own.append(0.1)),
    "set": held(lambda: {1.0}, sum, lambda own: own.add(0.1)),
    "deque": held(lambda: deque([1.0], 1), lambda own: own[0], lambda own: own.append(0.1)),
    "dataclass": held(Options, lambda own: own.beta, lambda own: setattr(own, "beta", 0.1)),
    "helper object": held(
        Helper, lambda own: own.beta, lambda own: own.options.more.__setitem__(0, 0.1)
    ),
    "slots": held(Slotted, lambda own: own.beta, lambda own: setattr(own, "beta", 0.1)),
    "function attribute": function_attribute,
    "closure": closure,
    "default of an argument": default,
    "global": by_global,
    "global dict": by_global_dict,
    "constant of a module": by_module,
    "property": by_property,
    "list of tensors": list_of_tensors,
    "tensor in a list": tensor_in_a_list,
    "array": array,
    "submodule": submodule,
    "another kind of submodule": wider,
    "parameter added": parameter,
    "buffer added": buffer,
    "parameter removed": no_bias,
    "forward hook": hook,
    "forward pre-hook": pre_hook,
    "hook on all modules": hook_on_all,
    "evaluation of a part": training,
    "class of a module": class_of_a_module,
    "method replaced": replaced_method,
}
