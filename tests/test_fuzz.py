"""Random bytes and text to everything that reads files: it is understood, or refused with a UserError, and nothing else."""
import html.parser
import io
import json
import tarfile
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from common.cli import UserError, one_line
from common.data.archive import Archive
from common.data.csv_files import read_labels
from common.data.images import read_image
from common.data.layout import DOMAINS, load_digits
from common.files import read_json
from common.report.page import assemble
from common.report.section import Section
from common.training.weights import load_weights, save_weights

settings.register_profile("suite", deadline=None, max_examples=60, derandomize=True,
                          suppress_health_check=[HealthCheck.function_scoped_fixture])
settings.load_profile("suite")

LABELS = st.one_of(st.integers(-2, 12).map(str), st.floats().map(str), st.text(max_size=3), st.sampled_from(["4.0", " 4", "x"]))
NAMES = st.one_of(st.sampled_from(["1.png", "2.png", "../1.png", "/1.png", "", ".", "1.png/"]), st.text(max_size=6))
TABLES = st.one_of(
    st.binary(max_size=300),
    st.text(alphabet="image_name,label\n\r\"0123456789.png\ufeff\0é", max_size=200).map(str.encode),
    st.lists(st.tuples(NAMES, LABELS), max_size=4).map(
        lambda rows: "\n".join(["image_name,label", *(f"{name},{label}" for name, label in rows)])
        .encode("utf-8", "surrogatepass")))


def images():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8))
    for kind, mode in (("png", "RGB"), ("png", "P"), ("png", "I;16"), ("jpeg", "CMYK"), ("jpeg", "L"), ("bmp", "RGB")):
        file = io.BytesIO()
        (Image.new(mode, (12, 12)) if mode == "I;16" else noise.convert(mode)).save(file, kind)
        yield file.getvalue()


@st.composite
def damaged(draw, originals):
    """One of the files in `originals`, cut short, with bytes changed, put in or left out."""
    content = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(content)))
        content[place:place + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(content[:draw(st.integers(0, len(content)))] if draw(st.booleans()) else content)


@settings(max_examples=200)
@given(content=st.one_of(st.binary(max_size=200), damaged(list(images()))))
def test_images(tmp_path, content):
    (tmp_path / "1.png").write_bytes(content)
    try:
        pixels = read_image(tmp_path / "1.png", 28)
    except UserError as error:
        assert "1.png" in str(error)
    else:
        assert pixels.shape == (28, 28, 3) and pixels.dtype == np.uint8


@settings(max_examples=100)
@given(content=TABLES)
def test_tables(tmp_path, content):
    folder = tmp_path / "digits/usps/train"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("1.png", "2.png"):
        if not (folder / name).exists():
            Image.new("L", (28, 28)).save(folder / name)
    folder.with_suffix(".csv").write_bytes(content)
    try:
        digits = load_digits(tmp_path, "usps", "train")
    except UserError as error:
        assert "train" in str(error)
    else:
        assert sorted(digits.names) == ["1.png", "2.png"] and set(digits.labels.tolist()) <= set(range(10))
    try:
        labels = read_labels(folder.with_suffix(".csv"))
    except UserError:
        pass
    else:
        assert set(labels.values()) <= set(range(10))


@given(data=st.data())
def test_weights(tmp_path, data):
    network = torch.nn.Linear(9, 9)
    save_weights(tmp_path / "good.pt", {"target": "usps"}, network=network)
    (tmp_path / "bad.pt").write_bytes(data.draw(damaged([(tmp_path / "good.pt").read_bytes()])))
    loaded = torch.nn.Linear(9, 9)
    try:
        meta = load_weights(tmp_path / "bad.pt", {"target": DOMAINS}, network=loaded)
    except UserError as error:
        assert "bad.pt does not hold the weights" in str(error)
    else:       # what was damaged is then no part of the content
        assert meta == {"target": "usps"} and torch.equal(loaded.weight, network.weight)


@given(place=st.integers(0, 9 * 9 * 32 - 1))
def test_a_flipped_bit_of_the_weights_is_noticed(tmp_path, place):
    network = torch.nn.Linear(9, 9)
    save_weights(tmp_path / "w.pt", {}, network=network)
    content = bytearray((tmp_path / "w.pt").read_bytes())
    content[content.index(network.weight.detach().numpy().tobytes()) + place // 8] ^= 1 << place % 8
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(UserError, match="the checksum of .* is wrong"):
        load_weights(tmp_path / "w.pt", network=network)


def archives():
    for mode in ("zip", "tar"):
        file = io.BytesIO()
        if mode == "zip":
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr("digits/usps/train.csv", "image_name,label\n")
        else:
            with tarfile.open(fileobj=file, mode="w:gz") as archive:
                archive.addfile(tarfile.TarInfo("digits/usps/train.csv"), io.BytesIO())
        yield file.getvalue()


@given(content=damaged(list(archives())))
def test_archives(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    try:
        with Archive(tmp_path / "a.zip") as archive:
            for name in archive.names:
                assert not name.startswith("/") and ".." not in name.split("/")
                archive.read(name)
    except UserError as error:
        assert "a.zip" in str(error)


JSON = st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3))


@given(content=st.one_of(st.binary(max_size=50), JSON.map(lambda value: json.dumps(value).encode())))
def test_json(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    try:
        assert isinstance(read_json(tmp_path / "config.json"), dict)
    except UserError as error:
        assert "config.json" in str(error)


@given(text=st.text())
def test_messages_stay_on_one_line(text):
    assert len(one_line(f"a{text}z").splitlines()) == 1 and one_line(f"a{text}z").isprintable()


@given(text=st.text(alphabet="<>&\"'/ ascript=onerror", min_size=1))
def test_the_page_shows_text_as_text(tmp_path, text):
    def tags(text):
        """The page's tags and the names of their attributes, where everything that comes from data is `text`."""
        settings = {"preset": text, "seed": 0, "limit": None, "noise": text}
        config = {"settings": settings, "sample_data": False, "hardware": text, "versions": {text: text}, "git_revision": text}
        section = Section(tmp_path, "p1_vae", text, "p1")
        section.runs.append(SimpleNamespace(config=config, settings=settings, summary={"train_images": 1, "train_seconds": 1}))
        section.heading(f"1.1 {text}")
        section.text(text)
        section.listing(text)
        section.table([text], [[text]], text)
        section.settings(config)
        section.write()
        assemble(tmp_path)
        found = []
        reader = html.parser.HTMLParser()
        reader.handle_starttag = lambda tag, attributes: found.append((tag, [name for name, _ in attributes]))
        reader.feed((tmp_path / "index.html").read_text())
        return found
    assert tags(text) == tags("plain text")
