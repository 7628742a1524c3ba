"""The flow as a prior: one pass through its networks, and the tails of the standard normal."""

import torch

from tests.support.priors import OWN, fresh, made


def test_a_flow_as_a_prior_scores_in_one_pass_through_each_network() -> None:
    case = made("FlowPrior", OWN["FlowPrior"][0], 3)
    seen: list[str] = []
    for key, part in case.named_modules():
        if key.endswith("hyper"):
            part.register_forward_hook(lambda *_, key=key: seen.append(key))
    case(torch.randn(5, 3, dtype=torch.float64))
    assert len(seen) == len(set(seen)) == 2


def test_splines_leave_the_tails_of_the_standard_normal() -> None:
    own = {"transforms": 3, "hidden": (8,)}
    z = torch.cartesian_prod(*[torch.tensor([-40.0, -5.1, 5.1, 9.0], dtype=torch.float64)] * 2)
    normal = fresh("StandardNormal", {})
    torch.testing.assert_close(made("FlowPrior", own)(z), normal(z))
    assert not torch.isclose(made("FlowPrior", own)(z / 10), normal(z / 10)).any()
