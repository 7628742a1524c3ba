"""The path of x from `fit` to its density, by the stack of an eager step."""

import traceback
from pathlib import Path
from typing import Any

import pytest
import torch

import ppvae
from ppvae.models import VAE
from tests.support.fits import small

ROOT = Path(ppvae.__file__).parent


class _Seen(BaseException):
    """Ends a fit; the package does not catch it."""


def _walk() -> list[str]:
    """Files of the package on the stack from `fit` on, each once."""
    files = [frame.filename for frame in traceback.extract_stack()]
    inside = [str(Path(f).relative_to(ROOT)) for f in files if Path(f).is_relative_to(ROOT)]
    inside = [f for f in inside[inside.index("fit.py") :] if f.split("/")[0] != "models"]
    return [f for f, before in zip(inside, ["", *inside], strict=False) if f != before]


@pytest.mark.parametrize("target", [(torch.distributions.Bernoulli, "log_prob"), (VAE, "forward")])
@pytest.mark.parametrize(
    "elbo", ["TraceMeanField_ELBO", "StickingTheLandingELBO", "ImportanceWeightedELBO"]
)
def test_x_walks_through_few_files_and_returns_to_none(
    elbo: str, target: tuple[Any, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    owner, name = target
    plain = getattr(owner, name)
    walks: list[list[str]] = []

    def watched(*args: Any, **kwargs: Any) -> Any:
        walk = _walk()
        if "training/trainer.py" in walk and "training/evaluation.py" not in walk:
            walks.append(walk)
            raise _Seen
        return plain(*args, **kwargs)

    monkeypatch.setattr(owner, name, watched)
    with pytest.raises(_Seen):
        small(
            tmp_path, data="digits", likelihood="Bernoulli", elbo=elbo, particles=2, compile="off"
        )
    (walk,) = walks
    assert walk[:3] == ["fit.py", "training/epochs.py", "training/trainer.py"]
    assert len(walk) <= 10
    assert len(set(walk)) == len(walk), f"x returns: {walk}"
