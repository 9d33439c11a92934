"""The long tests: kill -9 at random moments, a full disk, 200,000 images, many graders at once, agreement, reproducibility.

    python3 -m tests.torture                    # all of it; prints its figures, exit code 1 if one is not as promised
    python3 -m tests.torture --only kills load
"""
import argparse
import csv
import fcntl
import importlib
import multiprocessing
import os
import pty
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

import torch
from tqdm import tqdm

from common.adaptation import make_network
from common.data.layout import load_digits
from common.files import PART
from common.sample_data import make_sample_data
from common.training.augment import normalise, to_float
from common.training.weights import load_file, load_weights
from p3_dann.model import Classifier, FeatureExtractor
from p4_adda.model import LeNetClassifier, LeNetEncoder2
from tests.conftest import PAIR, REPOSITORY

KILLS = 25
IMAGES = 200_000
MEMORY_LIMIT = 2 << 30      # bytes
# runs of one step an epoch, so that many kills fall into the writing of a checkpoint
TINY = {
    "p1_vae": ("--epochs", "4"),
    "p2_dcgan": ("--epochs", "3"),
    "p3_dann": ("--epochs", "5", "--mode", "dann"),
    "p4_adda": ("--epochs", "4", "--source-epochs", "3"),
}
SCRIPTS = os.environ | {"PATH": f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"}
CPU = torch.device("cpu")
# a child begins in the middle of this process, without the seconds that it takes to import torch
FORK = multiprocessing.get_context("fork")


def main():
    parser = argparse.ArgumentParser(description="Run the long tests.")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="(default: all)")
    only = parser.parse_args().only
    failed = []
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        make_sample_data(Path(folder) / "sample_data")
        os.chdir(folder)
        for name in (name for name in PARTS if name in only):
            started = time.perf_counter()
            print(f"{name}: {PARTS[name].__doc__.splitlines()[0]}", flush=True)
            try:
                PARTS[name]()
            except (AssertionError, subprocess.CalledProcessError) as error:
                print(f"  FAILED: {error}")
                failed.append(name)
            print(f"  {time.perf_counter() - started:.0f} s", flush=True)
    sys.exit(f"error: failed: {', '.join(failed)}" if failed else 0)


