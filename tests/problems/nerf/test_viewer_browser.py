"""The viewer in a real browser: a headless Chromium shows the scene that viser serves. Needs both; else left out."""

import asyncio
import base64
import importlib
import importlib.util
import json
import shutil
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest

from problems.nerf._viewer import Viewer
from problems.nerf.scene import NeRFScene
from tests.problems.nerf.test_trained import SMALL, Exact

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needed = importlib.util.find_spec("viser") is None or CHROMIUM is None
pytestmark = pytest.mark.skipif(needed, reason="needs viser and Chromium")
PATIENCE = 180  # seconds; a browser draws without a GPU here


@pytest.fixture
def page(tmp_path: Path) -> Iterator[str]:
    """The address at which a headless browser takes commands for its first page."""
    words = [str(CHROMIUM), "--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    words += ["--remote-debugging-port=0", "--window-size=600,400", f"--user-data-dir={tmp_path}", "about:blank"]
    browser = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port = tmp_path / "DevToolsActivePort"
        end = time.monotonic() + PATIENCE
        while not (port.is_file() and port.read_text().strip()) and time.monotonic() < end:
            time.sleep(0.2)
        with urllib.request.urlopen(f"http://127.0.0.1:{port.read_text().split()[0]}/json") as answer:
            yield next(p["webSocketDebuggerUrl"] for p in json.load(answer) if p["type"] == "page")
    finally:
        browser.terminate()
        browser.wait()


async def photograph(page: str, address: str, shown: threading.Event) -> np.ndarray:
    """Open an address, wait until a picture was sent there and drawn, and return what is seen."""
    client: Any = importlib.import_module("websockets")
    async with client.connect(page, max_size=2**28, ping_interval=None) as browser:
        number = 0

        async def call(method: str, **given: Any) -> dict:
            nonlocal number
            number += 1
            await browser.send(json.dumps({"id": number, "method": method, "params": given}))
            while (answer := json.loads(await browser.recv())).get("id") != number:
                pass
            return answer["result"]

        await call("Page.navigate", url=address)
        await asyncio.to_thread(shown.wait, PATIENCE)
        for _ in range(PATIENCE // 2):
            shot = base64.b64decode((await call("Page.captureScreenshot", format="png"))["data"])
            seen = iio.imread(shot)[..., :3].astype(int)
            if red(seen) > 0.002:
                return seen
            await asyncio.sleep(2)
        return seen


def red(seen: np.ndarray) -> float:
    """Share of the pixels that have the colour of the largest ball."""
    return float(
        ((seen[..., 0] > 130) & (seen[..., 0] > 1.6 * seen[..., 1]) & (seen[..., 0] > 1.6 * seen[..., 2])).mean()
    )


def test_a_browser_shows_the_scene(page: str):
    viser: Any = importlib.import_module("viser")
    server, shown = viser.ViserServer(host="127.0.0.1", port=0, verbose=False), threading.Event()
    try:
        viewer = Viewer(NeRFScene(**SMALL).trained(Exact()), server, longest=64)
        pictures = viewer.pictures

        def counted(*given: Any) -> Iterator[np.ndarray]:
            for picture in pictures(*given):
                yield picture
                shown.set()

        viewer.pictures = counted
        seen = asyncio.run(photograph(page, f"http://127.0.0.1:{server.get_port()}", shown))
        assert red(seen) > 0.002, "the red ball is seen"
    finally:
        server.stop()
