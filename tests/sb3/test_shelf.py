"""Folders of what is trained: what was written is read, what is broken is refused, and nothing of it runs."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from auralnav_sb3.shelf import Shelf

SETTINGS = {"size": 3, "name": "größer", "inner": {"none": None, "list": [1.5, True]}}
WEIGHTS = {"a": torch.arange(6.0).view(2, 3), "b": torch.arange(4.0).view(2, 2).T}


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf("thing", tmp_path / "things")


def test_what_was_written_is_read(shelf: Shelf, tmp_path: Path) -> None:
    for folder in (shelf.folder / "shipped", tmp_path / "deep" / "own"):
        shelf.write(folder, SETTINGS, WEIGHTS, "# Karte für alle\n")
        assert sorted(path.name for path in folder.iterdir()) == ["README.md", "thing.json", "weights.safetensors"]
    assert shelf.names() == ("shipped",)
    for name in ("shipped", tmp_path / "deep" / "own", str(tmp_path / "deep" / "own")):
        settings, weights = shelf.read(name)
        assert settings == SETTINGS
        assert weights.keys() == WEIGHTS.keys()
        assert all(torch.equal(weights[key], WEIGHTS[key]) for key in weights)
        assert shelf.card(name) == "# Karte für alle\n"


def test_what_is_shipped_comes_before_a_folder_of_the_same_name(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shelf.write("twice", {}, {}, "own")
    assert shelf.card("twice") == "own"
    shelf.write(shelf.folder / "twice", {}, {}, "shipped")
    assert shelf.card("twice") == "shipped"
    assert shelf.card("./twice") == "shipped"
    assert shelf.card(tmp_path / "twice") == "own"


def test_what_is_not_there(shelf: Shelf, tmp_path: Path) -> None:
    assert shelf.names() == ()
    shelf.write(shelf.folder / "one", {}, {}, "")
    (tmp_path / "empty").mkdir()
    for name in ("two", tmp_path / "empty"):
        assert shelf.find(name) is None
        for read in (shelf.get, shelf.card, shelf.read):
            with pytest.raises(ValueError, match=rf"\['one'\] or a folder that save_thing wrote, actual '.*{name}'$"):
                read(name)


class Malice:
    """Creates a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("content", ["pickle", "torch", "empty", "truncated"])
def test_weights_of_another_format_are_refused_and_not_run(shelf: Shelf, tmp_path: Path, content: str) -> None:
    shelf.write(shelf.folder / "evil", SETTINGS, WEIGHTS, "")
    path = shelf.folder / "evil" / "weights.safetensors"
    if content == "torch":
        torch.save({"a": torch.zeros(1), "b": Malice(tmp_path / "hacked")}, path)
    else:
        whole = path.read_bytes()
        path.write_bytes({"pickle": pickle.dumps(Malice(tmp_path / "hacked")), "empty": b""}.get(content, whole[:-5]))
    with pytest.raises(ValueError, match=r"weights\.safetensors: expected weights in the safetensors format, actual"):
        shelf.read("evil")
    assert not (tmp_path / "hacked").exists()


def test_settings_that_are_not_json(shelf: Shelf) -> None:
    shelf.write(shelf.folder / "broken", SETTINGS, WEIGHTS, "")
    (shelf.folder / "broken" / "thing.json").write_text('{"size": 3')
    with pytest.raises(ValueError, match=r"thing\.json: expected JSON, actual "):
        shelf.read("broken")


def test_weights_that_are_missing(shelf: Shelf) -> None:
    shelf.write(shelf.folder / "half", SETTINGS, WEIGHTS, "")
    (shelf.folder / "half" / "weights.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"weights\.safetensors"):
        shelf.read("half")
