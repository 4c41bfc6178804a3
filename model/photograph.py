"""
A merchant's product picture made safe and small: checked, turned upright, fitted to a bound or a panel, encoded again.

Takes bytes only: nothing is ever fetched. Metadata (places, cameras) does not survive.
"""

from __future__ import annotations

import base64
import io
from types import MappingProxyType

from PIL import ExifTags, Image, ImageOps

BYTES_MAX = 20 * 1024 * 1024
PIXELS_MAX = 40_000_000
"""40 megapixels are 120 MB once decoded; a small file can claim far more."""
FORMATS = ("PNG", "JPEG", "WEBP")
JPEG_QUALITY = 86
KEPT_QUALITY = 92
"""Of what is kept to be drawn from: it is encoded once more for each panel."""
KEPT_SIDE_PIXELS_MAX = 2048
"""The largest panel is 1,920 pixels high."""
SIDE_PIXELS_MIN = 100
"""A smaller picture is an icon, and a blur once it fills a panel."""


TURNS = MappingProxyType(
    {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
)
"""What makes a picture upright, by the orientation that its camera noted."""
DAMAGES = (OSError, ValueError, SyntaxError, MemoryError)
DAMAGED = "the image is damaged or cut off: export it again and send the whole file"


class PhotographError(ValueError):
    """The bytes are no picture that can be used; the message says what to send instead."""


def _opened(data: bytes) -> Image.Image:
    if len(data) > BYTES_MAX:
        raise PhotographError(f"the image has {len(data):,} bytes: send at most {BYTES_MAX:,} (20 MB)")
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PhotographError(f"the image is too large: send at most {PIXELS_MAX:,} pixels") from None
    except (OSError, ValueError, SyntaxError):
        raise PhotographError("the image cannot be read: send a whole PNG, JPEG or WebP file") from None
    if picture.width * picture.height > PIXELS_MAX:
        raise PhotographError(f"the image is {picture.width} x {picture.height}: send at most {PIXELS_MAX:,} pixels")
    return picture


def _of_8_bits(picture: Image.Image) -> Image.Image:
    """As it is, but for 16 bits of grey, which Pillow's `convert` would clip to white."""
    if not picture.mode.startswith("I"):
        return picture
    grey = picture.point(lambda value: value * (1 / 256)).convert("L")
    if isinstance(transparent := grey.info.get("transparency"), int):
        grey.info["transparency"] = transparent // 256
    return grey


def data_uri(data: bytes, size: tuple[int, int], ground: str) -> str:
    """
    The picture as a JPEG data URI that covers `size` pixels, its middle kept.

    Transparent parts show `ground` (#rrggbb). Raises PhotographError.
    """
    picture = _opened(data)
    # Lets the JPEG decoder skip detail that the panel cannot show; a no-op for the other formats.
    picture.draft("RGB", (size[0] * 2, size[1] * 2))
    try:
        upright = ImageOps.exif_transpose(_of_8_bits(picture))
        layers = upright.convert("RGBA")
    except DAMAGES:
        raise PhotographError(DAMAGED) from None
    flat = Image.new("RGBA", layers.size, ground)
    flat.alpha_composite(layers)
    panel = ImageOps.fit(flat.convert("RGB"), size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    panel.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def kept_form(data: bytes) -> bytes:
    """
    The picture upright, without metadata, at most KEPT_SIDE_PIXELS_MAX wide and high.

    JPEG, or WebP where parts of it are transparent: those show the ground of the ad. Raises PhotographError.
    """
    picture = _opened(data)
    if min(picture.size) < SIDE_PIXELS_MIN:
        raise PhotographError(
            f"the image is {picture.width} x {picture.height}: send at least {SIDE_PIXELS_MIN} pixels each way"
        )
    bound = (KEPT_SIDE_PIXELS_MAX, KEPT_SIDE_PIXELS_MAX)
    picture.draft("RGB", bound)
    try:
        picture.load()  # here, where what is cut off is caught: one that is small enough would be read later
        picture = _of_8_bits(picture)
        orientation = picture.getexif().get(ExifTags.Base.Orientation, 1)
        has_alpha = picture.has_transparency_data
        mode = "RGBA" if has_alpha else "RGB"
        shown = picture if picture.mode == mode else picture.convert(mode)  # `convert` copies one that fits already
        shown.thumbnail(bound, Image.Resampling.LANCZOS, reducing_gap=3.0)
        turn = TURNS.get(orientation)
        upright = shown if turn is None else shown.transpose(turn)  # when it is small: a copy of the whole is 160 MB
    except DAMAGES:
        raise PhotographError(DAMAGED) from None
    # Comments and profiles travel in a picture's `info`, which a new picture does not have.
    bare = Image.new(upright.mode, upright.size)
    bare.paste(upright)
    buffer = io.BytesIO()
    if has_alpha:
        bare.save(buffer, "WEBP", quality=KEPT_QUALITY, method=4)
    else:
        bare.save(buffer, "JPEG", quality=KEPT_QUALITY, subsampling=0, optimize=True)
    return buffer.getvalue()
