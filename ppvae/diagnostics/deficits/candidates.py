"""Candidates: parts that replace a fitted one."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import nn

from ppvae.diagnostics.deficits.fitted import Fitted, Place, place_of, replaced, shapes_of
from ppvae.programs import Pair


class Put(NamedTuple):
    """Programs with a replaced part.

    Attributes:
        fitted: the programs, with a new audit.
        fresh: new weights, which are not in the fit.
    """

    fitted: Fitted
    fresh: Sequence[nn.Parameter]


@dataclass(frozen=True)
class Candidate:
    """A part that may replace a fitted one.

    Attributes:
        name: its name.
        remedy: the settings to change.
        put: context manager that replaces the old part.
        is_slow: whether a step with it takes much longer.
    """

    name: str
    remedy: str
    put: Callable[[], AbstractContextManager[Put]]
    is_slow: bool = False


@contextmanager
def put_in(
    fitted: Fitted, *places: tuple[Place, nn.Module], fresh: Sequence[nn.Parameter]
) -> Iterator[Put]:
    """Context manager that replaces modules."""
    with replaced(*places):
        yield Put(fitted.again(), fresh)


@contextmanager
def put_guide(
    fitted: Fitted, guide: Any, *places: tuple[Place, nn.Module], fresh: Sequence[nn.Parameter]
) -> Iterator[Put]:
    """Context manager that replaces the guide, and optionally parts of the model."""
    with replaced(*places):
        pair = Pair(fitted.pair.program("model"), guide, fitted.batch)
        yield Put(fitted.again(pair.to(fitted.pair.device)), fresh)


class Network(NamedTuple):
    """A network of the programs, with its input and output shapes."""

    place: Place
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]


def network_of(fitted: Fitted, part: str) -> Network:
    """The decoder or the encoder of the programs.

    Raises:
        InputError: if they have none that can be enlarged.
    """
    place = place_of(fitted.pair, part)
    return Network(place, *shapes_of(fitted, place.module, part))
