"""Another part in the place of the fitted one."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import nn

from ppvae.diagnostics.deficits.fitted import Fitted, Place, place_of, replaced, shapes_of
from ppvae.programs import Pair


class Put(NamedTuple):
    """Programs with another part in them.

    Attributes:
        fitted: the programs, looked at anew.
        fresh: weights of the new part, that the fit did not know.
    """

    fitted: Fitted
    fresh: Sequence[nn.Parameter]


@dataclass(frozen=True)
class Candidate:
    """Another part.

    Attributes:
        name: of it.
        remedy: what to change to have it.
        put: puts it in the place of the old one, for as long as the context lasts.
        is_slow: a step with it takes much longer.
    """

    name: str
    remedy: str
    put: Callable[[], AbstractContextManager[Put]]
    is_slow: bool = False


@contextmanager
def put_in(
    fitted: Fitted, *places: tuple[Place, nn.Module], fresh: Sequence[nn.Parameter]
) -> Iterator[Put]:
    """Put modules in their places."""
    with replaced(*places):
        yield Put(fitted.again(), fresh)


@contextmanager
def put_guide(
    fitted: Fitted, guide: Any, *places: tuple[Place, nn.Module], fresh: Sequence[nn.Parameter]
) -> Iterator[Put]:
    """Put another guide beside the model, some of whose parts may be others too."""
    with replaced(*places):
        pair = Pair(fitted.pair.program("model"), guide, fitted.batch)
        yield Put(fitted.again(pair.to(fitted.pair.device)), fresh)


class Network(NamedTuple):
    """A network of the programs, with the shapes that it joins."""

    place: Place
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]


def network_of(fitted: Fitted, part: str) -> Network:
    """The decoder or the encoder of the programs.

    Raises:
        InputError: if they have none that another can be put beside.
    """
    place = place_of(fitted.pair, part)
    return Network(place, *shapes_of(fitted, place.module, part))
