"""Checks of the user's own parts: each is called once, before anything is fitted."""

import inspect
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ppvae.errors import InputError
from ppvae.guides import Amortized
from ppvae.networks import Shape
from ppvae.programs.streams import forked


def is_foreign(target: Any) -> bool:
    """Whether a class or function is not of this package."""
    return str(getattr(target, "__module__", "")).split(".")[0] != "ppvae"


@contextmanager
def failures_told(failure: str, target: Any) -> Iterator[None]:
    """Report in one sentence what a user's code raises, with its file and line.

    Args:
        failure: what failed, as the beginning of the sentence.
        target: the class or function; exceptions of this package's own pass unchanged.

    Raises:
        InputError: the sentence.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # the code is the user's, and may raise anything
        if not is_foreign(target):
            raise
        words = " ".join(str(error).split()) or "no message"
        raise InputError(
            f"{failure}: {type(error).__name__}: {words}{_place(target, error)}"
        ) from error


def check_part(
    role: str, path: str, part: Any, *, latent_dim: int, data_shape: Shape, examples: Tensor
) -> None:
    """Call a prior, likelihood or guide once, and check the distribution that it returns.

    Skipped are parts of this package, which its tests check, and programs that are not one
    distribution. Nothing is drawn, and no random state changes.

    Args:
        role: ``"prior"``, ``"likelihood"`` or ``"guide"``.
        path: its name, as the user wrote it.
        part: the object.
        latent_dim: number of latent dimensions.
        data_shape: shape of one datum.
        examples: some data.

    Raises:
        InputError: with the actual and the expected result, and a remedy.
    """
    if not is_foreign(type(part)):
        return
    x, name = examples[:2], f"`{role}={path!r}`"
    _check_parameters(name, part)
    call: Callable[[], Any]
    want: tuple[Shape, Shape]
    params_axis = 0
    if role == "prior":
        call, of, want = part, "", ((), (latent_dim,))
    elif role == "likelihood":
        shape = _decoder_shape(name, part)
        h = torch.zeros(2, *shape)
        call = partial(part, h)
        of = f" for h of shape {tuple(h.shape)} (params_per_element = {shape[0]})"
        want, params_axis = ((2,), tuple(data_shape)), -len(data_shape) - 1
    elif role == "guide" and isinstance(part, Amortized) and not part.y_size:
        call, of = partial(part.posterior, x), f" for x of shape {tuple(x.shape)}"
        want = ((len(x),), (latent_dim,))
    else:
        return
    with torch.no_grad(), forked(x.device), failures_told(f"{name} fails{of}", type(part)):
        fn = call()
    _check_distribution(name, of, fn, want, params_axis)


def _check_parameters(name: str, part: Any) -> None:
    """Refuse a tensor that needs a gradient, and that no optimizer would find."""
    modules = part.modules() if isinstance(part, nn.Module) else ()
    for key, value in ((key, value) for each in modules for key, value in vars(each).items()):
        if isinstance(value, Tensor) and value.requires_grad:
            how = "make it an nn.Parameter" if value.is_leaf else "compute it in forward"
            raise InputError(
                f"{name} has a tensor {key} that needs a gradient and is not a parameter, so it "
                f"would not be learned; {how}"
            )


def _decoder_shape(name: str, part: Any) -> Shape:
    try:
        return tuple(part.decoder_shape)
    except AttributeError:
        raise InputError(
            f"{name} has no decoder_shape, from which the decoder is made; derive it "
            "from ppvae.models.Likelihood, and call super().__init__(data_shape)"
        ) from None


def _check_distribution(
    name: str, of: str, fn: Any, want: tuple[Shape, Shape], params_axis: int
) -> None:
    batch, event = want
    if not hasattr(fn, "log_prob"):
        raise InputError(
            f"{name} returns a {type(fn).__name__}{of}, not a distribution; return one of "
            "pyro.distributions"
        )
    shapes = tuple(fn.batch_shape), tuple(fn.event_shape)
    if shapes == want:
        return
    whole = (*shapes[0], *shapes[1])
    how = ""
    if whole == (*batch, *event) and len(shapes[1]) < len(event):
        how = f"; end it with .to_event({len(event) - len(shapes[1])})"
    elif params_axis and len(whole) == len(batch) + len(event) + 1:
        how = (
            f"; axis {params_axis} of h holds the parameters of an element: remove it by "
            f"h.squeeze({params_axis}), or split it by h.unbind({params_axis})"
        )
    raise InputError(
        f"{name} has a distribution of batch shape {shapes[0]} and event shape {shapes[1]}{of}, "
        f"and must have batch shape {batch} and event shape {event}{how}"
    )


def _place(target: Any, error: Exception) -> str:
    """The last line of the user's own file in the traceback."""
    try:
        own = inspect.getfile(target)
    except (TypeError, OSError):  # a class defined in an interactive session
        return ""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == own]
    return f" ({own}, line {lines[-1]})" if lines else ""
