"""Pictures: what is on them, where, in what colours, and what is refused. Run: pytest tests/model/test_layout.py."""

import base64
import io
import itertools
import re
import struct
import zlib
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from model import layout, photograph, typeface
from model.composition import choose
from model.creative import Copy
from model.layout import Brand, LayoutError, compose, render_png, render_svg
from model.palette import CONTRAST_BODY, PALETTES, contrast

SIZES = [(1080, 1080), (1200, 628), (1080, 1920), (1000, 1500)]
ODD_SIZES = [(300, 300), (4000, 300), (300, 4000), (728, 300), (1350, 1080)]
PLAIN = Copy(
    ("Two steps up, 42 cm",), ("Solid beech that holds 150 kg. It arrives in one piece.",), "Check it fits", ("#beech",)
)
COPIES = {
    "plain": PLAIN,
    "long word": Copy(("Donaudampfschifffahrtselektrizitaetenhauptbetriebswerkbauunt",), ("x" * 200,), "y" * 40),
    "long headline": Copy(("A headline that goes on and on and on " * 5,), ("Words and words. " * 60,), "See it"),
    "body only": Copy((), ("80 lumens ahead, 30 behind. One cable charges both.",)),
    "headline only": Copy(("Fog",)),
    "markup": Copy(("<b>\"Soup\" & 'salad'</b>",), ("a ]]> b <script>alert(1)</script>\x00\x0b",), "Go > on"),
    "hebrew": Copy(("שעון אחד, 38 מ״מ",), ("זכוכית ספיר ולוח עם סימון כל 5 דקות.",), "בדקו את ההיקף"),
    "unknown script": Copy(("ꀀꀁꀂ 𒀀𒀁",), ("ꀀꀁ",), "ꀂ"),
    "emoji": Copy(("😀🎉",), ("☕",), "👉"),
}


def scene_of(words, size=(1080, 1080), **kwargs):
    return compose(words, **{"title": "Step stool", "category": "Home"} | kwargs, size=size)


def picture(svg):
    return Image.open(io.BytesIO(render_png(svg))).convert("RGB")


def photo(size=(640, 480), colour="#5a7d8c", file_format="JPEG", **kwargs):
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, file_format, **kwargs)
    return buffer.getvalue()


def overlap(one, other):
    across = min(one.right, other.right) - max(one.x, other.x)
    down = min(one.bottom, other.bottom) - max(one.y, other.y)
    return across > 0.5 and down > 0.5


def near(shown, wanted):
    """Equal but for JPEG's rounding."""
    return np.abs(np.asarray(shown, dtype=int) - wanted).max(axis=-1) < 4


def assert_text_keeps_its_place(scene):
    width, height = scene.size
    for block in scene.blocks:
        ink = block.bounds()
        assert ink.x >= 0
        assert ink.y >= 0
        assert ink.right <= width
        assert ink.bottom <= height
        assert contrast(block.colour, block.ground) >= CONTRAST_BODY
    for one, other in itertools.combinations(scene.blocks, 2):
        assert not overlap(one.bounds(), other.bounds()), (one.role, other.role)


def assert_flat_ground(scene):
    """Everything but the words is drawn; each pixel that the words will cover has the one colour they were told."""
    bare = picture(layout._document(replace(scene, blocks=[]), "", ""))
    for block in scene.blocks:
        ink = block.bounds()
        patch = bare.crop((int(ink.x), int(ink.y), int(ink.right) + 1, int(ink.bottom) + 1))
        colours = {"#{:02x}{:02x}{:02x}".format(*colour) for colour in np.asarray(patch).reshape(-1, 3)[::7]}
        assert colours == {block.ground}, block.role


@pytest.mark.parametrize("name", COPIES)
@pytest.mark.parametrize("size", SIZES + ODD_SIZES, ids="{0[0]}x{0[1]}".format)
def test_words_stay_inside_apart_and_legible(name, size):
    scene = scene_of(COPIES[name], size, label="Hale & Pine")

    assert_text_keeps_its_place(scene)


