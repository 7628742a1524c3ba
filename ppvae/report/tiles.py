"""HTML of a run for notebooks: tiles with its numbers, and pictures."""

from collections.abc import Iterator, Mapping
from typing import Any

from ppvae.diagnostics.shared.wording import decimals
from ppvae.errors import InputError
from ppvae.report.pictures import thumbnail
from ppvae.run import Run
from ppvae.run.glance import fit_line, lead, lines
from ppvae.run.store import is_there

PICTURES = {
    "reconstructions": "test data, each with the mean of the likelihood at its code",
    "samples": "draws from the model",
    "latent": "codes of the test data",
}

_TILE = "border:1px solid #8886;border-radius:6px;padding:6px 10px;min-width:7em"
_ROW = "display:flex;flex-wrap:wrap;align-items:flex-start;gap:8px;margin:6px 0"


def tiles(run: Run) -> str:
    """The run as HTML, with all its text escaped."""
    from markupsafe import Markup

    try:
        summary = run.summary
    except InputError:
        summary = None
    if summary is None:
        return Markup("<pre>{}</pre>").format("\n".join(lines(run)))
    cells = Markup("").join(
        Markup('<div style="{}"><b>{}</b><br><small>{}</small></div>').format(_TILE, value, what)
        for value, what in _tiles(summary)
    )
    told = [warning.replace("`", "") for warning in run.warnings]
    warnings = Markup("").join(Markup("<div><b>{}</b></div>").format(each) for each in told)
    pictures = Markup("").join(_pictures(run))
    return Markup(
        '<div>{}<div>{}</div><div style="{}">{}</div><div style="{}">{}</div></div>'
    ).format(warnings, fit_line(run), _ROW, cells, _ROW, pictures)


def _tiles(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Value and meaning."""
    log_p, told = summary.get("log_p"), summary.get("classification")
    yield str(summary.get("status")), f"after {decimals(summary.get('epochs'), 0)} epochs"
    if isinstance(log_p, Mapping):
        error = decimals(log_p.get("standard_error"))
        yield (
            f"{decimals(log_p.get('mean'))} \N{PLUS-MINUS SIGN} {error}",
            "log p(x), nats per datum",
        )
    if (found := lead(summary)) is not None:
        distance, side, about = found
        yield distance.replace("+-", "\N{PLUS-MINUS SIGN}"), f"{side} {about}"
    if summary.get("elbo") is not None:
        yield decimals(summary["elbo"]), "bound (ELBO)"
    yield decimals(summary.get("reconstruction")), "reconstruction"
    if summary.get("kl") is not None:
        yield decimals(summary["kl"]), "KL to the prior"
    if isinstance(told, Mapping):
        yield decimals(told.get("accuracy"), 3), "accuracy"
    if summary.get("effective_latents") is not None:
        used = decimals(summary["effective_latents"], 1)
        yield f"{used} of {summary.get('latent_dimensions')}", "effective latents"


def _pictures(run: Run) -> Iterator[str]:
    """The figures of the fit; missing and damaged ones are left out."""
    from markupsafe import Markup

    for name, about in PICTURES.items():
        file = run.path / "figures" / f"{name}.png"
        try:
            if is_there(file):
                picture = thumbnail(file, about)
                yield Markup('<img src="{}" alt="{}" title="{}" style="{}">').format(
                    picture.uri, picture.alt, picture.alt, "max-width:32%;height:auto"
                )
        except InputError:
            continue
