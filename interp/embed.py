"""The recipe inside the file itself (SVG, PNG, PDF, HTML, Parquet), or beside it for CSV, which has no comments."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pypdf
from PIL import Image, PngImagePlugin

from hooks.errors import InputError, unknown
from interp.recipe import from_json, to_json

NAMESPACE = "urn:interp-workbench:recipe"
KEY = "interp-recipe"
SIDECAR = ".recipe.json"
FORMATS = (".svg", ".pdf", ".png", ".html", ".csv", ".parquet")
DOTS_PER_INCH = 300
_HTML = f'<script type="application/json" id="{KEY}">'


def embed_svg(svg: bytes, recipe: Mapping[str, Any]) -> bytes:
    """Put the recipe into a ``<metadata>`` element, the first child of the drawing."""
    inside = f'<metadata><recipe xmlns="{NAMESPACE}">{to_json(recipe)}</recipe></metadata>'
    text = svg.decode("utf-8")
    opening = re.search(r"<svg\b[^>]*>", text)
    if opening is None:
        raise InputError("the drawing to put a recipe into is not SVG")
    return (text[: opening.end()] + inside + text[opening.end() :]).encode("utf-8")


def embed_png(png: bytes, recipe: Mapping[str, Any], dpi: float = DOTS_PER_INCH) -> bytes:
    """Put the recipe into an iTXt chunk and record the resolution; the pixels stay as they are."""
    info = PngImagePlugin.PngInfo()
    info.add_itxt(KEY, to_json(recipe))
    out = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.save(out, "PNG", pnginfo=info, dpi=(dpi, dpi))
    return out.getvalue()


def embed_pdf(pdf: bytes, recipe: Mapping[str, Any]) -> bytes:
    """Attach the recipe as ``interp-recipe.json``; the dates are those of the recipe, so that the bytes do not vary."""
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf))
    writer.add_attachment(f"{KEY}.json", to_json(recipe).encode("ascii"))
    moment = "D:" + re.sub(r"\D", "", str(recipe.get("created", "")))[:14] + "Z"
    writer.add_metadata({"/Title": str(recipe.get("figure", "")), "/Creator": "Interp Workbench",
                         "/CreationDate": moment, "/ModDate": moment})  # fmt: skip
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def embed_html(html: bytes, recipe: Mapping[str, Any]) -> bytes:
    """Put the recipe into a script element that is data, not code, last in the head: the charset must come early."""
    start, head, rest = html.decode("utf-8").partition("</head>")
    if not head:
        raise InputError("the page to put a recipe into has no head")
    return f"{start}{_HTML}{to_json(recipe)}</script>{head}{rest}".encode()


def parquet_bytes(frame: pd.DataFrame, recipe: Mapping[str, Any]) -> bytes:
    """The frame as Parquet with the recipe in the schema's metadata; the index is left out."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    notes = {**(table.schema.metadata or {}), KEY.encode(): to_json(recipe).encode("ascii")}
    table = table.replace_schema_metadata(notes)
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def sidecar(path: Path) -> Path:
    """Where the recipe of a CSV lies: ``name.csv.recipe.json``."""
    return path.with_name(path.name + SIDECAR)


def read_recipe(path: Path) -> dict[str, Any]:
    """The recipe inside an exported file (or the sidecar of a CSV, or a ``.recipe.json`` itself).

    InputError, naming the file and the formats we write, when the file is missing, damaged or carries none.
    """
    path = Path(path)
    ours = f"recipes are read from {', '.join(FORMATS)} files exported by this workbench"
    readers = {".svg": _from_svg, ".png": _from_png, ".pdf": _from_pdf, ".html": _from_html, ".parquet": _from_parquet,
               ".csv": _from_csv, ".json": _from_sidecar}  # fmt: skip
    suffix = path.suffix.lower()
    if path.is_dir():
        raise InputError(f"{path}: this is a folder; {ours}")
    if suffix not in readers:
        raise InputError(f"{path}: {unknown('figure format', suffix or path.name, FORMATS)}")
    if not path.is_file():
        raise InputError(f"{path}: no such file; {ours}")
    try:
        text = readers[suffix](path)
    except InputError:
        raise
    except Exception as problem:
        # Four parsers with an exception hierarchy each: whatever they raise, the file is not one of ours or is damaged.
        raise InputError(f"{path}: not a readable {suffix[1:].upper()} file, or a damaged one; {ours}") from problem
    if text is None:
        raise InputError(f"{path}: no recipe inside; {ours}")
    return from_json(text, str(path))


def _from_svg(path: Path) -> str | None:
    # Expat bounds entity expansion and ElementTree fetches nothing, so a hostile drawing is only a parse error.
    for _, element in ElementTree.iterparse(path):  # noqa: S314
        if element.tag == f"{{{NAMESPACE}}}recipe":
            return "".join(element.itertext())
    return None


def _from_png(path: Path) -> str | None:
    with Image.open(path, formats=["PNG"]) as image:
        # Programs that save a picture again may put the text after the pixels, so read to the end.
        image.load()
        assert isinstance(image, PngImagePlugin.PngImageFile)
        found = image.text.get(KEY)
    return None if found is None else str(found)


def _from_pdf(path: Path) -> bytes | None:
    found = pypdf.PdfReader(path).attachments.get(f"{KEY}.json")
    return found[0] if found else None


def _from_html(path: Path) -> str | None:
    # The recipe's own text holds no "<", so the first closing tag is its end.
    _, opening, rest = path.read_text(encoding="utf-8").partition(_HTML)
    return rest.partition("</script>")[0] if opening else None


def _from_parquet(path: Path) -> bytes | None:
    return (pq.read_schema(path).metadata or {}).get(KEY.encode())


def _from_csv(path: Path) -> str | None:
    beside = sidecar(path)
    if not beside.is_file():
        raise InputError(f"{path}: its recipe {beside.name} does not lie beside it; a CSV and its recipe move together")
    return _from_sidecar(beside)


def _from_sidecar(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    json.loads(text)
    return text
