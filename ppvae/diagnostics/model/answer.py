"""Would the model generate such data?"""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ppvae.diagnostics.answer import Answer, Attempts, Picture, Row
from ppvae.diagnostics.context import Context
from ppvae.diagnostics.model.columns import modelled_columns, positive_columns, statistics_for
from ppvae.diagnostics.model.predictive import Predictive, check
from ppvae.diagnostics.shared.wording import as_sentence
from ppvae.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class ModelAnswer(Answer):
    """Comparison of the data with data sets drawn from the model.

    Attributes:
        predictive: the check; ``None`` where refused.
        has_all_rows: whether columns without negative values are so in all parts of the run's data;
            else in the examined data, since the others are not at hand.
    """

    predictive: Predictive | None
    has_all_rows: bool = True

    question = "Would the model generate such data?"
    deficits = ()

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Each statistic of the data, and of replicated data."""
        predictive = self.predictive
        if predictive is None:
            return {}
        return {
            "kind": predictive.kind, "rows": predictive.rows,
            "replications": predictive.replications, "verdict": predictive.verdict,
            "statistics": [
                {
                    "name": name, "observed": s.observed,
                    "replicated": float(s.replicated.mean()),
                    "replicated_sd": float(s.replicated.std()), "p_value": s.p_value,
                    "z_score": s.z_score,
                }
                for name, s in predictive.statistics.items()
            ],
        }  # fmt: skip

    @property
    def rows(self) -> tuple[Row, ...]:
        """Each statistic that differs in some set, of the data and of replicated data."""
        statistics = {} if self.predictive is None else self.predictive.statistics
        return tuple(
            (
                name, f"{s.observed:.4g}",
                f"model's {float(s.replicated.mean()):.4g} +- {float(s.replicated.std()):.2g} "
                f"in {len(s.replicated):,} sets, "
                f"p {'=' if s.p_value > 2 / (len(s.replicated) + 1) else '<='} {s.p_value:.2g}",
            )
            for name, s in statistics.items()
            if (s.replicated != s.observed).any()
        )  # fmt: skip

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """Each statistic of the data among those of replicated data, the furthest first."""
        predictive = self.predictive
        if predictive is None:
            return ()

        def draw() -> "Figure":
            from ppvae.diagnostics.model.figure import draw_predictive

            statistics = predictive.by_distance
            return draw_predictive(
                {name: s.observed for name, s in statistics.items()},
                {name: s.replicated.numpy() for name, s in statistics.items()},
                {name: s.p_value for name, s in statistics.items()},
            )

        alt = "Statistics of the data among those of data sets drawn from the model: "
        return (Picture("predictive", as_sentence(alt + predictive.verdict), draw),)

    def sentences(self, _answers: Iterable[Answer], /) -> tuple[str, ...]:
        """Differences between the data and those of the model."""
        predictive = self.predictive
        return (
            ()
            if predictive is None
            else (as_sentence(f"{predictive.verdict}, by {predictive.rows:,} data"),)
        )


def ask(context: Context) -> ModelAnswer:
    """Compare the data with data sets drawn from the model, in a few statistics."""
    few, attempt = context.some(context.effort.replicated_rows), Attempts()
    replications = context.effort.replications
    run, supports = context.run, context.audit.supports
    columns = modelled_columns(supports, run.schema.columns)
    parts = [context.data]
    with contextlib.suppress(InputError):  # new data can be examined without those of the fit
        parts += run.data().splits.values() if columns else ()
    positive = positive_columns(columns, parts, run.scaling)
    statistics = statistics_for(supports, columns, run.scaling, positive)

    def replicate() -> Predictive:
        with context.progress("replicated data sets", replications * len(few)) as count:
            return check(
                context.pair, context.audit, few, replications=replications, rows=len(few),
                statistics=statistics, positive=positive, seed=context.seed, device=context.device,
                on_rows=count,
            )  # fmt: skip

    predictive = attempt("predictive check", replicate)
    return ModelAnswer(attempt.refusals, predictive, len(parts) > 1)
