"""
`adloom generate` with a writer that needs no model; the folder it leaves is read back as a user would.

The real model runs in tests/e2e: `pytest tests/app/test_generate.py`.
"""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys

import pytest

from app import cli, generate
from app.batch_run import PICTURE_SUFFIXES
from app.cli import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, guarded
from app.progress import progress_on
from app.run_folder import RunFolder, RunFolderError, WholeLines
from model.bundle import FILES, seal
from model.channel import channels
from model.creative import Finding
from tests.fakes import FakeWriter

CATALOGUE = """\
sku,title,description,category,price
BOWL,Blue ceramic bowl,"Stoneware, 14 cm across.",Kitchen,12.00 EUR
STOOL,Beech step stool,"Two steps, 42 cm high.",Home,49.00 EUR
LIGHT,Bike light set,"80 lumen front, 30 rear.",Sport,25.00 EUR
"""
NO_TITLE = "GHOST,,Nothing has no name.,Home,1.00 EUR\n"

COMMAND = """
import sys
from app.cli import guarded
from app.generate import main
from tests.fakes import FakeWriter
writer = FakeWriter(seconds=float(sys.argv[1]))
sys.exit(guarded(lambda: main(sys.argv[2:], open_writer=lambda bundle, threads: writer)))
"""
"""The command in a process of its own, with a writer that takes the seconds of the first argument."""


@pytest.fixture
def catalogue(tmp_path):
    path = tmp_path / "products.csv"
    path.write_text(CATALOGUE)
    return path


@pytest.fixture
def out(tmp_path):
    return RunFolder(tmp_path / "out")


def run(*arguments, writer=None):
    chosen = writer or FakeWriter()
    return guarded(lambda: generate.main([str(part) for part in arguments], open_writer=lambda *_: chosen))


def start(catalogue, folder, *options, seconds):
    command = [sys.executable, "-c", COMMAND, seconds, catalogue, "--channel", "instagram", "--out", folder, *options]
    return subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Coverage of a terminal: the shell's Ctrl-C reaches the process itself.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def pairs(folder):
    return [(record["sku"], record["channel"]) for record in folder.records()]


def test_every_product_gets_one_creative_a_channel_with_pictures_and_a_gallery(catalogue, out, capsys):
    status = run(catalogue, "--channel", "instagram", "--channel", "x", "--out", out.path)

    assert status == 0
    assert pairs(out) == [(sku, name) for sku in ("BOWL", "STOOL", "LIGHT") for name in ("instagram", "x")]
    for record in out.records():
        sizes = [(image["width"], image["height"]) for image in record["images"]]
        assert sizes == list(channels()[record["channel"]].images)
        assert all((out.path / image["svg"]).read_text().startswith("<svg") for image in record["images"])
        assert all((out.path / image["png"]).read_bytes().startswith(b"\x89PNG") for image in record["images"])
    assert out.gallery.read_text().startswith("<!doctype html>")
    said = capsys.readouterr().out
    assert "3 read = 3 products + 0 rejected + 0 merged" in said
    assert f"gallery     {out.gallery}\n" in said


def test_the_summary_file_counts_findings_and_shares(catalogue, out):
    findings = (Finding("unsupported_number", "headline", "15 is not there"),)
    run(catalogue, "--channel", "instagram", "--out", out.path, "--no-png", writer=FakeWriter(findings=findings))

    summary = json.loads(out.summary.read_text())
    assert summary["findings"] == {"unsupported_number": 3}
    assert summary["grounded_share"] == 0.0
    assert summary["structure_share"] == 1.0
    assert summary["validity_mean"] == 0.9
    assert summary["rows"] == {"read": 3, "products": 3, "rejected": 0, "merged": 0}
    assert summary["complete"] is True


def test_no_png_leaves_svg_alone(catalogue, out):
    run(catalogue, "--channel", "x", "--out", out.path, "--no-png")

    assert {file.suffix for file in out.pictures.iterdir()} == {".svg"}
    assert "png" not in out.records()[0]["images"][0]


