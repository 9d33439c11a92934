"""File systems that lack what Linux's own have: shares of Windows, network disks, folders that a program provides (FUSE)."""
import errno
import fcntl
import mmap
import os
import shutil

import pytest
import torch
from PIL import Image

import hw_report
from common import cli, download
from common.cli import UserError, lock
from common.data import images
from common.data.csv_files import write_csv
from common.data.layout import load_digits
from common.files import folder_written_whole, read_json, written_whole
from common.training.weights import load_file


def refusing(number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))
    return refuse


@pytest.fixture(params=[errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.ENOLCK, errno.EINVAL], ids=errno.errorcode.get)
def poor(request, monkeypatch):
    """From now on no file can be given permissions, locked, linked, synchronised or mapped; no folder takes another's place."""
    rename = os.rename

    def rename_unless_taken(source, target, **options):
        if os.path.isdir(target):
            refusing(errno.EEXIST)()
        rename(source, target, **options)
    for module, names in ((os, ("chmod", "fchmod", "link", "symlink", "fsync")), (fcntl, ("flock", "lockf")), (mmap, ("mmap",)),
                          (shutil, ("disk_usage",))):
        for name in names:
            monkeypatch.setattr(module, name, refusing(request.param))
    monkeypatch.setattr(os, "rename", rename_unless_taken)


def test_files_and_folders_are_written(poor, tmp_path):
    (tmp_path / "pred.csv").write_text("an older answer")
    with written_whole(tmp_path / "pred.csv") as part:
        part.write_text("label")
    (tmp_path / "out").mkdir()
    with folder_written_whole(tmp_path / "out") as folder:
        (folder / "mse.csv").write_text("mean")
    assert (tmp_path / "pred.csv").read_text() == "label" and (tmp_path / "out/mse.csv").read_text() == "mean"
    assert sorted(os.listdir(tmp_path)) == ["out", "pred.csv"]


def test_new_files_have_the_usual_permissions(poor, tmp_path):
    (tmp_path / "usual").touch()
    with written_whole(tmp_path / "ours"):
        pass
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize("number", [errno.EWOULDBLOCK, errno.EACCES], ids=errno.errorcode.get)
def test_a_lock_that_another_holds_is_told_from_none(number, tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", refusing(number))
    with pytest.raises(UserError, match="wait for it"):
        lock(tmp_path / ".lock", "wait for it")


def test_no_locks_are_no_obstacle(poor, tmp_path):
    lock(tmp_path / ".lock", "wait for it").close()


@pytest.mark.parametrize("poor", [errno.ENOTSUP], indirect=True)
def test_a_run_is_trained_stopped_and_gone_on_with(poor, train, interrupted, tmp_path):
    undo = interrupted(epochs=1)
    with pytest.raises(KeyboardInterrupt):
        train("p1_vae", tmp_path / "run", "--epochs", "2")
    undo()
    train("p1_vae", tmp_path / "run", "--epochs", "2", "--resume")
    assert read_json(tmp_path / "run/summary.json")["epochs"] == 2
    assert load_file(tmp_path / "run/checkpoint_before.pt")["epoch"] == 1


@pytest.mark.parametrize("links", [{"runs/x": "../scratch"}, {"runs/x": "../gone/x"}, {"runs": "gone"}], ids=str)
def test_a_run_folder_may_be_a_link(links, train, tmp_path):
    """As to a cluster's scratch disk, from which what was there may have been removed."""
    (tmp_path / "scratch").mkdir()
    for name, target in links.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(target)
    train("p1_vae", tmp_path / "runs/x", "--epochs", "1", "--limit", "8")
    assert read_json(tmp_path / "runs/x/summary.json")["epochs"] == 1
    assert all((tmp_path / name).is_symlink() for name in links), "the link itself stays"
    hw_report.set_aside(tmp_path / "runs/x")
    assert len(list(tmp_path.rglob("set_aside/*_1/summary.json"))) == 1 and not (tmp_path / "runs/x").exists()
    assert all((tmp_path / name).is_symlink() for name in links)


@pytest.mark.parametrize("name", [".lock", "samples", "tensorboard", "weights.pt"])
def test_nothing_is_written_through_a_link_in_a_run_folder(name, train, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to("../mine/new" if "." in name else "../mine")
    with pytest.raises(UserError, match=f"run/{name} is a link; a run writes into its own folder only"):
        train("p1_vae", tmp_path / "run", "--epochs", "1", "--limit", "8")
    assert not list(mine.iterdir()) and os.listdir(tmp_path / "run") == [name]


def test_a_link_that_no_run_writes_to_is_left_alone(train, tmp_path):
    (tmp_path / "log").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/.log").symlink_to("../log")
    train("p1_vae", tmp_path / "run", "--epochs", "1", "--limit", "8")
    assert (tmp_path / "log").read_text() == "mine" and (tmp_path / "run/.log").is_symlink()


def test_a_cache_that_cannot_be_mapped_is_read(poor, tmp_path, monkeypatch):
    folder = tmp_path / "digits/usps/train"
    folder.mkdir(parents=True)
    Image.new("L", (28, 28), 90).save(folder / "1.png")
    (tmp_path / "digits/usps/train.csv").write_text("image_name,label\n1.png,7\n")
    first = load_digits(tmp_path, "usps", "train").images
    monkeypatch.setattr(images, "read_image", lambda *_: pytest.fail("decoded again"))
    assert torch.equal(load_digits(tmp_path, "usps", "train").images, first) and first.unique().tolist() == [90]


def test_a_dataset_is_published_in_an_empty_folder(poor, tmp_path, monkeypatch):
    """And a disk that does not say how much room it has is taken to have enough."""
    def build(_, folder, counts):
        for split, count in counts.items():
            (folder / split).mkdir()
            rows = [(f"{i}.png", i) for i in range(count)]
            for name, number in rows:
                Image.new("L", (28, 28), number).save(folder / split / name)
            write_csv(folder / f"{split}.csv", ("image_name", "label"), rows)
    dataset = download.DATASETS["usps"]._replace(files=(), build=build, counts={"train": 2, "test": 1})
    monkeypatch.setitem(download.DATASETS, "usps", dataset)
    (tmp_path / "digits/usps").mkdir(parents=True)
    download.main(["--data", str(tmp_path), "--only", "usps", "--quiet"])
    cli._quiet = False
    assert load_digits(tmp_path, "usps", "train").labels.tolist() == [0, 1]


def test_a_disk_of_size_0_has_not_said_its_size(monkeypatch):
    Disk = type(shutil.disk_usage("."))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(0, 0, 0))
    download.check_room("data", 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(10**9, 10**9, 0))
    with pytest.raises(UserError, match="has 0 MB free"):
        download.check_room("data", 10**6)
