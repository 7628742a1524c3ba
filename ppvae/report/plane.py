"""A plane through the latent space, decoded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyro.poutine as poutine
import torch
from torch import Tensor

from ppvae.data import Batch
from ppvae.distributions.moments import AtMeans
from ppvae.errors import InputError
from ppvae.programs import evaluating
from ppvae.programs.generation import decode
from ppvae.programs.streams import seeded
from ppvae.report.page_data import PageData

TIGHT = 0.25
"""Minimum half-width of the plane, for priors of scale about 1: below it, only noise is seen."""

EDGE = 0.02
"""Share of the codes at each end that may lie outside the plane."""


@dataclass(frozen=True)
class Plane:
    """origin + a * first direction + b * second direction; or a line, with no second direction.

    Attributes:
        origin: ``(latents,)``.
        directions: ``(2, latents)``, or ``(1, latents)`` of a latent of one dimension.
        names: names of the axes; empty for a missing second direction.
        sentence: its description.
        low: the least a and b shown.
        high: the greatest.
        label: its name in a list of planes.
    """

    origin: Tensor
    directions: Tensor
    names: tuple[str, str]
    sentence: str
    low: tuple[float, float]
    high: tuple[float, float]
    label: str = "the latent space"

    def coordinates(self, codes: Tensor) -> Tensor:
        """Coordinates a and b of codes, ``(data, 2)``; on a line, b only spreads the points."""
        return _coordinates(codes, self.origin, self.directions)

    def ellipses(self, scales: Tensor) -> Tensor:
        """Half axes and angle of q(z | x) at one standard deviation, ``(data, 3)``; 0 on a line.

        Args:
            scales: ``(data, latents)``, standard deviations of latents that do not correlate.
        """
        if len(self.directions) < 2:
            return torch.zeros(len(scales), 3, dtype=torch.float64)
        d = self.directions
        covariance = torch.einsum("al,nl,bl->nab", d, scales.double().square(), d)
        values, vectors = torch.linalg.eigh(covariance)
        angle = torch.atan2(vectors[:, 1, 1], vectors[:, 0, 1])
        major, minor = values.clamp(min=0).sqrt().flip(1).T
        return torch.stack([major, minor, angle], dim=1)

    def nodes(self, columns: int, rows: int) -> Tensor:
        """Codes at the nodes of a grid, ``(rows * columns, latents)``; b decreases with the row."""
        a = torch.linspace(self.low[0], self.high[0], columns, dtype=torch.float64)
        b = torch.linspace(self.high[1], self.low[1], rows, dtype=torch.float64)
        grid = torch.stack([a.expand(rows, columns), b[:, None].expand(rows, columns)], dim=-1)
        grid = grid.reshape(-1, 2)[:, : len(self.directions)]
        return self.origin + grid @ self.directions


def planes_of(codes: Tensor, kl: Tensor | None, names: Sequence[str]) -> list[Plane]:
    """`plane_of` the codes; for many latents also the plane of the two dimensions of largest KL.

    Args:
        codes: ``(data, latents)``.
        kl: ``(latents,)``, if every dimension has one.
        names: names of the dimensions.
    """
    planes = [plane_of(codes)]
    if codes.shape[1] > 2 and kl is not None and len(kl) == codes.shape[1]:
        i, j = kl.argsort(descending=True)[:2].tolist()
        directions = torch.eye(codes.shape[1]).double()[[i, j]]
        sentence = (
            f"The plane of {names[i]} and {names[j]}, the dimensions of largest KL, through the "
            "mean of the codes. What is decoded lies on the plane; the code of a datum may lie "
            "off it."
        )
        axes = (names[i], names[j])
        label = "the two dimensions of largest KL"
        planes.append(
            _framed(codes.double(), codes.double().mean(0), directions, axes, sentence, label)
        )
    return planes


def plane_of(codes: Tensor) -> Plane:
    """The plane of a two-dimensional latent, else that in which codes vary most."""
    codes = codes.double()
    width = codes.shape[1]
    if width <= 2:
        origin, directions = torch.zeros(width).double(), torch.eye(width).double()
        names = ("z\N{SUBSCRIPT ONE}", "z\N{SUBSCRIPT TWO}" if width == 2 else "")
        sentence = "The plane is the latent space itself."
        if width == 1:
            sentence = (
                "The latent has one dimension, from left to right; vertically, points are only "
                "spread out."
            )
    else:
        origin = codes.mean(0)
        _, values, directions = torch.linalg.svd(codes - origin, full_matrices=True)
        directions = directions[:2]
        # A principal component has no sign of its own: its largest entry is made positive.
        largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
        directions = directions * largest.sign()
        power = values.square()
        share = float(power[:2].sum() / power.sum().clamp(min=1e-300))
        names = ("first principal component", "second principal component")
        sentence = (
            "The plane of the first two principal components of the codes, through their mean: "
            f"it holds {share:.0%} of their variance. What is decoded lies on the plane; the code "
            "of a datum may lie off it."
        )
    label = "the latent space" if width <= 2 else "principal components"
    return _framed(codes, origin, directions, names, sentence, label)


def _framed(
    codes: Tensor,
    origin: Tensor,
    directions: Tensor,
    names: tuple[str, str],
    sentence: str,
    label: str,
) -> Plane:
    """A plane with limits that contain nearly all codes."""
    places = _coordinates(codes, origin, directions)
    low, high = _limits(places)
    if _reach(places) < TIGHT:
        spread = float(places[:, : len(directions)].std(0, correction=0).max())
        sentence += f" The codes spread by only {spread:.2g}; the frame is wider."
    return Plane(origin, directions, names, sentence, low, high, label)


def decoded(page: PageData, codes: Tensor, reference: int) -> Tensor:
    """The mean of p(x | z) at codes, ``(codes, *shape)``.

    Other inputs of the programs, such as labels, and latents outside the codes, such as classes,
    are those of ``reference``, a place among the rows shown. Codes are concatenated latents, as in
    `Embedding.joined`.
    """
    run = page.run
    one = page.rows.take(torch.tensor([reference]))
    like = {name: value.expand(len(codes), *value.shape[1:]) for name, value in one.items()}
    with seeded(0, run.pair.device):
        means, _ = decode(run.pair, run.audit, like, _latents(page, like, codes))
    return means.cpu()


def _latents(page: PageData, like: Batch, codes: Tensor) -> dict[str, Tensor]:
    """Codes by site, in the shape of each site, with the latents outside the codes."""
    pair, audit = page.run.pair, page.run.audit
    with evaluating(pair), AtMeans():
        nodes: Mapping[str, Any] = poutine.trace(pair.call_guide).get_trace(**like).nodes
    latents = {name: nodes[name]["value"] for name in audit.latents}
    widths = [loc.shape[1] for loc in page.embedding.loc.values()]
    for name, part in zip(page.embedding.loc, codes.split(widths, dim=1), strict=True):
        if audit.axes.data is None:
            raise InputError(
                "no plate of the model holds the data, so codes have no batch dimension"
            )
        value: Tensor = latents[name]
        events = len(nodes[name]["fn"].event_shape)
        whole = audit.axes.padded(value, events)
        placed = audit.axes.uncolumns(part[None].to(value.dtype), whole, events)
        latents[name] = placed.reshape(value.shape)
    return latents


def _coordinates(codes: Tensor, origin: Tensor, directions: Tensor) -> Tensor:
    places = (codes.double() - origin) @ directions.T
    if places.shape[1] == 2:
        return places
    # Multiples of the golden ratio fill an interval evenly, however many there are.
    spread = torch.arange(len(places)).double() * 0.6180339887498949 % 1.0
    extent = float(places.max() - places.min()) or 1.0
    return torch.cat([places, (spread[:, None] - 0.5) * 0.5 * extent], dim=1)


def _limits(places: Tensor) -> tuple[tuple[float, float], tuple[float, float]]:
    """A square around nearly all places, so that both axes have the same scale."""
    middle = _ends(places).mean(0)
    reach = _reach(places)
    half = max(reach, TIGHT)
    if not reach > 1e-6:  # a collapsed posterior: show the range of a prior of scale 1
        half = 2.0
    low, high = middle - half, middle + half
    return (float(low[0]), float(low[1])), (float(high[0]), float(high[1]))


def _ends(places: Tensor) -> Tensor:
    return torch.quantile(places, torch.tensor([EDGE, 1 - EDGE]).double(), dim=0)


def _reach(places: Tensor) -> float:
    """Half the side of a square around nearly all places."""
    ends = _ends(places)
    return 0.65 * float((ends[1] - ends[0]).max())
