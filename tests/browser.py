"""Chromium without a window: pages as people see them."""

import base64
import shutil
from contextlib import contextmanager

import pytest

from tests.servers import installed

WEBGPU = "enable-unsafe-webgpu"  # also on a machine without a GPU, by SwiftShader
PATIENCE = 60  # seconds until a page shows what it is to show, on a machine that does other work


class Page:
    """The pages below `url` in a browser of its own, with a name and password for the server."""

    def __init__(self, driver, url, login):
        self.driver, self.url = driver, url
        secret = base64.b64encode(":".join(login).encode()).decode()
        driver.execute_cdp_cmd("Network.enable", {})
        headers = {"headers": {"Authorization": f"Basic {secret}"}}
        driver.execute_cdp_cmd("Network.setExtraHTTPHeaders", headers)

    def open(self, path):
        self.driver.get("about:blank")  # so that a path that differs behind # alone is loaded too
        self.driver.get(f"{self.url}/{path}")

    def shows(self, *texts):
        """Wait until all of `texts` can be read."""
        from selenium.common.exceptions import TimeoutException

        try:
            self.until(lambda: all(text in self._text() for text in texts))
        except TimeoutException:
            missing = [text for text in texts if text not in self._text()]
            pytest.fail(f"{self.driver.current_url} does not show {missing}, but:\n{self._text()}")

    def picture(self, name):
        """Wait for the picture whose address holds `name`; its width and height."""
        size = f"""
            const picture = document.querySelector('img[src*="{name}"]');
            return picture && picture.complete ? [picture.naturalWidth, picture.naturalHeight] : null"""
        return tuple(self.until(lambda: self.driver.execute_script(size)))

    def _text(self):
        return self.driver.execute_script("return document.body.innerText")

    def until(self, look):
        from selenium.webdriver.support.wait import WebDriverWait

        return WebDriverWait(self.driver, PATIENCE).until(lambda driver: look())


@pytest.fixture
def browser(tmp_path):
    """Returns a function that opens a browser for the server at a URL."""
    with browsers(tmp_path / "chromium") as opened:
        yield opened


@contextmanager
def browsers(profile, *flags):
    """The function that `browser` returns; the browsers keep their data in the folder `profile`.

    flags: more of Chromium's, such as WEBGPU.
    """
    pytest.importorskip("selenium", reason="selenium is not installed here: make setup")
    from selenium import webdriver

    program = shutil.which("chromium") or installed("chromium-browser")
    service = webdriver.ChromeService(installed("chromedriver"))
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in (
        *("headless=new", "no-sandbox", "disable-gpu", "no-first-run", "disable-dev-shm-usage"),
        *("disable-background-networking", "disable-component-update", "disable-sync"),
        *(f"user-data-dir={profile}", "window-size=1440,1600", *flags),
    ):
        options.add_argument(f"--{argument}")
    opened = []

    def browser(url, login):
        opened.append(webdriver.Chrome(options, service))
        return Page(opened[-1], url, login)

    yield browser
    for driver in opened:
        driver.quit()
