"""What the README shows runs as it stands, one block after the other."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

README = Path(__file__).parents[2] / "README.md"


def test_python_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    for kind in ("voices", "machines"):
        (tmp_path / kind).mkdir()
        for number in range(2):
            soundfile.write(tmp_path / kind / f"{number}.wav", 0.1 * rng.standard_normal(8000), 8000)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 13
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in blocks:
        # The user's own folder; and fewer environments and episodes, for time.
        short = block.replace("my/recordings", tmp_path.as_posix()).replace("n_envs=8", "n_envs=2")
        exec(short.replace("num_episodes=100", "num_episodes=2"), names)
    assert names["observation"]["audio"].shape == (2, 4000)
    assert names["observation"]["agent"].shape == (4,)
    assert names["picture"].dtype == np.uint8
    names["env"].reset(options={"scene": names["scene"]})
    assert len(names["result"].episodes) == 2
    assert (tmp_path / "runs" / "agent.zip").exists()
