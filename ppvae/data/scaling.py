"""Scaling of raw values to the numbers that a model sees."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self, cast, final, get_args

import torch
from torch import Tensor

from ppvae.errors import InputError

Kind = Literal["8-bit", "unit", "standardized", "counts", "as-is"]


@final
@dataclass(frozen=True)
class Scaling:
    """The map from raw values to a model's x: (raw - loc) / scale, elementwise.

    It is recorded with every fit, because nats depend on it: the density of raw / s is s times
    that of raw, so a bound in nats is comparable only between equal scalings.

    Args:
        kind: ``"8-bit"``: intensities 0 to 255, divided by 255. ``"unit"``: divided by
            ``scale[0]``, the largest value. ``"standardized"``: a table of D columns, minus ``loc``
            and divided by ``scale``, both of the training rows; one number each for other data.
            ``"counts"``: whole numbers from 0, unchanged, or divided by ``scale[0]`` to get
            intensities in [0, 1]. ``"as-is"``: unchanged.
        loc: D means, or one; only for ``"standardized"``.
        scale: D standard deviations, or one; or the divisor.

    Raises:
        InputError: if ``loc`` and ``scale`` do not fit ``kind``.
    """

    kind: Kind
    loc: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise InputError(f"scaling: kind is {self.kind!r}, not one of {_kinds()}.")
        wanted = {
            "standardized": self.loc is not None
            and self.scale is not None
            and len(self.loc) == len(self.scale),
            "counts": self.loc is None and (self.scale is None or len(self.scale) == 1),
            "unit": self.loc is None and self.scale is not None and len(self.scale) == 1,
        }
        if not wanted.get(self.kind, self.loc is None and self.scale is None):
            raise InputError(
                f"scaling: loc {_brief(self.loc)} and scale {_brief(self.scale)} do not make "
                f"sense for kind {self.kind!r}; standardized has as many of each as columns."
            )
        if not all(math.isfinite(value) for value in self.loc or ()):
            raise InputError("scaling: loc must be finite.")
        if not all(math.isfinite(value) and value > 0 for value in self.scale or ()):
            raise InputError("scaling: every scale must be finite and above 0.")

    def apply(self, raw: Tensor) -> Tensor:
        """Scale ``raw``, (..., D) where standardized and any shape otherwise, to float32."""
        if self.kind == "8-bit":
            return raw.to(torch.float32) / 255
        if self.scale is None:
            return raw.to(torch.float32)
        # In double precision, for columns with a large mean and a small spread: years, identifiers.
        x = raw.to(torch.float64)
        loc, scale = self._tensors
        if loc is not None:
            x = x - loc
        return (x / scale).to(torch.float32)

    @cached_property
    def _tensors(self) -> tuple[Tensor | None, Tensor]:
        """Loc and scale, made once, as batches from disk are scaled one by one."""
        loc = None if self.loc is None else torch.tensor(self.loc, dtype=torch.float64)
        return loc, torch.tensor(self.scale, dtype=torch.float64)

    def undo(self, x: Tensor) -> Tensor:
        """The raw values of ``x``, in double precision; intensities in the unit of bytes."""
        raw = self.undo_spread(x)
        return raw if self.loc is None else raw + torch.tensor(self.loc, dtype=torch.float64)

    def undo_spread(self, spread: Tensor) -> Tensor:
        """The raw distance of a distance ``spread`` in x: times scale."""
        spread = spread.to(torch.float64)
        if self.kind == "8-bit":
            return spread * 255
        if self.scale is None:
            return spread
        return spread * torch.tensor(self.scale, dtype=torch.float64)

    def readable(self, x: Tensor) -> Tensor:
        """`undo`, rounded to the decimals that single precision holds, such as 4195.5.

        Steps are the powers of ten below 1e-5 of each column's scale.
        """
        raw = self.undo(x)
        if self.kind != "standardized":
            return raw
        # By Python, whose powers of ten are exact.
        powers = [10.0 ** (5 - math.floor(math.log10(scale))) for scale in self.scale or ()]
        finer = torch.tensor(powers, dtype=torch.float64)
        return (raw * finer).round() / finer

    def sentence(self) -> str:
        """A description for the user."""
        if self.kind == "8-bit":
            return "8-bit intensities divided by 255"
        if self.kind == "standardized":
            what = "values" if len(self.loc or ()) == 1 else "columns"
            each = zip(self.loc or (), self.scale or (), strict=True)
            if what == "columns" and (0.0, 1.0) in each:  # counts and categories, as they are
                what = "columns of real numbers"
            return f"{what} standardized by the training rows"
        if self.kind == "unit" and self.scale is not None:
            return f"values divided by the largest, {self.scale[0]:g}"
        if self.kind == "counts":
            return "counts as they are" if self.scale is None else f"counts over {self.scale[0]:g}"
        return "values as they are"

    def to_dict(self) -> dict[str, object]:
        """Return plain types for YAML and JSON, without absent fields."""
        fields = {"loc": self.loc, "scale": self.scale}
        return {"kind": self.kind} | {
            name: list(value) for name, value in fields.items() if value is not None
        }

    @classmethod
    def from_dict(cls, fields: object) -> Self:
        """Read the result of ``to_dict`` from a file that anyone may have edited.

        Raises:
            InputError: for anything that ``to_dict`` cannot have written.
        """
        if not isinstance(fields, Mapping) or not set(fields) <= {"kind", "loc", "scale"}:
            raise InputError(
                f"scaling: expected a mapping with kind, loc and scale, found {fields!r:.80}."
            )
        kind = fields.get("kind")
        if not isinstance(kind, str):
            raise InputError(f"scaling: kind is {kind!r:.80}, not one of {_kinds()}.")
        return cls(cast("Kind", kind), _floats(fields, "loc"), _floats(fields, "scale"))


AS_IS = Scaling("as-is")
COUNTS = Scaling("counts")
EIGHT_BIT = Scaling("8-bit")


def _kinds() -> str:
    return ", ".join(get_args(Kind))


def _brief(values: tuple[float, ...] | None) -> str:
    return "absent" if values is None else f"of length {len(values)}"


def _floats(fields: Mapping[object, object], name: str) -> tuple[float, ...] | None:
    values = fields.get(name)
    if values is None:
        return None
    if not isinstance(values, list | tuple):
        raise InputError(f"scaling: {name} must be a list of numbers, not {values!r:.80}.")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"scaling: {name} holds {value!r:.80}, which is not a number.")
    try:
        return tuple(float(value) for value in values)
    except OverflowError as error:
        raise InputError(f"scaling: {name} holds a number beyond any float.") from error
