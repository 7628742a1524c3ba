"""What would another part gain?"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ppvae.components.spec import Spec
from ppvae.diagnostics.answer import Answer, Attempts, Deficit, Row, metric
from ppvae.diagnostics.baselines.rows import matrix
from ppvae.diagnostics.baselines.whole_numbers import Steps, steps_of
from ppvae.diagnostics.context import Context
from ppvae.diagnostics.deficits.climbing import Climb, first_length
from ppvae.diagnostics.deficits.fitted import Fitted
from ppvae.diagnostics.deficits.measuring import PARTS, Deficits, Measured, deficits
from ppvae.diagnostics.gap.answer import deficits_of
from ppvae.diagnostics.shared.wording import with_error
from ppvae.errors import InputError
from ppvae.run import Run

LONG = 1_000
"""Minimum number of steps to try flows too, whose steps take several times as long."""

PATIENT = 10
"""Minimum patience that is advised after an early stop."""

COUNTED = ("standardized", "as-is", "counts")
"""Scalings of tables whose integers are counts."""


@dataclass(frozen=True, repr=False)
class DeficitsAnswer(Answer):
    """Gains of other parts.

    Attributes:
        log_p_name: name of what is bounded: log p(x), or that with or given y.
        found: the gains; ``None`` where refused.
        others: deficits known without an exchanged part: gaps, and overfitting.
    """

    log_p_name: str
    found: Deficits | None
    others: tuple[Deficit, ...] = ()

    question = "What would another part gain? (gains do not add up)"
    pictures = ()

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Both gains of each part, and how they were measured."""
        if self.found is None:
            return {}
        return {
            "steps": self.found.steps, "spread": self.found.spread, "rows": self.found.rows,
            "draws": self.found.draws, "parts": [_metrics(each) for each in self.found.measured],
        }  # fmt: skip

    @property
    def rows(self) -> tuple[Row, ...]:
        """Each exchanged part, that of the largest gain first."""
        ranked = sorted(self._measured, key=lambda each: -each.along.mean)
        return tuple((each.part, with_error(each.along), self._note(each)) for each in ranked)

    def _note(self, each: Measured) -> str:
        notes = [each.name]
        if each.held is not None:
            notes.append(f"others fixed {with_error(each.held)}")
        if each.log_p is not None:
            notes.append(f"{self.log_p_name} {with_error(each.log_p)}")
        return "; ".join(notes)

    @property
    def _measured(self) -> tuple[Measured, ...]:
        return () if self.found is None else self.found.measured

    @property
    def deficits(self) -> tuple[Deficit, ...]:
        """The deficit of each exchanged part; of the others, what is known without an exchange."""
        exchanged = tuple(
            Deficit(
                each.part, each.along.mean, each.along.standard_error, each.remedy,
                held=each.held, along=each.along, log_p=each.log_p,
            )
            for each in self._measured
        )  # fmt: skip
        there = {each.part for each in exchanged}
        return (*exchanged, *(each for each in self.others if each.part not in there))

    def sentences(self, _answers: Iterable[Answer], /) -> tuple[str, ...]:
        """The measurement in one sentence."""
        if self.found is None:
            return ()
        parts = ", ".join(each.part for each in self.found.measured)
        return (
            f"Deficits were measured by {self.found.steps:,} steps of joint training with another "
            f"part, on {self.found.rows:,} data: {parts}. They do not add up. Their errors "
            "include the data and two trainings of the same programs, which differed by "
            f"{self.found.spread:.2f} nats.",
        )


def _metrics(each: Measured) -> dict[str, Any]:
    figures = {"along": each.along, "held": each.held, "log_p": each.log_p}
    return {"part": each.part, "tried": each.name, "remedy": each.remedy} | {
        name: None if value is None else metric(value) for name, value in figures.items()
    }


def ask(context: Context) -> DeficitsAnswer:
    """Exchange each part for another, train for a while, and measure the gain."""
    attempt = Attempts()
    found = attempt("deficits", lambda: _measured(context))
    gaps, overfitting = context.gaps, context.overfitting
    # Gaps are of the ELBO, and so not comparable with a bound that weighs draws.
    by_gap = () if isinstance(gaps, str) or context.weighed > 1 else deficits_of(gaps)
    refusals = attempt.refusals
    if found is not None:
        found = replace(found, measured=tuple(_with_gaps(found.measured, by_gap)))
        refusals = dict(found.refusals)
    others = by_gap if isinstance(overfitting, str) else (*by_gap, *overfitting.deficits)
    return DeficitsAnswer(refusals, context.log_p_name, found, others)


def _with_gaps(measured: Iterable[Measured], gaps: Iterable[Deficit]) -> Iterator[Measured]:
    """Add the gains of guide and encoder with the model held fixed, by the gaps."""
    held = {each.part: each.held for each in gaps}
    for each in measured:
        yield replace(each, held=held.get(each.part, each.held))


def _measured(context: Context) -> Deficits:
    run, effort = context.run, context.effort
    steps = effort.climbed_steps
    rows = context.gaining_and_choosing(effort.climbed_rows)
    if context.climbed is None or rows is None:
        raise InputError(
            "it needs the training data of the fit and other examined data, which are not at hand"
        )
    few, choosing = rows
    choice = Spec.parse(run.config.get("elbo"), "elbo", trusted=False)
    fitted = Fitted(
        context.pair, context.audit,
        {name: value.to(context.device) for name, value in run.example().items()},
        context.run.elbo, int(run.config.get("particles", 1)), dict(choice.init_args),
    )  # fmt: skip
    beta = float(run.config.get("beta", 1.0))
    with context.progress("joint training with other parts", len(PARTS)) as count:
        climb = Climb(
            context.climbed, choosing, steps, first_length(steps),
            int(run.config.get("batch_size", 128)), seed=context.seed, device=context.device,
        )  # fmt: skip
        return deficits(
            fitted, climb, few, beta=beta, draws=effort.climbed_draws,
            slow=steps >= LONG, longer=_longer(run), counts=_steps(context), on_part=count,
        )  # fmt: skip


def _longer(run: Run) -> str:
    """The settings of a longer fit: a larger patience if that ended the fit, else more epochs."""
    epochs, patience = run.config.get("epochs"), run.config.get("patience")
    gone = (run.summary or {}).get("epochs")
    if not isinstance(epochs, int):
        return "twice the `epochs`"
    if isinstance(patience, int) and isinstance(gone, int) and gone < epochs:
        return f"a larger `patience`, such as `patience={max(PATIENT, 2 * patience)}`"
    return f"`epochs={2 * epochs}`, twice as many"


def _steps(context: Context) -> Steps | None:
    """How x is made from counts, if it is; pixels are not counts."""
    scaling, train = context.run.scaling, context.climbed
    if train is None or not context.is_continuous or scaling.kind not in COUNTED:
        return None
    rows = matrix(train, context.seed)
    steps = steps_of(scaling, rows)
    return None if steps is None or bool((steps.raw(rows).x < 0).any()) else steps