def test_all_means_every_channel_once(catalogue, out):
    run(catalogue, "--channel", "x", "--channel", "all", "--out", out.path, "--limit", 1, "--no-png")

    assert sorted(name for _, name in pairs(out)) == sorted(channels())


def test_the_same_seed_gives_the_same_bytes(catalogue, tmp_path):
    for name in ("one", "other"):
        run(catalogue, "--channel", "instagram", "--out", tmp_path / name, "--seed", 5, "--limit", 1)

    one, other = RunFolder(tmp_path / "one"), RunFolder(tmp_path / "other")
    assert one.creatives.read_bytes() == other.creatives.read_bytes()
    picture = one.records()[0]["images"][0]["png"]
    assert (one.path / picture).read_bytes() == (other.path / picture).read_bytes()


def test_products_are_selected_by_sku_and_by_limit(catalogue, out, tmp_path):
    run(catalogue, "--channel", "x", "--out", out.path, "--sku", "LIGHT", "--sku", "BOWL", "--no-png")
    run(catalogue, "--channel", "x", "--out", tmp_path / "first", "--limit", 2, "--no-png")

    assert [sku for sku, _ in pairs(out)] == ["BOWL", "LIGHT"]
    assert [sku for sku, _ in pairs(RunFolder(tmp_path / "first"))] == ["BOWL", "STOOL"]


def test_a_sample_is_the_same_for_the_same_seed(tmp_path):
    catalogue = tmp_path / "many.csv"
    catalogue.write_text("sku,title\n" + "".join(f"SKU-{number},Lamp number {number}\n" for number in range(40)))
    chosen = {}
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        run(catalogue, "--channel", "x", "--out", tmp_path / name, "--sample", 5, "--seed", seed, "--no-png")
        chosen[name] = [sku for sku, _ in pairs(RunFolder(tmp_path / name))]

    assert len(chosen["one"]) == 5
    assert chosen["one"] == chosen["again"]
    assert chosen["one"] != chosen["other"]


def test_an_unknown_sku_suggests_the_close_one(catalogue, out, capsys):
    assert run(catalogue, "--channel", "x", "--out", out.path, "--sku", "BOWLS") == EXIT_FAILED
    assert capsys.readouterr().err == "adloom: error: no product with sku 'BOWLS'; did you mean BOWL?\n"


def test_rejected_rows_are_listed_and_do_not_fail_the_run(catalogue, out, capsys):
    catalogue.write_text(CATALOGUE + NO_TITLE)

    assert run(catalogue, "--channel", "x", "--out", out.path, "--no-png") == 0
    [row] = [json.loads(line) for line in out.rejected.read_text().splitlines()]
    assert row["line"] == 5
    assert row["reason"]
    assert "4 read = 3 products + 1 rejected + 0 merged" in capsys.readouterr().out


def test_strict_fails_on_rejected_rows_after_writing_the_rest(catalogue, out):
    catalogue.write_text(CATALOGUE + NO_TITLE)

    assert run(catalogue, "--channel", "x", "--out", out.path, "--no-png", "--strict") == EXIT_FAILED
    assert len(out.records()) == 3


def test_strict_passes_without_rejected_rows(catalogue, out):
    assert run(catalogue, "--channel", "x", "--out", out.path, "--no-png", "--strict") == 0


