"""Alt text of the KL of latent dimensions."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ppvae.diagnostics.shared.wording import decimals
from ppvae.programs.sites import dimension_names


def kl_by_dimension_alt(sites: Mapping[str, Any], *, has_variance: bool) -> str:
    """Alt text of `draw_kl_by_dimension`, of the mean KL of each dimension in nats, by site."""
    values = np.concatenate(list(sites.values()))
    names = dimension_names({site: len(each) for site, each in sites.items()})
    largest = int(values.argmax())
    below = ", and below the variance of its posterior mean over data" if has_variance else ""
    return (
        f"Bars: the KL of each of {len(values)} latent dimensions in nats per datum, the largest "
        f"first{below}. The largest is {decimals(float(values[largest]))}, of {names[largest]}; "
        f"their sum is {decimals(float(values.sum()))}."
    )
