"""`Browser`: a real headless Chromium, driven like a person does: keys, clicks, visible text.

Selenium is synchronous, so each step runs in a thread, and conditions are waited for with `until`.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.support.servers.children import program
from tests.support.servers.waiting import until

T = TypeVar("T")

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1160,1280",
    # The browser must not contact other machines.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
)


class Browser:
    """One Chromium with a fresh profile."""

    def __init__(self) -> None:
        self._profile = Path(tempfile.mkdtemp(prefix="test-chromium-"))
        options = ChromeOptions()
        options.binary_location = program("chromium", "chromium")
        for flag in (*_FLAGS, f"--user-data-dir={self._profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self._options = options
        # Named, because Selenium would otherwise look for one in the network.
        self._service = Service(executable_path=program("chromium-driver", "chromedriver"))
        self._driver: Chrome | None = None

    @property
    def driver(self) -> Chrome:
        """Selenium's driver, for what has no method here; use it in `run`."""
        if self._driver is None:
            raise RuntimeError("the browser is not open")
        return self._driver

    async def run(self, step: Callable[[Chrome], T]) -> T:
        """Runs one step in a thread."""
        return await asyncio.to_thread(step, self.driver)

    async def go(self, url: str) -> None:
        """Opens a page; returns once it is loaded."""
        await self.run(lambda driver: driver.get(url))

    async def text(self, selector: str) -> str:
        """The visible text of an element; empty if it does not exist or is hidden."""

        def read(driver: Chrome) -> str:
            try:
                return driver.find_element(By.CSS_SELECTOR, selector).text
            except WebDriverException:  # gone, or replaced while it was read
                return ""

        return await self.run(read)

    async def shows(self, selector: str, text: str, timeout: float = 30) -> None:
        """Waits until this text is visible in the element."""
        seen = ""

        async def there() -> bool:
            nonlocal seen
            seen = await self.text(selector)
            return text in seen

        try:
            await until(there, f"{text!r} in {selector}", timeout)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; it reads {seen!r}") from None

    async def click(self, selector: str) -> None:
        await self.run(lambda driver: _find(driver, selector).click())

    async def type(self, selector: str, text: str) -> None:
        """Replaces the text of a field."""

        def fill(driver: Chrome) -> None:
            field = _find(driver, selector)
            field.clear()
            field.send_keys(text)

        await self.run(fill)

    async def css(self, selector: str, name: str) -> str:
        """A computed style."""
        return await self.run(lambda driver: str(_find(driver, selector).value_of_css_property(name)))

    async def complaints(self) -> list[str]:
        """New lines of the browser's console: errors, breaches of the security policy."""

        def read(driver: Chrome) -> list[str]:
            entries: list[dict[str, Any]] = driver.get_log("browser")  # type: ignore[no-untyped-call]
            return [str(entry["message"]) for entry in entries]

        return await self.run(read)

    async def scheme(self, name: str) -> None:
        """Sets the system's color scheme: `light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": name}]
        await self.run(lambda driver: driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features}))

    async def screenshot(self, path: Path) -> None:
        """Returns the whole page as PNG, at twice the density."""

        def take(driver: Chrome) -> None:
            height = driver.execute_script("return document.documentElement.scrollHeight")
            metrics = {"width": 1160, "height": height, "deviceScaleFactor": 2, "mobile": False}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            driver.save_screenshot(str(path))
            driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

        await self.run(take)

    async def __aenter__(self) -> Self:
        self._driver = await asyncio.to_thread(Chrome, self._options, self._service)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.driver.quit)
        shutil.rmtree(self._profile, ignore_errors=True)


def _find(driver: Chrome, selector: str) -> WebElement:
    return driver.find_element(By.CSS_SELECTOR, selector)