def test_a_catalogue_of_bad_rows_alone_writes_nothing_and_says_why(catalogue, out, capsys):
    catalogue.write_text(CATALOGUE.splitlines(keepends=True)[0] + NO_TITLE)

    assert run(catalogue, "--channel", "x", "--out", out.path) == EXIT_FAILED
    assert "1 rows were rejected, the first (line 2)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--channel", "tiktok"], "unknown channel 'tiktok'; choose from google_rsa, instagram"),
        (["--channel", "x", "--candidates", "0"], "argument --candidates: 0 is not a number from 1 to 32"),
        (["--channel", "x", "--candidates", "33"], "argument --candidates: 33 is not a number from 1 to 32"),
        (["--channel", "x", "--candidates", "1000"], "argument --candidates: 1000 is not a number from 1 to 32"),
        (["--channel", "x", "--voice", "loud"], "invalid choice: 'loud' (choose from 'plain', 'playful', 'premium')"),
        (["--channel", "x", "--limit", "0"], "argument --limit: 0 is not a number of at least 1"),
        (["--channel", "x", "--brand-colours", "red"], "'red' is not three colours"),
        (["--channel", "x", "--columns", "title"], "'title' is not of the form"),
        (["--channel", "x", "--images", "nowhere"], "nowhere is not a folder"),
        ([], "the following arguments are required: --channel"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(catalogue, out, capsys, options, said):
    status = run(catalogue, "--out", out.path, *options)

    err = capsys.readouterr().err
    assert status == EXIT_USAGE
    assert err.startswith("adloom: error: ")
    assert said in err
    assert err.count("\n") == 1
    assert not out.path.exists()


@pytest.mark.parametrize(("options", "voice"), [([], "plain"), (["--voice", "playful"], "playful")])
def test_the_voice_reaches_the_writer_the_passport_the_summary_and_the_gallery(catalogue, out, options, voice):
    writer = FakeWriter()
    run(catalogue, "--channel", "x", "--out", out.path, "--no-png", *options, writer=writer)

    assert {call[2] for call in writer.calls} == {voice}
    assert {record["passport"]["voice"] for record in out.records()} == {voice}
    assert json.loads(out.summary.read_text())["voices"] == {voice: 3}
    assert f"in the {voice} voice, each the best of 4" in out.gallery.read_text()
    assert out.gallery.read_text().count(f"<span>X post, {voice}</span>") == 3


def test_resume_of_the_same_voice_writes_nothing_again(catalogue, out):
    run(catalogue, "--channel", "x", "--out", out.path, "--no-png", "--voice", "premium")
    writer = FakeWriter()
    options = ["--no-png", "--voice", "premium", "--resume"]

    assert run(catalogue, "--channel", "x", "--out", out.path, *options, writer=writer) == 0
    assert writer.calls == []


@pytest.mark.parametrize("candidates", [1, 32])
def test_the_bounds_of_candidates_are_allowed(catalogue, out, candidates):
    writer = FakeWriter()
    status = run(catalogue, "--channel", "x", "--out", out.path, "--no-png", "--candidates", candidates, writer=writer)

    assert status == 0
    assert {call[3] for call in writer.calls} == {candidates}


@pytest.mark.parametrize("content", [None, b"", b"\x00\x01\x02\x03" * 100, b"colour,size\nblue,3\n"])
def test_a_file_that_is_no_catalogue_is_one_line_and_no_model_is_opened(tmp_path, out, capsys, content):
    file = tmp_path / "products.csv"
    if content is not None:
        file.write_bytes(content)

    def refuse(bundle, threads):
        raise AssertionError("the model was opened")

    status = guarded(lambda: generate.main([str(file), "--channel", "x", "--out", str(out.path)], open_writer=refuse))
    err = capsys.readouterr().err
    assert status == EXIT_FAILED
    assert err.count("\n") == 1
    assert "products.csv" in err
    assert "unexpected" not in err


def test_a_missing_bundle_says_how_to_make_one(catalogue, out, tmp_path, capsys):
    argv = [str(catalogue), "--channel", "x", "--out", str(out.path), "--bundle", str(tmp_path / "none")]

    assert guarded(lambda: generate.main(argv)) == EXIT_FAILED
    assert "run `make bundle` or `adloom bundle build`" in capsys.readouterr().err


def test_earlier_creatives_are_neither_overwritten_nor_mixed_with(catalogue, out, capsys):
    run(catalogue, "--channel", "x", "--out", out.path, "--no-png")
    before = {file: file.read_bytes() for file in out.path.rglob("*") if file.is_file()}
    catalogue.write_text(CATALOGUE + NO_TITLE)

    assert run(catalogue, "--channel", "x", "--out", out.path, "--no-png", "--seed", 9) == EXIT_FAILED
    assert {file: file.read_bytes() for file in out.path.rglob("*") if file.is_file()} == before
    assert "--resume" in capsys.readouterr().err


def test_force_starts_afresh_and_keeps_the_earlier_file(catalogue, out):
    run(catalogue, "--channel", "x", "--out", out.path, "--no-png")
    before = out.creatives.read_bytes()

    assert run(catalogue, "--channel", "instagram", "--out", out.path, "--no-png", "--force") == 0
    assert (out.path / "creatives.1.jsonl").read_bytes() == before
    assert {name for _, name in pairs(out)} == {"instagram"}


def test_resume_writes_only_what_is_missing(catalogue, out):
    run(catalogue, "--channel", "x", "--out", out.path, "--no-png", "--limit", 2)
    writer = FakeWriter()

    assert run(catalogue, "--channel", "x", "--out", out.path, "--no-png", "--resume", writer=writer) == 0
    assert [call[0] for call in writer.calls] == ["LIGHT"]
    assert [sku for sku, _ in pairs(out)] == ["BOWL", "STOOL", "LIGHT"]


@pytest.mark.parametrize(
    ("options", "digest"),
    [
        (["--seed", 1], "f" * 64),
        (["--candidates", 2], "f" * 64),
        (["--voice", "premium"], "f" * 64),
        ([], "e" * 64),
    ],
)
def test_resume_does_not_take_other_settings_for_done(catalogue, out, options, digest):
    run(catalogue, "--channel", "x", "--out", out.path, "--no-png", "--limit", 1)
    writer = FakeWriter(digest=digest)
    run(catalogue, "--channel", "x", "--out", out.path, "--no-png", "--limit", 1, "--resume", *options, writer=writer)

    assert len(writer.calls) == 1
    assert len(out.records()) == 2


def test_a_changed_product_is_written_again(catalogue, out):
    run(catalogue, "--channel", "x", "--out", out.path, "--no-png")
    catalogue.write_text(CATALOGUE.replace("14 cm", "15 cm"))
    writer = FakeWriter()
    run(catalogue, "--channel", "x", "--out", out.path, "--no-png", "--resume", writer=writer)

    assert [call[0] for call in writer.calls] == ["BOWL"]


def test_a_file_of_something_else_is_refused_by_name_and_left_alone(catalogue, out, capsys):
    out.prepare()
    out.creatives.write_text('{"mine": true}\n')

    assert run(catalogue, "--channel", "x", "--out", out.path, "--resume") == EXIT_FAILED
    assert f"{out.creatives}, line 1: not a creative" in capsys.readouterr().err
    assert out.creatives.read_text() == '{"mine": true}\n'


def test_a_writer_that_fails_midway_leaves_what_was_done(catalogue, out, capsys):
    status = run(catalogue, "--channel", "x", "--out", out.path, "--no-png", writer=FakeWriter(fail_sku="LIGHT"))

    assert status == EXIT_FAILED
    assert [sku for sku, _ in pairs(out)] == ["BOWL", "STOOL"]
    assert "cut short" in out.gallery.read_text()
    assert json.loads(out.summary.read_text())["complete"] is False
    assert "2 of 3 creatives are whole" in capsys.readouterr().err


def test_ctrl_c_leaves_whole_lines_a_gallery_and_130_and_resume_finishes(catalogue, out, tmp_path):
    catalogue.write_text("sku,title\n" + "".join(f"SKU-{number},Lamp number {number}\n" for number in range(50)))
    process = start(catalogue, out.path, "--no-png", seconds=0.2)
    while not (out.creatives.exists() and out.creatives.stat().st_size):
        assert process.poll() is None, process.stderr.read()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    done = len(out.records())

    assert process.returncode == EXIT_INTERRUPTED
    assert "Traceback" not in err
    assert err.endswith("adloom: interrupted\n")
    assert out.creatives.read_bytes().endswith(b"\n")
    assert 1 <= done < 50
    assert f"{done} of 50 creatives are whole" in err
    assert out.gallery.read_text().count('class="card"') == done
    assert not list(out.path.rglob("*.tmp"))
    assert run(catalogue, "--channel", "instagram", "--out", out.path, "--no-png", "--resume") == 0
    assert len({sku for sku, _ in pairs(out)}) == len(out.records()) == 50


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 600 kB: room for a few creatives with their pictures."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small tmpfs needs root and the right to mount")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_keeps_every_line_whole_and_resume_goes_on(small_disk, tmp_path):
    catalogue = tmp_path / "many.csv"
    catalogue.write_text("sku,title\n" + "".join(f"SKU-{number},Lamp number {number}\n" for number in range(30)))
    out = RunFolder(small_disk / "out")
    _, err = (process := start(catalogue, out.path, "--no-png", seconds=0)).communicate(timeout=120)
    done = len(out.records())

    assert process.returncode == EXIT_FAILED
    assert "No space left on device; free some space and try again" in err
    assert f"{done} of 30 creatives are whole" in err
    assert 1 <= done < 30
    assert out.creatives.read_bytes().endswith(b"\n")
    assert not list(out.path.rglob("*.tmp"))
    subprocess.run(["mount", "-o", "remount,size=20M", small_disk], check=True)
    _, err = (process := start(catalogue, out.path, "--no-png", "--resume", seconds=0)).communicate(timeout=120)
    assert process.returncode == 0, err
    assert [sku for sku, _ in pairs(out)] == [f"SKU-{number}" for number in range(30)]


