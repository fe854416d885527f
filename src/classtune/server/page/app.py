"""The page beside the API: try a text, label a file, read the report, say what was right. Made with Gradio (extra ui).

Nothing on it is fetched from anywhere but this server. Its files: actions (what happens), layout (what stands on it),
html (what it says), uploads (files that are given to it), feedback (what people said was right).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from classtune.errors import require
from classtune.server.page.actions import Page, PageBundle
from classtune.server.page.layout import lay_out

if TYPE_CHECKING:
    from fastapi import FastAPI

MOST_BYTES = "50mb"


def mount_page(
    app: FastAPI,
    bundles: Iterable[PageBundle],
    *,
    path: str = "/page",
    feedback: Path | None,
    judged: Callable[[str, bool], object] = lambda name, right: None,
) -> FastAPI:
    """Add the page to ``app`` at ``path``, and the reports below it. Call it after all other routes are there.

    bundles: gone through anew for each answer, so that it may come to hold other versions.
    feedback: file of JSON lines that gets what people say was right (a file for each bundle where there are several,
    see `classtune.server.page.actions.feedback_file`); None: they are not asked.
    judged: called with a bundle's name, and whether its answer was right, for each of these.
    Raises UserError without Gradio.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when Gradio is imported
    require("the page", "ui", "gradio")
    import gradio
    from fastapi.responses import RedirectResponse

    page = Page(bundles, feedback, judged)
    app.add_api_route(f"{path}/report/{{name}}", page.report, include_in_schema=False)
    # To itself with a slash, below which it asks for its parts; wherever a proxy puts it.
    beside = f"{path.rpartition('/')[2]}/"
    app.add_api_route(path, lambda: RedirectResponse(beside), include_in_schema=False)
    system = ["system-ui", "sans-serif"]
    theme = gradio.themes.Default(primary_hue="blue", font=system, font_mono=["ui-monospace", "monospace"])
    # Gradio's own blue is too light for white letters and for links.
    theme.set(
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        color_accent="*primary_600",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_300",
    )
    gradio.mount_gradio_app(
        app,
        lay_out(page),
        path=path,
        footer_links=[],
        run_history=False,  # would keep texts in the browser
        show_error=False,
        max_file_size=MOST_BYTES,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        theme=theme,
        css_paths=Path(__file__).with_name("page.css"),
    )
    return app
