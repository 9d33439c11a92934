"""Measures everything about this machine's GPU in one go; without one the same, small, on the CPU.

    bash benchmarks/on_gpu.sh --minutes 9 --out on_gpu

Each part of gpu_parts.py is a process of its own with its share of the time, the most important first. What it finds out is in
OUT/results.json, and in the tables of OUT/tables.md, as soon as it is known, and all that is printed in OUT/log.txt.
"""
import contextlib
import json
import os
import queue
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from benchmarks.gpu_parts import KINDS, MARK, PARTS, kind_of
from benchmarks.measure import VARIANTS, report_settings
from benchmarks.throughput import CEILING, SPEED, Speed, ceiling_row, speed_row
from common.cli import CommandParser, any_path, duration, format_table, lock, number, run_command, say
from common.files import REPOSITORY, read_json, write_json
from common.runs.plan import PACKAGES, RUNS, is_usual, same_trainings

SCRATCH = REPOSITORY / ".on_gpu"        # data and runs, which the next call uses again; OUT has three small files
SHARES = {"hardware": 2, "correctness": 5, "throughput": 9, "full_size": 7, "real_data": 7}     # of the time that is left
GRACE = 10          # seconds for a part to stop in


# ---- results ---------------------------------------------------------------------------------------------------------

class Results:
    """What is known: {part: {item: {"result": …} or {"failed": reason} or {"started": true}}}, on disk at every moment."""

    def __init__(self, out):
        self.path, self.tables = out / "results.json", out / "tables.md"
        before = read_json(self.path, *PARTS) if self.path.is_file() else {}
        # what failed or was cut off is tried again
        self.parts = {part: {item: found for item, found in before.get(part, {}).items() if "result" in found}
                      for part in PARTS}
        self.log = open(out / "log.txt", "a", encoding="utf-8")  # noqa: SIM115
        self.write()

    def add(self, part, item, **found):
        self.parts[part][item] = found
        self.write()

    def write(self):
        write_json(self.path, self.parts)
        self.tables.write_text(tables(self.parts), encoding="utf-8")

    def note(self, line):
        self.log.write(f"{line}\n")
        self.log.flush()
        say(line)


def of(parts, part):
    """The results of a part by item."""
    return {item: found["result"] for item, found in parts[part].items() if "result" in found}


def tables(parts):
    """All that is known as markdown."""
    sections = [table_of_hardware(of(parts, "hardware")), table_of_checks(parts["correctness"]),
                *tables_of_throughput(of(parts, "throughput")), *tables_of_full_size(parts),
                table_of_real(of(parts, "real_data")), table_of_failures(parts)]
    machine = of(parts, "hardware").get("machine")
    begin = "# What was measured\n"
    if machine and "CUDA" not in machine:
        begin += "\nWithout a GPU, on a few small images: these numbers say no more than that all of it works.\n"
    return begin + "".join(f"\n## {title}\n\n{text}\n" for title, text in filter(None, sections))


def indented(header, rows):
    """A table as in benchmarks/README.md, as a block of code."""
    return "\n".join(f"    {line}".rstrip() for line in format_table(header, rows).splitlines())


def table_of_hardware(found):
    rows = [[name, str(value)] for name, value in found.get("machine", {}).items()]
    for name in ("bfloat16", "float32", "TF32"):
        if name in found:
            rows.append([f"product, {name}", f"{found[name]['product'] / 1e12:.3g} TFLOP/s"])
    if "bfloat16" in found:
        rows.append(["copy, read and written", f"{found['bfloat16']['copy'] / 1e9:.0f} GB/s"])
    if "start" in found:
        rows.append(["a training's start", f"{found['start']['seconds']:.1f} s"])
    return ("The machine", indented(rows[0], rows[1:])) if rows else None


def table_of_checks(items):
    if not items:
        return None
    rows = [[name, "passed" if "result" in found else "failed" if "failed" in found else "not finished",
             *(f"{found.get('result', {})[key]:{form}}" if key in found.get("result", {}) else ""
               for key, form in (("largest", ".0e"), ("seconds", ".1f")))] for name, found in items.items()]
    return "Correctness", indented(("", "", "largest difference", "s"), rows)


