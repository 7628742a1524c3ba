"""The latent map in headless Chromium: mouse, keys, finger, choices."""

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
from ppvae.run import Run
from tests.support.browsing import (
    in_browser,
    opened,
    put_mouse_aside,
)
from tests.support.pages import shown_of
from tests.support.slow import few


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
