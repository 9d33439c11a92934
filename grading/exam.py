"""A script of a submission, run twice, each time in a fresh copy of it; and what it wrote, held against the truth."""
import codecs
import contextlib
import errno
import hashlib
import os
import random
import re
import shutil
import sys
import tempfile
from pathlib import Path

import torch

from common.adaptation import PAIRS
from common.cli import UserError, one_line
from common.data.csv_files import read_labels
from common.data.images import read_image
from common.data.layout import FACE_SIZE, SPLITS, digest, has_dataset, load_digits, load_faces
from common.metrics.faces import nearest, pairwise_diversity, sharpness, sliced_wasserstein, spread
from grading.watch import remove, run_watched

TARGETS = tuple(target for _, target in PAIRS)
FACES, COPY = 32, 0.05      # distance below which a face is a copy: half of what the nearest two of thousands of faces have
MOST_PRINTED, MOST_WRITTEN, MOST_PROCESSES = 100 << 20, 8 << 30, 2000       # bytes, bytes, and processes at once
BROKE = {"seconds": "ran longer than {:,.0f} seconds", "disk": "wrote more than {:,} bytes",
         "output": "printed more than {:,} bytes", "processes": "ran more than {:,} processes at once"}
MOST_GAP = 16       # pixels between two images of a grid that is read
ONE_COLOUR = 2      # standard deviation in gray levels, up to which a cell is empty: in a jpg it is not quite 0
OWN = "hw_grade"        # the folder in the copy of a submission that holds the images and the answer


