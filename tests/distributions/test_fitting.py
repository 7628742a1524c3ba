"""Mixtures of normals that are fitted to points."""

from typing import Any

import pytest
import torch
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_info, threadpool_limits

from ppvae.distributions.fitting import fit_normals


def test_a_fit_has_one_thread_and_no_more_iterations_than_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Other work has the same number of threads as before."""

    def threads() -> set[int]:
        return {each["num_threads"] for each in threadpool_info()}

    seen: list[set[int]] = []
    models: list[GaussianMixture] = []
    fit = GaussianMixture.fit

    def watched(self: Any, x: Any) -> Any:
        seen.append(threads())
        models.append(self)
        return fit(self, x)

    monkeypatch.setattr(GaussianMixture, "fit", watched)
    points = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    with threadpool_limits(2):
        before = threads()
        fit_normals(points, 5, iterations=3)
        assert threads() == before != {1}
    assert seen == [{1}]
    assert models[0].n_iter_ == 3
