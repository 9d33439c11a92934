"""Bad input to every command: one table, one test.

Each case is refused with one line on standard error and exit code 2 (usage) or 1 (data), with nothing written or changed;
or, where a user would expect that it works, it works (code 0).
"""
import contextlib
import csv
import ctypes
import importlib
import io
import json
import os
import shutil
import sys
import zipfile
import zlib
from pathlib import Path

import pytest
import torch
from PIL import Image

import p1_vae.train
from common.cli import run_command
from common.data.layout import ATTRIBUTES, DIGIT_SIZE, FACE_SIZE
from common.training.settings import full_settings
from tests.conftest import PAIR

# ---- contents of files -----------------------------------------------------------------------------------------------


def picture(mode="RGB", size=(DIGIT_SIZE, DIGIT_SIZE), kind="png", **options):
    file = io.BytesIO()
    Image.new(mode, size).save(file, kind, **options)
    return file.getvalue()


def bomb(width, height):
    """A small png that claims to have that many pixels."""
    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    return picture()[:12] + header + zlib.crc32(header).to_bytes(4, "big") + picture()[33:]


def transparent_palette():
    file = io.BytesIO()
    Image.new("P", (9, 9)).save(file, "png", transparency=bytes(range(200)))
    return file.getvalue()


class Payload:
    """Unpickled, it makes the file `ran` in the current folder."""
    def __reduce__(self):
        return open, ("ran", "w")


def payload(**options):
    file = io.BytesIO()
    torch.save({"meta": {}, "modules": Payload()}, file, **options)
    return file.getvalue()


