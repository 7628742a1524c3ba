"""State of a fit, sufficient to resume it, as tensors and plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

import torch

from ppvae.compilation.optimizers import mark_as_stepped
from ppvae.errors import InputError
from ppvae.programs import streams
from ppvae.training.divergence import Climb, all_finite, diverged
from ppvae.training.progress import Progress


def state_of(climb: Climb) -> dict[str, Any]:
    """See `ppvae.training.trainer.Trainer.state`."""
    if not all_finite(climb.bound.parameters()):
        raise diverged(climb)
    optimizer = climb.optimizer.state_dict()
    count = sum(len(group["params"]) for group in optimizer["param_groups"])
    return {
        "weights": dict(climb.bound.pair.state_dict()),
        "optimizer": {
            "state": [optimizer["state"].get(i) for i in range(count)],
            "param_groups": optimizer["param_groups"],
        },
        "schedule": None if climb.schedule is None else _plain(climb.schedule.state_dict()),
        "random": streams.gather(climb.fabric),
        "progress": asdict(climb.progress) | {"sums": total_sums(climb)},
    }


def total_sums(climb: Climb) -> list[float]:
    """Sums over an epoch so far, over all processes; collective, so every process must call it."""
    own = torch.tensor(climb.progress.sums, dtype=torch.float64)
    sums: list[float] = cast("torch.Tensor", climb.fabric.all_reduce(own, reduce_op="sum")).tolist()
    return sums


def load_state(climb: Climb, state: Mapping[str, Any]) -> None:
    """See `ppvae.training.trainer.Trainer.load_state`."""
    try:
        _load(climb, state)
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise InputError(
            f"the checkpoint does not belong to this fit ({reason}); take another checkpoint, or "
            "fit again"
        ) from error


def _load(climb: Climb, state: Mapping[str, Any]) -> None:
    climb.bound.pair.load_state_dict(state["weights"])
    slots = {i: slot for i, slot in enumerate(state["optimizer"]["state"]) if slot is not None}
    # Whether its step count is on the device depends on this machine.
    groups = [
        saved | ({"capturable": own["capturable"]} if "capturable" in own else {})
        for saved, own in zip(
            state["optimizer"]["param_groups"], climb.optimizer.param_groups, strict=True
        )
    ]
    climb.optimizer.load_state_dict({"state": slots, "param_groups": groups})
    mark_as_stepped(climb.optimizer, stepped=state["progress"]["step"] > 0)
    if climb.schedule is not None:
        climb.schedule.load_state_dict(state["schedule"])
    streams.restore(climb.fabric, state["random"])
    climb.progress = Progress.read(state["progress"])
    if climb.fabric.global_rank:  # the sums are over all processes
        climb.progress.sums = Progress().sums


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    """The state of a schedule without values other than numbers, such as functions."""
    plain = (bool, int, float, str, type(None), Sequence)
    return {key: value for key, value in state.items() if isinstance(value, plain)}