def train(problem, run, *flags):
    """Start a training run, or go on with it, in a process of its own; its output goes to a file beside it."""
    words = ["--data", "sample_data", "--preset", "sample", "--run", run, "--limit", "8", "--batch-size", "8", "--resume",
             *PAIR.get(problem, ()), *TINY[problem], *flags]

    def work():
        log = os.open(f"{Path(run).name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.argv = [problem, *words]
        module.run_command(module.main, module.WHEN_STOPPED)
    module = importlib.import_module(f"{problem}.train")
    process = FORK.Process(target=work)
    process.start()
    return process


def finish(problem, run, *flags):
    process = train(problem, run, *flags)
    process.join()
    assert process.exitcode == 0, f"{run} cannot go on: {Path(f'{run}.log').read_text()[-500:]}"


def result(run):
    """All that a run must repeat: {name of a tensor: tensor} and the rows of its metrics without the time."""
    modules = load_file(Path(run) / "weights.pt")["modules"]
    tensors = {f"{name}.{key}": tensor for name, state in modules.items() for key, tensor in state.items()}
    with open(f"{run}/metrics.csv", newline="") as file:
        return tensors, [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def assert_same(run, other):
    (tensors, rows), (other_tensors, other_rows) = result(run), result(other)
    assert tensors.keys() == other_tensors.keys() and rows == other_rows, f"{run} and {other} have other metrics"
    for name, tensor in tensors.items():
        assert torch.equal(tensor, other_tensors[name]), f"{run} and {other} differ in {name}"


def kills():
    """kill -9 at random moments of each problem's training, then --resume: the same weights, bit for bit."""
    moments = random.Random(0)
    for problem in TINY:
        finish(problem, f"{problem}_first")     # fills the cache of decoded images
        started = time.perf_counter()
        finish(problem, f"{problem}_whole")
        seconds = time.perf_counter() - started
        total = len(result(f"{problem}_whole")[1])
        after = [0] * (total + 1)           # kills after so many epochs
        killed = unfinished = 0
        with tqdm(total=KILLS, desc=problem, leave=False, disable=None) as bar:
            while killed < KILLS:
                run = f"{problem}_{killed}"
                process = train(problem, run)
                process.join(moments.uniform(0, seconds))
                if process.exitcode is not None:        # it was faster than the undisturbed run
                    shutil.rmtree(run)
                    os.remove(f"{run}.log")
                    continue
                process.kill()
                process.join()
                folder = Path(run)
                log = Path(f"{run}.log")
                after[log.read_text().count(" epoch ") if log.exists() else 0] += 1
                unfinished += any(folder.rglob(f"{PART}*"))
                finish(problem, run)
                assert_same(run, f"{problem}_whole")
                assert not list(folder.rglob(f"{PART}*")), f"{run} keeps unfinished files"
                shutil.rmtree(run)
                killed += 1
                bar.update()
        print(f"  {problem}: {KILLS} of {KILLS} runs equal the undisturbed one ({seconds:.1f} s); killed after "
              f"0 … {total} epochs: {' '.join(map(str, after))} times, {unfinished} while writing a file", flush=True)


def disk():
    """A disk that is full, then read-only: one line, the last checkpoint intact, and the run goes on elsewhere."""
    if os.geteuid() != 0:
        print("  left out: only root can mount a small disk")
        return
    finish("p1_vae", "disk_whole")
    size = Path("disk_whole/checkpoint.pt").stat().st_size * 5 // 2         # two checkpoints and half of the next
    os.mkdir("small")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", "small"], check=True)
    try:
        for expected in ("No space left on device", "Read-only file system"):
            process = train("p1_vae", "small/run")
            process.join()
            line = Path("run.log").read_text().splitlines()[-1]
            assert process.exitcode == 1 and line.startswith("error: cannot write") and expected in line, line
            print(f"  {line}")
            subprocess.run(["mount", "-o", "remount,ro", "small"], check=True)
        shutil.copytree("small/run", "moved")
    finally:
        subprocess.run(["umount", "small"], check=True)
    assert load_file("moved/checkpoint.pt")["epoch"] == 2
    finish("p1_vae", "moved")
    assert_same("moved", "disk_whole")
    print("  copied to another disk after that, it goes on from epoch 2 to the same weights")


def load():
    """hw_p3.sh on 200,000 images: memory below 2 GiB, and progress on the terminal."""
    # few images through the network at its largest, as a batch's memory counts; then many through a small one
    for count, size in ((512, 28), (IMAGES, 2)):
        weights = trained("p3_dann", "--image-size", str(size))
        os.mkdir("many")
        originals = sorted(Path("sample_data/digits/mnistm/train").glob("*.png"))
        for number in range(count):
            os.link(originals[number % len(originals)], f"many/{number:06d}.png")
        seconds, memory, shown = on_a_terminal(
            ["bash", REPOSITORY / "hw_p3.sh", "many", "mnistm", "many.csv", "--weights", weights])
        rows = Path("many.csv").read_text().count("\n") - 1
        updates = shown.count("labelling:")
        print(f"  {rows:,} images, {size} pixels wide in the network: {seconds:.0f} s, {memory / 2**20:.0f} MiB at most, "
              f"{updates} updates of the progress bar", flush=True)
        assert rows == count and memory < MEMORY_LIMIT and updates > 1
        shutil.rmtree("many")


def on_a_terminal(words):
    """Run a command on a terminal of its own: its seconds, its largest memory in bytes, and what it showed there."""
    started = time.perf_counter()
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))      # without a width no bar is drawn
        os.execvpe(words[0], words, SCRIPTS)
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 1 << 16)
        except OSError:         # the terminal is closed: the child has ended
            break
    _, status, usage = os.wait4(child, 0)
    assert status == 0, shown[-500:].decode()
    return time.perf_counter() - started, usage.ru_maxrss * 1024, shown.decode()