def saved(content):
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def archive(*names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened:
        for name in names:
            opened.writestr(name, "")
    return file.getvalue()


# functions that make something at a path, from the weights that there are
def folder(path, _):
    path.mkdir()


def fifo(path, _):
    os.mkfifo(path)


def link(target):
    return lambda path, _: path.symlink_to(target)


def unreadable(path, _):
    path.chmod(0)


def read_only(path, _):
    path.mkdir()
    path.chmod(0o555)


def changed(problem, change):
    """The weights of `problem` after change(bytes)."""
    return lambda path, weights: path.write_bytes(change(weights[problem].read_bytes()))


def saying(which, **meta):
    """The weights of the problem `which`, whose meta says other things."""
    def change(path, weights):
        content = torch.load(weights[which], weights_only=True)
        torch.save(content | {"meta": content["meta"] | meta}, path)
    return change


def with_part(which, part, change):
    """The weights of the problem `which` after change(tensor) of a part of one of their modules, "module/name"."""
    def write(path, weights):
        content = torch.load(weights[which], weights_only=True)
        module, name = part.split("/")
        content["modules"][module][name] = change(content["modules"][module][name])
        torch.save(content, path)
    return write


def with_nan(path, weights):
    content = torch.load(weights["p4"], weights_only=True)
    content["modules"]["classifier"]["fc2.bias"][3] = float("nan")
    torch.save(content, path)


def flip_one_bit(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1:]


def compressed(content):
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return packed.getvalue()


# ---- the table -------------------------------------------------------------------------------------------------------

P1 = ("hw_p1.sh", "out.png", "--weights")
REBUILD = ("p1_vae.inference", "--reconstruct", "images", "out", "--weights", "=p1")
P3 = ("hw_p3.sh", "images", "mnistm", "pred.csv", "--weights", "=p3")
P4 = ("hw_p4.sh", "images", "mnistm", "pred.csv", "--weights")
VAE = ("p1_vae.train", "--data", "data", "--run", "run", "--epochs", "1", "--preset", "sample")
GAN = ("p2_dcgan.train", "--data", "data", "--run", "run", "--epochs", "1", "--preset", "sample")
DANN = ("p3_dann.train", "--data", "data", "--run", "run", "--preset", "sample", "--image-size", "4", "--epochs", "1")
ADAPT = (*DANN, *PAIR["p3_dann"], "--mode", "dann")
ADDA = ("p4_adda.train", "--data", "data", "--run", "run", "--preset", "sample", "--epochs", "1", "--source-epochs", "1")
SPEED = ("benchmarks.throughput", "--problem", "p4", "--seconds", "0")
EVAL = ("hw_eval.py", "pred.csv", "truth.csv")
SHIP = ("common.ship", "r", "--data", "none")
RUN = {"r/summary.json": '{"epochs": 1, "train_seconds": 1.5, "train_images": 1, "diversity": 0.5}',
       "r/config.json": '{"git_revision": null, "command": ["python3"], "hardware": "CPU", "settings": {}}'}
SHIPPABLE = RUN | {"r/weights.pt": saved({"meta": {}, "modules": {"encoder": {}}})}
STARTED = '{"settings": {}, "started": "2026", "versions": {}}'
OURS = '{"settings": {}, "command": [], "hardware": "CPU", "versions": {}}'
VAE_CONFIG = json.dumps(json.loads(OURS) | {"settings": full_settings(p1_vae.train.SETTINGS, {
    "preset": "sample", "epochs": 1, "device": "cpu", "precision": "float32"})})
TRUTH = {"truth.csv": "image_name,label\na.png,1\nb.png,2\n"}
FACES, USPS = "data/face/train.csv", "data/digits/usps/train.csv"
ROWS = "00001.png,1\n00002.png,2\n"


def usps(rows):
    return {USPS: f"image_name,label\n{rows}"}


# (words of the command, what lies in its folder, exit code, part of the line on standard error or, with code 0, of the output)
# "=p1" stands for the path of that problem's weights; images/1.png is a good digit, data/ a good dataset
CASES = [
    # graders' scripts of problems 1 and 2: the output
    (("hw_p1.sh",), {}, 2, "give either OUT.png or --reconstruct IMAGE_DIR OUT_DIR"),
    ((*P1, "=p1", "--seed", "3"), {}, 2, "unrecognized arguments: --seed 3"),
    (("hw_p1.sh", "out.txt", "--weights", "=p1"), {}, 1, "out.txt is not the name of an image"),
    (("hw_p1.sh", "", "--weights", "=p1"), {}, 2, "argument OUT.png: it is empty; give a path"),
    (("hw_p1.sh", "new/", "--weights", "=p1"), {}, 2, "argument OUT.png: new/ is a folder; give the name of a file"),
    (("hw_p1.sh", "nowhere/out.png", "--weights", "=p1"), {}, 1, "the folder nowhere does not exist"),
    (("hw_p2.sh", "images/1.png/out.png", "--weights", "=p2"), {}, 1, "Not a directory"),
    (("hw_p1.sh", "o" * 300 + ".png", "--weights", "=p1"), {}, 1, "File name too long"),
    (("hw_p1.sh", "o" * 251 + ".png", "--weights", "=p1"), {}, 0, "32 faces"),
    (("hw_p2.sh", "a b,\né.png", "--weights", "=p2"), {}, 0, "32 faces"),
    (("hw_p2.sh", "\udcff.png", "--weights", "=p2"), {}, 0, "32 faces"),
    ((*P1, "=p1"), {"out.png": folder}, 1, "out.png is a folder"),
    ((*P1, "=p1"), {"out.png": link("images/1.png")}, 1, "out.png is a link or a device"),
    ((*P1, "=p1"), {"out.png": link("nowhere.png")}, 1, "out.png is a link or a device"),
    ((*P1, "=p1"), {"out.png": fifo}, 1, "out.png is a link or a device"),
    (("hw_p1.sh", "locked/out.png", "--weights", "=p1"), {"locked": read_only}, 1, "Permission denied"),
    # reconstructions
    ((*P1[:2], *REBUILD[1:]), {}, 2, "give either OUT.png or --reconstruct IMAGE_DIR OUT_DIR"),
    (REBUILD[:3], {}, 2, "--reconstruct: expected 2 arguments"),
    ((REBUILD[0], REBUILD[1], "nowhere", *REBUILD[3:]), {}, 1, "nowhere is not a folder"),
    (REBUILD, {"images/1.png": None}, 1, "images holds no image"),
    (REBUILD, {"images/2.png": flip_one_bit(picture())}, 1, "images/2.png: not a readable"),
    (REBUILD, {"images/2.png": bomb(60_000, 60_000)}, 1, "images/2.png: it has more than 89,478,485 pixels"),
    (REBUILD, {"out": "a file"}, 1, "out is a file; give the name of a new folder"),
    (REBUILD, {"out": link("nowhere")}, 1, "out is a file; give the name of a new folder"),
    (REBUILD, {"out/older.txt": "an older answer"}, 1, "out holds something already; give the name of a new folder"),
    ((*REBUILD[:3], "images", *REBUILD[4:]), {}, 1, "images holds something already"),
    ((*REBUILD[:3], "nowhere/out", *REBUILD[4:]), {}, 1, "the folder nowhere does not exist"),
    ((*REBUILD[:3], "locked/out", *REBUILD[4:]), {"locked": read_only}, 1, "cannot write locked/out: Permission denied"),
    ((*REBUILD[:-1], "=p2"), {}, 1, "does not hold the weights of this model"),
    (REBUILD, {"out": folder, "images/\udcff\n,.JPG": picture("CMYK", (9, 7), "jpeg")}, 0, "2 reconstructions"),
    # weights
    ((*P1, "nothing.pt"), {}, 1, "nothing.pt do not exist"),
    ((*P1, "images"), {}, 1, "images does not hold the weights"),
    ((*P1, "w.pt"), {"w.pt": b""}, 1, "File is not a zip file"),
    ((*P1, "w.pt"), {"w.pt": "no weights"}, 1, "File is not a zip file"),
    ((*P1, "w.pt"), {"w.pt": picture(), "w2.pt": b"PK\3\4"}, 1, "File is not a zip file"),
    ((*P1, "w\n.pt"), {"w\n.pt": b"name with a line break"}, 1, r"w\n.pt does not hold"),
    ((*P1, "=p2"), {}, 1, "does not hold the weights of this model"),
    (("hw_p2.sh", "out.png", "--weights", "w.pt"), {"w.pt": link("nowhere")}, 1, "do not exist"),
    ((*P4, "w.pt"), {"w.pt": changed("p4", lambda content: content[:-1000])}, 1, "File is not a zip file"),
    ((*P4, "w.pt"), {"w.pt": changed("p4", flip_one_bit)}, 1, "the checksum of"),
    ((*P4, "w.pt"), {"w.pt": changed("p4", compressed)}, 1, "it is compressed"),
    ((*P4, "w.pt"), {"w.pt": with_nan}, 1, "the classifier in it has numbers that are not finite"),
    ((*P4, "w.pt"), {"w.pt": payload()}, 1, "does not hold the weights"),
    ((*P4, "w.pt"), {"w.pt": payload(_use_new_zipfile_serialization=False)}, 1, "File is not a zip file"),
    ((*P4, "w.pt"), {"w.pt": changed("p4", bytes), "./w.pt": unreadable}, 1, "Permission denied"),
    ((*P4, "w.pt"), {"w.pt": saved(torch.nn.Linear(1, 1))}, 1, "(it holds other things than tensors and plain values"),
    ((*P4, "w.pt"), {"w.pt": saved({"parts": {}, "epoch": 3})}, 1, "(it is a checkpoint, from which a run goes on"),
    ((*P4, "w.pt"), {"w.pt": saved(torch.nn.Linear(1, 1).state_dict())}, 1, "(it lacks meta and modules, which a run's"),
    ((*P4, "w.pt"), {"w.pt": saved([1])}, 1, "(it lacks meta and modules"),
    ((*P1, "w.pt"), {"w.pt": saved({"meta": {}, "modules": {"vae": {"a": torch.ones(1)}}})}, 1,
     "(the vae in it has other layers or sizes)"),
    ((*P4, "w.pt"), {"w.pt": archive("w/code.py", "w/constants.pkl", "w/data.pkl")}, 1, "(it is a zip archive of something"),
    ((*P4, "w.pt"), {"w.pt": archive("word/document.xml")}, 1, "(it is a zip archive of something else"),
    ((*P4, "=p2"), {}, 1, "(it has no classifier, target_encoder, but generator)"),
    ((*P4, "w.pt"), {"w.pt": with_part("p4", "classifier/fc2.bias", torch.Tensor.long)}, 1, "has numbers of another kind"),
    (("hw_p3.sh", "images", "mnistm", "pred.csv", "--weights", "w.pt"),
     {"w.pt": with_part("p3", "extractor/conv.1.running_var", torch.neg)}, 1, "the network's answers are not finite"),
    (("hw_p2.sh", "out.png", "--weights", "w.pt"),
     {"w.pt": with_part("p2", "generator/main.1.running_var", torch.neg)}, 1, "answers are not finite"),
    ((*P4, "=bare"), {}, 1, "it does not say its standardise, target"),
    ((*P4, "w.pt"), {"w.pt": saying("p4", target=["mnistm"])}, 1, "(its target is ['mnistm'], which no training gives it)"),
    ((*P4, "w.pt"), {"w.pt": saying("p4", standardise="no")}, 1, "(its standardise is 'no', which no training gives it)"),
    (("hw_p3.sh", "images", "mnistm", "pred.csv", "--weights", "w.pt"), {"w.pt": saying("p3", image_size="8")}, 1,
     "(its image_size is '8', which"),
    (("hw_p3.sh", "images", "mnistm", "pred.csv", "--weights", "w.pt"), {"w.pt": saying("p3", image_size=0)}, 1,
     "(its image_size is 0, which"),
    (("hw_p2.sh", "out.png", "--weights", "w.pt"), {"w.pt": saying("p2", noise="normal")}, 1, "(its noise is 'normal', which"),
    (("hw_p4.sh", "images", "usps", "pred.csv", "--weights", "=p4"), {}, 1, "was trained for target mnistm, not usps"),
    # graders' scripts of problems 3 and 4: the command line
    (("hw_p3.sh", "images", "mnistm"), {}, 2, "required: PRED.csv"),
    (("hw_p3.sh", "images", "mnist", "pred.csv"), {}, 2, "invalid choice: 'mnist'"),
    (("hw_p4.sh", "images", "MNISTM", "pred.csv"), {}, 2, "invalid choice: 'MNISTM'"),
    ((*P3, "more"), {}, 2, "unrecognized arguments: more"),
    ((*P3, "--device", "cuda:99"), {}, 1, "the device cuda:99 cannot be used"),
    ((*P3, "--device", "tpu9"), {}, 1, "the device tpu9 cannot be used"),
    (("hw_p3.sh", "-dir", *P3[2:]), {"-dir/1.png": picture()}, 2, "a path must not begin with a dash: write ./-dir"),
    ((*P3, "--device", "meta"), {}, 1, "the device meta cannot be used"),
    (("hw_p3.sh", "", *P3[2:]), {}, 2, "argument IMAGE_DIR: it is empty; give a path"),
    ((*P3[:3], "images/1.png", *P3[4:]), {}, 1, "images/1.png is one of the images"),
    ((*P3[:3], "images/../images/1.png", *P3[4:]), {}, 1, "images/1.png is one of the images"),
    ((*P3[:3], "new/", *P3[4:]), {}, 2, "argument PRED.csv: new/ is a folder"),
    (("hw_p3.sh", "nowhere", *P3[2:]), {}, 1, "nowhere is not a folder"),
    (("hw_p3.sh", "images/1.png", *P3[2:]), {}, 1, "images/1.png is not a folder"),
    (P3, {"pred.csv": folder}, 1, "pred.csv is a folder"),
    (P3, {"pred.csv": link("truth.csv")}, 1, "pred.csv is a link or a device"),
    (("hw_p3.sh", "images", "mnistm", "/dev/null", "--weights", "=p3"), {}, 1, "/dev/null is a link or a device"),
    (P3, {"pred.csv": "an older answer"}, 0, "1.png,"),
    # graders' scripts of problems 3 and 4: the images
    (P3, {"images/1.png": None}, 1, "images holds no image"),
    (P3, {"images/1.png": None, "images/.1.png": picture(), "images/1.txt": "text"}, 1, "images holds no image"),
    (P3, {"images/1.png": None, "images/1.webp": b"", "images/1": b""}, 1,
     "images holds no image; expected files that end in .png, .jpg, .jpeg, .bmp; left out 2 files that are not png"),
    (P3, {f"images/{name}": b"" for name in ("1.webp", "2.webp", "3.WEBP", "1.gif", "2.gif", "1.jfif", ".hidden")}, 0,
     "labels of 1 images; left out 6 files that are not png, jpg or bmp: 3 .webp, 2 .gif, 1 .jfif\n"),
    (P3, {"images/a.\x1b[31m": b""}, 0, r"left out 1 file that is not png, jpg or bmp: 1 .\x1b[31m"),
    (REBUILD, {"images/1.tif": b""}, 0, "left out 1 file that is not png, jpg or bmp: 1 .tif"),
    (("hw_faces.py", "images", "--data", "data"), {"images/1.tif": b""}, 1,
     "images holds one image; left out 1 file that is not png, jpg or bmp: 1 .tif"),
    (P3, {"images/2.png": b""}, 1, "cannot read the image images/2.png: not a readable png, jpg or bmp image"),
    (P3, {"images/2.png": "text"}, 1, "images/2.png: not a readable"),
    (P3, {"images/2.png": picture()[:60]}, 1, "images/2.png: not a readable"),
    (P3, {"images/2.jpg": picture(size=(99, 99), kind="jpeg")[:-50]}, 1, "images/2.jpg: not a readable"),
    (P3, {"images/2.png": flip_one_bit(picture())}, 1, "images/2.png: not a readable"),
    (P3, {"images/2.bmp": picture(kind="bmp")[:-9]}, 1, "images/2.bmp: not a readable"),
    (P3, {"images/2.png": picture(kind="eps")}, 1, "images/2.png: not a readable"),     # Pillow would start Ghostscript
    (P3, {"images/2.png": picture(kind="gif")}, 1, "images/2.png: not a readable"),
    (P3, {"images/2.png": bomb(10_000, 10_000)}, 1, "images/2.png: it has more than 89,478,485 pixels"),
    (P3, {"images/2.png": bomb(60_000, 60_000)}, 1, "images/2.png: it has more than 89,478,485 pixels"),
    (P3, {"images/2.png": link("2.png")}, 1, "cannot read images/2.png: Too many levels of symbolic links"),
    (P3, {"images/2.png": link("nowhere")}, 1, "images/2.png: No such file or directory"),
    (P3, {"images/2.png": picture(), "./images/2.png": unreadable}, 1, "images/2.png: Permission denied"),
    (P3, {"images/": unreadable}, 1, "cannot read images: Permission denied"),
    (P3, {"images/2\n\x1b[31m.png": "text"}, 1, r"images/2\n\x1b[31m.png: not a readable"),
    (P3, {"images/2.png": folder, "images/3.png": fifo}, 0, "1.png,"),
    (P3, {"images/2.png": link("1.png")}, 0, "\n2.png,"),
    (P3, {"images/.#notes": link("me@host.1:2"), "images/notes.txt": link("nowhere")}, 0, "labels of 1 images\n"),
    (P3, {"images/a\rb.png": picture()}, 0, '"a\nb.png","'),       # as Python reads a carriage return
    (P3, {"images/2.png": picture("CMYK", kind="jpeg")}, 0, "\n2.png,"),
    (P3, {"images/2.png": picture("I;16")}, 0, "\n2.png,"),
    (P3, {"images/2.png": picture("1")}, 0, "\n2.png,"),
    (P3, {"images/2.png": transparent_palette()}, 0, "\n2.png,"),
    (P3, {"images/2.png": picture(save_all=True, append_images=[Image.new("RGB", (28, 28), "red")])}, 0, "\n2.png,"),
    (P3, {"images/2.png": picture(size=(1, 1))}, 0, "\n2.png,"),
    (P3, {"images/2.png": picture("L", (10_000, 400))}, 0, "\n2.png,"),
    (P3, {"images/a b,\n\"é\".PNG": picture()}, 0, '\n"a b,\n""é"".PNG",'),
    (P3, {"images/\udcff.bmp": picture(kind="bmp")}, 0, "\n\udcff.bmp,"),
    (P4 + ("=p4",), {"images/=SUM(1).png": picture(), "images/--help.png": picture()}, 0, "\n=SUM(1).png,"),
    # training: flags
    (("p1_vae.train",), {}, 2, "required: --run"),
    ((*VAE, "--epochs", "0"), {}, 2, "--epochs: 0 is not a number from 1 to 1,000,000,000"),
    ((*VAE, "--epochs", "-1"), {}, 2, "-1 is not a number"),
    ((*VAE, "--epochs", "1.5"), {}, 2, "invalid int value: '1.5'"),
    ((*VAE, "--epochs", "9" * 30), {}, 2, "is not a number from 1"),
    ((*VAE, "--lr", "nan"), {}, 2, "nan is not a number from 0 up"),
    ((*VAE, "--lr", "inf"), {}, 2, "inf is not a number from 0 up"),
    ((*VAE, "--lr", "-0.1"), {}, 2, "-0.1 is not a number from 0 up"),
    ((*ADDA, *PAIR["p4_adda"], "--rotation", "1e308"), {}, 2, "1e308 is not a number from 0 to 180"),
    ((*ADDA, *PAIR["p4_adda"], "--shift", "1e308"), {}, 2, "1e308 is not a number from 0 to 1;"),
    ((*VAE, "--data", ""), {}, 2, "argument --data: it is empty; give a path"),
    ((*VAE, "--run", ""), {}, 2, "argument --run: it is empty; give a path"),
    ((*VAE, "--lr", "fast"), {}, 2, "invalid float value: 'fast'"),
    ((*VAE, "--batch-size", "0"), {}, 2, "0 is not a number"),
    ((*VAE, "--batch-size", "1000000000"), {}, 0, "done in"),
    ((*VAE, "--limit", "0"), {}, 2, "0 is not a number"),
    ((*VAE, "--limit", "1000000000"), {}, 0, "done in"),
    ((*VAE, "--seed", "-1"), {}, 2, "-1 is not a number"),
    ((*VAE, "--seed", "9" * 30), {}, 2, "is not a number from 0"),
    ((*VAE, "--preset", "best"), {}, 2, "invalid choice: 'best'"),
    ((*VAE, "--precision", "float16"), {}, 2, "invalid choice: 'float16'"),
    ((*VAE, "--device", "cuda:99"), {}, 1, "the device cuda:99 cannot be used"),
    ((*VAE, "--data", "nowhere"), {}, 1, "train.csv does not exist; download the dataset"),
    ((*GAN, "--beta1", "1"), {}, 2, "1 is not a number from 0 to 0.999"),
    ((*GAN, "--noise", "laplace"), {}, 2, "invalid choice: 'laplace'"),
    (DANN, {}, 2, "--source, --target, --mode must be given"),
    ((*DANN, "--source", "mnist"), {}, 2, "invalid choice: 'mnist'"),
    ((*DANN, "--source", "usps", "--target", "usps", "--mode", "dann"), {}, 2, "are both usps; give two domains"),
    ((*ADAPT, "--shrink", "1"), {}, 2, "1 is not a number from 0 to 0.9"),
    ((*ADAPT, "--batch-size", "1000000000"), {}, 0, "done in"),
    ((*ADDA, "--source", "usps", "--target", "usps"), {}, 2, "are both usps; give two domains"),
    ((*ADDA, *PAIR["p4_adda"], "--batch-size", "1000000000"), {}, 0, "done in"),
    # training: the run folder
    ((*VAE, "--run", "images/1.png"), {}, 1, "cannot write to the folder images/1.png: File exists"),
    ((*VAE, "--run", "locked/run"), {"locked": read_only}, 1, "cannot write to the folder locked/run: Permission denied"),
    (VAE, {"run/summary.json": "{}"}, 1, "run already holds a run; add --resume"),
    (VAE, {"run/checkpoint_before.pt": b""}, 1, "run already holds a run; add --resume"),
    (VAE, {"run/samples": link("../images")}, 1, "run/samples is a link"),
    (VAE, {"run/config.json": '{"lr": 1}', "run/metrics.csv": "a", "run/weights.pt": "w"}, 1,
     "run holds no run of ours but other files (config.json, metrics.csv, weights.pt)"),
    (VAE, {"run/1": "", "run/2": "", "run/3": "", "run/4": ""}, 1, "but other files (1, 2, 3, …); choose another folder"),
    (VAE, {"run/samples/mine.png": b""}, 1, "run holds no run of ours but other files (samples)"),
    (VAE, {"run/config.json": "[]"}, 1, "run holds no run of ours but other files (config.json)"),
    (VAE, {"run/config.json": OURS, "run/weights.pt": "w"}, 1, "run holds the weights of a run without its checkpoints"),
    (VAE, {"run/config.json": OURS, "run/metrics.csv": "", "run/notes.txt": "mine"}, 0, "done in"),
    (VAE, {"run/samples/1": b"", "run/.lock": b""}, 0, "done in"),
    (VAE, {"run/.hidden": "mine"}, 0, "done in"),
    ((*VAE, "--resume"), {"run/notes.txt": "mine"}, 1, "run holds no run of ours but other files (notes.txt)"),
    ((*VAE, "--resume"), {"run/summary.json": "{}"}, 1, "run holds no run of ours but other files (summary.json)"),
    ((*VAE, "--resume"), {"run/summary.json": "{", "run/config.json": VAE_CONFIG}, 1, "summary.json is damaged, and there"),
    ((*VAE, "--resume"), {"run/config.json": '{"settings": null}'}, 1, "run/config.json is damaged"),
    ((*VAE, "--resume"), {"run/config.json": '{"settings": {"problem": "p2_dcgan"}}'}, 2, "run is a run of p2_dcgan, not p1"),
    ((*VAE, "--resume"), {"run/config.json": VAE_CONFIG.replace('"epochs": 1', '"epochs": "1"')}, 1,
     "run/config.json is damaged: epochs is '1' (that is of another kind)"),
    ((*VAE, "--resume"), {"run/config.json": "{"}, 1, "cannot read run/config.json"),
    ((*VAE, "--resume"), {"run/config.json": "[1]"}, 1, "run/config.json is damaged"),
    ((*VAE, "--resume"), {"run/config.json": "[" * 100_000}, 1, "cannot read run/config.json"),
    ((*VAE, "--resume"), {"run/config.json": '{"settings": {"lr": 1}}'}, 1, "is from another version, without preset"),
    ((*VAE, "--resume"), {"run/samples/1": b"", "run/checkpoint.pt": b"", "run/.lock": b""}, 1, "run lacks its config.json"),
    ((*VAE, "--resume"), {"run/samples/1": b"", "run/checkpoint.pt": b"", "run/.lock": b"", "run/config.json": VAE_CONFIG}, 1,
     "cannot continue from run/ch"),
    ((*VAE, "--resume"), {"run/samples/1": b"", "run/checkpoint.pt": payload(), "run/.lock": b"",
                           "run/config.json": VAE_CONFIG},
     1, "cannot continue from run"),
    # data in the course layout: the csv
    (VAE, {FACES: None}, 1, f"{FACES} does not exist"),
    (VAE, {FACES: None, f"{FACES}/1": b""}, 1, "Is a directory"),
    (VAE, {FACES: b""}, 1, f"{FACES}: the header lacks image_name"),
    (VAE, {FACES: "image_name,<script>\n"}, 1, "the header lacks Bangs"),
    (VAE, {FACES: f"image_name,{','.join(ATTRIBUTES)}\n00001.png{',0.5' * 13}\n"}, 1, "Bangs of 00001.png is neither 0.0 nor"),
    (ADAPT, usps(""), 1, f"{USPS} lists no images"),
    (ADAPT, {USPS: ROWS}, 1, "the header lacks image_name, label"),
    (ADAPT, usps("00001.png,10\n"), 1, "line 2: the label of 00001.png is '10'; expected 0 to 9"),
    (ADAPT, usps("00001.png,-1\n"), 1, "is '-1'; expected 0 to 9"),
    (ADAPT, usps("00001.png,x\n"), 1, "is 'x'; expected 0 to 9"),
    (ADAPT, usps("00001.png,\n"), 1, "is ''; expected 0 to 9"),
    (ADAPT, usps("00001.png,nan\n"), 1, "is 'nan'; expected 0 to 9"),
    (ADAPT, usps("00001.png,1.5\n"), 1, "is '1.5'; expected 0 to 9"),
    (ADAPT, usps("00001.png,1,2\n"), 1, "line 2: 3 fields; expected 2"),
    (ADAPT, usps(f"{ROWS}00001.png,1\n"), 1, "line 4: 00001.png is listed twice"),
    (ADAPT, usps("../../../../x.png,1\n"), 1, "'../../../../x.png' is not a plain file name"),
    (ADAPT, usps("/etc/passwd,1\n"), 1, "'/etc/passwd' is not a plain file name"),
    (ADAPT, usps("..,1\n"), 1, "'..' is not a plain file name"),
    (ADAPT, usps("0\0.png,1\n"), 1, USPS),
    (ADAPT, {USPS: b"image_name,label\n\xff\xfe.png,1\n"}, 1, f"cannot read {USPS}"),
    (ADAPT, usps(f'"{"0" * 200_000}",1\n'), 1, f"cannot read {USPS}: field larger than"),
    (ADAPT, usps('"00001.png,1\n00002.png,2\n'), 1, "1 fields; expected 2"),
    (ADAPT, usps(f"{ROWS}00003.png,3\n"), 1, "00003.png is not a file, but data/digits/usps/train.csv lists it"),
    (ADAPT, usps("00001.png,1\n"), 1, "has no row for data/digits/usps/train/00002.png"),
    (ADAPT, {USPS: '\ufeff"label","image_name"\r\n4.0,"00001.png"\r\n9,00002.png\r\n\r\n'}, 0, "done in"),
    (ADAPT, usps("00001.png,1_0\n"), 1, "is '1_0'; expected 0 to 9"),
    (ADAPT, usps("00001.png,\uff12\n"), 1, "is '\uff12'; expected 0 to 9"),
    (ADAPT, {USPS: "image_name,label,label\n00001.png,1,2\n"}, 1, "the header names label twice"),
    (ADAPT, {USPS: f"sep=;\r\nimage_name;label\r\n{ROWS.replace(',', ';')}"}, 0, "done in"),
    (ADAPT, {USPS: f"image_name,label\n{ROWS}".replace(",", "\t").encode("utf-16")}, 0, "done in"),
    (ADAPT, {USPS: f"image_name,label\n{ROWS}".encode("utf-16-le")}, 1, f"{USPS}: it is not a text file in UTF-8"),
    # data in the course layout: the images
    (ADAPT, {"data/digits/usps/train": None}, 1, "cannot read data/digits/usps/train: No such file"),
    (ADAPT, {"data/digits/usps/train": None, "./data/digits/usps/train": "a file"}, 1, "Not a directory"),
    (ADAPT, {"data/digits/usps/train/00002.png": picture(size=(27, 28))}, 1, "has 27x28 pixels; expected 28x28"),
    (ADAPT, {"data/digits/usps/train/00002.png": picture()[:50]}, 1, "00002.png: not a readable png, jpg or bmp image"),
    (ADAPT, {"data/digits/usps/train/00002.png": bomb(50_000, 50_000)}, 1, "more than 89,478,485 pixels"),
    (ADAPT, {"data/digits/usps/train/00002.png": None, "./data/digits/usps/train/00002.png": fifo}, 1,
     "00002.png is not a file"),
    (ADAPT, {"data/digits/usps/train/x.png": link("x.png")}, 1, "x.png: Too many levels of symbolic links"),
    (VAE, {"data/face/test/00002.png": picture()}, 1, "has 28x28 pixels; expected 64x64"),
    (VAE, {"data/.cache": link("../images")}, 0, "done in"),
    # accuracy
    (("hw_eval.py", "pred.csv"), TRUTH, 2, "required: TRUTH.csv"),
    (EVAL, TRUTH, 1, "pred.csv does not exist"),
    (EVAL, TRUTH | {"pred.csv": folder}, 1, "cannot read pred.csv"),
    (EVAL, TRUTH | {"pred.csv": b""}, 1, "pred.csv: the header lacks image_name, label"),
    (EVAL, TRUTH | {"pred.csv": "image_name,label\n"}, 1, "pred.csv lists no images"),
    (EVAL, TRUTH | {"pred.csv": "a.png,1\nb.png,2\n"}, 0, "Accuracy: 2/2 (100.00%)"),
    (EVAL, TRUTH | {"pred.csv": picture()}, 1, "pred.csv"),
    (EVAL, TRUTH | {"pred.csv": "image_name,label\na.png,1\n"}, 1, "has no row for 'b.png' and 0 more"),
    (EVAL, TRUTH | {"pred.csv": "image_name,label\na.png,1\na.png,1\n"}, 1, "line 3: a.png is listed twice"),
    (EVAL, TRUTH | {"pred.csv": "image_name,label\na.png,10\n"}, 1, "line 2: the label of a.png is '10'"),
    (EVAL, TRUTH | {"pred.csv": "image_name,label\na.png,-1\n"}, 1, "is '-1'; expected 0 to 9"),
    (EVAL, TRUTH | {"pred.csv": "image_name,label\na.png,x\n"}, 1, "is 'x'; expected 0 to 9"),
    (EVAL, TRUTH | {"pred.csv": "image_name,label\na.png\n"}, 1, "line 2: 1 fields; expected 2"),
    (EVAL, TRUTH | {"pred.csv": 'image_name,label\n"a\nb",x\n'}, 1, r"the label of a\nb is 'x'"),
    (EVAL, TRUTH | {"pred.csv": b"\xef\xbb\xbflabel,more,image_name\r\n2,,b.png\r\n\"1.0\",,a.png\r\n"}, 0, "Accuracy: 2/2"),
    (EVAL, TRUTH | {"pred.csv": "image_name,label\nc.png,9\na.png,1\nb.png,1\n"}, 0,
     "warning: pred.csv has images that truth.csv lacks (1, the first 'c.png'); they are not counted"),
    (EVAL, TRUTH | {"pred.csv": "image_name,label,label\na.png,1,7\nb.png,2,7\n"}, 1, "the header names label twice"),
    (EVAL, TRUTH | {"pred.csv": "label,image_name,label\n1,a.png,7\n2,b.png,7\n"}, 1, "pred.csv: the header names label twice"),
    (EVAL, TRUTH | {"pred.csv": "image_name,label\na.png,1,7\nb.png,2\n"}, 1, "pred.csv, line 2: 3 fields; expected 2"),
    (EVAL, TRUTH | {"pred.csv": "image_name,label\na.png,\uff11\nb.png,2\n"}, 1, "line 2: the label of a.png is '\uff11'"),
    (EVAL, TRUTH | {"pred.csv": "image_name,label\na.png,1\nb.png,0_2\n"}, 1, "line 3: the label of b.png is '0_2'"),
    (EVAL, {"truth.csv": "b.png,2.0\na.png,1\n", "pred.csv": "a.png,1\nb.png,3\n"}, 0, "Accuracy: 1/2 (50.00%)"),
    (EVAL, TRUTH | {"pred.csv": "a.png,1\nb.png,x\n"}, 1, "line 2: the label of b.png is 'x'"),
    (EVAL, TRUTH | {"pred.csv": "a.png,1\nb.png,2,3\n"}, 1, "line 2: 3 fields; expected 2"),
    (EVAL, TRUTH | {"pred.csv": "name,label\na.png,1\n"}, 1, "pred.csv: the header lacks image_name"),
    (EVAL, TRUTH | {"pred.csv": "a.png;1\nb.png;2\n"}, 0, "Accuracy: 2/2"),
    (EVAL, TRUTH | {"pred.csv": "image_name\tlabel\na.png\t1\nb.png\t1\n"}, 0, "Accuracy: 1/2"),
    (EVAL, TRUTH | {"pred.csv": "sep=;\r\nimage_name;label\r\na.png;1\r\nb.png;2\r\n;\r\n"}, 0, "Accuracy: 2/2"),
    (EVAL, TRUTH | {"pred.csv": "SEP=|\ra.png|1\rb.png|3\r"}, 0, "Accuracy: 1/2"),
    (EVAL, TRUTH | {"pred.csv": "sep=;\nimage_name;label\na.png;1\nb.png;x\n"}, 1, "pred.csv, line 4: the label of b.png"),
    (EVAL, TRUTH | {"pred.csv": "image_name, label\na.png, 1\nb.png, 2\n"}, 0, "Accuracy: 2/2"),
    (EVAL, TRUTH | {"pred.csv": "image_name,label\na.png,1\nb.png,2\n".encode("utf-16")}, 0, "Accuracy: 2/2"),
    (EVAL, TRUTH | {"pred.csv": "image_name;label\na.png;1\nb.png;2\n".encode("utf-16")[:-1]}, 1, "cannot read pred.csv"),
    (EVAL, TRUTH | {"pred.csv": "image_name,label\na.png,1\n".encode("utf-16-be")}, 1, "pred.csv: it is not a text file"),
    (EVAL, TRUTH | {"pred.csv": "image_name,label\na.png,1\n".encode("utf-32")}, 1, "pred.csv: it is not a text file"),
    (EVAL, TRUTH | {"pred.csv": b"PK\3\4\0\0 a spreadsheet"}, 1, "cannot read pred.csv: it is not a text file in UTF-8"),
    # metrics of faces
    (("hw_faces.py",), {}, 2, "required: IMAGE_DIR|WEIGHTS.pt"),
    (("hw_faces.py", "nowhere", "--data", "data"), {}, 1, "the weights nowhere do not exist"),
    (("hw_faces.py", "images", "--data", "data"), {}, 1, "images holds one image; the metrics need at least 2"),
    (("hw_faces.py", "images", "--data", "data"), {"images/2.png": "text"}, 1, "cannot read the image images/2.png"),
    (("hw_faces.py", "images/1.png", "--data", "data"), {}, 1, "images/1.png does not hold the weights"),
    (("hw_faces.py", "=p3", "--data", "data"), {}, 1, "holds weights of p3_dann, which makes no faces"),
    (("hw_faces.py", "=bare", "--data", "data"), {}, 1, "it does not say its problem"),
    (("hw_faces.py", "w.pt", "--data", "data"), {"w.pt": saying("p1", problem=[1])}, 1, "(its problem is [1], which"),
    (("hw_faces.py", "images"), {}, 1, "train.csv does not exist; download the dataset"),
    (("hw_faces.py", "images", "--data", "data"), {"images/2.png": picture("L", (9, 99))}, 0, "real test faces"),
    # figures and the page
    (("p1_vae.figures",), {}, 2, "required: --runs"),
    (("p1_vae.figures", "--runs", "nowhere"), {}, 1, "nowhere/p1_vae holds no finished run"),
    (("p2_dcgan.figures", "--runs", "nowhere"), {}, 1, "holds no finished run"),
    (("p3_dann.figures", "--runs", "nowhere"), {}, 1, "holds no finished run"),
    (("p4_adda.figures", "--runs", "nowhere"), {}, 1, "holds no finished run"),
    (("p1_vae.figures", "--runs", "."), {"p1_vae/summary.json": "{}"}, 1, "cannot read p1_vae/config.json"),
    (("p1_vae.figures", "--runs", "."), {"p1_vae/summary.json": "{}", "p1_vae/config.json": "{}"}, 1, "is damaged: expected"),
    (("common.report",), {}, 2, "give either OUT"),
    (("common.report", "nowhere"), {}, 1, "holds no section"),
    (("common.report", "."), {"sections/p1_vae.json": '{"title": "x"'}, 1, "cannot read sections/p1_vae.json"),
    (("common.report", "."), {"sections/p1_vae.json": "{}"}, 1, "sections/p1_vae.json is damaged"),
    # tables of runs, and shipping weights
    (("common.runs", "nowhere"), {}, 1, "nowhere"),
    (("common.runs", "--compare", "images"), {}, 2, "expected 2 arguments"),
    (("common.results", "nowhere", "--out", "t.csv"), {}, 1, "nowhere"),
    (("common.ship", "nowhere", "w.pt", "--data", "none"), {}, 1, "cannot read nowhere/config.json"),
    ((*SHIP, "w.pt"), SHIPPABLE | {"w.pt": "mine"}, 1, "w.pt already exists, and no w.json says that it is such weights"),
    ((*SHIP, "other/checkpoint.pt"), SHIPPABLE | {"other/checkpoint.pt": "a run's"}, 1, "other/checkpoint.pt already exists"),
    ((*SHIP, "w.pt"), SHIPPABLE | {"r/summary.json": "{}"}, 1, "r/summary.json is damaged"),
    ((*SHIP, "w.pt"), SHIPPABLE | {"r/summary.json": RUN["r/summary.json"].replace("0.5", "NaN")}, 1, "no number for"),
    ((*SHIP, "w.pt"), SHIPPABLE | {"r/weights.pt": saved({"meta": {"problem": "p3_dann"}, "modules": {}}),
                                   "r/config.json": RUN["r/config.json"].replace("{}", '{"problem": "p4_adda"}')}, 1,
     "r/weights.pt is of another run than its config.json: they differ in problem"),
    ((*SHIP, "w.pt"), RUN | {"r/weights.pt": payload()}, 1, "r/weights.pt is damaged, or not a PyTorch file"),
    ((*SHIP, "w.pt"), RUN | {"r/weights.pt": saved({"model": 1})}, 1, "it lacks meta and modules"),
    ((*SHIP, "w.pt"), RUN | {"r/weights.pt": saved({"meta": 1, "modules": [2]})}, 1, "it lacks meta and modules"),
    ((*SHIP, "r/w.pt"), SHIPPABLE, 1, "r/w.pt would lie among the run's own files"),
    ((*SHIP, "w.json"), SHIPPABLE, 2, "w.json does not end in .pt"),
    ((*SHIP, "w.pt"), SHIPPABLE | {"w.json": '{"mine": 1}'}, 1, "w.json already exists and does not describe weights"),
    ((*SHIP, "w.pt"), SHIPPABLE, 0, "and w.json beside it"),
    (("common.runs", "."), {"r/config.json": "[1]"}, 0, "r    cannot be read"),
    (("common.runs", "."), {"r/config.json": b""}, 0, "r    cannot be read"),
    (("common.runs", "."), {"r/config.json": b"\xff\0"}, 0, "r    cannot be read"),
    (("common.runs", "."), {"r/config.json": '{"model": "bert"}'}, 0, "r    cannot be read"),
    (("common.runs", "."), {"r/config.json": STARTED, "r/metrics.csv": "a" * 200_000}, 0, "r    cannot be read"),
    (("common.runs", "."), {"r/config.json": STARTED, "r/summary.json": "[]"}, 0, "r    cannot be read"),
    (("common.runs", "."), {"r/config.json": STARTED, "r/summary.json": '{"epochs": null}'}, 0, "finished  2026"),
    (("common.runs", "--compare", "r", "s"), {"r/config.json": STARTED, "s/config.json": "[]"}, 1, "s/config.json is damaged"),
    (("common.runs", "--compare", "r", "s"), {"r/config.json": STARTED, "s/config.json": STARTED}, 0, "the same settings"),
    (("common.results", ".", "--out", "t.csv"), RUN, 1, "no finished run"),
    # benchmarks
    (("benchmarks.throughput", "--problem", "p9"), {}, 2, "invalid choice: 'p9'"),
    ((*SPEED, "--data", "nowhere"), {}, 1, "train.csv does not exist; download the dataset"),
    ((*SPEED, "--data", "data"), {}, 1, "data has too few images for some steps of 64; give a smaller --batch-size"),
    (("benchmarks.scaling", "--limit", "7"), {}, 2, "7 is not a number from 8"),
    (("benchmarks.precision", "--problem", "p1"), {}, 2, "required: --runs"),
    # making and fetching data
    (("common.sample_data", "a", "b"), {}, 2, "unrecognized arguments: b"),
    (("common.sample_data", "images/1.png"), {}, 1, "images/1.png is a file"),
    (("common.sample_data", "images"), {}, 1, "holds something already"),
    (("common.sample_data", "nowhere/sample"), {}, 1, "nowhere does not exist"),
    (("common.download", "--only", "cifar"), {}, 2, "invalid choice: 'cifar'"),
    (("common.download", "--only", "usps", "--mnistm", "m.zip"), {}, 2, "--mnistm needs mnistm among --only"),
    (("common.download", "--data", "images/1.png"), {}, 1, "cannot write to images/1.png"),
    (("common.download", "--archive", "nothing.zip"), {}, 1, "nothing.zip is not a file"),
]
MODULES = {"common.report": "common.report.__main__", "common.runs": "common.runs.__main__",
           "hw_p1.sh": "p1_vae.inference", "hw_p2.sh": "p2_dcgan.inference", "hw_p3.sh": "p3_dann.inference",
           "hw_p4.sh": "p4_adda.inference", "hw_eval.py": "hw_eval", "hw_faces.py": "hw_faces"}


# ---- the test --------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """Faces and two digit domains, two images in each split."""
    root = tmp_path_factory.mktemp("layout")
    for place, size, columns in (("face", FACE_SIZE, ATTRIBUTES), ("digits/usps", DIGIT_SIZE, ["label"]),
                                 ("digits/mnistm", DIGIT_SIZE, ["label"])):
        for split in ("train", "test"):
            (root / place / split).mkdir(parents=True)
            for name in ("00001.png", "00002.png"):
                (root / place / split / name).write_bytes(picture(size=(size, size)))
            with open(root / place / f"{split}.csv", "w", newline="") as file:
                csv.writer(file).writerows([["image_name", *columns], ["00001.png", *("1" for _ in columns)],
                                            ["00002.png", *("0" for _ in columns)]])
    return root


@contextlib.contextmanager
def bound_by_permissions():
    """Permissions hold for root too, as for any owner: this thread lays down Linux's capabilities to override them."""
    if os.geteuid() != 0:
        yield
        return
    version_and_thread, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None)
    assert libc.capget(version_and_thread, sets) == 0
    override_and_search = sets[0] & 0b110
    sets[0] ^= override_and_search
    assert libc.capset(version_and_thread, sets) == 0
    yield
    sets[0] |= override_and_search
    assert libc.capset(version_and_thread, sets) == 0


