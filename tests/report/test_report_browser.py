"""The page in headless Chromium: an interactive map, no requests, accessibility."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ppvae.report.plane import decoded, plane_of
from ppvae.report.rendering import rendered
from ppvae.report.sections import Section, Table
from ppvae.run import Run
from tests.support.browsing import (
    AXE,
    CHROMIUM,
    DRIVER,
    MOST_SHEETS,
    issues,
    new_browser,
    opened,
    printed,
    put_mouse_aside,
    sheets,
)
from tests.support.pages import KINDS, shown_of
from tests.support.slow import few

in_browser = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="needs Debian's chromium and chromium-driver: apt-get install chromium chromium-driver",
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with new_browser() as driver:
        yield driver


def words(browser: Any, name: str) -> str:
    return str(browser.execute_script(f"return document.getElementById('map-{name}').textContent"))


@contextmanager
def changing(browser: Any, name: str) -> Iterator[None]:
    """Wait at the end until the description of the map has changed.

    A browser reports mouse and touch positions with its next frame.
    """
    from selenium.webdriver.support.ui import WebDriverWait

    before = words(browser, name)
    yield
    wait = WebDriverWait(browser, 10, poll_frequency=0.02)
    wait.until(lambda driver: words(driver, name) != before, f"{before!r} is still said")


def seen(browser: Any, kind: str) -> tuple[str, str]:
    """The decoded picture of the map, and its description."""
    shown = {
        "pictures": "return document.getElementById('map-canvas-decoded').toDataURL()",
        "table": "return JSON.stringify(Bokeh.documents.map((each) => each.get_model_by_name("
        "'decoded')).find((each) => each !== null).data)",
    }
    return str(browser.execute_script(shown[kind])), words(browser, "where")


@in_browser
@pytest.mark.parametrize("kind", few(["pictures", "table"], 2))
def test_the_map_answers_to_mouse_and_keys(
    kind: str, made: Callable[[str], Run], browser: Any
) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    opened(browser, made(kind).path / "report.html")
    plane = browser.find_element(By.ID, "map-plane")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", plane)
    views = [seen(browser, kind)]
    for left, up in ((-120, -90), (100, 110)):
        with changing(browser, "where"):
            ActionChains(browser, 0).move_to_element_with_offset(plane, left, up).perform()
        views.append(seen(browser, kind))
    plane.send_keys(Keys.SHIFT, Keys.ARROW_LEFT)
    views.append(seen(browser, kind))
    plane.send_keys(Keys.NULL, *[Keys.ARROW_DOWN] * 3)
    views.append(seen(browser, kind))
    assert len({shown for shown, _ in views}) == len({where for _, where in views}) == len(views)

    plane.send_keys(Keys.ARROW_UP)
    assert words(browser, "which") == f"In the ring, the nearest: {nearest_to(browser)}."
    with changing(browser, "where"), changing(browser, "which"):
        ActionChains(browser, 0).move_to_element_with_offset(plane, -140, -140).click().perform()
    assert words(browser, "which") == f"In the ring, the nearest: {nearest_to(browser)}."


def nearest_to(browser: Any) -> str:
    """The datum nearest to the cross, by the numbers in the page."""
    held = json.loads(
        browser.execute_script("return document.getElementById('map-data').textContent")
    )
    plane, cross = held["planes"][0], np.array(said_at(browser))
    far = ((np.array([plane["x"], plane["y"]]).T - cross) ** 2).sum(1)
    row = int(far.argmin())
    label = f", label {held['labels'][row]}" if held["labels"][row] else ""
    return f"row {held['numbers'][row]} of {held['source']} (counted from 0){label}"


def values_of(browser: Any, kind: str, what: str) -> Any:
    """The values that the map shows: the red share of each pixel, or the values drawn."""
    if kind == "pictures":
        read = (
            f"const canvas = document.getElementById('map-canvas-{what}');"
            "const {width, height} = canvas;"
            "const {data} = canvas.getContext('2d').getImageData(0, 0, width, height);"
            "return [width, height, [...data].filter((_, i) => i % 4 === 0)];"
        )
        width, height, red = browser.execute_script(read)
        return np.array(red, dtype=np.float64).reshape(height, width) / 255
    read = (
        "return [...Bokeh.documents.map((each) => each.get_model_by_name"
        f"('{what}')).find((each) => each !== null).data.value]"
    )
    return np.array(browser.execute_script(read))


def said_at(browser: Any) -> list[float]:
    """The position of the cross, by its description."""
    said = words(browser, "where")
    return [
        float(number.replace("\N{MINUS SIGN}", "-"))
        for number in re.findall(r" (\N{MINUS SIGN}?\d+\.\d+)[,.]", said)
    ]


@in_browser
@pytest.mark.parametrize("kind", few(["pictures", "table"], 2))
def test_the_map_shows_what_is_decoded_at_the_cross_and_the_datum_in_the_ring(
    kind: str, made: Callable[[str], Run], browser: Any
) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    run = made(kind)
    page = shown_of(run)
    codes = page.embedding.joined()
    plane = plane_of(codes)
    side = 25
    nodes = plane.nodes(side, side)
    means = decoded(page, nodes, 0).squeeze().numpy()
    grid = plane.coordinates(nodes).numpy()
    tolerance = 0.51 / 255 if kind == "pictures" else 1e-5

    def demand(place: int) -> None:
        """The cross is at a node with the decoder's values there, in the right orientation."""
        there = values_of(browser, kind, "decoded")
        np.testing.assert_allclose(there, means[place], atol=tolerance)
        np.testing.assert_allclose(said_at(browser), grid[place], atol=0.006)

    opened(browser, run.path / "report.html")
    box = browser.find_element(By.ID, "map-plane")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", box)
    middle = side // 2 * side + side // 2
    demand(middle)
    box.send_keys(*[Keys.ARROW_LEFT] * 2, *[Keys.ARROW_UP] * 7)
    place = (side // 2 - 7) * side + side // 2 - 2
    demand(place)
    if kind == "pictures":  # another tile or orientation would fail
        for other in (means[place][::-1], means[place][:, ::-1], means[place].T, means[middle]):
            assert np.abs(other - means[place]).max() > 3 * tolerance

    far = (plane.coordinates(codes).numpy() - grid[place]) ** 2
    row = int(page.order[int(far.sum(1).argmin())])
    data = run.data(hidden=False).test.take(torch.tensor([row]))
    np.testing.assert_allclose(
        values_of(browser, kind, "original"), data["x"].squeeze().numpy(), atol=tolerance
    )
    names = run.label_names
    label = "" if names is None else f", label {names[int(data['y'][0])]}"
    number = int(run.data(hidden=False).test.annotations.numbers[row])
    source = run.resolved["data"]["name"]  # of one file, which the fit split
    said = f"In the ring, the nearest: row {number} of {source} (counted from 0){label}."
    assert words(browser, "which") == said

    box.send_keys(Keys.HOME)
    demand(middle)

    # The directions on the screen are those on the plane.
    with changing(browser, "where"):
        ActionChains(browser, 0).move_to_element_with_offset(box, 130, -60).perform()
    a, b = said_at(browser)
    assert a > grid[middle][0]
    assert b > grid[middle][1]
    at = int(((grid - [a, b]) ** 2).sum(1).argmin())
    np.testing.assert_allclose(values_of(browser, kind, "decoded"), means[at], atol=tolerance)

    # Keys of the browser. Last, since it scrolls slowly.
    put_mouse_aside(browser)
    before = words(browser, "where")
    for held in (Keys.CONTROL, Keys.ALT, Keys.META):
        browser.execute_script("arguments[0].focus()", box)
        ActionChains(browser).key_down(held).send_keys("x", Keys.HOME).key_up(held).perform()
        assert words(browser, "where") == before


@in_browser
def test_a_finger_moves_the_cross_with_the_ring(made: Callable[[str], Run], browser: Any) -> None:
    from selenium.webdriver.common.by import By

    opened(browser, made("pictures").path / "report.html")
    box = browser.find_element(By.ID, "map-plane")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", box)
    before = seen(browser, "pictures")
    place = browser.execute_script(
        "const box = arguments[0].getBoundingClientRect();"
        "return {x: box.x + 0.8 * box.width, y: box.y + 0.3 * box.height}", box
    )  # fmt: skip
    with changing(browser, "where"), changing(browser, "which"):
        for kind, points in (("touchStart", [place]), ("touchEnd", [])):
            touch = {"type": kind, "touchPoints": points}
            browser.execute_cdp_cmd("Input.dispatchTouchEvent", touch)
    after = seen(browser, "pictures")
    assert before != after
    assert words(browser, "which") == f"In the ring, the nearest: {nearest_to(browser)}."


@pytest.mark.slow
@in_browser
def test_each_step_on_a_narrow_plane_changes_what_is_said(
    made: Callable[[str], Run], browser: Any, tmp_path: Path
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    text = (made("table").path / "report.html").read_text()
    narrow = re.sub(r'"(low|high)": \[[^]]*\]', r'"\1": [\1, \1]', text)
    narrow = narrow.replace("[low, low]", "[-0.002, -0.002]").replace(
        "[high, high]", "[0.002, 0.002]"
    )
    assert narrow != text
    (tmp_path / "narrow.html").write_text(narrow)
    opened(browser, tmp_path / "narrow.html")
    box = browser.find_element(By.ID, "map-plane")
    places = [tuple(said_at(browser))]
    for key in [Keys.ARROW_RIGHT] * 3 + [Keys.ARROW_DOWN] * 3:
        box.send_keys(key)
        places.append(tuple(said_at(browser)))
    assert len(set(places)) == 7


@pytest.mark.slow
@in_browser
def test_the_map_is_one_stop_of_the_tab_key_and_is_told_to_who_does_not_see_it(
    made: Callable[[str], Run], browser: Any
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    for kind in ("pictures", "table"):
        opened(browser, made(kind).path / "report.html")
        told = "return document.getElementById(arguments[0]).getAttribute('aria-live')"
        for name in ("map-where", "map-which"):
            assert browser.execute_script(told, name) == "polite"
        stops = browser.execute_script(
            "const walk = (root) => [...root.querySelectorAll('*')].flatMap((each) => ["
            "...(each.tabIndex >= 0 ? [each.className] : []),"
            "...(each.shadowRoot ? walk(each.shadowRoot) : [])]);"
            "return [...document.querySelectorAll('.plot')].flatMap(walk)"
        )
        assert stops == []
    body = browser.find_element(By.TAG_NAME, "body")
    for _ in range(40):
        body.send_keys(Keys.TAB)
        if browser.execute_script("return document.activeElement.id") == "map-plane":
            break
        body = browser.switch_to.active_element
    outline = browser.execute_script(
        "const style = getComputedStyle(document.activeElement);"
        "return [document.activeElement.id, style.outlineStyle, style.outlineWidth]"
    )
    assert outline == ["map-plane", "solid", "3px"]


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
def test_a_class_is_shown_alone_and_the_ring_stays_with_it(
    made: Callable[[str], Run], browser: Any
) -> None:
    opened(browser, made("pictures").path / "report.html")
    keys = browser.find_elements("css selector", "#map [data-class]")
    assert [key.get_attribute("aria-pressed") for key in keys] == ["true"] * len(keys)
    browser.execute_script("arguments[0].click()", keys[1])
    assert [key.get_attribute("aria-pressed") for key in keys] == ["false", "true", "false"]
    colours = "return [...new Set(Bokeh.documents.map((each) => each.get_model_by_name('points'))"
    colours += ".find((each) => each !== null).data.colour)]"
    assert len(browser.execute_script(colours)) == 1
    assert words(browser, "which").endswith(f"label {keys[1].text.strip()}.")
    browser.execute_script("arguments[0].click()", keys[1])  # none is left: all are shown
    assert len(browser.execute_script(colours)) == len(keys)


@pytest.mark.slow
@in_browser
def test_other_axes_and_what_stands_behind_the_points_can_be_chosen(
    made: Callable[[str], Run], browser: Any
) -> None:
    from selenium.webdriver.support.ui import Select

    opened(browser, made("table").path / "report.html")
    before = words(browser, "where")
    Select(browser.find_element("id", "map-axes")).select_by_index(1)
    assert words(browser, "where") != before
    assert re.match(r"Cross at z\[\d\] .*, z\[\d\] ", words(browser, "where"))

    opened(browser, made("pictures").path / "report.html")
    behind = "return Bokeh.documents.map((each) => each.get_model_by_name('behind'))"
    behind += ".find((each) => each !== null).data.url.length"
    assert browser.execute_script(behind) == 0
    for choice in ("data", "decoded"):
        Select(browser.find_element("id", "map-behind")).select_by_value(choice)
        assert browser.execute_script(behind) == 1


@in_browser
def test_the_ellipses_are_one_and_two_deviations_of_q(
    made: Callable[[str], Run], browser: Any
) -> None:
    run = made("pictures")
    opened(browser, run.path / "report.html")
    read = "return Bokeh.documents.map((each) => each.get_model_by_name('ellipses'))"
    read += ".find((each) => each !== null).data"
    drawn = browser.execute_script(read)
    page = shown_of(run)
    number = int(re.findall(r"row (\d+)", words(browser, "which"))[0])
    row = page.numbers.tolist().index(number)
    scale = torch.cat(list(page.embedding.scale.values()), -1)[row]
    directions = plane_of(page.embedding.joined()).directions
    across = torch.linalg.eigvalsh(directions @ torch.diag(scale.double() ** 2) @ directions.T)
    np.testing.assert_allclose(drawn["width"][0], 2 * float(across[1].sqrt()), atol=1e-3)
    np.testing.assert_allclose(drawn["height"][1], 4 * float(across[0].sqrt()), atol=1e-3)


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
