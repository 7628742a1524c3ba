"""Data and likelihood must fit: values without probability are refused before a step is taken."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.distributions import constraints

from ppvae.audit import Audit, first_outside
from ppvae.choices import KINDS
from ppvae.data import Data
from ppvae.errors import InputError

__all__ = ["demand_support", "is_binary"]

CHUNK = 2048


def is_binary(facts: Audit) -> bool:
    """Whether the model observes the data at a site of zeros and ones."""
    return any(
        getattr(support, "base_constraint", support) is constraints.boolean
        for _, support in facts.supports.values()
    )


def demand_support(data: Data, facts: Audit) -> None:
    """Refuse data that the likelihood gives no probability, before a step is taken."""
    for site, (family, support) in facts.supports.items():
        for name, split in data.splits.items():
            for number, batch in enumerate(split.frozen(0).chunks(CHUNK)):
                outside = first_outside(support, batch["x"])
                if outside is not None:
                    row, value = outside
                    raise InputError(
                        f"row {number * CHUNK + row} of the {name} data ({data.name}) holds "
                        f"{value:.4g}, and {family} (site '{site}') takes only {_values(support)}: "
                        f"{_ways_out(data, batch)}"
                    )
                if data.scaling.kind == "8-bit":
                    break  # 8-bit intensities are alike: what one chunk shows, all would


def _values(support: Any) -> str:
    base = str(getattr(support, "base_constraint", support))
    words = {
        "Boolean()": "0 and 1",
        "Interval(lower_bound=0.0, upper_bound=1.0)": "values in [0, 1]",
    }
    return words.get(base, f"values in {base}")


def _ways_out(data: Data, batch: Mapping[str, Tensor]) -> str:
    x = batch["x"]
    takes = [
        name
        for name, likelihood in KINDS["likelihood"].names().items()
        if bool(likelihood.support.check(x).all())
    ]
    ways = [f"--likelihood {name}" for name in sorted(takes)]
    could_be_binarized = data.scaling.kind in ("8-bit", "counts") or bool(
        ((x >= 0) & (x <= 1)).all()
    )
    if could_be_binarized and data.binarize == "none":
        ways.insert(0, "--binarize dynamic (or static, or threshold)")
    return "choose " + ", or ".join(ways)