def trained(problem, *flags):
    """The weights of a small run of problem 3 or 4, usps to mnistm."""
    run = "_".join([problem, "trained", *flags])
    finish(problem, run, *flags)
    return f"{run}/weights.pt"


def graders():
    """Four graders at once on one machine: the same csv as one alone."""
    for script, problem in (("hw_p3.sh", "p3_dann"), ("hw_p4.sh", "p4_adda")):
        weights = trained(problem)
        outputs = ["alone.csv", "1.csv", "2.csv", "3.csv", "4.csv"]
        for together in (outputs[:1], outputs[1:]):
            words = ["bash", REPOSITORY / script, "sample_data/digits/mnistm/train", "mnistm"]
            processes = [subprocess.Popen([*words, output, "--weights", weights], env=SCRIPTS, stdout=subprocess.DEVNULL)
                         for output in together]
            assert not any([process.wait() for process in processes]), f"{script} fails"
        answers = {Path(output).read_bytes() for output in outputs}
        assert len(answers) == 1, f"{script} gives {len(answers)} different answers"
        print(f"  {script}: five times the same {len(answers.pop()):,} bytes", flush=True)


def agreement():
    """The same images in batches of other sizes, by other numbers of threads, and in bfloat16: the same digits?"""
    images = load_digits("sample_data", "mnistm", "train").images
    modules = {"p3_dann": {"extractor": FeatureExtractor(), "classifier": Classifier()},
               "p4_adda": {"target_encoder": LeNetEncoder2(), "classifier": LeNetClassifier()}}
    weights = {problem: trained(problem) for problem in modules}     # before there are threads, which a fork would lose
    for problem, parts in modules.items():
        meta = load_weights(weights[problem], **parts)
        prepare = importlib.import_module(f"{problem}.model").prepare
        expected = logits(make_network(*parts.values(), prepare, meta | {"precision": "float32"}, CPU), images, 128, 1)
        for precision in ("float32", "bfloat16"):
            network = make_network(*parts.values(), prepare, meta | {"precision": precision}, CPU)
            others = [logits(network, images, *how) for how in ((1, 1), (7, 2), (64, 4), (128, 2), (700, 1), (700, 4))]
            distance = max((other - expected).abs().max().item() for other in others)
            changed = max((other.argmax(1) != expected.argmax(1)).sum().item() for other in others)
            print(f"  {problem}, {precision}: logits within {distance:.2g} (they reach {expected.abs().max():.2g}), at most "
                  f"{changed} of {len(images)} digits differ", flush=True)
            assert precision == "bfloat16" or (distance < 1e-4 and changed == 0), "batches or threads change the answer"


@torch.no_grad()
def logits(network, images, batch_size, threads):
    torch.set_num_threads(threads)
    return torch.cat([network(normalise(to_float(batch))) for batch in images.split(batch_size)])


def reproducible():
    """The same command twice: the same page (but for how long it took), figures and samples, byte for byte."""
    words = ["bash", REPOSITORY / "hw_report.sh", "--data", "sample_data", "--preset", "sample", "--epochs", "2",
             "--limit", "30", "--batch-size", "8", "--only", "p1", "p2"]
    for number in (1, 2):
        subprocess.run([*words, "--runs", f"runs{number}", "--out", f"report{number}"], env=SCRIPTS, check=True,
                       stdout=subprocess.DEVNULL)
    one, two = ({str(path.relative_to(f"{kind}{number}")): path.read_bytes() for kind in ("report", "runs")
                 for path in Path(f"{kind}{number}").rglob("*") if path.suffix in (".png", ".html")} for number in (1, 2))
    for files in (one, two):
        files["index.html"] = re.sub(rb"\d+ (s|min)\b", b"", files["index.html"])
    different = sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name))
    assert not different, f"these differ: {', '.join(different)}"
    print(f"  the page and {len(one) - 1} images are the same")


# in this order: `agreement` makes threads in this process, which a fork after it would lose
PARTS = {part.__name__: part for part in (kills, disk, load, graders, agreement, reproducible)}

if __name__ == "__main__":
    main()
