"""Photographs in the form in which they are kept: small, upright, bare, and refused in words that say what to send."""

from __future__ import annotations

import base64
import io
import struct
import zlib

import pytest
from PIL import ExifTags, Image, PngImagePlugin

from model.photograph import KEPT_SIDE_PIXELS_MAX, SIDE_PIXELS_MIN, PhotographError, data_uri, kept_form

SECRET = b"48 deg 12 N"


def encoded(picture, form, **more):
    target = io.BytesIO()
    picture.save(target, form, **more)
    return target.getvalue()


def halves(size=(400, 200)):
    """Red on the left, blue on the right."""
    picture = Image.new("RGB", size, "#d01010")
    picture.paste("#1010d0", (size[0] // 2, 0, *size))
    return picture


def grey_halves():
    """16 bits: 20,000 on the left, 60,000 on the right."""
    row = struct.pack("<100H", *[20_000] * 100) + struct.pack("<100H", *[60_000] * 100)
    return Image.frombytes("I;16", (200, 200), row * 200)


def opened(content):
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_a_picture_of_every_form_is_kept_as_jpeg_of_its_own_size(form):
    kept = opened(kept_form(encoded(halves(), form)))

    assert (kept.format, kept.size) == ("JPEG", (400, 200))
    red, _, blue = kept.getpixel((50, 100))
    assert red - blue > 120


@pytest.mark.parametrize(("side", "kept_side"), [(KEPT_SIDE_PIXELS_MAX, KEPT_SIDE_PIXELS_MAX), (4000, 2048)])
def test_a_large_one_is_made_small_and_one_at_the_bound_is_not(side, kept_side):
    assert opened(kept_form(encoded(halves((side, side // 2)), "PNG"))).size == (kept_side, kept_side // 2)


def test_places_cameras_comments_and_profiles_do_not_survive():
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = SECRET.decode()
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSDateStamp] = SECRET.decode()
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", SECRET.decode())
    sent = [
        encoded(halves(), "JPEG", exif=exif, comment=SECRET, xmp=SECRET, icc_profile=SECRET),
        encoded(halves(), "WEBP", exif=exif, xmp=SECRET, icc_profile=SECRET),
        encoded(halves(), "PNG", exif=exif, pnginfo=text),
        encoded(halves().convert("RGBA"), "WEBP", exif=exif, lossless=True),
        encoded(Image.new("RGBA", (200, 200), (0, 0, 0, 0)), "PNG", exif=exif, pnginfo=text),
    ]
    for each in sent:
        kept = kept_form(each)

        assert SECRET in each or b"tEXt" in each
        assert SECRET not in kept
        assert not opened(kept).getexif()
        assert set(opened(kept).info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density", "loop", "background",
                                          "timestamp", "duration"}  # fmt: skip


@pytest.mark.parametrize(
    ("orientation", "size", "red_at"),
    [(1, (400, 200), (50, 100)), (3, (400, 200), (350, 100)), (6, (200, 400), (100, 50)), (8, (200, 400), (100, 350))],
)
def test_a_picture_is_turned_as_the_camera_was_held(orientation, size, red_at):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    kept = opened(kept_form(encoded(halves(), "JPEG", exif=exif)))

    assert kept.size == size
    red, _, blue = kept.getpixel(red_at)
    assert red - blue > 120


def test_transparent_parts_stay_so_until_they_are_drawn_on_a_ground():
    cut_out = Image.new("RGBA", (400, 400), (0, 0, 0, 0))
    cut_out.paste((208, 16, 16, 255), (100, 100, 300, 300))
    kept = kept_form(encoded(cut_out, "PNG"))
    panel = data_uri(kept, (400, 400), "#00ff00")

    assert opened(kept).format == "WEBP"
    assert opened(kept).convert("RGBA").getpixel((10, 10))[3] == 0
    assert panel.startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "LA", "1", "I;16"])
def test_pictures_of_other_modes_are_kept_too(mode):
    picture = Image.new(mode, (200, 120))
    kept = opened(kept_form(encoded(picture, "JPEG" if mode == "CMYK" else "PNG")))

    assert kept.size == (200, 120)


def test_grey_of_16_bits_keeps_its_shades():
    picture = grey_halves()
    sent = encoded(picture, "PNG")

    drawn = opened(base64.b64decode(data_uri(sent, (200, 200), "#ffffff").partition(",")[2]))
    for made in (opened(kept_form(sent)), drawn):
        shades = [made.convert("L").getpixel((x, 100)) for x in (50, 150)]
        assert shades == pytest.approx([20_000 / 256, 60_000 / 256], abs=3)


def test_grey_of_16_bits_stays_transparent_where_it_was():
    picture = grey_halves()
    kept = opened(kept_form(encoded(picture, "PNG", transparency=60_000)))

    assert kept.mode == "RGBA"
    assert [kept.getpixel((x, 100))[3] for x in (50, 150)] == [255, 0]


def test_one_under_the_smallest_side_is_refused_with_its_size():
    side = SIDE_PIXELS_MIN
    kept_form(encoded(halves((side, side)), "PNG"))
    with pytest.raises(PhotographError, match=f"{side} x {side - 1}: send at least"):
        kept_form(encoded(halves((side, side - 1)), "PNG"))


def bomb():
    """A PNG of some hundred bytes that claims 60,000 x 60,000 pixels."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"", "send a whole PNG"),
        (b"GIF89a" + bytes(99), "send a whole PNG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "send a whole PNG"),
        (encoded(halves(), "JPEG")[:400], "cut off|cannot be read"),
        (encoded(halves((900, 900)), "PNG")[:900], "cut off|cannot be read"),
        (encoded(Image.effect_noise((500, 500), 90).convert("RGB"), "JPEG")[:9000], "damaged or cut off"),
        (bomb(), "at most 40,000,000 pixels"),
    ],
)
def test_what_is_no_picture_is_refused_with_what_to_send(sent, said):
    with pytest.raises(PhotographError, match=said):
        kept_form(sent)