@pytest.mark.parametrize("size", [(540, 540), (600, 314), (540, 960), (500, 750)], ids="{0[0]}x{0[1]}".format)
@pytest.mark.parametrize("image", [None, photo()], ids=["artwork", "photograph"])
def test_words_lie_on_one_flat_colour_in_every_composition(size, image):
    seen = set()
    for index in range(10):
        words = replace(PLAIN, headlines=(f"Holds {index + 3} litres" if index % 2 else f"Fog {chr(65 + index)}",))
        kwargs = {"title": "Lamp" if index % 3 else "Thing", "category": PALETTES[index][1], "label": "", "brand": None}
        seen.add(choose(layout._brief(words, size=size, image=image, **kwargs)).__name__)
        assert_flat_ground(compose(words, size=size, image=image, **kwargs))

    assert len(seen) >= 3


def test_at_least_four_compositions_are_in_use():
    kwargs = {"title": "Thing", "category": "Home", "brand": None, "image": None, "label": ""}
    names = {
        choose(layout._brief(Copy((f"Holds {index} litres",)), size=(1080, 1080), **kwargs)).__name__
        for index in range(60)
    }

    assert len(names) >= 4


@settings(max_examples=200, derandomize=True, deadline=None)
@given(*[st.integers(0, 0xFFFFFF).map("#{:06x}".format)] * 3, st.sampled_from(SIZES))
def test_any_brand_colours_give_legible_words(background, foreground, accent, size):
    brand = Brand(background, foreground, accent)

    assert_text_keeps_its_place(scene_of(PLAIN, size, brand=brand, title=background, category=accent))


def test_a_brand_of_one_single_colour_still_shows_words_and_shapes():
    scene = scene_of(PLAIN, brand=Brand("#808080", "#808080", "#808080"))

    assert_flat_ground(scene)
    shown = np.asarray(picture(layout._document(scene, "", "")))[::9, ::9].reshape(-1, 3)
    assert len(np.unique(shown, axis=0)) > 3


@pytest.mark.parametrize("size", [*SIZES, (300, 300), (333, 777)], ids="{0[0]}x{0[1]}".format)
def test_the_png_has_exactly_the_size_asked_for(size):
    assert picture(render_svg(PLAIN, title="t", category="c", size=size)).size == size


def test_the_same_words_give_the_same_bytes_and_other_words_do_not():
    first, again = (render_svg(PLAIN, title="t", category="c", size=(1080, 1080)) for _ in range(2))
    other = render_svg(replace(PLAIN, call_to_action="See it"), title="t", category="c", size=(1080, 1080))

    assert first == again
    assert render_png(first) == render_png(again)
    assert first != other


@pytest.mark.parametrize("name", COPIES)
def test_the_document_is_well_formed_self_contained_and_speaks(name):
    words = COPIES[name]
    svg = render_svg(words, title="Tom & <Jerry>\x00", category="Toys", size=(1080, 1080), image=photo())
    root = ET.fromstring(svg)
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}

    assert root[0].text == "Tom & <Jerry>"
    spoken = re.sub("[\x00-\x1f]", "", " ".join((*words.headlines, *words.bodies, words.call_to_action)).strip())
    assert root[1].text == spoken
    assert not tags & {"text", "script", "style", "foreignObject", "use"}
    assert set(re.findall(r'(?:href|src)="([^,"]*)', svg)) == {"data:image/jpeg;base64"}
    assert svg.count("http") == 1  # the namespace


def drawn(scene):
    return {block.role: " ".join(line.text for line in block.paragraph.lines) for block in scene.blocks}


def test_emoji_leave_no_trace_in_the_picture():
    words = drawn(scene_of(Copy(("😀 Fog ☕ at dawn 🎉",), ("Soft 🧶.",), "Go 👉")))

    assert words == {"headline": "Fog at dawn", "body": "Soft.", "call_to_action": "Go →", "eyebrow": "HOME"}


def test_a_channel_without_headlines_sets_its_first_sentence_large():
    words = drawn(scene_of(COPIES["body only"]))

    assert words["headline"] == "80 lumens ahead, 30 behind"
    assert words["body"] == "One cable charges both."


def test_right_to_left_words_are_flush_right():
    if not typeface.drawable("שעון"):
        pytest.skip("no installed font has Hebrew letters")
    for index in range(8):
        scene = scene_of(COPIES["hebrew"], (1200, 628), title=f"t{index}")
        headline = next(block for block in scene.blocks if block.role == "headline")
        body = next(block for block in scene.blocks if block.role == "body")

        assert headline.bounds().right == pytest.approx(body.bounds().right, abs=1)


