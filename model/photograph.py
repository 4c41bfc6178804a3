"""
A merchant's product picture made safe and small: checked, turned upright, cropped to a panel, encoded again.

Takes bytes only: nothing is ever fetched. Metadata (places, cameras) does not survive.
"""

from __future__ import annotations

import base64
import io

from PIL import Image, ImageOps

BYTES_MAX = 20 * 1024 * 1024
PIXELS_MAX = 40_000_000
"""40 megapixels are 120 MB once decoded; a small file can claim far more."""
FORMATS = ("PNG", "JPEG", "WEBP")
JPEG_QUALITY = 86


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


def data_uri(data: bytes, size: tuple[int, int], ground: str) -> str:
    """
    The picture as a JPEG data URI that covers `size` pixels, its middle kept.

    Transparent parts show `ground` (#rrggbb). Raises PhotographError.
    """
    picture = _opened(data)
    # Lets the JPEG decoder skip detail that the panel cannot show; a no-op for the other formats.
    picture.draft("RGB", (size[0] * 2, size[1] * 2))
    try:
        upright = ImageOps.exif_transpose(picture)
        layers = upright.convert("RGBA")
    except (OSError, ValueError, SyntaxError, MemoryError):
        raise PhotographError("the image is damaged or cut off: export it again and send the whole file") from None
    flat = Image.new("RGBA", layers.size, ground)
    flat.alpha_composite(layers)
    panel = ImageOps.fit(flat.convert("RGB"), size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    panel.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
