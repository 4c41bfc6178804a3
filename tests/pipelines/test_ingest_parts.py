"""A file that is read in parts, by whoever and wherever it is cut, gives what one reader of the whole gives."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from model.catalogue import open_catalogue, read_catalogue
from model.product import product_from_dict
from pipelines.ingest import intake, parts
from pipelines.ingest.intake import quarantine_line, take_in
from pipelines.ingest.parts import PartTask, parts_of
from tests.pipelines.ingest_parts import as_csv, catalogue
from tests.real_parts import wait_until

CELLS = (
    "oak",
    'a 5" pipe',
    "two\nlines",
    'quoted "words"',
    "Übergröße",
    "",
    "a,b",
    "x" * 90,
    "one\n\n\nfour",
    "né\r\nb",
)


def awkward_csv(seed, rows=60):
    """Quotes in odd places, lines within cells, rows of other lengths and lone bytes."""
    choice = random.Random(seed)
    out = [b"sku,title,description\n"]
    for number in range(rows):
        cells = [f"S-{choice.randrange(rows)}", f"Lamp {number}", choice.choice(CELLS), choice.choice(CELLS)]
        kind = choice.random()
        if kind < 0.75:
            line = as_csv([dict(zip(("sku", "title", "description"), cells, strict=False))]).split("\n", 1)[1].encode()
        elif kind < 0.8:
            line = f'S,"open {number}\n'.encode()
        elif kind < 0.85:
            line = f'{cells[0]},5" tube {number},plain\n'.encode()
        elif kind < 0.9:
            line = b"S-1,l\xe4mp,latin\n"
        else:
            line = choice.choice([b"\n", b"a,b,c,d\n", b"only one\n", b',"half\n', b"\r\n"])
        out.append(line)
    return choice.choice([b"", b"\xef\xbb\xbf"]) + b"".join(out)


def written(tmp_path, content, name="products.csv"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def summed(found):
    """All that parts say, as one."""
    listed = list(found)
    figures = intake.Figures()
    for part in listed:
        figures.add(part.figures)
    return {
        "rows": sum(part.rows for part in listed),
        "places": [place for part in listed for place in part.places],
        "lines": [line for part in listed for line in part.lines],
        "rejected": [quarantine_line(error) for part in listed for error in part.rejected],
        "figures": figures.as_dict(),
    }


def at_once(path, monkeypatch, part_bytes):
    monkeypatch.setattr(parts, "PART_BYTES", part_bytes)
    monkeypatch.setattr(parts, "GUESS_BYTES_MAX", 40)
    source = open_catalogue(path)
    task = PartTask(path, source.layout, (), source.start, path.stat().st_size)
    with ThreadPoolExecutor(2) as pool:
        return summed(parts._at_once(task, pool, ahead=4))


@pytest.mark.parametrize("seed", range(40))
def test_wherever_a_file_is_cut_the_outcome_is_that_of_the_whole(tmp_path, monkeypatch, seed):
    path = written(tmp_path, awkward_csv(seed))
    whole = summed(parts_of(open_catalogue(path), path, (), is_alone=True, workers=1))

    assert whole["rows"] > 20
    for part_bytes in (50, 333, 1_000):
        assert at_once(path, monkeypatch, part_bytes) == whole


@pytest.mark.parametrize("seed", range(10))
def test_the_outcome_is_that_of_the_catalogue_itself(tmp_path, seed):
    path = written(tmp_path, awkward_csv(seed))
    known = read_catalogue(path)
    found = take_in(path, (), tmp_path / "lines", tmp_path / "bad", workers=1)
    products = [product_from_dict(parsed(line)) for line in (tmp_path / "lines").read_bytes().splitlines()]

    assert products == list(known.products)
    assert (found.rows, found.accepted, found.rejected) == (known.rows, len(known.products), len(known.rejected))
    bad = [parsed(line) for line in (tmp_path / "bad").read_bytes().splitlines()]
    assert {(each["line"], each["reason"]) for each in bad} == {(each.line, each.reason) for each in known.rejected}


def parsed(line):
    return json.loads(line)


def test_json_lines_are_cut_likewise(tmp_path, monkeypatch):
    lines = [b'{"sku": "A-%d", "title": "L\xc3\xa4mp"}\n' % number for number in range(50)]
    lines[7] = lines[30] = b"{broken\n"
    path = written(tmp_path, b"".join(lines), "products.jsonl")
    whole = summed(parts_of(open_catalogue(path), path, (), is_alone=True, workers=1))

    assert (whole["rows"], len(whole["rejected"])) == (50, 2)
    assert at_once(path, monkeypatch, 100) == whole


@pytest.mark.parametrize("workers", [1, 2])
def test_processes_give_what_one_reader_gives(tmp_path, monkeypatch, workers):
    rows = catalogue(400)
    rows[350]["sku"] = "A-3"
    rows[200]["title"] = ""
    path = written(tmp_path, as_csv(rows).encode())
    monkeypatch.setattr(parts, "PART_BYTES", 5_000)
    found = take_in(path, (), tmp_path / "lines", tmp_path / "bad", workers=workers)
    bad = [parsed(line) for line in (tmp_path / "bad").read_bytes().splitlines()]

    assert (found.rows, found.accepted, found.rejected) == (400, 398, 2)
    assert [each["line"] for each in bad] == [202, 352]
    assert bad[1]["reason"] == "A-3 stands already in line 5"
    assert found.figures.products == sum(found.figures.title_chars.values()) == 398


def test_a_reader_that_is_ended_from_outside_is_a_clear_error(tmp_path, monkeypatch):
    path = written(tmp_path, as_csv(catalogue(400)).encode())
    monkeypatch.setattr(parts, "PART_BYTES", 5_000)
    monkeypatch.setattr(parts, "read_part", _end)

    with pytest.raises(RuntimeError, match="ended from outside, perhaps for memory"):
        take_in(path, (), tmp_path / "lines", tmp_path / "bad", workers=2)


def _end(_task):
    os._exit(9)


def test_parts_stay_bounded_where_quotes_never_come_even(tmp_path, monkeypatch):
    text = b"sku,title\n" + b"".join(b'A-%d,a 5" pipe\n' % number for number in range(1, 1_001, 2))
    path = written(tmp_path, text)
    monkeypatch.setattr(parts, "PART_BYTES", 1_000)
    source = open_catalogue(path)
    found = list(parts_of(replace(source), Path(path), (), is_alone=True, workers=1))

    assert sum(part.rows for part in found) == 500
    assert max(part.rows for part in found) < 100


READERS = """
import os, time
from pipelines.ingest.parts import _readers
if __name__ == "__main__":
    with _readers(2) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        time.sleep(600)
"""


@pytest.mark.slow
def test_readers_leave_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(READERS, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        reader = int(parent.stdout.readline())
        assert psutil.pid_exists(reader)
        parent.kill()
        parent.wait()

        wait_until(lambda: _has_left(reader), "the reader to leave")


def _has_left(pid):
    """One that nobody has asked for its end yet has left too."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
