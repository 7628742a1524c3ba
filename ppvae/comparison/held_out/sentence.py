"""Conclusion of a comparison of runs, which claims no difference that noise can explain."""

from collections.abc import Iterator, Sequence

from ppvae.comparison.held_out.result import Row
from ppvae.diagnostics.shared.wording import plus_minus

NAMED = 4
"""The largest number of rows named in the sentence besides the best one."""

FEW = 10
"""A median effective sample size below which log p(x) may lie far above its estimate."""


def conclusion(rows: Sequence[Row], data: str, count: int, what: str) -> str:
    """The best row, and how far the others are below it."""
    best, *others = rows
    where = f"On {count:,} {data} rows"
    if not others:
        seeds = len(best.runs)
        return (
            f"{where} {what} of {best.name} is {best.log_p} nats per datum: "
            f"the {seeds} runs differ by their seed alone, with a standard error of "
            f"{best.log_p.seed_error:.2f}."
        )
    lower = [row for row in others if row.is_lower]
    alike = [row for row in others if not row.is_lower]
    clauses = [f"{where} {best.name} has the highest {what}, {best.log_p} nats per datum"]
    clauses += [f"{row.name} is not significantly lower, at {_below(row)}" for row in alike[:NAMED]]
    if len(alike) > NAMED:
        clauses.append(f"neither are {len(alike) - NAMED} others")
    clauses += [f"{row.name} is {_below(row)}" for row in lower[:NAMED]]
    if rest := lower[NAMED:]:
        near, far = -rest[0].difference.mean, -rest[-1].difference.mean
        clauses.append(f"{len(rest)} others are {near:.2f} to {far:.2f} lower")
    return "; ".join(clauses) + "."


def notes(rows: Sequence[Row], samples: int, evidence: str, measure: str) -> Iterator[str]:
    """What to know before reading the figures."""
    yield (
        f"{evidence} is estimated with {samples:,} importance samples from each guide: a lower "
        "bound in expectation, the tighter the better the guide"
    )
    if len(rows) > 1 and all(len(row.runs) == 1 for row in rows):
        yield (
            "errors do not include other seeds: each setting has one seed, and others may "
            "differ by more; fit some to see"
        )
    for row in rows:
        few = min(run.ess for run in row.runs)
        if samples >= 10 * FEW and few < FEW:
            yield (
                f"half of the data of {row.name} have an effective sample size below {few:.1f} of "
                f"{samples:,}: its {evidence} may lie well above the estimate; take more `samples`"
            )
    if measure != "probability":
        yield f"x is continuous: {evidence} is the logarithm of a density, and may be above 0"


def _below(row: Row) -> str:
    return f"{plus_minus(-row.difference.mean, row.difference.error)} lower"
