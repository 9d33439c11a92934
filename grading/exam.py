"""A script of a submission, run twice, each time in a fresh copy of it; and what it wrote, held against the truth."""
import errno
import os
import random
import re
import shutil
import tempfile
from pathlib import Path

import torch

from common.adaptation import PAIRS
from common.cli import UserError, one_line, say, some_of
from common.data.csv_files import read_answer
from common.data.grid import read_grid
from common.data.layout import FACE_SIZE, SPLITS, digest, load_digits, load_faces
from common.files import stamp
from common.metrics.faces import nearest, pairwise_diversity, sharpness, sliced_wasserstein, spread
from grading.watch import remove, run_watched

TARGETS = tuple(dict.fromkeys(target for _, target in PAIRS))       # two pairs may share one
TASKS = ("p1", "p2", *(f"{problem}_{target}" for problem in ("p3", "p4") for target in TARGETS))
FACES, COPY = 32, 0.05      # distance below which a face is a copy: half of what the nearest two of thousands of faces have
MOST_PRINTED, MOST_WRITTEN, MOST_PROCESSES = 100 << 20, 8 << 30, 2000       # bytes, bytes, and processes at once
OWN = "hw_grade"        # the folder in the copy of a submission that holds the images and the answer


class Exam:
    """How submissions are run and what they are held against, read into memory before any of their code runs.
    `tasks`: those of TASKS for which there is data; `digests` of the data; `floor`: what real faces measure, {} without any;
    stop() ends all that runs, and so does the end of this process. Raises UserError for data that cannot be used.
    """

    def __init__(self, data, out, minutes, jobs=1):
        self.data, self.work, self.tasks, self.digests, self.digits, self.floor = data, out / "work", [], {}, {}, {}
        self.alive, ours = map(os.fdopen, os.pipe(), "rw")      # whatever runs has the one, and ends once nobody has the other
        self.stop = ours.close
        self.limits = {"seconds": 60 * minutes, "disk": min(MOST_WRITTEN, shutil.disk_usage(out).free // (2 * jobs)),
                       "output": MOST_PRINTED, "processes": MOST_PROCESSES}
        if any((data / "face" / f"{split}.csv").is_file() for split in SPLITS):     # where one is missing, that is told
            train, self.test = (load_faces(data, split).images.clone() for split in SPLITS)
            self.real, self.tasks = torch.cat([train, self.test]), ["p1", "p2"]
            self.digests = {f"face/{split}": digest(data, "face", split) for split in SPLITS}
            self.floor = self.measure(spread(train)[:FACES])[0] | {"nearest": nearest(self.test[:FACES], train)[0].min().item()}
        for domain in TARGETS:
            if ((folder := data / "digits" / domain) / "test.csv").is_file():
                _, labels, names = load_digits(data, domain, "test")
                numbers = random.SystemRandom().sample(range(len(names)), len(names))
                self.digits[domain] = {f"{number:05d}{Path(name).suffix}": (folder / "test" / name).read_bytes()
                                       for number, name in zip(numbers, names)}, labels
                self.digests[f"{domain}/test"] = digest(data, domain, "test")
        self.tasks += [task for task in TASKS if task[3:] in self.digits]
        if not self.tasks:
            raise UserError(f"{data} holds neither faces nor digits; give data in the course layout with --data")
        if lacking := [task.replace("_", " ") for task in TASKS if task not in self.tasks]:
            say(f"{data} has no images for {', '.join(lacking)}, which are not graded", "yellow")
        self.apart = {str(path) for path in (data, data / ".cache", out, *data.glob("digits/*/train"))}

    def left_out(self, folder, names):
        """The names in a folder that are neither a submission's nor looked at again, such as what would be waited for."""
        small = lambda path: os.path.isfile(path) and os.path.getsize(path) <= self.limits["disk"]
        wanted = lambda path: path not in self.apart and (os.path.islink(path) or os.path.isdir(path) or small(path))
        return {name for name in names if name in (".git", ".venv", OWN) or not wanted(os.path.join(folder, name))}

    def grade(self, order, task):
        """Run a script twice; `order` has the submission's "folder" and "stamp", "scripts" and "prefix". Returns a result,
        "faults" (each a line), "seconds", "mib", "errors" (its last lines), "same" (whether it answers alike again) and what
        `judge` tells; and pictures uint8 [N, 3, 64, 64] by name. What it returns once it is stopped is no result."""
        result, pictures = {"faults": [], "errors": []}, {}
        faults, data = result["faults"], stamp(self.data, self.left_out)
        try:
            first = self.attempt(order, task, result)
            pictures, result["same"] = self.judge(first, task, result), False
            second = self.attempt(order, task, result)
            # a GPU may round a pixel the other way
            result["same"] = first.shape == second.shape and ((first - second).abs() <= (first.ndim > 1)).all().item()
            if not result["same"]:
                faults.append("its answer is another when it is run again")
        except Exception as error:      # whatever is handed in, the others go on
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                raise
            faults.append(str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}")
        if stamp(order["folder"], self.left_out) != order["stamp"]:
            faults.append("files of the submission have changed since the grading began")
        if stamp(self.data, self.left_out) != data:
            faults.append(f"files in {self.data} were changed while it ran; all are graded by what was there before")
        faults = (re.sub(f"{re.escape(str(self.work))}/[^/]*/run/({OWN}/)?", "", line) for line in faults)     # which is gone
        return result | {"faults": list(dict.fromkeys(one_line(line)[:300] for line in faults))}, pictures

    def attempt(self, order, task, result):
        """Run a script once. Returns what it wrote: int32 [N, 3, 64, 64], faces of 0 to 255, or [N], labels."""
        folder, work, faults = Path(order["folder"]), Path(tempfile.mkdtemp(dir=self.work)), result["faults"]
        place, (problem, _, target) = work / "run", task.partition("_")
        own, images, script = place / OWN, self.digits[target][0] if target else {}, order["scripts"].replace("{}", problem[1:])
        answer = own / ("pred.csv" if target else "faces.png")
        try:
            if not folder.is_dir():
                raise UserError(f"{folder} is not a folder")
            shutil.copytree(folder, place, symlinks=True, ignore=self.left_out, copy_function=shutil.copy)
            place.chmod(0o755)
            (own / "images").mkdir(parents=True)
            for name, content in sorted(images.items()):       # their order on the disk tells nothing either
                (own / "images" / name).write_bytes(content)
            scripts = {path.name: path for path in sorted({place / script, *place.glob("*.sh")})
                       if path.is_file() and path.resolve().is_relative_to(place)}
            if script not in scripts:
                raise UserError(f"there is no {script}" + (f", but {some_of([*scripts])}; see --scripts" if scripts else ""))
            for name, path in scripts.items():
                path.chmod(0o755)
                if b"\r\n" in (content := path.read_bytes()):
                    path.write_bytes(content.replace(b"\r\n", b"\n"))
                    if name == script or not path.match(order["scripts"].replace("{}", "?")):      # else another problem's
                        faults.append(f"{name} has Windows line ends (CRLF); it was run without")
            words = [script, *([f"{OWN}/images", target] if target else []), f"{OWN}/{answer.name}"]
            self.run([*(word.replace("{}", str(place)) for word in order["prefix"]), "bash", *words], place, result)
            if not os.path.lexists(answer):
                new = sorted(set(os.listdir(place) if place.is_dir() else ()) - {OWN, *os.listdir(folder)})
                raise UserError(f"wrote no {OWN}/{answer.name}" + (f", but {some_of(new)}" if new else ""))
            if answer.resolve() != answer or not answer.is_file() or answer.stat().st_size > MOST_PRINTED:
                raise UserError(f"{answer.name} is no plain file of at most {MOST_PRINTED:,} bytes")
            if not target:
                return read_grid(answer, FACES, FACE_SIZE).int()
            return torch.tensor(read_answer(answer, images, faults), dtype=torch.int32)
        finally:
            remove(work)

    def run(self, command, place, result):
        """Run a command in the folder `place`, and add to the result. Raises UserError if it broke a limit."""
        went = run_watched(command, place, str(place / OWN), self.alive, **self.limits)
        lines = [one_line(line)[:300] for line in (went["stderr"].strip() or went["stdout"]).splitlines() if line.strip()]
        result |= {key: max(result.get(key, 0), round(went[key], 1)) for key in ("seconds", "mib")} | {"errors": lines[-12:]}
        if went["left"]:
            result["faults"].append("left processes behind, which were ended")
        if went["broke"]:
            raise UserError(went["broke"])
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
