"""Pages in headless Chromium."""

import base64
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")

in_browser = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="needs Debian's chromium and chromium-driver: apt-get install chromium chromium-driver",
)


@contextmanager
def new_browser() -> Iterator[Any]:
    """A new browser."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.add_argument("--window-size=1200,900")
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    yield driver
    driver.quit()


def put_mouse_aside(browser: Any) -> None:
    """Put the mouse where scrolling does not move it over the map."""
    corner = {"type": "mouseMoved", "x": 0, "y": 0}
    browser.execute_cdp_cmd("Input.dispatchMouseEvent", corner)


def opened(
    browser: Any, file: Path, *, width: int = 1200, height: int = 900, scheme: str = "light"
) -> Any:
    """The page in the browser, after its plots are drawn."""
    from selenium.webdriver.support.ui import WebDriverWait

    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": [feature]})
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    put_mouse_aside(browser)
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(file.resolve().as_uri())
    ready = "return 'ready' in document.documentElement.dataset"
    WebDriverWait(browser, 30).until(lambda driver: driver.execute_script(ready))
    return browser


AXE = os.environ.get("AXE_CORE", "")
"""Path of ``axe.min.js`` of the npm package axe-core, if set."""


def issues(browser: Any) -> list[str]:
    """Violations that axe finds in the open page: rule and first place."""
    browser.set_script_timeout(600)
    browser.execute_script(Path(AXE).read_text())
    run = (
        "axe.run().then((found) => arguments[0](found.violations.map("
        "(each) => `${each.id}: ${each.nodes[0].target}`)))"
    )
    found: list[str] = browser.execute_async_script(run)
    return found


def complaints(browser: Any, width: int) -> list[str]:
    """Problems of the open page: errors of its scripts, its width, issues of axe."""
    found = [line["message"] for line in browser.get_log("browser") if line["level"] != "INFO"]
    wide = browser.execute_script("return document.documentElement.scrollWidth")
    found += [f"{wide} pixels wide, of {width}"] if wide > width else []
    return found + (issues(browser) if AXE else [])


MOST_BYTES = 5e6
"""Largest size of a page in bytes."""

MOST_SHEETS = 8
"""Largest number of sheets of a printed page."""


def printed(browser: Any) -> bytes:
    """The page as PDF, on A4."""
    settings = {"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": False}
    return base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", settings)["data"])


def sheets(pdf: bytes) -> int:
    """Number of pages of a PDF."""
    return len(re.findall(rb"/Type\s*/Page\b", pdf))