def read_grid(path, count, size):
    """The images, uint8 [N, 3, size, size], row by row, in a picture that shows `count` of them side by side.

    The grid has any number of columns, and as many rows as it needs; between its cells are gaps of up to 16 pixels, all alike,
    and around it is as much or nothing, as make_grid of torchvision draws it. So the picture's size tells the grid. Cells of
    one colour are empty and left out. Raises UserError if the picture cannot be read, or no such grid has its size.
    """
    picture = torch.from_numpy(read_image(path, None).copy()).permute(2, 0, 1)
    for columns, gap in ((columns, gap) for columns in range(1, count + 1) for gap in range(MOST_GAP + 1)):
        step, shape = size + gap, (-(-count // columns), columns)
        for frame in (0, gap):
            if picture.shape[1:] == tuple(cells * step - gap + 2 * frame for cells in shape):
                cells = picture[:, frame:, frame:].unfold(1, size, step).unfold(2, size, step)
                cells = cells.permute(1, 2, 0, 3, 4).flatten(0, 1)
                inside = cells[:, :, size // 4:-size // 4, size // 4:-size // 4]        # a jpg's neighbours show at the edges
                return cells[inside.float().std(dim=(2, 3)).amax(dim=1) > ONE_COLOUR]
    raise UserError(f"{path} has {picture.shape[2]}x{picture.shape[1]} pixels, as no grid of {count} images of {size}x{size} "
                    f"with gaps of up to {MOST_GAP} pixels has, whatever its columns")


class Exam:
    """How submissions are run and what they are held against, read into memory before any of their code runs.
    `tasks`: "p1", "p2", "p3_mnistm" …, as far as there is data; `digests` of the data; `floor`: what real faces measure;
    stop() ends all that runs, and so does the end of this process. Raises UserError for data that cannot be used.
    """

    def __init__(self, data, out, minutes):
        self.data, self.work, self.tasks, self.digests, self.digits, self.floor = data, out / "work", [], {}, {}, None
        self.alive, ours = map(os.fdopen, os.pipe(), "rw")      # whatever runs has the one, and ends once nobody has the other
        self.stop = ours.close
        self.limits = {"seconds": 60 * minutes, "disk": min(MOST_WRITTEN, shutil.disk_usage(out).free // 2),
                       "output": MOST_PRINTED, "processes": MOST_PROCESSES}
        if has_dataset(data, "face"):
            train, self.test = (load_faces(data, split).images.clone() for split in SPLITS)
            self.real, self.tasks = torch.cat([train, self.test]), ["p1", "p2"]
            self.digests |= {f"face/{split}": digest(data, "face", split) for split in SPLITS}
            self.floor = self.measure(spread(train)[:FACES])[0] | {"nearest": nearest(self.test[:FACES], train)[0].min().item()}
        folders = {domain: data / "digits" / domain for domain in TARGETS}
        for domain, folder in folders.items():
            if (folder / "test.csv").is_file():
                _, labels, names = load_digits(data, domain, "test")
                numbers = random.SystemRandom().sample(range(len(names)), len(names))
                self.digits[domain] = {f"{number:05d}{Path(name).suffix}": (folder / "test" / name).read_bytes()
                                       for number, name in zip(numbers, names)}, labels
                self.digests[f"{domain}/test"] = digest(data, domain, "test")
        self.tasks += [f"{problem}_{domain}" for problem in ("p3", "p4") for domain in self.digits]
        self.apart = {str(path) for path in (data, data / ".cache", out, *(folder / "train" for folder in folders.values()))}

    def left_out(self, folder, names):
        """The names in a folder that are neither a submission's nor looked at again, such as what would be waited for."""
        small = lambda path: os.path.isfile(path) and os.path.getsize(path) <= self.limits["disk"]
        wanted = lambda path: path not in self.apart and (os.path.islink(path) or os.path.isdir(path) or small(path))
        return {name for name in names if name in (".git", ".venv", OWN) or not wanted(os.path.join(folder, name))}

    def stamp(self, folder):
        """A digest of the names, sizes and times of a folder's files, as far as it can be read; it tells when they change."""
        content = hashlib.blake2b(digest_size=8)
        with contextlib.suppress(OSError, RecursionError):
            for root, folders, files in os.walk(folder):
                folders[:] = sorted(set(folders) - self.left_out(root, folders))
                for path in (os.path.join(root, name) for name in sorted(files)):
                    status = os.lstat(path)
                    content.update(os.fsencode(f"{path} {status.st_mode} {status.st_size} {status.st_mtime_ns}\n"))
        return content.hexdigest()

    def grade(self, order, task):
        """Run a script twice; `order` has the submission's "folder" and "stamp", "scripts" and "prefix". Returns a result,
        "faults" (each a line), "seconds", "mib", "errors" (its last lines), "same" (whether it answers alike again) and what
        `judge` tells; and pictures uint8 [N, 3, 64, 64] by name. Raises KeyboardInterrupt if it is stopped."""
        result, pictures = {"faults": [], "errors": []}, {}
        faults, data = result["faults"], self.stamp(self.data)
        try:
            first = self.attempt(order, task, result)
            pictures, result["same"] = self.judge(first, task, result), False
            second = self.attempt(order, task, result)
            # a GPU may round a pixel the other way
            result["same"] = first.shape == second.shape and ((first - second).abs() <= (first.ndim > 1)).all().item()
            if not result["same"]:
                few = f": {(first != second).sum():,} of {len(first):,} labels" if first.ndim == 1 else ""
                faults.append(f"its answer is another when it is run again{few}")
        except Exception as error:      # whatever is handed in, the others go on
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            faults.append(str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}")
        if self.stamp(order["folder"]) != order["stamp"]:
            faults.append("files of the submission have changed since the grading began")
        if self.stamp(self.data) != data:
            faults.append(f"files in {self.data} were changed while it ran; all are graded by what was there before")
        faults = (re.sub(f"{re.escape(str(self.work))}/[^/]*/run/({OWN}/)?", "", line) for line in faults)     # which is gone
        result["faults"] = list(dict.fromkeys(one_line(line)[:300] for line in faults))
        return result, pictures

    def attempt(self, order, task, result):
        """Run a script once. Returns what it wrote: int32 [N, 3, 64, 64], faces of 0 to 255, or [N], labels."""
        folder, work = Path(order["folder"]), Path(tempfile.mkdtemp(dir=self.work))
        place, (problem, _, target) = work / "run", task.partition("_")
        own, images = place / OWN, self.digits[target][0] if target else {}
        answer = own / ("pred.csv" if target else "faces.png")
        try:
            shutil.copytree(folder, place, symlinks=True, ignore=self.left_out, copy_function=shutil.copy)
            place.chmod(0o755)
            (own / "images").mkdir(parents=True)
            for name, content in sorted(images.items()):       # their order on the disk tells nothing either
                (own / "images" / name).write_bytes(content)
            script, there = order["scripts"].replace("{}", problem[1:]), sorted(path.name for path in place.glob("*.sh"))
            if not (place / script).is_file() or not (place / script).resolve().is_relative_to(place):
                raise UserError(f"there is no {script}" + (f", but {', '.join(there[:5])}; see --scripts" if there else ""))
            for path in (path for path in map(place.joinpath, {script, *there}) if path.is_file() and not path.is_symlink()):
                path.chmod(0o755)
                if b"\r\n" in (content := path.read_bytes()):
                    path.write_bytes(content.replace(b"\r\n", b"\n"))
                    if path.name == script or not path.match(order["scripts"].replace("{}", "?")):      # another problem's
                        result["faults"].append(f"{path.name} has Windows line ends (CRLF); it was run without")
            words = [script, *([f"{OWN}/images", target] if target else []), f"{OWN}/{answer.name}"]
            self.run([*(word.replace("{}", str(place)) for word in order["prefix"]), "bash", *words], place, result)
            if not os.path.lexists(answer):
                new = sorted(set(os.listdir(place) if place.is_dir() else ()) - {OWN, *os.listdir(folder)})
                raise UserError(f"wrote no {OWN}/{answer.name}" + (f", but {', '.join(new[:3])}" if new else ""))
            if answer.resolve() != answer or not answer.is_file() or answer.stat().st_size > MOST_PRINTED:
                raise UserError(f"{answer.name} is no plain file of at most {MOST_PRINTED:,} bytes")
            if not target:
                return read_grid(answer, FACES, FACE_SIZE).int()
            said = read_labels(answer)
            if not answer.read_bytes().lstrip(codecs.BOM_UTF8).startswith(b"image_name,label") or list(said) != sorted(said):
                result["faults"].append("pred.csv is not the header image_name,label and then rows sorted by name")
            if missing := [name for name in images if name not in said]:
                raise UserError(f"pred.csv lacks {len(missing):,} of {len(images):,} images, {missing[0]} among them")
            if more := said.keys() - images.keys():
                result["faults"].append(f"pred.csv has {len(more):,} rows too many, {min(more)} among them")
            return torch.tensor([said[name] for name in images], dtype=torch.int32)
        finally:
            remove(work)

    def run(self, command, place, result):
        """Run a command in the folder `place`, and add to the result. Raises UserError if it broke a limit."""
        path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ.get('PATH', os.defpath)}"     # python3 is this one
        environment = os.environ | {"PATH": path, "TMPDIR": str(place / OWN)}
        went = run_watched(command, place, environment, self.alive, **self.limits)
        lines = [one_line(line)[:300] for line in (went["errors"].strip() or went["output"]).splitlines() if line.strip()]
        result |= {key: max(result.get(key, 0), round(went[key], 1)) for key in ("seconds", "mib")} | {"errors": lines[-12:]}
        if went["broke"] == "stopped":
            raise KeyboardInterrupt
        if went["left"]:
            result["faults"].append("left processes behind, which were ended")
        if went["broke"]:
            raise UserError(BROKE[went["broke"]].format(self.limits[went["broke"]]))
        if went["code"]:
            result["faults"].append(f"exit code {went['code']}" + (f": {lines[-1]}" if lines else ""))

    def judge(self, answer, task, result):
        """Hold what `attempt` returned against the truth: "accuracy" in %, "confusion" (rows are the truth) and the digits that
        are "never" said; or how many "faces" there are and what `measure` tells. Returns pictures for the page."""
        if answer.ndim == 1:
            labels = self.digits[task[3:]][1]
            result |= {"accuracy": 100 * (labels == answer).double().mean().item(),
                       "confusion": torch.bincount(10 * labels + answer, minlength=100).view(10, 10).tolist(),
                       "never": ", ".join(map(str, sorted(set(labels.tolist()) - set(answer.tolist()))))}
            return {}
        result["faces"] = len(answer)
        if len(answer) != FACES:
            result["faults"].append(f"the picture holds {len(answer)} faces, not {FACES}")
        if len(answer) < 2:
            return {}
        measured, pairs = self.measure(answer.byte())
        if measured["copies"]:
            result["faults"].append(f"{measured['copies']} of its faces are copies of real ones (nearer than {COPY})")
        result |= measured
        return {"": answer.byte(), "_nearest": pairs}

    def measure(self, faces):
        """What the table says of faces uint8 [N, 3, 64, 64], and the five that are nearest to real ones, these below them."""
        distances, which = nearest(faces, self.real)
        shown, swd = distances.argsort()[:5], sliced_wasserstein(faces, self.test)      # None for fewer than two faces
        return {"nearest": distances.min().item(), "copies": int((distances < COPY).sum()), "sharpness": sharpness(faces / 255),
                "diversity": pairwise_diversity(faces / 255), "swd": swd and swd["mean"][0],
                }, torch.cat([faces[shown], self.real[which[shown]]])
