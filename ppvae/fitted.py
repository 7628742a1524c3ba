"""Fitted runs and their methods."""

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
from ppvae.run.opening import opened
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
    """A fitted run: `ppvae.run.Run` with methods to use the programs.

    Data are NumPy arrays, tensors, pandas tables or sparse matrices, in the unit of the data of the
    fit; a name or a path; or a `ppvae.data.Split`. They are scaled and binarized as in the fit. The
    default is the test data of the run. Missing entries are NaN. The result for a DataFrame, or for
    any data if the data of the fit have column names, is a DataFrame or Series with its index; else
    it is an array. ``y`` has the labels, by name, or the covariates, for programs that take them.
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
        """Encode each datum: a table with one row per datum, with its index or row number.

        Columns are ``label`` if there are labels, ``loc_0``, ... and ``scale_0``, ... of q(z | x),
        and ``log_p``, its standard error ``log_p_error`` and ``elbo``, in nats; see
        `ppvae.diagnostics.encoding`, and `ppvae.encode.encode` on the coverage of the error.

        Args:
            x: the data; see the class.
            y: their labels or covariates.
            mask: True where x was observed.
            split: the split of the run's own data.
            samples: importance samples per datum for log p(x); 0: loc and scale only.
            seed: seed of the samples.
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

        x is in the unit of the model; see ``run.scaling``.

        Args: as `encode`.

        Raises:
            InputError: if there is none: for a point mass, or latents shared by all data.
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

        For binarized data it is the mean intensity, where 1 stands for the largest.

        Args:
            z: ``(n, latent)``; the result of `encode`, of which ``loc`` is used; the AnnData that
                ``python -m ppvae.encode`` wrote; or a mapping from latents to arrays for a model
                with several.
            covariates: the label, by name, or the covariates of a conditional model: one for all,
                or one per z. The default is those of some training data.
        """
        z = of_annotated(z)
        index = z.index if is_frame(z) else None
        form = Form(self.scaling, self.schema.columns, index=index)
        return form.like_x(means_at(self, z, covariates))

    @alone
    def sample(self, n: int = 1, covariates: Any = None, *, seed: int = 0) -> Any:
        """Draws from p(x), z ~ p(z) and x ~ p(x | z), in the unit of the data: ``(n, *shape)``.

        For binarized data a draw is 0 or the largest intensity.

        Args:
            n: number of draws.
            covariates: the label, by name, or the covariates of a conditional model: one for all,
                or one per draw. The default is those of some training data.
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

        A DataFrame is returned whole, with all its columns and its index; of a file the result has
        the columns of x, by the names of the rows or their numbers.
        `ppvae.programs.imputation.impute` also gives their spread, error, and draws.

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
        """Diagnose where nats are lost: `ppvae.diagnose.diagnose`, with its settings.

        Args:
            x: other data; see the class.
            y: their labels or covariates.
            settings: ``quick=True``, ``only="evidence"``, ``overwrite=True`` and so on.
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
            what: ``"elbo"`` (the bound and its terms by epoch), ``"reconstructions"``,
                ``"samples"``, ``"latent"``, or ``"manifold"`` for a two-dimensional latent.
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

    # Conversion of data and results

    def _given(self, x: Any, y: Any, mask: Any = None) -> Any:
        """Arrays as a split; names, paths, splits and None (the run's own data) unchanged."""
        if x is None:
            self.check_here("put them back, or give other data by `x=NEW`")
        if x is None or isinstance(x, (str, Path, Split)):
            return x
        return self.new_rows(x, y, mask)

    def _asked(
        self, x: Any, y: Any, mask: Any, split: str, *, needs_observed: bool = True
    ) -> tuple[Split, Form]:
        """The rows to use, and the form of the result."""
        take_threads_of_fit(self.resolved.get("threads"))
        given = self._given(x, y, mask)
        rows = rows_of(self, given, split, None, None, needs_observed=needs_observed)
        return rows, Form.of(self.scaling, self.schema.columns, x, rows)

    @contextmanager
    def _at(self, device: Device) -> Iterator[torch.device]:
        """Move the programs to a device, and back to the CPU after the block."""
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
    """Open a run directory; see `Run` for its methods.

    A `ppvae.errors.FitWarning` is given for a fit that diverged, whose bound was still rising
    steeply at its end, or that is worse than independent elements.

    Args:
        path: the run directory.
        trust: modules whose code the run may import, by name.
        checkpoint: ``"best"``, ``"last"`` or ``"step-N"``; default the best one, if it exists.
        model: the model object, for a run that was fitted with one.
        guide: the guide object, for a run that was fitted with one.

    Raises:
        InputError: if there is no run, or it is damaged, or has another format.

    Example::

        run = ppvae.load("runs/digits")
        codes = run.encode()
        z = run.guide(run.data().test.take(torch.arange(8))["x"])
    """
    return opened(Run(path, trust=trust, checkpoint=checkpoint, model=model, guide=guide))
