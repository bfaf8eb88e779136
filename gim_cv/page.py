"""A page in one file: its template, its style and its pictures inside."""

from __future__ import annotations

import base64
import io
from typing import Any

import jinja2
from markupsafe import Markup
from PIL import Image as Png

from gim_cv.pictures import Picture


def data_uri(picture: Picture) -> str:
    """Return a picture as a WebP data URI, for a page without other files."""
    buffer = io.BytesIO()
    Png.fromarray(picture).save(buffer, format="WEBP", quality=88, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def render(template: str, context: dict[str, Any]) -> str:
    """Return a packaged page with its style inside; a name without a value is an error."""
    loader = jinja2.PackageLoader("gim_cv")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    css = Markup(environment.get_template("page.css").render())  # noqa: S704  (packaged)
    return environment.get_template(template).render(css=css, **context) + "\n"
