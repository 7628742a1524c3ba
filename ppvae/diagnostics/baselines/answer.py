"""Is log p(x) better than that of simple models of the same rows?"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ppvae.data import Data
from ppvae.diagnostics.answer import Answer, Row
from ppvae.diagnostics.baselines.comparing import compare_baselines
from ppvae.diagnostics.baselines.comparison import Baselines
from ppvae.diagnostics.context import Context
from ppvae.diagnostics.shared.wording import as_sentence, plus_minus, with_error


@dataclass(frozen=True, repr=False)
class BaselinesAnswer(Answer):
    """Comparison of the fit with its baselines.

    Attributes:
        log_p_name: name of what is compared: log p(x), or that with or given y.
        baselines: the baselines; ``None`` if their training data are not available.
    """

    log_p_name: str
    baselines: Baselines | None

    deficits = ()
    pictures = ()

    @property
    def question(self) -> str:
        """The question."""
        return f"Is {self.log_p_name} any good?"

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Log p(x) of each baseline, and the lead of the fit over it, paired by row."""
        return {} if self.baselines is None else self.baselines.to_dict()

    @property
    def rows(self) -> tuple[Row, ...]:
        """Each baseline, and the lead of the fit."""
        rows: list[Row] = []
        for each in () if self.baselines is None else self.baselines.compared.values():
            rows.append((each.about, with_error(each.log_p), f"{each.rows:,} data"))
            if each.difference is not None:
                note = "paired by row; a lower bound in expectation"
                rows.append(("  lead of the fit", with_error(each.difference), note))
        return tuple(rows)

    def sentences(self, _answers: Iterable[Answer], /) -> tuple[str, ...]:
        """Baselines that beat the fit, except the strongest; else its lead over the strongest."""
        found = self.baselines
        if found is None:
            return ()
        scope = found.note and found.strongest is not None
        return (*sentences_of(found), *([as_sentence(found.note)] if scope else []))


def sentences_of(found: Baselines) -> tuple[str, ...]:
    """The baselines that beat a fit, except the strongest, which leads the verdict.

    If none does, the lead of the fit over the strongest.
    """
    _, *others = found.failures or (None,)
    listed = [
        f"{each.about} by {plus_minus(-each.difference.mean, each.difference.standard_error)}"
        for each in others
        if each is not None and each.difference is not None
    ]
    if listed:
        return (f"Other baselines are also better than the fit: {'; '.join(listed)} nats.",)
    strongest = found.strongest
    if found.failures or strongest is None or strongest.difference is None:
        return ()
    lead = with_error(strongest.difference)
    said = f"the fit leads it by {lead} nats"
    if not strongest.is_beaten:
        said = f"the fit leads it by {lead} nats, which is not significant"
    return (f"The strongest baseline is the {strongest.about}: {said}.",)


def ask(context: Context) -> BaselinesAnswer:
    """Fit the baselines to the training data, and score them on the examined rows.

    Sizes are selected on the validation data. If these are examined, one half selects and the other
    half is scored, so that no scored row had an influence on a baseline.
    """
    name, train, valid = context.log_p_name, context.climbed, context.choosing
    if context.is_own and context.data_name == "train":
        reason = (
            "they are fitted to the rows that are examined; give `split='test'` or `split='valid'`"
        )
        return BaselinesAnswer({"baselines": reason}, name, None)
    if train is None or valid is None:
        reason = "they need the training data of the fit, which are not available"
        return BaselinesAnswer({"baselines": reason}, name, None)
    count = context.effort.evidence_rows
    if context.is_own and context.data_name == "valid":
        half = len(context.order) // 2
        count, valid = min(count, half), context.rows(context.order[half:])
    few, evidence = context.some(count), context.evidence
    reason, log_p = "", None
    if isinstance(evidence, str):
        reason = evidence
    else:
        log_p = evidence.log_p[: len(few)]
    data = Data(
        context.run.path.name, few.shape, train, valid, few, context.run.scaling, "none", None
    )
    with context.progress("baselines", 1) as done:
        found = compare_baselines(
            context.pair, context.audit, data, few, log_p, samples=context.effort.samples,
            seed=context.seed, device=context.device, reason=reason,
        )  # fmt: skip
        done(1)
    refusals = {f"baseline {each}": why for each, why in found.left_out.items()}
    if found.note and found.strongest is None:
        refusals["comparison with baselines"] = found.note
    return BaselinesAnswer(refusals, name, found)
