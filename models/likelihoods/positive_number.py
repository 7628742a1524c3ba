"""A positive number, for all elements of x or for each: a variance, scale or degrees of freedom."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ppvae.errors import InputError
from ppvae.networks import Shape, is_positive

Given = float | Literal["learned", "per-element"]

WORDS = ("learned", "per-element")


class PositiveNumber(nn.Module):
    """A positive number, given or learned; called, it is a scalar, or has ``shape``.

    Args:
        name: the name of the parameter, for errors: ``"likelihood.scale"``.
        value: the number itself, "learned", or "per-element": one learned for each element.
        floor: lower limit of a learned number, which is floor + softplus of a parameter.
        start: initial value of a learned number, above the floor.
        shape: that of the elements; ``None``: only one number for all is allowed.

    Raises:
        InputError: if the number or the floor is not above zero.
    """

    fixed: Tensor

    def __init__(
        self, name: str, value: Given, floor: float, start: float = 1.0, shape: Shape | None = None
    ) -> None:
        super().__init__()
        check_floor(name, floor)
        self.floor, self.is_per_element = floor, value == "per-element"
        self.raw: nn.Parameter | None = None
        words = WORDS if shape is not None else ("learned",)
        learned = "'learned' or 'per-element'" if shape is not None else "or 'learned'"
        way_out = f"give a number above 0, {learned}"
        if isinstance(value, str):
            if value not in words:
                raise InputError(f"`{name}` is '{value}'; {way_out}")
            own = shape if shape and value == "per-element" else ()
            self.raw = nn.Parameter(torch.full(own, math.log(math.expm1(start))))
        elif not is_positive(value):
            raise InputError(f"`{name}` is {value}; {way_out}")
        else:
            self.register_buffer("fixed", torch.tensor(float(value)), persistent=False)

    @torch.no_grad()
    def start_at(self, value: Tensor) -> None:
        """Let learning start from ``value``; a given number stays."""
        if self.raw is not None:
            above = (value - self.floor).clamp(min=self.floor)
            self.raw.copy_(above + (-(-above).expm1()).log())  # the inverse of softplus

    def forward(self) -> Tensor:
        return self.fixed if self.raw is None else self.floor + F.softplus(self.raw)


def check_floor(name: str, floor: float) -> None:
    """Refuse a floor of the parameter ``name`` that is not above zero."""
    if not is_positive(floor):
        part, _, name = name.partition(".")
        raise InputError(f"`{part}.floor` is {floor}; a {name} needs a floor above 0")
