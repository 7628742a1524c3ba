"""The plane of the map: its directions, its limits, and decoded points."""

from collections.abc import Callable

import pytest
import torch

from ppvae.data import as_split
from ppvae.models import VAE
from ppvae.programs.generation import posterior_means, reconstruct
from ppvae.report.page_data import PageData
from ppvae.report.plane import decoded, plane_of
from ppvae.run import Run


def test_the_plane_of_more_latents_is_that_of_the_principal_components() -> None:
    torch.manual_seed(0)
    axes = torch.linalg.qr(torch.randn(5, 5).double()).Q
    codes = torch.randn(400, 5).double() * torch.tensor([3.0, 2.0, 0.1, 0.1, 0.1]) @ axes.T + 1.0
    plane = plane_of(codes)
    covariance = torch.cov(codes.T)
    values, vectors = torch.linalg.eigh(covariance)
    for k in range(2):
        cosine = float(plane.directions[k] @ vectors[:, -1 - k])
        assert abs(cosine) == pytest.approx(1.0, abs=1e-9)
        assert plane.directions[k].abs().max() == plane.directions[k].max()
    share = float(values[-2:].sum() / values.sum())
    assert f"{share:.0%} of their variance" in plane.sentence
    nodes = plane.nodes(5, 3)
    places = plane.coordinates(nodes).reshape(3, 5, 2)
    torch.testing.assert_close(places[0, 0], torch.tensor([plane.low[0], plane.high[1]]).double())
    torch.testing.assert_close(places[2, 4], torch.tensor([plane.high[0], plane.low[1]]).double())
    inside = (plane.coordinates(codes) >= torch.tensor(plane.low)).all(1)
    assert inside.float().mean() > 0.9


@pytest.mark.parametrize("width", [1, 2])
def test_few_latents_are_their_own_plane(width: int) -> None:
    codes = torch.arange(12.0).reshape(-1, width) / 10
    plane = plane_of(codes)
    torch.testing.assert_close(plane.coordinates(codes)[:, :width], codes.double())
    assert plane.nodes(4, 1).shape == (4, width)


@pytest.mark.parametrize(("spread", "side"), [(0.0, 4.0), (0.01, 0.5), (0.4, 1.04)])
def test_a_frame_does_not_follow_codes_that_hardly_spread(spread: float, side: float) -> None:
    codes = torch.zeros(200, 3).double()
    codes[:100, 0], codes[100:, 0] = -spread, spread
    plane = plane_of(codes)
    sides = [high - low for low, high in zip(plane.low, plane.high, strict=True)]
    assert sides == pytest.approx([side, side])
    assert ("the frame is wider" in plane.sentence) == (spread < 0.1)
    assert spread != 0.01 or "spread by only 0.01" in plane.sentence


def test_a_node_of_the_plane_is_decoded_as_the_model_decodes_it(made: Callable[[str], Run]) -> None:
    run = made("table")
    model = run.model
    assert isinstance(model, VAE)
    page = PageData(run, run.data().test, "test", None, run.path, None)
    codes = torch.randn(6, 4).double()
    with torch.no_grad():
        expected = model.likelihood(model.decoder(codes.float())).mean
    torch.testing.assert_close(decoded(page, codes, 0), expected)


def test_layers_are_decoded_from_the_codes_of_each(made: Callable[[str], Run]) -> None:
    """At the code of a datum the map shows its reconstruction."""
    for kind in ("hierarchy", "own", "conditional"):
        run = made(kind)
        rows = as_split(**run.data().test.take(torch.arange(3)))
        page = PageData(run, rows, "test", None, run.path, None)
        one = page.rows.take(torch.tensor([1]))
        assert set(posterior_means(run.pair, run.audit, one)) == set(page.embedding.loc)
        codes = page.embedding.joined()[1:2]
        means, _ = reconstruct(run.pair, run.audit, one)
        torch.testing.assert_close(decoded(page, codes, 1), means)
