"""Did the fit end too early, or overfit?"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ppvae.diagnostics.answer import Answer, Deficit, Row, is_significant, metric
from ppvae.diagnostics.context import Context
from ppvae.diagnostics.shared.wording import with_error
from ppvae.diagnostics.training.course import Course, course
from ppvae.diagnostics.training.overfitting import Overfitting


@dataclass(frozen=True, repr=False)
class TrainingAnswer(Answer):
    """The course of the fit, and its overfitting; ``None`` where refused.

    Attributes:
        log_p_name: name of what is bounded: log p(x), or that with or given y.
        course: the held-out objective by epoch.
        overfitting: training data compared with the examined ones.
    """

    log_p_name: str
    course: Course | None
    overfitting: Overfitting | None

    question = "How did the fit go?"
    pictures = ()

    @property
    def metrics(self) -> Mapping[str, Any]:
        """The course, and overfitting."""
        metrics: dict[str, Any] = {}
        if self.course is not None:
            metrics["course"] = vars(self.course)
        if self.overfitting is not None:
            metrics["overfitting"] = {
                "log_p": metric(self.overfitting.log_p), "gap": metric(self.overfitting.gap),
                "rows": self.overfitting.rows, "samples": self.overfitting.samples,
            }  # fmt: skip
        return metrics

    @property
    def rows(self) -> tuple[Row, ...]:
        """The course, and overfitting."""
        rows: list[Row] = []
        if self.course is not None:
            gain = f"{self.course.late_gain:+.2f}"
            note = "gain in the best held-out objective"
            rows.append((f"last {self.course.late} of the epochs", gain, note))
            rows.append(("best epoch", f"{self.course.best}", f"of {self.course.epochs}"))
        if self.overfitting is not None:
            others = "" if self.overfitting.is_own else ", or other data"
            by = f", by {self.overfitting.rows:,} data, K = {self.overfitting.samples}"
            rows += [
                (
                    f"{self.log_p_name}, training minus these",
                    with_error(self.overfitting.log_p),
                    f"overfitting of the model{others}{by}",
                ),
                (
                    "gap, these minus training",
                    with_error(self.overfitting.gap),
                    f"overfitting of the encoder{others}{by}",
                ),
            ]
        return tuple(rows)

    @property
    def deficits(self) -> tuple[Deficit, ...]:
        """Overfitting. The gain of more steps is measured in `deficits`."""
        return () if self.overfitting is None else self.overfitting.deficits

    def sentences(self, _answers: Iterable[Answer], /) -> tuple[str, ...]:
        """Whether new data differ from the training data."""
        others = self.overfitting
        if others is None or others.is_own:
            return ()
        if not is_significant(others.log_p.mean, others.log_p.standard_error):
            return ()
        return (
            f"{self.log_p_name} is {with_error(others.log_p)} nats lower on these data than on "
            "the training data: the data differ, or the model has overfitted.",
        )


def ask(context: Context) -> TrainingAnswer:
    """Read ``metrics.csv``, and estimate log p(x) of training and examined data."""
    refusals: dict[str, str] = {}
    way = course(context.run)
    if way is None:
        refusals["course of the fit"] = (
            "metrics.csv has fewer than 5 evaluated epochs at the final beta"
        )
    beside = context.overfitting
    if isinstance(beside, str):
        refusals["overfitting"] = beside
    found = None if isinstance(beside, str) else beside
    return TrainingAnswer(refusals, context.log_p_name, way, found)
