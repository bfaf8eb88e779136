"""A page as a browser draws it: its pixels, what it says on the console, what it asks for."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

CHROMIUM = shutil.which("chromium")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    # Nothing leaves this machine: a request fails, and is in the log all the same.
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
OWN_HOSTS = (".google.com", "update.googleapis.com")  # what the browser asks for by itself


class Seen(NamedTuple):
    """Pixels (row, col, 3), lines on the console, and addresses that were asked for."""

    pixels: np.ndarray
    console: list[str]
    requests: list[str]


def look(page: Path, folder: Path, *, width: int, dark: bool = False) -> Seen:
    """Draw a page `width` px wide; `folder` is for the browser's own files."""
    picture, log = folder / "page.png", folder / "net.json"
    done = subprocess.run(
        [
            CHROMIUM,
            *QUIET,
            f"--blink-settings=preferredColorScheme={int(not dark)}",
            f"--user-data-dir={folder / 'profile'}",
            f"--log-net-log={log}",
            f"--window-size={width},3000",
            f"--screenshot={picture}",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    with Image.open(picture) as drawn:
        pixels = np.asarray(drawn.convert("RGB")).astype(int)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return Seen(pixels, console, _requests(log))


def _requests(log: Path) -> list[str]:
    """The addresses in the browser's network log, but for those that it asks by itself."""
    events = json.loads(log.read_text())["events"]
    found = {event.get("params", {}).get("url", "") for event in events}
    asked = {url: urlsplit(url) for url in found}
    return sorted(
        url
        for url, parts in asked.items()
        if parts.scheme.startswith("http") and not str(parts.hostname).endswith(OWN_HOSTS)
    )
