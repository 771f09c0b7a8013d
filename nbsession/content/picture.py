"""Pictures and documents as bytes: what they are, how large, and how they are made small enough."""

from __future__ import annotations

import io
import struct
from typing import Any

from nbsession.content.blocks import Image
from nbsession.errors import CompileError

LONG_EDGE = 1568
"""Pixels; models scale larger pictures down themselves, after they were paid for."""

MOST_PIXELS = 8000
"""Pixels on the long edge beyond which a model refuses a picture."""

MOST_IMAGE_BYTES = 5 * 1024 * 1024
MOST_DOCUMENT_BYTES = 32 * 1024 * 1024

IMAGE_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")


def sniff(data: bytes) -> str:
    """Return the media type that the first bytes show: a picture's, PDF's, or ``""``."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    # Readers accept junk before the header within the first kilobyte.
    if b"%PDF-" in data[:1024]:
        return "application/pdf"
    return ""


def dimensions(data: bytes) -> tuple[int, int]:
    """Return width and height in pixels, ``(0, 0)`` where the header does not tell."""
    try:
        match sniff(data):
            case "image/png":
                return struct.unpack(">II", data[16:24])
            case "image/gif":
                return struct.unpack("<HH", data[6:10])
            case "image/jpeg":
                return _jpeg_dimensions(data)
            case "image/webp":
                return _webp_dimensions(data)
    except (struct.error, IndexError):
        pass
    return 0, 0


def _jpeg_dimensions(data: bytes) -> tuple[int, int]:
    """Walk the segments to the frame header (ITU T.81, B.1 and B.2.2)."""
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            return 0, 0
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0, 0


def _webp_dimensions(data: bytes) -> tuple[int, int]:
    """Read the first chunk: lossy (RFC 6386, 9.1), lossless or extended (RFC 9649)."""
    chunk = data[12:16]
    if chunk == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    if chunk == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    return 0, 0


def image_of_bytes(data: bytes, *, alt: str = "", name: str = "the image") -> Image:
    """Return a picture of ``data``, whose type is what its bytes show.

    One beyond what models take (5 MB, 8,000 pixels) is scaled down where Pillow
    is installed. Raises ``CompileError`` for anything but PNG, JPEG, GIF and WebP
    and for one that is too large.
    """
    media_type = sniff(data)
    if media_type not in IMAGE_TYPES:
        what = "a PDF; use Document(...) for it" if media_type else "no PNG, JPEG, GIF or WebP"
        raise CompileError(f"{name} is {what} (it begins with {data[:8]!r})")
    width, height = dimensions(data)
    if len(data) <= MOST_IMAGE_BYTES and max(width, height) <= MOST_PIXELS:
        return Image(media_type, data, alt=alt, width=width, height=height)
    try:
        import PIL.Image
    except ImportError:
        raise CompileError(
            f"{name} is too large ({len(data) / 2**20:.1f} MB, {width} × {height} pixels; at most 5 MB and "
            f"{MOST_PIXELS:,} pixels); make it smaller, or have it scaled down by: pip install pillow"
        ) from None
    try:
        with PIL.Image.open(io.BytesIO(data)) as picture:
            return image_of_pil(picture, alt=alt)
    except (OSError, PIL.Image.DecompressionBombError) as error:
        raise CompileError(f"{name} is too large and cannot be scaled down: {error}") from error


def image_of_pil(picture: Any, *, alt: str = "") -> Image:
    """Return a PIL image as PNG, at most 1,568 pixels on the long edge; as JPEG where that PNG passes 5 MB."""
    width, height = picture.size
    if max(width, height) > LONG_EDGE:
        scale = LONG_EDGE / max(width, height)
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
        if picture.mode not in ("L", "RGB", "RGBA"):
            picture = _plain(picture)
        picture = picture.resize((width, height))
    buffer = io.BytesIO()
    if picture.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
        picture = _plain(picture)
    picture.save(buffer, format="PNG")
    if buffer.tell() <= MOST_IMAGE_BYTES:
        return Image("image/png", buffer.getvalue(), alt=alt, width=width, height=height)
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, format="JPEG", quality=85)
    return Image("image/jpeg", buffer.getvalue(), alt=alt, width=width, height=height)


def _plain(picture: Any) -> Any:
    """Return a picture of any mode as one that PNG and scaling know."""
    if picture.mode in ("F", "I") or picture.mode.startswith("I;"):
        # Their range is not 0 to 255: a plain conversion would clip nearly all of it to white.
        low, high = picture.getextrema()
        factor = 255 / (high - low) if high > low else 0.0
        return picture.convert("F").point(lambda value: value * factor - low * factor).convert("L")
    return picture.convert("RGBA" if "A" in picture.mode or picture.mode == "P" else "RGB")


def image_of_figure(figure: Any, *, alt: str = "") -> Image:
    """Return a matplotlib figure as PNG, at most 1,568 pixels on the long edge. The figure stays open."""
    data = _drawn(figure, float(figure.dpi))
    edge = max(dimensions(data))
    if edge > LONG_EDGE:
        # A pixel or two less: the tight bounding box is rounded up.
        data = _drawn(figure, float(figure.dpi) * (LONG_EDGE - 2) / edge)
    width, height = dimensions(data)
    return Image("image/png", data, alt=alt or _figure_title(figure), width=width, height=height)


def _drawn(figure: Any, dpi: float) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight")
    return buffer.getvalue()


def _figure_title(figure: Any) -> str:
    titles = [axes.get_title() for axes in figure.axes]
    return next((title for title in titles if title), "figure")


def kind_of(value: object) -> str:
    """Say which library's rich value this is, without importing it.

    ``"pil"``, ``"figure"``, ``"axes"``, ``"frame"``, ``"series"``, or ``""``.
    """
    for base in type(value).__mro__:
        found = _KINDS.get((base.__module__.partition(".")[0], base.__name__))
        if found is not None:
            return found
    return ""


_KINDS = {
    ("PIL", "Image"): "pil",
    ("matplotlib", "Figure"): "figure",
    ("matplotlib", "Axes"): "axes",
    ("pandas", "DataFrame"): "frame",
    ("pandas", "Series"): "series",
}
