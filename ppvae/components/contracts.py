"""Does a part of one's own keep its contract? It is called once, before anything is fitted."""

import inspect
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ppvae.errors import InputError
from ppvae.guides import Amortized
from ppvae.networks import Shape
from ppvae.programs.streams import forked

__all__ = ["check_part", "is_foreign", "made_or_said"]


def is_foreign(target: Any) -> bool:
    """Whether a class or function is not of this package."""
    return str(getattr(target, "__module__", "")).split(".")[0] != "ppvae"


def made_or_said(role: str, name: str, target: Any, make: Callable[[], Any]) -> Any:
    """Make a part; what the constructor of one's own raises is told in a sentence, with its place.

    Raises:
        InputError: what went wrong, and in which line.
    """
    if not is_foreign(target):
        return make()
    return _attempted(f"`{role}={name!r}` cannot be made", target, make)


def check_part(
    role: str, name: str, part: Any, *, latent_dim: int, data_shape: Shape, examples: Tensor
) -> None:
    """Call a prior, likelihood or guide once, and look at the distribution that it gives.

    Those of the package, whose tests do that, and programs that are not made of one distribution
    are passed over. Nothing is drawn, and no generator moves.

    Args:
        role: ``"prior"``, ``"likelihood"`` or ``"guide"``.
        name: what the user calls it.
        part: the object.
        latent_dim: number of latent dimensions.
        data_shape: shape of one datum.
        examples: some data.

    Raises:
        InputError: what it does, what it should, and how.
    """
    if not is_foreign(type(part)):
        return
    x = examples[:2]
    call: Callable[[], Any]
    want: tuple[Shape, Shape]
    if role == "prior":
        call, of, want = part, "", ((), (latent_dim,))
    elif role == "likelihood":
        shape = _decoder_shape(name, part)
        h = torch.zeros(2, *shape)
        call = partial(part, h)
        of = f" for h of shape {tuple(h.shape)} (params_per_element = {shape[0]})"
        want = ((2,), tuple(data_shape))
    elif role == "guide" and isinstance(part, Amortized) and not part.y_size:
        call, of = (lambda: part.posterior(x)), f" for x of shape {tuple(x.shape)}"
        want = ((len(x),), (latent_dim,))
    else:
        return
    with torch.no_grad(), forked(x.device):
        fn = _attempted(f"`{role}={name!r}` fails{of}", type(part), call)
    params_axis = -len(data_shape) - 1 if role == "likelihood" else 0
    _check_distribution(f"`{role}={name!r}`", of, fn, want, params_axis)


def _decoder_shape(name: str, part: Any) -> Shape:
    try:
        return tuple(part.decoder_shape)
    except AttributeError:
        raise InputError(
            f"`likelihood={name!r}` has no decoder_shape, by which the decoder is made; derive it "
            "from ppvae.models.Likelihood, and call super().__init__(data_shape)"
        ) from None


def _check_distribution(
    name: str, of: str, fn: Any, want: tuple[Shape, Shape], params_axis: int
) -> None:
    batch, event = want
    if not hasattr(fn, "log_prob"):
        raise InputError(
            f"{name} gives a {type(fn).__name__}{of}, and must give a distribution; return one of "
            "pyro.distributions"
        )
    found = tuple(fn.batch_shape), tuple(fn.event_shape)
    if found == want:
        return
    whole = (*found[0], *found[1])
    how = ""
    if whole == (*batch, *event) and len(found[1]) < len(event):
        how = f"; end it with .to_event({len(event) - len(found[1])})"
    elif params_axis and len(whole) == len(batch) + len(event) + 1:
        how = (
            f"; axis {params_axis} of h holds the numbers of an element: take it away by "
            f"h.squeeze({params_axis}), or part it by h.unbind({params_axis})"
        )
    raise InputError(
        f"{name} gives a distribution of batch shape {found[0]} and event shape {found[1]}{of}, "
        f"and must give batch shape {batch} and event shape {event}{how}"
    )


def _attempted(said: str, target: Any, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except InputError:
        raise
    except Exception as error:  # the code is the user's, and may raise anything
        words = " ".join(str(error).split()) or "no message"
        raise InputError(
            f"{said}: {type(error).__name__}: {words}{_place(target, error)}"
        ) from error


def _place(target: Any, error: Exception) -> str:
    """The last line of the user's own file on the way to an error."""
    try:
        own = inspect.getfile(target)
    except (TypeError, OSError):  # a class of a session
        return ""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == own]
    return f" ({own}, line {lines[-1]})" if lines else ""
