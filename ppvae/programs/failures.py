"""Errors of programs as sentences: the site, the shapes, the user's own line, the way out.

Pyro names the site in its message, or holds it in a local variable of a frame of the traceback:
those frames are searched for the name, the distribution and the value.
"""

import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions.util import scale_and_mask
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.utils import lazy_property

from ppvae.errors import InputError
from ppvae.programs import Pair, evaluating
from ppvae.programs.pair import traces
from ppvae.programs.plates import nesting, vectorized
from ppvae.programs.sites import base, family_name, sites

_LIBRARIES = {
    "importlib", "lightning_fabric", "lightning_utilities", "numpy", "ppvae", "pyro", "torch",
    "zuko",
}  # fmt: skip
"""Packages, besides the standard library, whose lines are not the user's."""

_SITE = re.compile(r"\bsite:? '?([^\s':,]+)'?")


@contextmanager
def explained(when: str, hint: str = "") -> Iterator[None]:
    """Convert any exception of a program to an `InputError`.

    Args:
        when: what was being done, as the end of a clause: "on a batch of 64 rows".
        hint: the way out, for messages without one.
    """
    try:
        yield
    except (InputError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # the code is the user's, and may raise anything
        raise InputError(sentence_of(error, when, hint)) from error


def sentence_of(error: Exception, when: str, hint: str = "") -> str:
    """The error, its place, and the way out where it is known."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    name, node = _site(frames, error)
    what = _words(error)
    if node is not None:
        what += _shapes(node)
    where = f" at site '{name}'" if name else ""
    way_out = _way_out(error, name, node) or hint
    return f"the programs fail {when}{where}: {what}{_place(error)}{way_out}"


def _words(error: Exception) -> str:
    """The message without Pyro's table of shapes, and without the values of a whole tensor."""
    text = str(error).split("Trace Shapes:")[0].split("but found invalid values:")[0]
    text = " ".join(text.split()).rstrip(" ,;.")
    if len(text) > 300:
        text = text[:300].rsplit(" ", 1)[0] + " ..."
    kind = type(error).__name__
    return f"{kind}: {text}" if text else kind


def _site(frames: list[FrameType], error: Exception) -> tuple[str, Mapping[str, Any] | None]:
    """The site at which an error arose, and its Pyro message, as far as known."""
    for frame in reversed(frames):
        if not frame.f_globals.get("__name__", "").startswith("pyro."):
            continue
        for variable in ("msg", "site", "initial_msg", "model_site", "guide_site"):
            node = frame.f_locals.get(variable)
            if isinstance(node, dict) and node.get("type") == "sample" and node.get("name"):
                return str(node["name"]), node
    named = _SITE.search(str(error))
    return (named[1], None) if named else ("", None)


def _shapes(node: Mapping[str, Any]) -> str:
    fn: Any = node.get("fn")
    value = node.get("value")
    if not hasattr(fn, "batch_shape"):
        return ""
    of_value = f", the value shape {tuple(value.shape)}" if isinstance(value, Tensor) else ""
    return (
        f" (the distribution has batch shape {tuple(fn.batch_shape)} and event shape "
        f"{tuple(fn.event_shape)}{of_value})"
    )


def _place(error: Exception) -> str:
    """The last line of the user's own code in a traceback."""
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        package = str(frame.f_globals.get("__name__", "")).split(".")[0]
        is_library = package in _LIBRARIES or package in sys.stdlib_module_names - {"__main__"}
        if not is_library and not frame.f_code.co_filename.startswith("<frozen"):
            place = f" ({frame.f_code.co_filename}, line {line})"
    return place


def _way_out(error: Exception, name: str, node: Mapping[str, Any] | None) -> str:
    text = str(error)
    if "within the support" in text:
        return "; give the data, or the distribution, the same support"
    lacking = _lacking(node)
    if lacking and ("hape" in text or "broadcast" in text or "size" in text):
        return f"; end the distribution of '{name}' with .to_event({lacking})"
    return ""


def _lacking(node: Mapping[str, Any] | None) -> int:
    """Number of dimensions of a site's distribution that belong to no plate and no event."""
    shape = getattr(node.get("fn"), "batch_shape", ()) if node is not None else ()
    if node is None or not shape:
        return 0
    sized = all(
        len(shape) >= -plate.dim and shape[plate.dim] in (1, plate.size)
        for plate in vectorized(node)
        if plate.dim
    )
    # Where a plate's own dimension has another size, the data lie further left.
    return max(len(shape) - nesting([node]), 0 if sized else 1)


def unfit_site(pair: Pair, batch: Mapping[str, Tensor], *, zero: bool = True) -> str:
    """The first site with invalid parameters or a non-finite density, in words; ``""`` if none.

    Both programs run once without Pyro's checks, which would raise before the site is known, and
    draw from torch's generators. With ``zero`` a density of 0 counts as invalid too.
    """
    with evaluating(pair), pyro.validation_enabled(False):
        try:
            guide, model = traces(pair, batch)
        except Exception:  # another sentence reports it
            return ""
        for role, trace in (("guide", guide), ("model", model)):
            for name, node in sites(trace).items():
                problem = _unfit(node, zero) if hasattr(node["fn"], "log_prob") else ""
                if problem:
                    return f"site '{name}' of the {role}: {problem}"
    return ""


def of_some_draws(look: Callable[[], str]) -> str:
    """The first non-empty result of ``look`` in 20 calls, as a site may fail at some draws only."""
    return next(filter(None, (look() for _ in range(20))), "")


def unfit_gradient(pair: Pair, batch: Mapping[str, Tensor]) -> str:
    """The first site whose log-density has a non-finite gradient, in words."""
    learned = [p for p in pair.parameters() if p.requires_grad]
    with pyro.validation_enabled(False):  # which would raise before the site is known
        guide, model = traces(pair, batch)
        for role, trace in (("guide", guide), ("model", model)):
            trace.compute_log_prob()
            for name, node in sites(trace).items():
                if not node["log_prob_sum"].requires_grad:
                    continue
                gradients = torch.autograd.grad(
                    node["log_prob_sum"], learned, retain_graph=True, allow_unused=True
                )
                if any(g is not None and not bool(g.isfinite().all()) for g in gradients):
                    return (
                        f"site '{name}' of the {role}: its log-density under "
                        f"{family_name(node['fn'])} has a gradient that is not a number"
                    )
    return ""


def _unfit(node: Mapping[str, Any], zero: bool) -> str:
    fn = base(node["fn"])
    # A mask hides data, and also the parameters computed from them.
    is_masked = isinstance(node["mask"], Tensor) or _has_mask(node["fn"])
    declared = {} if is_masked else getattr(fn, "arg_constraints", {})
    for parameter, constraint in declared.items():
        if constraints.is_dependent(constraint):
            continue
        if parameter not in vars(fn) and isinstance(
            getattr(type(fn), parameter, None), lazy_property
        ):
            continue  # logits or probs, of which only the other was given
        value = getattr(fn, parameter, None)
        if not isinstance(value, Tensor):
            continue
        wrong = ~constraint.check(value)
        if not bool(wrong.any()):
            wrong = value.isnan()
        if bool(wrong.any()):
            is_one = wrong.shape == value.shape
            shown = f"{float(value[wrong][0]):g}" if is_one else "values outside of its range"
            return f"the {parameter} of its {type(fn).__name__} holds {shown}"
    log_prob = scale_and_mask(node["fn"].log_prob(node["value"]), mask=node["mask"])
    if isinstance(log_prob, Tensor):
        wrong = ~(log_prob.isfinite() if zero else log_prob.isfinite() | (log_prob == -torch.inf))
        if bool(wrong.any()) and (zero or _holds(node["fn"], node["value"])):
            shown = f"{float(log_prob[wrong].flatten()[0]):g}".replace("nan", "not a number")
            return f"its log-density under {type(fn).__name__} is {shown}"
    return ""


def _holds(fn: Any, value: Tensor) -> bool:
    """Whether a value is in the support of a distribution, or the support is unknown."""
    try:
        return bool(fn.support.check(value).all())
    except (NotImplementedError, RuntimeError):
        return True


def _has_mask(fn: Any) -> bool:
    while hasattr(fn, "base_dist"):
        if isinstance(fn, dist.MaskedDistribution):
            return isinstance(fn._mask, Tensor)
        fn = fn.base_dist
    return False
