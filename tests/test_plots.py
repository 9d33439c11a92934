"""Figures, drawn the same whatever settings of matplotlib's a user has, and without a display."""
import os
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import torch

from common.report import plots
from tests.conftest import REPOSITORY

DARK = """text.usetex: True
font.family: No Such Font
savefig.bbox: tight
figure.facecolor: black
savefig.facecolor: black
axes.facecolor: black
text.color: white
lines.linewidth: 9
xtick.major.size: 30
axes.formatter.limits: 0, 0
image.origin: lower
"""
DAMAGED = "text.color: \xff\nno colon\nbad.key: 1\n"       # in no encoding that matplotlib reads


def draw(folder):
    """One figure of each kind in that new folder: ({name of each file: bytes}, places of the points of a map)."""
    folder.mkdir()
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    rows = [{"epoch": str(epoch), "loss": str(1 / epoch)} for epoch in range(1, 5)]
    plots.draw_grid(folder / "grid.png", images)
    plots.draw_curves(folder / "curves.png", {"a": rows}, [("loss", {"loss": "loss"})])
    plots.draw_reconstructions(folder / "reconstructions.png", images[:1], images[1:2], [0.1])
    plots.draw_rows(folder / "rows.png", [images[:2], images[2:4]], ["one", "two"], ["1", "2"])
    plots.draw_rate_distortion(folder / "rate.png", [("1", 1.0, 2.0), ("2", 2.0, 1.0)], "1")
    plots.draw_image_panels(folder / "panels.png", [("grid", folder / "grid.png")])
    points = np.random.default_rng(0).normal(size=(20, 2))
    spots = plots.draw_scatter(folder / "map.png", points, "map", [0, 1] * 10, "ab", ("#0072B2", "#D55E00"))
    return {path.name: path.read_bytes() for path in folder.iterdir()}, spots.tolist()


def test_figures_are_the_same_whatever_the_settings(tmp_path, caplog, recwarn):
    plain, plain_spots = draw(tmp_path / "plain")
    (tmp_path / "matplotlibrc").write_text(DARK)
    with matplotlib.rc_context(fname=tmp_path / "matplotlibrc"):
        dark, dark_spots = draw(tmp_path / "dark")
        assert matplotlib.rcParams["text.usetex"], "whoever calls keeps their settings"
    assert [name for name in plain if dark[name] != plain[name]] == [] and len(plain) == 14
    assert dark_spots == plain_spots
    assert not caplog.records and not recwarn.list, "no warning of a missing font"


# what common/plain_matplotlib.py leaves in a process
IMPORT = """
import os, sys
before = dict(os.environ), os.getcwd()
from common.plain_matplotlib import matplotlib
after = {name: value for name, value in os.environ.items() if name != "MPLCONFIGDIR"}     # where it keeps a list of fonts
assert (after, os.getcwd()) == before
changed = {name for name, value in matplotlib.rcParamsDefault.items() if matplotlib.rcParams._get(name) != value}
assert changed <= {"backend"}, changed
assert "matplotlib.pyplot" not in sys.modules
print(matplotlib.rcParams._get("backend"))
"""


@pytest.mark.parametrize("place, content, backend", [
    ("matplotlibrc", DARK, "module://nowhere.inline"),
    ("matplotlibrc", DAMAGED, "not installed"),
    ("variable/matplotlibrc", DAMAGED, ""),
    ("home/.config/matplotlib/matplotlibrc", DARK, "svg"),
    (None, None, None),
], ids=["dark", "damaged", "by variable", "at home", "no home"])
def test_matplotlib_is_imported_without_the_users_settings(tmp_path, place, content, backend):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MPL", "MATPLOTLIB", "XDG"))}
    environment |= {"PYTHONPATH": str(REPOSITORY), "HOME": "/dev/null"}         # where nothing can be kept
    if place:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(content, encoding="latin-1")
        environment |= {"MPLBACKEND": backend, "HOME": str(tmp_path / "home")}
    if place and place.startswith("variable"):
        environment["MATPLOTLIBRC"] = str(tmp_path / "variable")
    result = subprocess.run([sys.executable, "-c", IMPORT], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    if backend in ("svg", "module://nowhere.inline"):
        assert result.stdout == f"{backend}\n", "which figures of the user's own need"