def tables_of_throughput(found):
    speeds = {item: Speed(**result) for item, result in found.items() if not item.startswith("profile")}
    usual = [speed for item, speed in speeds.items() if item.startswith("usual ")]
    if not usual:
        return
    yield "Training against the reference loops", indented(SPEED, [speed_row(speed) for speed in usual])
    yield "Training against the ceilings", indented(CEILING, [ceiling_row(speed) for speed in usual])
    rows = []
    for speed in usual:
        rate_here = statistics.median(speed.here)
        for variant in VARIANTS:
            if other := speeds.get(f"{variant} {speed.problem}"):
                rate = statistics.median(other.here)
                rows.append([speed.problem, variant, f"{rate:.1f}", f"{1000 * other.images / rate:.2f}",
                             f"{rate / rate_here:.2f}", f"{100 * rate / other.images * other.flops / other.product:.0f} %",
                             f"{other.growth[1] / 2**20:.0f}"])
    yield "How a step is run", indented(("", "", "images/s", "ms a step", "of usual", "share of the product", "MiB"), rows)
    rows = []
    for speed in usual:
        if profile := found.get(f"profile {speed.problem}"):
            step = 1000 * speed.images / statistics.median(speed.here)
            rows.append([speed.problem, "all", "", f"{profile['ms']:.2f}", f"{100 * profile['ms'] / step:.0f} %"])
            rows += [["", name, f"{calls:.0f}", f"{ms:.2f}", f"{100 * ms / step:.0f} %"]
                     for name, calls, ms in profile["operations"]]
    if rows:
        yield "What the device does in a step", indented(("", "operation", "calls", "ms", "of the step"), rows)


def tables_of_full_size(parts):
    """Of each kind of run an epoch, and what follows for the whole report."""
    found = of(parts, "full_size")
    start = of(parts, "hardware").get("start", {}).get("seconds", 0)
    rows, total = [], Counter()
    presets = {problem: report_settings(problem) for problem in PACKAGES}
    trained = [run for run in RUNS if is_usual(run, presets[run.problem])
               and not same_trainings(run.selector, presets[run.problem])]
    for kind, runs in Counter(kind_of(run.selector) for run in trained).items():
        if kind not in found:
            continue
        problem, epochs = kind.split(":")[0], found[kind]["epochs"]
        settings = presets[problem]
        # the second epoch of each phase has no search for kernels in it
        phases = [settings["source_epochs"], settings["epochs"]] if problem == "p4" else [settings["epochs"]]
        usual = epochs[1::2]
        once = start + found[kind]["seconds"] - len(epochs) / len(usual) * sum(usual)
        seconds = runs * (once + sum(count * each for count, each in zip(phases, usual)))
        total[problem] += seconds
        rows.append([kind, str(runs), " + ".join(f"{each:.1f}" for each in usual), " + ".join(map(str, phases)),
                     f"{once:.1f}", f"{seconds / 60:.1f}"])
    if rows:
        missing = [kind for kind in KINDS if kind not in found]
        drawing = found.get("figures", {}).get("seconds")
        text = [f"One after the other: {sum(total.values()) / 60:.1f} minutes"
                + (f", without {', '.join(missing)}, which were not measured" if missing else "")]
        gains = {item[-2:]: gain(result) for item, result in found.items() if "at once" in item}
        if gains:
            side = sum(seconds / gains.get(problem, 1) for problem, seconds in total.items())
            text.append(f"four at once: {side / 60:.1f} minutes")
        text.append(f"the figures: {drawing:.0f} s" if drawing is not None else "the figures were not measured")
        yield ("The whole report, preset report, data of the official sizes",
               indented(("", "runs", "s an epoch", "epochs", "s besides", "minutes"), rows) + f"\n\n{'; '.join(text)}.")
    rows = [[item[-2:], str(result["count"]), f"{result['alone']:.2f}", f"{statistics.mean(result['beside']):.2f}",
             f"{gain(result):.2f}"] for item, result in found.items() if "at once" in item]
    if rows:
        yield ("Trainings side by side, each a process",
               indented(("", "at once", "s an epoch alone", "s an epoch beside", "times as much done"), rows))


def gain(result):
    """How many times as much is trained in the same time side by side as one after the other."""
    return result["count"] * result["alone"] / max(statistics.mean(result["beside"]), 1e-9)


def table_of_real(found):
    runs = {item.removeprefix("run "): result for item, result in found.items() if item.startswith("run ")}
    if not runs:
        return None
    alone = [run for item, result in found.items() if item.endswith(" alone") for run in result["runs"]]
    percent = lambda share: "" if share is None else f"{100 * share:.2f}"
    rows = [[name, percent(run["target_accuracy"]), percent(run.get("source_only_accuracy")), percent(run["source_accuracy"]),
             str(run["train_images"]), f"{run['train_seconds']:.1f}", "alone" if name in alone else "beside others"]
            for name, run in runs.items()]
    header = ("", "target accuracy, %", "before", "source accuracy, %", "source images", "s of training", "")
    return "Real data", indented(header, rows)


