"""Data of a run: read again as in the fit, and other data read in the same way."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ppvae.data import Data, Scaling, Split, new_rows
from ppvae.data import load as load_data
from ppvae.data import load_new as load_new_data
from ppvae.data.containers import check_same_index
from ppvae.data.covariates import encode_values
from ppvae.data.downloads import ReadOnlyFolder
from ppvae.data.fingerprint import Fingerprint, fingerprint_now
from ppvae.data.labels import hide
from ppvae.data.options import UNKNOWN_SCHEMA, ReadOptions, Schema
from ppvae.data.readers import check_safe_to_read, files_of, named
from ppvae.data.scaling import AS_IS
from ppvae.errors import InputError
from ppvae.run.answers import is_frame
from ppvae.run.config import entry
from ppvae.run.named import by_name
from ppvae.settings import READING, Binarize, Settings, check_seed, settings_of
from ppvae.settings.paths import is_path

OR_OTHERS = "put them back, or give other data by `data=NEW`"
"""The way out for absent data, of a function whose parameter ``data`` takes others."""


class RunData:
    """The data of a run according to its ``config.yaml``; the base of `ppvae.run.Run`.

    Args:
        path: the run directory.
        config: ``config.yaml``, which is untrusted.
        trust: modules whose code may be run to read the data.

    Attributes:
        data_memory: maximum memory in GiB for the rows of a file, as in `ppvae.data.load`.
    """

    def __init__(self, path: Path, config: Mapping[str, Any], trust: Iterable[str]) -> None:
        self.path, self.config = path, dict(config)
        self._trust = (trust,) if isinstance(trust, str) else tuple(trust)
        self._held: Data | None = None
        self.data_memory: float | None = None

    def hold_data(self, data: Data) -> None:
        """Hold the data of the fit, with all labels, if they have no name or path."""
        if not isinstance(self.config.get("data"), str):
            self._held = data

    @property
    def _facts(self) -> Mapping[str, Any]:
        facts: Mapping[str, Any] = entry(self.config["run"], "data", dict, self.path)
        return facts

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Shape of one datum."""
        shape = self._facts.get("shape")
        if not isinstance(shape, list) or any(type(n) is not int or n < 1 for n in shape):
            raise InputError(f"{self.path / 'config.yaml'}: the data's shape is {shape!r}")
        return tuple(shape)

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """Names of the label codes, if the data has labels."""
        if self._facts.get("labels") is None:
            return None
        return tuple(str(name) for name in entry(self._facts, "labels", list, self.path))

    @property
    def column_names(self) -> tuple[str, ...] | None:
        """Names of the columns of x, if the data were an array with names and not a table."""
        if self._facts.get("names") is None:
            return None
        names = tuple(map(str, entry(self._facts, "names", list, self.path)))
        if self.data_shape != (len(names),):
            raise InputError(
                f"{self.path / 'config.yaml'}: {len(names)} names of columns, and data of shape "
                f"{self.data_shape}"
            )
        return names

    @property
    def covariates(self) -> int:
        """Number of covariates."""
        count = self._facts.get("covariates")
        if type(count) is not int or not 0 <= count <= 1_000_000:
            raise InputError(f"{self.path / 'config.yaml'}: covariates of the data is {count!r}")
        return count

    @property
    def scaling(self) -> Scaling:
        """Scaling of the data."""
        return Scaling.from_dict(self._facts.get("scaling"))

    @property
    def fingerprint(self) -> Fingerprint | None:
        """Fingerprint of the data, if it was recorded."""
        return Fingerprint.from_dict(self._facts.get("fingerprint"))

    @property
    def _binarize(self) -> Any:
        return self.config.get("binarize") or "none"

    @property
    def _folder(self) -> Path | None:
        folder = self.config.get("data_dir")
        return None if folder is None else ReadOnlyFolder(str(folder))

    @property
    def _name(self) -> str:
        name = self.config.get("data")
        if not isinstance(name, str):
            raise InputError(
                f"the data of {self.path} was passed in Python; save it as .npz (x, and y) and "
                "give that as `data`"
            )
        return name

    def data(
        self, data_dir: Path | None = None, *, hidden: bool = True, way_out: str = "put them back"
    ) -> Data:
        """The data of the fit, read again in the same way.

        Args:
            data_dir: current folder of published data; default: as in the fit.
            hidden: whether labels hidden from the fit are hidden here too.
            way_out: what the caller's user can do if the files are absent.

        Raises:
            InputError: if it was passed in Python to a fit in another session; if it no longer
                exists.
        """
        data = self._held or self._read_again(data_dir, way_out)
        if self.config.get("labels") is None or not hidden:
            return data
        seed = entry(self.config, "seed", int, self.path)
        check_seed(seed)
        return hide(data, entry(self.config, "labels", int, self.path), seed)

    def _read_again(self, data_dir: Path | None, way_out: str) -> Data:
        name, where, old = self._name, data_dir or self._folder, self.fingerprint
        if "torchvision" not in self._trust:
            check_safe_to_read(name, where)
        is_file = named(name) is None and is_path(name)
        self.check_here(way_out)
        if is_file and old is not None:
            self._check_same(name, fingerprint_now(old, Path(name), files_of(Path(name))))
        data = self.read_alike(name, where)
        is_whole = not is_file or (old is not None and old.size is None)  # read from several files
        if is_whole and data.source is not None:
            self._check_same(name, data.source.fingerprint())
        if data.shape != self.data_shape:
            raise InputError(
                f"{name} now has data of shape {data.shape}, but the run was fitted to "
                f"{self.data_shape}; give the data it was fitted to as `data`"
            )
        return data

    def check_here(self, way_out: str) -> None:
        """Refuse data of the fit whose files are absent."""
        names = () if self._held else ("data", "valid", "test")
        for name in map(self.config.get, names):
            if not isinstance(name, str) or name == "none" or named(name) is not None:
                continue
            if is_path(name) and not Path(name).exists():
                raise InputError(f"the data of the fit, {name}, are not here: {way_out}")

    def intensities(self) -> Data | None:
        """The data of the fit before binarization, if they were binarized.

        Raises:
            InputError: if they cannot be read again.
        """
        if self._binarize == "none":
            return None
        if "torchvision" not in self._trust:
            check_safe_to_read(self._name, self._folder)
        return self.read_alike(self._name, binarize="none")

    def read_alike(
        self, data: Any, data_dir: Path | None = None, *, binarize: Binarize | None = None
    ) -> Data:
        """Data by name or path, or in memory, read as in the fit.

        Args:
            data: data as in `ppvae.data.load`.
            data_dir: current folder of published data; default: as in the fit.
            binarize: another binarization than that of the fit.
        """
        is_begun_anew = self.config.get("start") is None
        return load_data(
            data,
            data_dir=data_dir or self._folder,
            binarize=binarize or self._binarize,
            scaling=self.scaling,
            schema=UNKNOWN_SCHEMA if is_begun_anew else self.schema,  # codes of the first run
            **self._reading,
        )

    @property
    def _reading(self) -> dict[str, Any]:
        """How the data was read, as arguments of `ppvae.data.load`."""
        found: dict[str, Any] = {"data_memory": self.data_memory}
        for name in READING:
            value = self.config.get(name)
            if value is None:
                continue
            try:
                found[name] = settings_of(Settings)[name][1].values.checked(value)
            except ValueError as error:
                raise InputError(
                    f"{self.path / 'config.yaml'}: {name} is {value!r}; it must be {error}"
                ) from error
        return found

    @property
    def schema(self) -> Schema:
        """Schema of the data of the fit: columns, names of labels, covariates."""
        return Schema.from_dict(self._facts)

    def new_data(self, name: Any, data_dir: Path | None = None, label: str | None = None) -> Split:
        """Other data, scaled and binarized as in the fit.

        Args:
            name: a name, a path, or data in memory as in `ppvae.data.load`.
            data_dir: current folder of published data; default: as in the fit.
            label: the column of a table that holds the labels; default: that of the fit.
        """
        where = data_dir or self._folder
        is_named = isinstance(name, str | Path)
        if is_named and "torchvision" not in self._trust and isinstance(where, ReadOnlyFolder):
            check_safe_to_read(name, where)
        return load_new_data(
            name,
            scaling=self.scaling,
            shape=self.data_shape,
            data_dir=where,
            options=self._options(label),
            schema=self.schema,
            names=self.column_names,
            binarize=self._binarize,
        )

    def new_rows(self, x: Any, y: Any = None, mask: Any = None) -> Split:
        """Other data from arrays, scaled and binarized as in the fit.

        Args:
            x: see `ppvae.data.from_arrays`; NaN: not observed. A table with the columns of the fit
                is read like that of the fit.
            y: labels, by name, or covariates; for a fitted table as in `ppvae.run.named.by_name`,
                or as the numbers that the programs see.
            mask: True where x was observed.
        """
        x, y = self._with_covariates(x, y)
        return new_rows(
            x, y, mask, scaling=self.scaling, shape=self.data_shape, binarize=self._binarize,
            options=self._options(None), schema=self.schema, names=self.column_names,
        )  # fmt: skip

    def _with_covariates(self, x: Any, y: Any) -> tuple[Any, Any]:
        """X and y, with covariates of a table in y by name as columns of x, or as numbers."""
        fitted = self.schema.covariates
        if not fitted or y is None or (np.ndim(y) == 2 and not is_frame(y) and not is_frame(x)):
            return x, y
        check_same_index(x, y, "x")
        said = by_name(fitted, y, np.shape(x)[0], "y")
        if is_frame(x):
            return x.rename(columns=str).assign(**said), None
        return x, encode_values(fitted, said, np.shape(x)[0])

    def _options(self, label: str | None) -> ReadOptions:
        """Options to read other data as in the fit; names and labels may be absent."""
        said = {
            name: value for name, value in self._reading.items()
            if name not in ("valid", "test", "split_column", "kinds", "data_memory")
        }  # fmt: skip
        said["memory"] = self.data_memory
        may_lack = frozenset({"index"} if label else {"index", "label"})
        return ReadOptions(**said | ({"label": label} if label else {}), may_lack=may_lack)

    def check_fitted_to(self, data: Data) -> None:
        """Refuse given data that differ from those of the fit, if both are known."""
        if data.source is None:
            return
        for what, own, fitted in zip(
            ("columns", "labels", "covariates"), _names(data.schema), _names(self.schema),
            strict=True,
        ):  # fmt: skip
            if own != fitted:
                raise InputError(
                    f"{data.name} has {what} {_listed(own)}, but the data of {self.path} has "
                    f"{_listed(fitted)}: read it in the same way, by ppvae.data.load with the "
                    "same `label`, `covariates`, `index` and `drop`"
                )
        self._check_same(
            data.name, data.source.fingerprint(),
            "fit again, or with `start` from the weights of this run",
        )  # fmt: skip

    def _check_same(self, name: str, now: Fingerprint, way_out: str | None = None) -> None:
        old = self.fingerprint
        if old is None or (old.size is None) != (now.size is None) or old.sha256 == now.sha256:
            return
        to_read = f"give `data={name!r}` to read it as new data, with the scaling of the fit"
        raise InputError(
            f"{name} is not the data that {self.path} was fitted to: that was {old.sentence()}, "
            f"and this is {now.sentence()}; {way_out or f'{to_read}, or fit again'}"
        )

    def check_scaled_alike(self, split: Split) -> None:
        """Refuse rows with another scaling than the fit, if both are known."""
        of_intensities = split.read_as == AS_IS and self.scaling.kind != "standardized"
        if split.read_as in (None, self.scaling) or of_intensities:
            return
        raise InputError(
            f"the rows have {split.read_as.sentence()}, but {self.path} was fitted to "
            f"{self.scaling.sentence()}: take them from ppvae.data.scaled_as(data, run.scaling)"
        )


def _names(schema: Schema) -> tuple[tuple[str, ...], ...]:
    """Names of the columns, the labels and the covariates."""
    columns, covariates = schema.columns or (), schema.covariates
    return (
        tuple(column.name for column in columns),
        schema.labels or (),
        tuple(name for each in covariates for name in each.names),
    )


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + ", ..." * (len(names) > 5) or "none"
