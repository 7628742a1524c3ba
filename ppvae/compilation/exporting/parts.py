"""The encoder and the decoder of a pair of programs, as functions of a batch of tensors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pyro.poutine as poutine
import torch
from torch import Tensor

from ppvae.compilation.exporting.at_means import AtClosedMeans
from ppvae.data import Batch, Scaling
from ppvae.distributions.per_column import Columnwise
from ppvae.distributions.support import elements_of
from ppvae.errors import InputError
from ppvae.programs import Pair, evaluating
from ppvae.programs.facts import Audit

Outputs = dict[str, Tensor]

GIVEN = "<inputs>"
"""Placeholder in the meaning of an output for the inputs that it depends on."""


@dataclass(frozen=True)
class Part:
    """A function from tensors ``(batch, ...)`` to named tensors ``(batch, ...)``.

    Attributes:
        inputs: an example of each input, by name, in order.
        call: the function of these tensors.
        meanings: description of each output, by name.
    """

    inputs: Mapping[str, Tensor]
    call: Callable[..., Outputs]
    meanings: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        return tuple(self.inputs)


def encoder(pair: Pair, audit: Audit, batch: Batch) -> Part:
    """The encoder: from x, and other inputs of the guide, to mean and deviation of q(z | x).

    For a latent below others they are given the means of those above. A class has no output, and
    later latents are given the most probable one.

    Raises:
        InputError: where q(z | x) has no moments per datum in closed form.
    """
    _check_data_plate(audit)
    names = ("x", *(name for name in batch if name in pair.names("guide")))

    def call(*tensors: Tensor) -> Outputs:
        at = AtClosedMeans()
        with at:
            pair.call_guide(**dict(zip(names, tensors, strict=True)))
        found: Outputs = {}
        for site in latents:
            suffix = f"_{site}" if len(latents) > 1 else ""
            for kind, value in zip(("loc", "scale"), at.moments[site], strict=True):
                events = len(at.families[site].event_shape)
                columns = audit.axes.columns(audit.axes.padded(value, events), events)[0]
                found[f"{kind}{suffix}"] = columns.expand(len(tensors[0]), -1)
        return found

    latents = _latents_with_moments(pair, audit, batch, names)
    meanings = {"loc": "mean", "scale": "standard deviation"}
    example = {name: batch[name] for name in names}
    return Part(
        example,
        call,
        {
            name: f"{meanings[name.partition('_')[0]]} of q({_latent(name, latents)} | {GIVEN})"
            for name in _called(pair, call, example)
        },
    )


def decoder(pair: Pair, audit: Audit, batch: Batch, scaling: Scaling | None) -> Part:
    """The decoder: from latents, and other inputs of the model, to the mean of p(x | z).

    Args:
        pair: the programs.
        audit: the audit of the pair.
        batch: some rows.
        scaling: how x was made from raw values, if the mean is wanted in their unit too.

    Raises:
        InputError: where p(x | z) has no mean in closed form, or data share a latent.
    """
    _check_data_plate(audit)
    site, shape = audit.data_site, batch["x"].shape[1:]
    dims = _latent_inputs(pair, audit, batch)
    latents = {name: value.detach() for name, (value, _) in dims.items()}
    extras = [
        name for name in batch if name in pair.names("model") and name not in ("x", "mask", *dims)
    ]
    names = (*latents, *extras)

    def call(*tensors: Tensor) -> Outputs:
        given = dict(zip(names, tensors, strict=True))
        rows = len(tensors[0])
        like = {"x": tensors[0].new_zeros((rows, *shape), dtype=pair.dtype)}
        like |= {name: given[name] for name in extras}
        values = {name: given[name].movedim(0, dim) for name, (_, dim) in dims.items()}
        at = AtClosedMeans(site)
        with at, poutine.condition(data=values):
            pair.call_model(**like)
        mean = at.moments[site][0].to(pair.dtype).reshape(rows, *shape)
        found = {"mean": mean}
        if scaling is not None:
            found["raw"] = _raw(mean, scaling)
        return found

    example = latents | {name: batch[name] for name in extras}
    unit = "" if scaling is None else f", where x was made by: {scaling.sentence()}"
    elements = elements_of(audit.supports[site][1]) if site in audit.supports else None
    is_mixed = isinstance(elements, Columnwise) and any(each.levels for each in elements.columns)
    level = "; of a category the place of its most probable level, from 0" if is_mixed else ""
    meanings = {
        "mean": f"mean of p(x | {GIVEN}), in the model's unit{level}",
        "raw": f"the same in the unit of the data{unit}",
    }
    return Part(example, call, {name: meanings[name] for name in _called(pair, call, example)})


def _raw(x: Tensor, scaling: Scaling) -> Tensor:
    """The inverse of `Scaling.apply`."""
    if scaling.kind == "8-bit":
        return x * 255
    loc = 0.0 if scaling.loc is None else x.new_tensor(scaling.loc)
    return x if scaling.scale is None else x * x.new_tensor(scaling.scale) + loc


def _latent(name: str, latents: Sequence[str]) -> str:
    return name.partition("_")[2] or latents[0]


def _called(pair: Pair, call: Callable[..., Outputs], example: Mapping[str, Tensor]) -> Outputs:
    """The outputs of a part for an example; non-finite ones are refused.

    Raises:
        InputError: naming the output.
    """
    with evaluating(pair):
        found = call(*example.values())
    for name, value in found.items():
        if not bool(value.isfinite().all()):
            raise InputError(
                f"the {name} of some row is not finite: the family has no mean there, or the fit "
                "diverged"
            )
    return found


def _check_data_plate(audit: Audit) -> None:
    if audit.axes.data is None:
        raise InputError(
            "no plate of the programs holds the data, so that there is no row to "
            "export; put the sites of a datum in pyro.plate('data', len(x))"
        )
    if audit.mapped:
        named = ", ".join(f"'{name}'" for name in audit.mapped)
        raise InputError(
            f"{named} is computed from auxiliary draws of the guide: no moments in closed form"
        )


def _latents_with_moments(
    pair: Pair, audit: Audit, batch: Batch, names: Sequence[str]
) -> list[str]:
    """Latents with a mean that they can take; others are refused."""
    with evaluating(pair), AtClosedMeans() as at:
        pair.call_guide(**{name: batch[name] for name in names})
    for name, (mean, _) in at.moments.items():
        if not bool(at.families[name].support.check(mean).all()):
            raise InputError(
                f"site '{name}' cannot take its mean as a value, so that later sites cannot be "
                "given it"
            )
    rows = len(batch["x"])  # a latent shared by all data belongs to no row
    found = [
        name
        for name in audit.latents
        if name in at.moments and rows in at.families[name].batch_shape
    ]
    if not found:
        raise InputError("no latent of the guide belongs to a row of the data")
    return found


def _latent_inputs(pair: Pair, audit: Audit, batch: Batch) -> dict[str, tuple[Tensor, int]]:
    """An example of each latent, rows first, and the dimension of the rows at its site."""
    with evaluating(pair):
        guide = poutine.trace(pair.call_guide).get_trace(**batch)
        model: Any = poutine.trace(poutine.replay(pair.call_model, trace=guide)).get_trace(**batch)
    rows = len(batch["x"])
    found = {}
    for name in audit.latents:
        node = model.nodes[name]
        value = cast("Tensor", node["value"])
        dim = audit.axes.data_dim(len(node["fn"].event_shape))
        if value.dim() < -dim or value.shape[dim] != rows:
            raise InputError(
                f"latent site '{name}' is shared by all data, and so cannot be an input per row"
            )
        found[name] = value.movedim(dim, 0).contiguous(), dim
    return found


def enough_rows(batch: Mapping[str, Tensor], rows: int) -> Batch:
    """The given number of rows of a batch, repeated from the first if it has fewer."""
    places = torch.arange(rows) % len(next(iter(batch.values())))
    return {name: value[places] for name, value in batch.items()}