def table_of_failures(parts):
    rows = [f"- {part}, {item}: {found['failed']}" for part, items in parts.items() for item, found in items.items()
            if "failed" in found]
    return ("What failed", "\n".join(rows)) if rows else None


# ---- running the parts -----------------------------------------------------------------------------------------------

class Part:
    """A running process of gpu_parts.py, in a session of its own: `lines` it printed, and None at its end."""

    def __init__(self, name, results):
        # its standard input ends when this process does, even if that is killed, and then the part stops
        self.process = subprocess.Popen(command_of(name, results.path.resolve()), cwd=REPOSITORY, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        errors="backslashreplace", start_new_session=True)
        self.lines = queue.SimpleQueue()

        def read():
            for line in self.process.stdout:
                self.lines.put(line.rstrip("\n"))
            self.lines.put(None)
        threading.Thread(target=read, daemon=True).start()

    def stop(self):
        """End it, with all that it started, if it has not ended."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(GRACE)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def last_lines(self):
        """What it said while it was stopped. Whatever it started and left behind may hold the pipe open, so not for long."""
        with contextlib.suppress(queue.Empty):
            yield from iter(lambda: self.lines.get(timeout=1), None)


def command_of(part, results):
    return [sys.executable, "-u", "-m", "benchmarks.gpu_parts", part, "--scratch", str(SCRATCH), "--done", str(results)]


def run_part(name, results, seconds):
    """Run a part for so long at most. Where its process breaks down, it is started again for what is left."""
    end = time.monotonic() + seconds
    while True:
        tried = len(results.parts[name])
        part = Part(name, results)
        try:
            in_time = follow(part, name, results, end)
        finally:
            part.stop()
        if not in_time:
            for line in part.last_lines():
                take(line, name, results)
            results.note(f"{name}: cut off after {duration(seconds)}")
            return
        unfinished = [item for item, found in results.parts[name].items() if "started" in found]
        for item in unfinished:
            results.add(name, item, failed=f"its process ended with {part.process.returncode}")
        if part.process.returncode == 0:
            return
        if len(results.parts[name]) == tried:
            results.add(name, "process", failed=f"its process ended with {part.process.returncode}; log.txt says why")
            return


def follow(part, name, results, end):
    """Take what a part says until it ends. Returns whether it did so in time."""
    while True:
        try:
            line = part.lines.get(timeout=max(0, end - time.monotonic()))
        except queue.Empty:
            return False
        if line is None:
            part.process.wait()
            return True
        take(line, name, results)


def take(line, name, results):
    before, mark, found = line.partition(MARK)
    if before or not mark:
        results.note(f"{name}: {before or line}")
    if mark:
        found = json.loads(found)
        item = found.pop("item")
        results.add(name, item, **found)
        results.note(f"{name}: {item}: {'…' if 'started' in found else found.get('failed', 'done')}")


def main():
    parser = CommandParser(prog="bash benchmarks/on_gpu.sh", description=(
        "Measure everything about this machine's GPU; without one, show on the CPU that it works. The same command goes on "
        "with what is missing in --out."))
    parser.add_argument("--minutes", type=number(float, 0), default=9, metavar="M", help="how long at most (default: 9)")
    parser.add_argument("--out", type=any_path, default=Path("on_gpu"), metavar="DIR",
                        help="where results.json, tables.md and log.txt go (default: on_gpu)")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=f"some parts only: {', '.join(PARTS)}")
    args = parser.parse_args()
    end = time.monotonic() + 60 * args.minutes
    # a script that starts this with & has SIGINT ignored, here and in the trainings, which are stopped by it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for folder in (args.out, SCRATCH):
        folder.mkdir(parents=True, exist_ok=True)
    with lock(SCRATCH / ".lock", "another on_gpu.sh runs here; wait for it or stop it"):
        results = Results(args.out)
        data = Part("data", results)        # is made beside the first parts, which do not need it
        try:
            parts = [part for part in PARTS if part in (args.only or PARTS)]
            for i, part in enumerate(parts):
                if (left := end - time.monotonic()) > 0:
                    run_part(part, results, left * SHARES[part] / sum(SHARES[other] for other in parts[i:]))
        finally:
            data.stop()
            for line in data.last_lines():
                results.note(f"data: {line}")
    say(f"\n{results.tables.read_text(encoding='utf-8')}\n{args.out}: results.json, tables.md, log.txt")


if __name__ == "__main__":
    run_command(main, "what was measured is kept; the same command goes on with the rest")
