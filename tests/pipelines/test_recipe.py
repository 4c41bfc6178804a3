"""Recipes: the shipped ones can be followed, a wrong one names its key, and what decides a result is its identity."""

from __future__ import annotations

import pytest
import yaml

from pipelines import recipe as recipes
from pipelines.recipe import CONFIGS, DEFAULT, RecipeError, read_recipe

GOOD = {
    "stages": ["model/training/configs/tiny-full.yaml"],
    "base": "",
    "rows": 0,
    "candidates": 1,
    "certificate_rows": 1,
}


def written(folder, **changes):
    path = folder / "recipe.yaml"
    table = {name: value for name, value in (GOOD | changes).items() if value is not None}
    path.write_text(yaml.safe_dump(table), encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted(DEFAULT.parent.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_can_be_followed_and_its_files_are_there(path):
    recipe = read_recipe(path)
    stages = [yaml.safe_load(stage.read_text(encoding="utf-8")) for stage in recipe.stages]

    assert "start" not in stages[0]
    assert all("start" in stage for stage in stages[1:])
    assert all((CONFIGS / stage["preferences"]).is_file() for stage in stages if "preferences" in stage)
    assert len(recipe.identity()) > 100


def test_the_released_recipe_judges_on_every_row_with_as_many_candidates_as_the_service_writes():
    recipe = read_recipe()

    assert [stage.stem for stage in recipe.stages] == ["smollm2-135m-lora", "smollm2-135m-dpo"]
    assert (recipe.rows, recipe.candidates, recipe.base) == (0, 4, "")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rows": None}, "rows should be a int, and is None"),
        ({"rows": "many"}, "rows should be a int, and is 'many'"),
        ({"candidates": True}, "candidates should be a int, and is True"),
        ({"stages": []}, "there has to be a stage"),
        ({"stages": ["model/training/configs/none.yaml"]}, "there is no stage model/training/configs/none.yaml"),
        ({"rows": -1}, "counts are from 1"),
        ({"candidates": 0}, "counts are from 1"),
        ({"certificate_rows": 0}, "counts are from 1"),
        ({"epochs": 3}, "epochs is unknown"),
    ],
)
def test_a_recipe_that_cannot_be_followed_names_what_is_wrong(tmp_path, changes, said):
    with pytest.raises(RecipeError, match=said):
        read_recipe(written(tmp_path, **changes))


@pytest.mark.parametrize("content", [b"- stages", b"stages: [", b"\xff", b""])
def test_a_file_that_is_no_recipe_is_refused(tmp_path, content):
    (tmp_path / "recipe.yaml").write_bytes(content)

    with pytest.raises(RecipeError, match=r"recipe\.yaml"):
        read_recipe(tmp_path / "recipe.yaml")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="cannot be read"):
        read_recipe(tmp_path / "recipe.yaml")


def test_a_base_from_the_command_line_goes_before_the_files_own(tmp_path):
    path = written(tmp_path, base="theirs")

    assert read_recipe(path).base == "theirs"
    assert read_recipe(path, "ours").base == "ours"


def test_another_scale_of_judging_is_the_same_training(tmp_path):
    one = read_recipe(written(tmp_path)).identity()

    assert read_recipe(written(tmp_path, rows=50, candidates=4, certificate_rows=9)).identity() == one


@pytest.mark.parametrize("changed", ["stage", "preferences", "base", "weights", "prompt"])
def test_whatever_decides_the_result_makes_another_training(tmp_path, monkeypatch, changed):
    base, stage, preferences = tmp_path / "base", tmp_path / "stage.yaml", tmp_path / "preferences.jsonl"
    base.mkdir()
    (base / "model.safetensors").write_bytes(b"1")
    stage.write_text(f"seed: 1\npreferences: {preferences}\n")
    preferences.write_text("{}\n")
    path = written(tmp_path, stages=[str(stage)], base=str(base))
    one = read_recipe(path).identity()
    same = read_recipe(path).identity()
    if changed == "stage":
        stage.write_text(f"seed: 2\npreferences: {preferences}\n")
    elif changed == "preferences":
        preferences.write_text("[]\n")
    elif changed == "weights":
        (base / "model.safetensors").write_bytes(b"2")
    elif changed == "prompt":
        monkeypatch.setattr(recipes, "tuned_prompt", lambda: recipes_prompt("other"))
    other = read_recipe(path, "elsewhere" if changed == "base" else "").identity()

    assert same == one
    assert other != one


def recipes_prompt(digest):
    class Prompt:
        def digest(self):
            return digest

    return Prompt()
