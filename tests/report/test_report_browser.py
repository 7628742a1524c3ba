"""The page in headless Chromium: an interactive map, no requests, accessibility."""

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ppvae.report.rendering import rendered
from ppvae.report.sections import Section, Table
from ppvae.run import Run
from tests.support.browsing import (
    AXE,
    MOST_SHEETS,
    in_browser,
    issues,
    opened,
    printed,
    sheets,
)
from tests.support.pages import KINDS


@in_browser
def test_the_browser_has_nothing_to_complain_of_and_asks_for_nothing(
    made: Callable[[str], Run], browser: Any
) -> None:
    from selenium.webdriver.common.by import By

    opened(browser, made("pictures").path / "report.html")
    assert [line for line in browser.get_log("browser") if line["level"] != "INFO"] == []
    events = [json.loads(line["message"])["message"] for line in browser.get_log("performance")]
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert asked
    assert all(url.startswith(("file:", "data:")) for url in asked)
    images = browser.find_elements(By.TAG_NAME, "img")
    assert len(images) >= 6
    assert all(browser.execute_script("return arguments[0].naturalWidth", i) > 0 for i in images)


@in_browser
@pytest.mark.parametrize("kind", ["pictures", "table"])
def test_nothing_is_wider_than_a_phone(kind: str, made: Callable[[str], Run], browser: Any) -> None:
    opened(browser, made(kind).path / "report.html", width=375)
    for details in ("false", "true"):
        browser.execute_script(
            f"document.querySelectorAll('details').forEach((each) => {{ each.open = {details} }})"
        )
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= 375


def luminance(colour: str) -> float:
    """Relative luminance, as in the contrast of WCAG 2."""
    parts = [int(n) / 255 for n in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@in_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_the_light_and_in_the_dark(
    scheme: str, made: Callable[[str], Run], browser: Any
) -> None:
    opened(browser, made("pictures").path / "report.html", scheme=scheme)
    text, page = browser.execute_script(
        "const style = getComputedStyle(document.body); return [style.color, style.backgroundColor]"
    )
    assert (luminance(text) > luminance(page)) == (scheme == "dark")
    both = sorted([luminance(text), luminance(page)])
    assert (both[1] + 0.05) / (both[0] + 0.05) > 7
    label = browser.execute_script(
        "return [...Bokeh.documents[0].all_models].find((each) => each.type === 'LinearAxis')"
        ".axis_label_text_color"
    )
    assert label == {"light": "#1b1d1f", "dark": "#e8eaed"}[scheme]


@in_browser
def test_on_paper_the_still_pictures_take_the_place_of_the_moving(
    made: Callable[[str], Run], browser: Any
) -> None:
    opened(browser, made("pictures").path / "report.html")
    shown = (
        "return ['.live', '.still'].map((name) => "
        "getComputedStyle(document.querySelector(`#map ${name}`)).display)"
    )
    assert browser.execute_script(shown) == ["block", "none"]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert browser.execute_script(shown) == ["none", "grid"]
    opens = "return [...document.querySelectorAll('details')].map((each) => each.open)"
    browser.execute_script("document.querySelector('details').open = true")
    before = browser.execute_script(opens)
    assert set(before) == {True, False}
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert all(browser.execute_script(opens))
    browser.execute_script("dispatchEvent(new Event('afterprint'))")
    assert browser.execute_script(opens) == before
    pdf = browser.execute_cdp_cmd("Page.printToPDF", {})["data"]
    assert base64.b64decode(pdf).startswith(b"%PDF")


@in_browser
def test_a_page_is_printed_on_few_sheets(made: Callable[[str], Run], browser: Any) -> None:
    opened(browser, made("pictures").path / "report.html")
    assert 1 < sheets(printed(browser)) <= MOST_SHEETS


@in_browser
@pytest.mark.skipif(not AXE, reason="AXE_CORE names axe.min.js of the npm package axe-core")
@pytest.mark.parametrize(
    "kind",
    ["pictures", *(pytest.param(k, marks=pytest.mark.slow) for k in KINDS if k != "pictures")],
)
def test_axe_finds_no_issue(kind: str, made: Callable[[str], Run], browser: Any) -> None:
    for scheme, width in (("light", 1200), ("dark", 1200), ("light", 390)):
        opened(browser, made(kind).path / "report.html", scheme=scheme, width=width)
        assert issues(browser) == []


@in_browser
def test_all_text_stands_out_and_all_controls_have_names(
    made: Callable[[str], Run], browser: Any
) -> None:
    for scheme in ("light", "dark"):
        opened(browser, made("pictures").path / "report.html", scheme=scheme)
        pairs = browser.execute_script(CONTRASTS)
        assert len(pairs) > 50
        for ink, paper, text in pairs:
            both = sorted([luminance(ink), luminance(paper)])
            assert (both[1] + 0.05) / (both[0] + 0.05) >= 4.5, (scheme, text, ink, paper)
    names = browser.execute_script(
        "return [...document.querySelectorAll('select, button, a, summary')]"
        ".map((each) => (each.labels?.[0] ?? each).textContent.trim())"
    )
    assert all(names)


CONTRASTS = """
const paper = (each) => {
  const colour = getComputedStyle(each).backgroundColor;
  return colour !== 'rgba(0, 0, 0, 0)' || !each.parentElement ? colour : paper(each.parentElement);
};
return [...document.querySelectorAll('main *, header *, nav *')]
  .filter((each) => [...each.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()))
  .filter((each) => each.getClientRects().length && !each.closest('script, .plot, select'))
  .map((each) => [getComputedStyle(each).color, paper(each), each.textContent.slice(0, 30)]);
"""


@in_browser
def test_a_page_without_plots_has_no_errors_and_unfolds_on_paper(
    browser: Any, tmp_path: Path
) -> None:
    rows = tuple((str(i), "value") for i in range(9))
    folded = Section("few", "Few", ("One sentence.",), tables=(Table("Nine", ("", "x"), rows),))
    (tmp_path / "plain.html").write_text(rendered("plain", "no plots", [folded]))
    opened(browser, tmp_path / "plain.html")
    assert [line for line in browser.get_log("browser") if line["level"] != "INFO"] == []
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    opens = "return [...document.querySelectorAll('details')].map((each) => each.open)"
    assert browser.execute_script(opens) == [True, True]
