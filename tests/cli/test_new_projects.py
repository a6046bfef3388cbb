"""init, new and completion; and what is said where there is no project."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from debros.cli import main

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shop").mkdir()
    monkeypatch.chdir(tmp_path / "shop")
    return tmp_path / "shop"


def test_init_adds_settings_with_a_name_that_no_other_application_has(capsys: Captured) -> None:
    Path("pyproject.toml").write_text('[project]\nname = "shop"\n')
    assert main(["init", "--models", "shop.models"]) == 0
    told = tomllib.loads(Path("pyproject.toml").read_text())
    assert told["project"] == {"name": "shop"}
    settings = told["tool"]["debros"]
    assert settings["app"].startswith("shop-")
    assert len(settings["app"]) == len("shop-k3x9q7")
    assert (settings["models"], Path("migrations").is_dir()) == ("shop.models", True)
    assert main(["init"]) == 2
    assert "has a [tool.debros] already" in capsys.readouterr().err


def test_a_name_without_letters_is_refused(capsys: Captured) -> None:
    assert main(["init", "???"]) == 2
    assert not Path("pyproject.toml").exists()


def test_new_makes_a_project_and_touches_nothing_that_is_there(capsys: Captured) -> None:
    assert main(["new", "My-Blog"]) == 0
    assert {str(path) for path in Path("My-Blog").rglob("*.py")} == {
        f"My-Blog/{name}"
        for name in ("my_blog/__init__.py", "my_blog/__main__.py", "my_blog/models.py", "tests/test_models.py")
    }
    assert tomllib.loads(Path("My-Blog/pyproject.toml").read_text())["tool"]["debros"]["models"] == "my_blog.models"
    assert main(["new", "My-Blog"]) == 2
    assert "is there already and not empty" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["1", "class", "---"])
def test_a_name_that_is_no_package_is_refused(name: str, capsys: Captured) -> None:
    assert main(["new", "--", name]) == 2
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("name", ["inspect", "debros", "tests"])
def test_a_name_that_would_hide_a_package_of_pythons_is_refused(name: str, capsys: Captured) -> None:
    assert main(["new", name]) == 2
    assert f"next: debros new my-{name}" in capsys.readouterr().err
    assert list(Path().iterdir()) == []


def test_a_folder_with_a_space_is_told_in_quotes(capsys: Captured) -> None:
    assert main(["new", "my app"]) == 0
    assert "cd 'my app', then: python -m my_app" in capsys.readouterr().out


def test_init_finds_the_models_where_there_is_one_module_of_that_name(capsys: Captured) -> None:
    Path("shop").mkdir()
    Path("shop/models.py").write_text("")
    assert main(["init"]) == 0
    assert tomllib.loads(Path("pyproject.toml").read_text())["tool"]["debros"]["models"] == "shop.models"
    Path("pyproject.toml").unlink()
    Path("models.py").write_text("")
    assert main(["init"]) == 0
    assert tomllib.loads(Path("pyproject.toml").read_text())["tool"]["debros"]["models"] == "app.models"


def test_a_module_that_is_not_there_names_the_setting_and_one_that_it_lacks_does_not(capsys: Captured) -> None:
    Path("pyproject.toml").write_text('[tool.debros]\nmodels = "nowhere_at_all.models"\n')
    assert main(["migrate"]) == 1
    assert "no module nowhere_at_all.models in" in (told := capsys.readouterr().err)
    assert "`models = ...` under [tool.debros]" in told
    Path("shop_that_imports.py").write_text("import nothing_like_that")
    Path("pyproject.toml").write_text('[tool.debros]\nmodels = "shop_that_imports"\n')
    assert main(["migrate"]) == 1
    assert "No module named 'nothing_like_that'; correct the module" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        (["history"], "debros history --help"),
        (["migrate", "--pln"], "debros migrate --help"),
        (["migrat"], "debros --help"),
        (["--json", "status", "--hom", "x"], "debros status --help"),
    ],
)
def test_wrong_usage_of_a_verb_names_the_help_of_the_verb(arguments: list[str], cure: str, capsys: Captured) -> None:
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert cure in told.err + told.out


@pytest.mark.parametrize("verb", ["run", "events", "export", "makemigrations"])
def test_help_shows_no_option_that_nobody_needs(verb: str, capsys: Captured) -> None:
    assert main([verb, "--help"]) == 0
    assert "--empty-" not in capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_names_the_verbs(shell: str, capsys: Captured) -> None:
    assert main(["completion", shell]) == 0
    assert "makemigrations" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["makemigrations", "migrate", "showmigrations", "shell"])
def test_without_a_project_a_verb_says_how_to_make_one(verb: str, capsys: Captured) -> None:
    assert main([verb]) == 2
    assert "next: debros init --models app.models" in capsys.readouterr().err


def test_a_module_that_cannot_be_imported_is_told_with_its_error(capsys: Captured) -> None:
    Path("pyproject.toml").write_text('[tool.debros]\nmodels = "broken_models_of_shop"\n')
    Path("broken_models_of_shop.py").write_text("1 / 0\n")
    assert main(["showmigrations"]) == 1
    assert "the models in broken_models_of_shop cannot be imported: ZeroDivisionError" in capsys.readouterr().err


def test_a_wrong_setting_is_told_with_its_place(capsys: Captured) -> None:
    Path("pyproject.toml").write_text('[tool.debros]\nmodel = "x"\n')
    assert main(["check"]) == 2
    assert "[tool.debros]: model is not a setting; did you mean 'models'?" in capsys.readouterr().err