def test_a_read_only_folder_is_one_line_before_a_model_is_opened(small_disk, catalogue, capsys):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)

    assert run(catalogue, "--channel", "x", "--out", small_disk / "out") == EXIT_FAILED
    assert capsys.readouterr().err.startswith(f"adloom: error: {small_disk / 'out'}: Read-only file system")


def test_an_output_path_that_is_a_file_is_one_line(catalogue, tmp_path, capsys):
    (tmp_path / "taken").write_text("mine")

    assert run(catalogue, "--channel", "x", "--out", tmp_path / "taken") == EXIT_FAILED
    assert "taken" in capsys.readouterr().err
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_product_picture_that_is_none_is_said_and_drawn_without(catalogue, out, tmp_path, capsys):
    images = tmp_path / "images"
    images.mkdir()
    (images / f"BOWL{PICTURE_SUFFIXES[0]}").write_bytes(b"not a picture")

    assert run(catalogue, "--channel", "x", "--out", out.path, "--images", images, "--no-png") == 0
    assert all(len(record["images"]) == 2 for record in out.records())
    assert capsys.readouterr().out.count("picture     BOWL: ") == 1


def test_brand_colours_reach_the_picture(catalogue, out):
    run(catalogue, "--channel", "x", "--out", out.path, "--limit", 1, "--brand-colours", "#123456,#ffffff,#ffcc00")

    assert "#123456" in (out.path / out.records()[0]["images"][0]["svg"]).read_text()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("GOOD,Blue ceramic bowl,\nGOOD,Beech step stool,\n", "GOOD"),
        (f"LONG,Blue ceramic bowl,{'x' * 2**20}\n", "description"),
        ("EMOJI,😀🎉,\n", "has no letter or digit"),
    ],
    ids=["duplicate sku", "a megabyte of description", "only emoji"],
)
def test_a_row_that_cannot_be_read_fails_a_strict_run_and_says_where_and_why(tmp_path, out, capsys, row, said):
    catalogue = tmp_path / "rows.csv"
    catalogue.write_text(f"sku,title,description\nFIRST,Bike light set,80 lumen front.\n{row}")

    assert run(catalogue, "--channel", "x", "--out", out.path, "--no-png", "--strict") == EXIT_FAILED
    [rejected] = [json.loads(line) for line in out.rejected.read_text().splitlines()]
    line_of_the_bad_row = 2 + row.count("\n")
    assert rejected["line"] == line_of_the_bad_row
    assert said in f"{rejected['column']} {rejected['reason']}"
    assert f"rejected    1 rows, the first at line {line_of_the_bad_row}" in capsys.readouterr().out
    assert len(out.records()) == 1 + row.startswith("GOOD")