def contents(root):
    """What is in a folder: {path below it: bytes, link target or mode}."""
    def content(path):
        if path.is_symlink():
            return os.readlink(path)
        return path.read_bytes() if path.is_file() else path.stat().st_mode
    return {str(path.relative_to(root)): content(path) for path in root.rglob("*") if ".cache" not in path.parts}


@pytest.mark.filterwarnings("error", "ignore::pytest.PytestUnraisableExceptionWarning")     # a warning is a line too
@pytest.mark.parametrize(("words", "files", "code", "message"), CASES)
def test_bad_input(tmp_path, layout, weights, monkeypatch, capsys, words, files, code, message):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(layout, "data")
    Path("images").mkdir()
    Path("images/1.png").write_bytes(picture())
    for name, content in files.items():
        path = Path(name)
        path.parent.mkdir(exist_ok=True, parents=True)
        if content is None:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        elif callable(content):
            content(path, weights)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    before = contents(tmp_path)
    command, *words = (str(weights[word[1:]]) if word[:1] == "=" else word for word in words)
    monkeypatch.setattr(sys, "argv", [command, *words])
    found = 0
    with bound_by_permissions():
        try:
            run_command(importlib.import_module(MODULES.get(command, command)).main)
        except SystemExit as stop:
            found = stop.code
    output, error = capsys.readouterr()
    if isinstance(found, str):      # the interpreter would print it
        found, error = 1, f"{found}\n"
    assert found == code, error
    if code:
        assert message in error.replace(f"{tmp_path}/", "")
        assert error.count("\n") == 1 and error.startswith("error: ")
        assert contents(tmp_path) == before
    else:
        assert not error or message in error and error.startswith("warning: ") and error.count("\n") == 1
        after = contents(tmp_path)
        assert before.keys() - after.keys() == set()
        assert all(content == before.get(name) for name, content in after.items() if name.startswith(("images", "data")))
        answer = Path("pred.csv")
        assert message in output + error or message in answer.read_text(errors="surrogateescape")
