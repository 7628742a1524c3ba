"""Traits of bounds, their own and inherited ones."""

import pytest
from pyro.infer import ELBO, Trace_ELBO, TraceEnum_ELBO, TraceGraph_ELBO, TraceMeanField_ELBO

from ppvae.bounds import ELBOS, FreeBitsELBO, RenyiELBO, StickingTheLandingELBO, WeightedELBO
from ppvae.bounds.traits import Traits, traits_of


@pytest.mark.parametrize("elbo", ELBOS)
def test_a_bound_that_has_a_name_states_its_traits(elbo: type[ELBO]) -> None:
    traits = traits_of(elbo)
    assert traits != Traits()
    assert traits.weighs_draws == issubclass(elbo, WeightedELBO)
    assert traits.has_closed_form_kl == issubclass(elbo, TraceMeanField_ELBO)
    # A value is reconstruction - beta KL, or a function of weights, or a sum over values.
    assert traits.is_linear + traits.weighs_draws + traits.enumerates <= 1


def test_what_is_linear_says_so_itself() -> None:
    linear = {elbo for elbo in ELBOS if traits_of(elbo).is_linear}
    assert linear == {TraceMeanField_ELBO, Trace_ELBO, StickingTheLandingELBO}


def test_a_bound_of_ones_own_has_the_traits_of_what_it_is_derived_from_but_is_not_linear() -> None:
    class Own(TraceMeanField_ELBO):
        pass

    class Further(Own):
        traits = Traits(is_linear=True)

    assert traits_of(Own) == Traits(has_closed_form_kl=True, needs_rsample=True)
    assert traits_of(Further) == Traits(is_linear=True)
    assert traits_of(RenyiELBO) == WeightedELBO.traits
    assert traits_of(TraceGraph_ELBO).has_surrogate
    assert traits_of(TraceEnum_ELBO) == Traits(enumerates=True)
    assert not traits_of(FreeBitsELBO).is_linear