@pytest.fixture
def cut_short_bundle(tmp_path):
    """A sealed bundle whose weights lost their last byte since."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_bytes(b"not read before it is verified")
    seal(folder, name="cut", base="none", scheme="none", prompt_digest="", measured={}, built_with={})
    os.truncate(folder / "model.onnx.data", (folder / "model.onnx.data").stat().st_size - 1)
    return folder


@pytest.mark.parametrize("command", ["generate", "serve", "demo"])
def test_a_bundle_cut_short_is_refused_by_the_name_of_its_file(cut_short_bundle, catalogue, out, capsys, command):
    options = {
        "generate": [catalogue, "--channel", "x", "--out", out.path],
        "serve": ["--port", 0],
        "demo": ["--out", out.path],
    }
    arguments = [str(part) for part in (command, *options[command], "--bundle", cut_short_bundle)]

    assert cli.main(arguments) == EXIT_FAILED
    err = capsys.readouterr().err
    assert f"{cut_short_bundle / 'model.onnx.data'} has 29 bytes instead of 30" in err
    assert err.count("\n") == 1
    assert not out.creatives.exists()


def test_columns_may_be_named(tmp_path, out):
    catalogue = tmp_path / "other.csv"
    catalogue.write_text("Artikel,Bezeichnung\nA1,Blue ceramic bowl\n")

    status = run(
        catalogue, "--channel", "x", "--out", out.path, "--no-png", "--columns", "sku=Artikel,title=Bezeichnung"
    )
    assert status == 0
    assert pairs(out) == [("A1", "x")]


def test_half_a_line_of_a_killed_run_is_cut_off(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'{"n": 1}\n{"n": 2')
    with WholeLines(path) as lines:
        lines.append({"n": 3})

    assert path.read_bytes() == b'{"n": 1}\n{"n": 3}\n'


def test_a_line_that_the_disk_takes_only_half_of_is_taken_back(small_disk):
    path = small_disk / "lines.jsonl"
    # 10,000 bytes a line are no whole number of pages: the last write is short before one is refused.
    record = {"text": "x" * 9_987}
    with WholeLines(path) as lines:
        refused = None
        while refused is None:
            try:
                lines.append(record)
            except OSError as error:
                refused = error

    content = path.read_bytes()
    assert refused.errno == errno.ENOSPC
    assert len(content) % 10_000 == 0
    assert {json.dumps(json.loads(line)) for line in content.splitlines()} == {json.dumps(record)}


def test_two_runs_in_one_folder_do_not_mix(tmp_path):
    path = tmp_path / "lines.jsonl"
    with WholeLines(path), pytest.raises(RunFolderError, match="another run is writing here"), WholeLines(path):
        pass


def test_progress_off_a_terminal_is_a_line_every_five_seconds():
    stream, seconds = io.StringIO(), iter([0.0, 2.0, 4.9, 5.0, 9.0])
    with progress_on(stream, 8, noun="creatives", clock=lambda: next(seconds)) as advance:
        for _ in range(4):
            advance()

    assert stream.getvalue() == "adloom: 3 of 8 creatives, 0.6 a second, about 8 s left\n"


def test_progress_on_a_terminal_draws_a_bar():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    with progress_on(stream, 2, noun="creatives") as advance:
        advance()
        advance()

    assert "writing creatives" in stream.getvalue()
    assert "2/2" in stream.getvalue()
