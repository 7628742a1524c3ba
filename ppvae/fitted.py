"""A fitted run, and all that can be asked of it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from ppvae.data import Split
from ppvae.encode import codes_of, rows_of
from ppvae.programs import Program
from ppvae.programs.isolation import alone
from ppvae.programs.streams import seeded
from ppvae.run import run as stored
from ppvae.run.answers import Form, is_frame
from ppvae.run.generating import CHUNK, draws_of, means_at
from ppvae.run.glance import lines
from ppvae.run.latents import of_annotated
from ppvae.settings import Device, Encode
from ppvae.training.devices import one_device
from ppvae.training.threads import take_threads_of_fit

if TYPE_CHECKING:  # slow to import
    import xarray as xr
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from ppvae.comparison.held_out.result import RunComparison
    from ppvae.diagnostics.verdict import Diagnosis

type Part = Literal["train", "valid", "test"]


class Run(stored.Run):
    """A fitted run: `ppvae.run.Run`, and what can be asked of it.

    Data are given as arrays of NumPy, tensors of torch, tables of pandas or sparse matrices, in the
    unit of the data of the fit; as a name or a path; or as a `ppvae.data.Split`. They are scaled
    and binarized as those of the fit were. Without data it is the run's own test data that is asked
    about. A missing entry is NaN. A DataFrame is answered with a DataFrame or a Series with its
    index, and so is everyone where the data of the fit have column names; all others are answered
    with arrays. ``y`` has the labels, by name, or the covariates, of programs that take them.
    """

    def __repr__(self) -> str:
        return "\n".join(lines(self))

    def _repr_html_(self) -> str:
        from ppvae.report.tiles import tiles

        return tiles(self)

    @alone
    def encode(
        self,
        x: Any = None,
        y: Any = None,
        *,
        mask: Any = None,
        split: Part | Literal["all"] = "test",
        samples: int = 100,
        seed: int = 0,
        device: Device = "auto",
    ) -> "DataFrame":
        """Encode each datum: a table of one row per datum, with its index or row number.

        Columns are ``label`` where there are labels, ``loc_0``, ... and ``scale_0``, ... of
        q(z | x), and ``log_p``, its standard error ``log_p_error`` and ``elbo``, in nats; see
        `ppvae.diagnostics.encoding`, and `ppvae.encode.encode` on what the error covers.

        Args:
            x: the data; see the class.
            y: their labels or covariates.
            mask: True where x was observed.
            split: the part of the run's own data.
            samples: importance samples for log p(x) of each datum; 0: loc and scale alone.
            seed: of the samples.
            device: where to compute.
        """
        from ppvae.diagnostics.encoding import encoded_table

        take_threads_of_fit(self.resolved.get("threads"))
        asked = Encode(
            self, self._given(x, y, mask), split=split, samples=samples, seed=seed, device=device
        )
        found = codes_of(self, asked)
        return encoded_table(found, self.schema, x.index if is_frame(x) else None)

    @alone
    def log_p(
        self,
        x: Any = None,
        y: Any = None,
        *,
        mask: Any = None,
        split: Part = "test",
        samples: int = 1000,
        seed: int = 0,
        device: Device = "auto",
    ) -> Any:
        """Log p(x) of each datum, in nats, by importance sampling: ``(data,)``.

        It is of x in the unit that the model sees; see ``run.scaling``.

        Args: as `encode`.

        Raises:
            InputError: where there is none: of a point mass, or latents that all data share.
        """
        from ppvae.diagnostics import log_evidence

        asked = Encode(self, split=split, samples=samples, seed=seed, device=device)
        rows, form = self._asked(x, y, mask, asked.split)
        with self._at(asked.device) as where:
            evidence = log_evidence(
                self.pair, self.audit, rows, samples=samples, seed=seed, device=where
            )
        return form.values(evidence.log_p.numpy())

    @alone
    def decode(self, z: Any, covariates: Any = None) -> Any:
        """The mean of p(x | z) at each z, in the unit of the data: ``(n, *shape)``.

        Of binarized data it is the mean intensity, as 1 stands for the largest.

        Args:
            z: ``(n, latent)``; what `encode` gave, of which ``loc`` is taken; the AnnData that
                ``python -m ppvae.encode`` wrote; or a mapping from latents to arrays, where the
                model has several.
            covariates: the label, by name, or the covariates that the model is conditional on:
                one for all, or one for each z. Without them they are those of some training data.
        """
        z = of_annotated(z)
        index = z.index if is_frame(z) else None
        form = Form(self.scaling, self.schema.columns, index=index)
        return form.like_x(means_at(self, z, covariates))

    @alone
    def sample(self, n: int = 1, covariates: Any = None, *, seed: int = 0) -> Any:
        """Draws of p(x), z ~ p(z) and x ~ p(x | z), in the unit of the data: ``(n, *shape)``.

        Of binarized data a draw is 0 or the largest intensity.

        Args:
            n: how many.
            covariates: the label, by name, or the covariates that the model is conditional on: one
                for all, or one for each draw. Without them they are those of some training data.
            seed: seed of the draws.
        """
        return Form(self.scaling, self.schema.columns).like_x(draws_of(self, n, covariates, seed))

    @alone
    def reconstruct(
        self, x: Any = None, y: Any = None, *, mask: Any = None, split: Part = "test"
    ) -> Any:
        """The mean of p(x | z) at the mean of q(z | x), in the unit of the data, like x.

        Args: as `encode`.
        """
        from ppvae.programs.generation import reconstruct

        rows, form = self._asked(x, y, mask, Encode(self, split=split).split)
        pair, audit = self.pair, self.audit
        with seeded(0, pair.device):
            means = [reconstruct(pair, audit, each).mean for each in rows.chunks(CHUNK)]
        return form.like_x(torch.cat(means))

    @alone
    def impute(
        self,
        x: Any = None,
        y: Any = None,
        *,
        mask: Any = None,
        split: Part = "test",
        samples: int = 1000,
        seed: int = 0,
    ) -> Any:
        """Fill in the missing entries of x by E[x_missing | x_observed]; the others stay.

        `ppvae.programs.imputation.impute` has their spread, error, and draws of them too.

        Args: as `encode`.

        Raises:
            InputError: if nothing is missing, or the model does not take a mask.
        """
        from ppvae.programs.imputation import impute

        asked = Encode(self, split=split, samples=samples, seed=seed)
        rows, form = self._asked(x, y, mask, asked.split, needs_observed=False)
        found = impute(self.pair, self.audit, rows, samples=samples, draws=0, seed=seed)
        return form.filled(found.x, found.mask)

    def diagnose(self, x: Any = None, y: Any = None, **settings: Any) -> "Diagnosis":
        """Ask where nats are lost: `ppvae.diagnose.diagnose`, with its settings.

        Args:
            x: other data; see the class.
            y: their labels or covariates.
            settings: ``quick=True``, ``only=["evidence"]``, ``overwrite=True`` and so on.
        """
        from ppvae.diagnose import diagnose

        return diagnose(self, data=self._given(x, y), **settings)

    def report(self, out: str | Path | None = None) -> Path:
        """Write the run as one page: `ppvae.report.report`."""
        from ppvae.report import report

        return report(self, out)

    @alone
    def plot(self, what: str = "elbo") -> "Figure":
        """A figure of the run and its test data.

        Args:
            what: ``"elbo"`` (the bound and its terms over epochs), ``"reconstructions"``,
                ``"samples"``, ``"latent"``, or ``"manifold"`` where the latent has two dimensions.
        """
        from ppvae.report.figures import figure_of

        return figure_of(self, what)

    def compare(self, *others: str | Path | stored.Run, **settings: Any) -> "RunComparison":
        """Compare log p(x) of the same held-out rows with other runs: `ppvae.compare.compare_runs`.

        Args:
            others: runs, or their directories.
            settings: ``data``, ``samples`` and so on.
        """
        from ppvae.compare import compare_runs

        return compare_runs([self, *others], **settings)

    def to_datatree(self, x: Any = None, y: Any = None, **settings: Any) -> "xr.DataTree":
        """Draws for ArviZ: `ppvae.to_datatree`, with its settings."""
        from ppvae.arviz import to_datatree

        return to_datatree(self, self._given(x, y), **settings)

    # How data come in, and answers go out

    def _given(self, x: Any, y: Any, mask: Any = None) -> Any:
        """Arrays as a split; names, paths, splits and nothing as they are."""
        if x is None or isinstance(x, (str, Path, Split)):
            return x
        return self.new_rows(x, y, mask)

    def _asked(
        self, x: Any, y: Any, mask: Any, split: str, *, needs_observed: bool = True
    ) -> tuple[Split, Form]:
        """The rows that are asked about, and the form of the answer."""
        take_threads_of_fit(self.resolved.get("threads"))
        given = self._given(x, y, mask)
        rows = rows_of(self, given, split, None, None, needs_observed=needs_observed)
        return rows, Form.of(self.scaling, self.schema.columns, x, rows)

    @contextmanager
    def _at(self, device: Device) -> Iterator[torch.device]:
        """The programs on a device, and then on the CPU again."""
        where = one_device(device)
        self.pair.to(where)
        try:
            yield where
        finally:
            self.pair.to("cpu")


@alone
def load(
    path: str | Path,
    *,
    trust: Iterable[str] = (),
    checkpoint: str | None = None,
    model: Program | None = None,
    guide: Program | None = None,
) -> Run:
    """Open a run directory; see `Run` for what can be asked of it.

    A `ppvae.errors.FitWarning` says of a fit that it diverged, that it was still climbing steeply
    when it ended, or that it is worse than independent elements.

    Args:
        path: the run directory.
        trust: modules whose code the run may import, by name.
        checkpoint: ``"best"``, ``"last"`` or ``"step-N"``; by default the best there is.
        model: the model itself, for a run that was fitted to an object made in Python.
        guide: the guide itself, likewise.

    Raises:
        InputError: if there is no run there, or it is broken, or of another format.

    Example::

        run = ppvae.load("runs/digits")
        codes = run.encode()
        z = run.guide(run.data().test.take(torch.arange(8))["x"])
    """
    return stored.opened(Run(path, trust=trust, checkpoint=checkpoint, model=model, guide=guide))