def test_stories_keep_words_where_apps_do_not_cover_them():
    for index in range(12):
        for block in scene_of(PLAIN, (1080, 1920), title=f"t{index}").blocks:
            assert block.bounds().y >= 0.13 * 1920
            assert block.bounds().bottom <= 0.81 * 1920


@pytest.mark.parametrize(
    "size", [(299, 1080), (1080, 4001), (0, 0), (-300, 300), (1080.0, 1080), (True, 1080), (1080,)]
)
def test_an_unsupported_size_is_refused_with_what_is_supported(size):
    with pytest.raises(LayoutError, match="each from 300 to 4000"):
        render_svg(PLAIN, title="t", category="c", size=size)


def test_nothing_at_all_to_draw_is_refused_but_a_title_is_enough():
    with pytest.raises(LayoutError, match="give a headline, a body or a title"):
        render_svg(Copy(), title=" ", category="c", size=(1080, 1080))

    assert "headline" in {block.role for block in scene_of(Copy(), title="Blue ceramic bowl").blocks}


@pytest.mark.parametrize("field", ["background", "foreground", "accent"])
def test_a_brand_colour_that_is_none_is_refused_by_name(field):
    with pytest.raises(LayoutError, match=f"brand {field} is 'red'"):
        Brand(**{"background": "#ffffff", "foreground": "#000000", "accent": "#ff0000"} | {field: "red"})


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_the_product_image_appears_in_its_own_colour(file_format):
    svg = render_svg(PLAIN, title="t", category="c", size=(1080, 1080), image=photo(file_format=file_format))

    assert near(picture(svg), (90, 125, 140)).mean() > 0.1


def test_a_photograph_taken_sideways_is_turned_upright():
    source = Image.new("RGB", (200, 100), "#ff0000")
    source.paste("#0000ff", (0, 50, 200, 100))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to view: the red upper half becomes the right half
    buffer = io.BytesIO()
    source.save(buffer, "JPEG", exif=exif, quality=95)
    uri = photograph.data_uri(buffer.getvalue(), (100, 200), "#ffffff")
    upright = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))

    assert upright.size == (100, 200)
    assert not upright.getexif()
    assert near(upright.getpixel((80, 100)), (255, 0, 0))
    assert near(upright.getpixel((20, 100)), (0, 0, 255))


def test_transparent_parts_of_a_cutout_show_the_panel_beneath():
    buffer = io.BytesIO()
    Image.new("RGBA", (50, 50), (0, 0, 0, 0)).save(buffer, "PNG")
    uri = photograph.data_uri(buffer.getvalue(), (50, 50), "#20c060")
    pixel = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).getpixel((25, 25))

    assert near(pixel, (0x20, 0xC0, 0x60))


def claimed_png(width, height):
    """A PNG of a few bytes whose header claims a size."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\x00\x00\x00\x00IEND\xaeB`\x82"


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (b"", "cannot be read: send a whole PNG, JPEG or WebP"),
        (b"GIF89a" + b"\x00" * 50, "cannot be read"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "cannot be read"),
        (photo()[:400], "cut off|cannot be read"),
        (claimed_png(10, 10), "damaged"),
        (claimed_png(10_000, 4_001), "at most 40,000,000 pixels"),
        (claimed_png(10_000, 10_000), "at most 40,000,000 pixels"),
        (claimed_png(60_000, 60_000), "at most 40,000,000 pixels"),
        (b"\x00" * (20 * 1024 * 1024 + 1), "20 MB"),
    ],
    ids=["empty", "gif", "svg", "truncated", "no data", "just too many", "too many", "bomb", "bytes"],
)
def test_an_image_that_cannot_be_used_is_refused_with_what_to_send(image, message):
    with pytest.raises(LayoutError, match=message):
        render_svg(PLAIN, title="t", category="c", size=(1080, 1080), image=image)


def test_forty_megapixels_are_within_the_limit():
    with pytest.raises(LayoutError, match="damaged"):  # the header passes; the pixels are not there
        render_svg(PLAIN, title="t", category="c", size=(1080, 1080), image=claimed_png(10_000, 4_000))


@pytest.mark.parametrize("text", ["", "no svg", "<svg", "<html/>"])
def test_a_document_that_is_no_svg_is_refused(text):
    with pytest.raises(LayoutError, match="no SVG document"):
        render_png(text)
