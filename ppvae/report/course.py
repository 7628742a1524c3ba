"""Training curves: the bound and its terms by epoch."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ppvae.diagnostics.shared.wording import HUGE, decimals
from ppvae.errors import InputError
from ppvae.report.interactive import item, plain_text, plot
from ppvae.report.page_data import PageData
from ppvae.report.pictures import drawn, read
from ppvae.report.sections import Key, Plot, Section, Table

TITLE = "Bound and terms over time"

TERMS = {"elbo": "Bound (ELBO)", "reconstruction": "Reconstruction", "kl": "KL to the prior"}

LINES = 10
"""Maximum number of epochs in the table."""

Rows = Sequence[Mapping[str, Any]]


def section(page: PageData) -> Section:
    """The course of the fit."""
    from ppvae import plots

    rows = page.run.history()
    by = {split: [row for row in rows if row["split"] == split] for split in ("train", "valid")}
    terms = [name for name in TERMS if any(_is_number(row[name]) for row in rows)]
    if not terms:
        raise InputError("metrics.csv holds no finite value yet")
    best = page.summary.get("best_epoch")
    beta = {row["beta"] for row in rows} - {None}
    epochs = max(row["epoch"] for row in rows)
    sentences = [f"{epochs:,} epoch{'' if epochs == 1 else 's'}, in nats per datum."]
    if best is not None:
        sentences.append(f"The weights of epoch {best} were kept.")
    if "elbo" not in terms:
        sentences.append(
            "There is no bound to show: the guide is a point mass, or no value was finite."
        )
    elif beta - {1.0}:
        sentences.append(
            "The bound is shown at a KL weight of 1, whatever weight was used in training."
        )
    keys = [
        Key("training data", plots.BLUE, "line"),
        Key("validation data", plots.VERMILLION, "line"),
    ]
    if best is not None:
        keys.append(Key(f"best epoch, {best}", plots.GREY, "dashed"))
    alt = _alt(by, terms, best)
    panels, outside = _panels(by, terms, best)
    if outside:
        sentences.append(f"Some values are outside the axes: {'; '.join(outside)}.")
    file = page.run_figure("elbo")
    still = drawn(plots.history(rows, best_epoch=best), alt) if file is None else read(file, alt)
    return Section(
        "course", TITLE, (" ".join(sentences),),
        plot=Plot("course-plot", item(panels, "course-plot"), alt, tuple(keys)),
        still=(still,),
        tables=(_table(by, terms, best),),
    )  # fmt: skip


def _panels(
    by: Mapping[str, Rows], terms: Sequence[str], best: int | None
) -> tuple[Any, Sequence[str]]:
    """One panel per term, on a shared axis of epochs; and, in words, what is outside the axes."""
    from bokeh.layouts import column
    from bokeh.models import ColumnDataSource, HoverTool, PrintfTickFormatter, Range1d
    from bokeh.models.annotations import Span

    from ppvae import plots
    from ppvae.plots.window import window_on

    epochs = sorted({row["epoch"] for rows in by.values() for row in rows})
    values = {
        (split, term): _series(rows, term, epochs) for split, rows in by.items() for term in terms
    }
    # NaN would break the line between two evaluations.
    evaluated = np.isin(epochs, [row["epoch"] for row in by["valid"] or by["train"]])
    sources = {
        split: ColumnDataSource(
            {"epoch": np.array(epochs)[some]}
            | {f"{of} {term}": v[some] for (of, term), v in values.items()}
        )
        for split, some in (("train", np.full(len(epochs), True)), ("valid", evaluated))
    }
    across = Range1d(start=epochs[0] - 0.5, end=epochs[-1] + 0.5)
    panels, outside = [], []
    for term in terms:
        pair = [values["train", term], values["valid", term]]
        keep = pair[1][[epoch == best for epoch in epochs]]
        window = window_on(pair, keep.tolist())
        if window.outside:
            outside.append(f"{TERMS[term]}, {window.outside}")
        panel = plot(
            height=210, sizing_mode="stretch_width", x_range=across, title=TERMS[term],
            y_axis_label="nats per datum",
        )  # fmt: skip
        if window.limits is not None:
            panel.y_range = Range1d(start=window.limits[0], end=window.limits[1])
            if max(map(abs, window.limits)) >= HUGE:
                panel.yaxis.formatter = PrintfTickFormatter(format="%.1e")
        for split, colour, width in (("valid", plots.VERMILLION, 2.6), ("train", plots.BLUE, 1.5)):
            source = sources[split]
            look = {"x": "epoch", "y": f"{split} {term}", "source": source, "color": colour}
            panel.line(line_width=width, **look)
            if len(source.data["epoch"]) <= 20:
                panel.scatter(size=5, **look)
        if best is not None:
            panel.add_layout(
                Span(location=best, dimension="height", line_dash="dashed", line_color=plots.GREY)
            )
        tips = [("epoch", "@epoch")]
        tips += [(split, f"@{{{split} {term}}}{{0,0.00}}") for split in by]
        panel.add_tools(HoverTool(tooltips=tips, mode="vline", renderers=panel.renderers[:1]))
        panels.append(panel)
    for panel in panels:
        panel.xaxis.ticker.min_interval = 1
    panels[-1].xaxis.axis_label = plain_text("epoch")
    return column(panels, sizing_mode="stretch_width"), outside


def _alt(by: Mapping[str, Rows], terms: Sequence[str], best: int | None) -> str:
    """Values at the first epoch, at the best and at the last."""
    split = "valid" if by["valid"] else "train"
    epochs = sorted({row["epoch"] for row in by[split]})
    told = {epochs[0]: "at first"}
    if best not in (None, epochs[0], epochs[-1]):
        told[best] = f"at epoch {best}, the best"
    told[epochs[-1]] = "at last"
    of = {"valid": "validation", "train": "training"}[split]
    clauses = []
    for term in terms:
        values_of = dict(zip(epochs, _series(by[split], term, epochs), strict=True))
        values = (f"{_nats(values_of[e])} {when}" for e, when in told.items() if e in values_of)
        clauses.append(f"{TERMS[term]} {', '.join(values)}")
    return f"Curves over epochs, in nats per datum of {of} data: {'; '.join(clauses)}."


def _nats(value: float) -> str:
    return decimals(float(value)) if math.isfinite(value) else "none"


def _series(rows: Rows, term: str, epochs: Sequence[int]) -> Any:
    """A term by epoch, NaN where it is absent; the last value of a repeated epoch."""
    by_epoch = {row["epoch"]: row[term] for row in rows if _is_number(row[term])}
    return np.array([by_epoch.get(epoch, math.nan) for epoch in epochs], dtype=np.float64)


def _table(by: Mapping[str, Rows], terms: Sequence[str], best: int | None) -> Table:
    epochs = sorted({row["epoch"] for row in by["valid"] or by["train"]})
    some = {epochs[i] for i in np.linspace(0, len(epochs) - 1, LINES).round().astype(int)}
    some |= {best} & set(epochs)
    cells = {(s, row["epoch"], t): row[t] for s, rows in by.items() for row in rows for t in terms}
    return Table(
        "Values at some epochs, in nats per datum",
        ("epoch", *(f"{term}, {split}" for term in terms for split in by)),
        tuple(
            (str(e), *(decimals(cells.get((split, e, term))) for term in terms for split in by))
            for e in sorted(some)
        ),
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
