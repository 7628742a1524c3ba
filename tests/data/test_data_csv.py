"""Text tables of all kinds: read correctly, or refused with what was found."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ppvae import data
from ppvae.data.csv_file import csv_source
from ppvae.data.options import ReadOptions
from ppvae.errors import InputError

ROWS = 12
TRUTH = np.array([[i + 0.25, -2.0 * i] for i in range(ROWS)])


def lines(row: Callable[[float, float], str]) -> str:
    return "".join(f"{row(*values)}\n" for values in TRUTH.tolist())


def comma(value: float) -> str:
    return str(value).replace(".", ",")


POINTS = lines(lambda a, b: f"{a},{b}")

READ = {
    "plain": f"a,b\n{POINTS}",
    "semicolons": "a;b\n" + lines(lambda a, b: f"{a};{b}"),
    "semicolons, decimal commas": "a;b\n" + lines(lambda a, b: f"{comma(a)};{comma(b)}"),
    "three decimals each": "a;b\n" + lines(lambda a, b: f"{a:.3f};{b:.3f}".replace(".", ",")),
    "decimal commas in one column": "a;b\n" + lines(lambda a, b: f"{comma(a)};{b:.0f}"),
    "tabs": "a\tb\n" + lines(lambda a, b: f"{a}\t{b}"),
    "tabs, decimal commas": "a\tb\n" + lines(lambda a, b: f"{comma(a)}\t{comma(b)}"),
    "bars": "a|b\n" + lines(lambda a, b: f"{a}|{b}"),
    "spaces in columns": "  a    b\n" + lines(lambda a, b: f"  {a}   {b} "),
    "numpy.savetxt": "# a b\n" + lines(lambda a, b: f"{a:.18e} {b:.18e}"),
    "excel's own line": "sep=;\na;b\n" + lines(lambda a, b: f"{a};{b}"),
    "comments and blank lines": f"# a logger\n#  of 2024\n\na,b\n{POINTS}\n\n",
    "quotes": '"a","b"\n' + lines(lambda a, b: f'"{a}","{b}"'),
    "a trailing separator": "a,b,\n" + lines(lambda a, b: f"{a},{b},"),
    "a trailing separator below": "a,b\n" + lines(lambda a, b: f"{a},{b},"),
    "white space": " a , b \n" + lines(lambda a, b: f" {a} , {b} "),
    "exponents": "a,b\n" + lines(lambda a, b: f"{a * 1e4}E-04,{b / 10}e+1"),
    "carriage returns": f"a,b\n{POINTS}".replace("\n", "\r\n"),
    "an old Mac's": f"a,b\n{POINTS}".replace("\n", "\r"),
}


@pytest.mark.parametrize("kind", READ)
def test_a_table_is_read_as_it_is_meant(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(READ[kind].encode())
    rows = csv_source(path).train
    assert rows.names == ("a", "b")
    np.testing.assert_allclose(rows.read(torch.arange(ROWS))["x"].numpy(), TRUTH, rtol=1e-12)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_names_are_read_in_their_encoding(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(f"Größe,b\n{POINTS}".encode(encoding))
    assert csv_source(path).train.names == ("Größe", "b")


def test_what_is_unlike_most_tables_is_said(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("# of 2024\n" + READ["semicolons, decimal commas"])
    said = data.load(path).describe()
    for words in ("semicolons between fields", "comments above", "decimal commas"):
        assert words in said
    path.write_text(READ["plain"])
    assert "between fields" not in data.load(path).describe()


IRIS = lines(lambda a, b: f"{a},{b},{'setosa' if a < 6 else 'virginica'}")

REFUSED = {
    "a field too many": ("a,b\n" + lines(lambda a, b: f"{a},{b},9"), "line 2 has 3 fields"),
    "row names of R": ("a,b\n" + lines(lambda a, b: f"r{a},{a},{b}"), "row names without a name"),
    "a field too few": ("a,b,c\n" + POINTS, "line 2 has 2 fields"),
    "one line that is torn": (f"a,b\n{POINTS}3.5\n", "line 14 has 1 fields (3.5)"),
    "a title": (f"Export of 2024\na,b\n{POINTS}", "a title above the header"),
    "a comma for decimals, alone": ("a\n" + lines(lambda a, _: comma(a)), "decimal comma"),
    "no header": (POINTS, "no header"),
    "no header, decimal commas": (lines(lambda a, b: f"{comma(a)};{comma(b)}"), "no header"),
    "no header, and words": (IRIS, "no header"),
    "thousands": ("a,b\n" + lines(lambda a, b: f'"1,{a:07.3f}",{b}'), "thousands separators"),
    "thousands by points": ("a;b\n" + lines(lambda a, b: f"1.500,25;{b:.0f}"), "'1.500,25'"),
    "two decimal marks": ("a;b\n" + lines(lambda a, b: f"{comma(a)};{b}"), "a decimal comma and"),
    "units": (f"a,b\n(m),(kg)\n{POINTS}", "remove the row, if it holds units"),
    "percent": ("a,b\n" + lines(lambda a, b: f"{a}%,{b}"), "percent signs"),
    "dates": ("a,b\n" + lines(lambda a, b: f"2024-01-{a:02.0f},{b}"), "dates"),
    "hexadecimal": ("a,b\n" + lines(lambda a, b: f"0x{int(a):02x},{b}"), "column a holds '0x00'"),
    "another mark far below": (
        "a;b\n" + "1,5;2\n" * 600 + "3.5;1\n",
        "column a holds '3.5' in row 601",
    ),
    "no text": ("a\0b\n", "holds zero bytes"),
    "comments alone": ("# a\n# b\n", "no lines, or only comments"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_could_be_misread_is_refused_with_what_was_seen(kind: str, tmp_path: Path) -> None:
    text, says = REFUSED[kind]
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(InputError) as refusal:
        data.load(path)
    sentence = str(refusal.value)
    assert says in sentence
    assert str(path) in sentence
    assert "label='setosa'" not in sentence


@pytest.mark.parametrize(
    "out", [{"drop": ("a",)}, {"index": "a"}, {"label": "a"}, {"kinds": {"a": "category"}}]
)
def test_commas_of_a_column_that_holds_no_numbers_are_read(
    out: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b,c\n" + lines(lambda a, b: f'"1,{a:03.0f}",{b},{b}'))
    source = csv_source(path, ReadOptions(**out))
    assert source.train.names is not None
    assert source.train.names[-2:] == ("b", "c")


def test_years_beside_names_are_a_header(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("country,2019,2020\n" + lines(lambda a, b: f"land{a},{a},{b}"))
    source = csv_source(path, ReadOptions(label="country"))
    assert source.train.names == ("2019", "2020")


def test_truth_values_are_zeros_and_ones(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + lines(lambda a, b: f"{a > 5},{b}"))
    x = csv_source(path).train.read(torch.arange(ROWS))["x"]
    assert x[:, 0].tolist() == [float(a > 5) for a in TRUTH[:, 0]]
