from __future__ import annotations

from pathlib import Path

import pytest

from auralnav_gym.files import written_whole


def test_what_was_written_is_moved_in_place(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    path.write_text("old")
    with written_whole(path) as unfinished:
        assert unfinished.suffix == ".zip"
        assert unfinished.parent == tmp_path
        unfinished.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    path.write_text("old")

    def fail() -> None:
        with written_whole(path) as unfinished:
            unfinished.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
