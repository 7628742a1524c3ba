"""Does the gap between bound and log p(x) come from the guide's family or the encoder?"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ppvae.diagnostics.answer import LEAST, Answer, Deficit, Picture, Row, metric
from ppvae.diagnostics.context import Context
from ppvae.diagnostics.gap.gaps import GIVEN, Gaps
from ppvae.diagnostics.shared.estimate import Estimate
from ppvae.diagnostics.shared.wording import decimals, with_error

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class GapAnswer(Answer):
    """Losses of the guide's family and the encoder.

    Attributes:
        log_p_name: name of what is bounded: log p(x), or that with or given y.
        gaps: the gaps; ``None`` where refused.
        is_climbed: whether the fit maximized the ELBO, whose gaps these are.
    """

    log_p_name: str
    gaps: Gaps | None
    is_climbed: bool = True

    @property
    def question(self) -> str:
        """The question."""
        return f"Where is the gap between the bound and {self.log_p_name}?"

    @property
    def metrics(self) -> Mapping[str, Any]:
        """The gaps, and how they were measured."""
        if self.gaps is None:
            return {}
        return {
            "rows": len(self.gaps.log_p), "draws": self.gaps.draws, "steps": len(self.gaps.climb),
            "refined_by": self.gaps.how, "log_p_by": self._log_p_by,
            "still_climbing": self.gaps.still_climbing,
            "amortization_gap": metric(self.gaps.amortization),
            "approximation_gap": metric(self.gaps.approximation),
            "total_gap": metric(self.gaps.total),
        }  # fmt: skip

    @property
    def rows(self) -> tuple[Row, ...]:
        """The gaps."""
        if self.gaps is None:
            return ()
        amortization = "the encoder against the best of the family"
        by = f"{len(self.gaps.log_p):,} data, {self.gaps.draws:,} draws each, "
        by += f"{len(self.gaps.climb):,} steps to the best guide"
        total = f"{self.log_p_name} - bound; {self.log_p_name} {self._log_p_by}; {by}"
        return (
            ("amortization gap", with_error(self.gaps.amortization), amortization),
            (
                "approximation gap", with_error(self.gaps.approximation),
                "the best of the family against the posterior",
            ),
            ("total gap", with_error(self.gaps.total), total),
        )  # fmt: skip

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """The gaps of each datum."""
        gaps = self.gaps
        if gaps is None:
            return ()

        def draw() -> "Figure":
            from ppvae.diagnostics.gap.figure import draw_gaps

            return draw_gaps(
                gaps.approximation.by_datum.numpy(), gaps.amortization.by_datum.numpy(),
                elbo=gaps.elbo.numpy(), log_p=gaps.log_p.numpy(),
            )  # fmt: skip

        alt = (
            "The approximation and the amortization gap of each datum: on average "
            f"{decimals(gaps.approximation.mean)} and {decimals(gaps.amortization.mean)} nats."
        )
        return (Picture("gaps", alt, draw),)

    @property
    def deficits(self) -> tuple[Deficit, ...]:
        """Both gaps, unless the fit maximized another bound, in whose nats others are ranked."""
        return () if self.gaps is None or not self.is_climbed else deficits_of(self.gaps)

    def sentences(self, _answers: Iterable[Answer], /) -> tuple[str, ...]:
        """The gaps, and whether the search for the best guide converged."""
        gaps = self.gaps
        if gaps is None:
            return ()
        sentences = [
            f"The bound is {with_error(gaps.total)} nats below {self.log_p_name}, on "
            f"{len(gaps.log_p):,} data: {with_error(gaps.approximation)} due to the guide's "
            f"family, {with_error(gaps.amortization)} due to the encoder."
        ]
        if gaps.still_climbing > max(LEAST, 0.1 * abs(gaps.total.mean)):
            sentences.append(
                "The search for each datum's best guide was still gaining "
                f"{gaps.still_climbing:.2f} nats: the encoder loses more, the family less."
            )
        return tuple(sentences)

    @property
    def _log_p_by(self) -> str:
        if self.gaps is None or self.gaps.estimator == GIVEN:
            return "known exactly"
        return f"by {self.gaps.estimator}"


def deficits_of(gaps: Gaps) -> tuple[Deficit, ...]:
    """Gains of the best guide and encoder for each datum, with the model held fixed."""
    richer = "a richer family: `guide='FullRank'`, or `guide='Flow'`"
    wider = "a larger encoder (`encoder.hidden`), more `epochs`, or more data"
    both = (("guide", gaps.approximation, richer), ("encoder", gaps.amortization, wider))
    return tuple(
        Deficit(part, gap.mean, gap.standard_error, remedy, held=Estimate.of(gap.by_datum))
        for part, gap, remedy in both
    )


def ask(context: Context) -> GapAnswer:
    """Optimize q for each datum, and measure the gain."""
    found = context.gaps
    if isinstance(found, str):
        return GapAnswer({"gaps": found}, context.log_p_name, None)
    return GapAnswer({}, context.log_p_name, found, is_climbed=context.weighed == 1)
