"""Take the pictures of the page that stand in docs/: ``python docs/pictures.py BUNDLE``. Needs Chromium."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS.parent / "tests"), str(DOCS.parent / "tests" / "server" / "page")]

TEXT = "URGENT! Call 0800 123 456 now to claim your prize of 1,000 pounds."
PICTURES: dict[str, tuple[int, dict[str, Any]]] = {
    "page-wide.png": (1280, {}),
    "page-phone.png": (360, {"color_scheme": "dark"}),
}


def main(folder: Path) -> None:
    """A text classified on a wide screen, and in the dark on a telephone."""
    from playwright.sync_api import sync_playwright
    from visits import Offered, Visit, running

    from classtune.explain.neighbours import Neighbours
    from classtune.inference.predictor import load_predictor

    predictor, bundle = load_predictor(folder)
    offered = Offered(folder.name, folder, predictor, bundle.record, Neighbours.load(folder))
    program = shutil.which("chromium") or shutil.which("google-chrome")
    with (
        tempfile.TemporaryDirectory() as scratch,
        running([offered], Path(scratch) / "feedback.jsonl") as site,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for name, (width, options) in PICTURES.items():
            with Visit(browser, site, width, **options) as visit:
                visit.page.wait_for_timeout(2000)
                visit.ask(TEXT)
                visit.page.screenshot(path=DOCS / name, full_page=True)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
