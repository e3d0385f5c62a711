"""Self-contained HTML pages of one look: page.css, their templates, and pictures inside them."""

import base64
import io
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from components.evaluate.measures import number
from progan.progress import duration


def template(name: str) -> Any:
    """The jinja2 template at the path `name` below components/."""
    environment = Environment(
        loader=PackageLoader("components", "."),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "duration": duration}
    return environment.get_template(name)


def embedded(picture: Image.Image, lossless: bool) -> str:
    """A picture as a data URI: PNG, or WebP, a fifth of the size and hardly different."""
    kind, content = "png" if lossless else "webp", io.BytesIO()
    picture.save(content, kind, quality=90)
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"
