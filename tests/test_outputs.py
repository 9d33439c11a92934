"""Where a command's lines go: to outputs that are closed, full or read no more, and into notebooks."""
import io
import os
import signal
import subprocess
import sys
import threading
import time
import types

import pytest

from common import cli
from common.cli import CommandParser, UserError, lock, run_command, say, warn
from common.runs import jobs
from common.runs.jobs import Job, run_jobs
from tests.conftest import REPOSITORY


def broken_pipe():
    """As behind `| head` when that has ended."""
    reader, writer = os.pipe()
    os.close(reader)
    return open(writer, "w")


def closed_terminal():
    ours, theirs = os.openpty()
    os.close(ours)
    return open(theirs, "w")


UNREAD = pytest.mark.parametrize("output", [broken_pipe, closed_terminal])


def ended_with(work):
    """The exit code of a program that does `work()`."""
    try:
        run_command(work)
    except SystemExit as ended:
        return ended.code
    return 0


# ---- nobody reads ----------------------------------------------------------------------------------------------------

@UNREAD
def test_work_that_nobody_reads_of_is_done(output, monkeypatch, capsys, tmp_path):
    def work():
        for number in range(3):
            say(f"line {number}")
        (tmp_path / "done").touch()
    stream = output()
    monkeypatch.setattr(sys, "stdout", stream)
    assert ended_with(work) == 0
    stream.close()      # as Python does at its end, with an exit code of 120 where that fails
    assert (tmp_path / "done").exists() and capsys.readouterr().err == ""


@UNREAD
def test_an_error_that_nobody_reads_has_its_exit_code(output, monkeypatch, capsys):
    def work():
        warn("error: usps: no network")
        raise UserError("wrong")
    stream = output()
    monkeypatch.setattr(sys, "stderr", stream)
    assert ended_with(work) == 1
    stream.close()


@UNREAD
def test_help_that_nobody_reads(output, monkeypatch):
    stream = output()
    monkeypatch.setattr(sys, "stdout", stream)
    assert ended_with(lambda: CommandParser().parse_args(["--help"])) == 0
    stream.close()


def test_what_cannot_be_printed_is_an_error_when_all_is_done(monkeypatch, capsys, tmp_path):
    def work():
        say("a table")
        (tmp_path / "done").touch()
    stream = open("/dev/full", "w")  # noqa: SIM115
    monkeypatch.setattr(sys, "stdout", stream)
    assert ended_with(work) == 1
    stream.close()
    assert (tmp_path / "done").exists()
    assert capsys.readouterr().err == ("error: some output could not be printed (No space left on device); the work itself is "
                                       "done\n")


# a file is written after standard output was used by what does not ask Python
CLOSED = """
import os, sys
from common.cli import progress, run_command, say
def work():
    with open("answer", "w") as file:
        for number in (1, 2):
            try:
                os.write(number, b"a library's message")
            except OSError:
                pass
        say("a line")
        for _ in progress(range(3), "counting"):
            pass
        file.write("right")
    print("printed")
run_command(work)
"""


@pytest.mark.parametrize("closed, output, error", [
    (">&-", "", "a library's message"), ("2>&-", "a library's messagea line\nprinted\n", ""), ("<&- >&- 2>&-", "", "")])
def test_closed_outputs(tmp_path, closed, output, error):
    (tmp_path / "work.py").write_text(CLOSED)
    result = subprocess.run(["bash", "-c", f'"$0" work.py {closed}', sys.executable], cwd=tmp_path, capture_output=True,
                            env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, output, error)
    assert (tmp_path / "answer").read_text() == "right"


@pytest.mark.parametrize("where, code, error", [
    ("| true", 0, ""), (">&-", 0, ""), ("> /dev/full", 1, "error: cannot print: No space left on device\n")])
def test_accuracy_that_nobody_reads(tmp_path, where, code, error):
    (tmp_path / "a.csv").write_text("image_name,label\na.png,1\n")
    # true has ended before Python starts
    command = f'set -o pipefail; (sleep 0.3; "$0" {REPOSITORY}/hw_eval.py a.csv a.csv) {where}'
    result = subprocess.run(["bash", "-c", command, sys.executable], cwd=tmp_path, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (code, error)


# ---- jobs of a report ------------------------------------------------------------------------------------------------

CHATTY = "import signal; signal.alarm(30); [print('a line of an epoch' * 9) for _ in range(2000)]"     # more than a pipe holds


@UNREAD
def test_jobs_go_on_when_nobody_reads_the_report(output, monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, output())
    assert run_jobs([Job("one", [sys.executable, "-c", CHATTY]), Job("two", [sys.executable, "-c", CHATTY], after=("one",))],
                    1) == []


def test_jobs_are_stopped_in_the_background_too(monkeypatch):
    """A shell starts what goes into its background with SIGINT ignored, and so are its children started."""
    def interrupt(_):
        raise KeyboardInterrupt
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        started = time.monotonic()
        monkeypatch.setattr(jobs, "time", types.SimpleNamespace(sleep=interrupt))
        with pytest.raises(KeyboardInterrupt):
            run_jobs([Job("one", [sys.executable, "-c", "import time; time.sleep(60)"])], 1)
        assert time.monotonic() - started < 30
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_job_that_outlives_its_report_stops_at_its_next_line(monkeypatch, capsys):
    monkeypatch.setattr(cli, "_starter", os.getppid())
    assert ended_with(lambda: say("an epoch")) == 0
    monkeypatch.setattr(cli, "_starter", os.getpid())       # some other
    assert ended_with(lambda: say("an epoch")) == 130
    assert capsys.readouterr() == ("an epoch\n", "stopped: nothing was written\n")


def test_a_job_knows_who_started_it_but_not_who_started_that():
    says = lambda value: [sys.executable, "-c", f"import os; from common import cli; assert cli._starter == {value}"]
    bash = ["bash", "-c", '"$0" "$@"; exit $?', *says("None")]
    environment = {"PYTHONPATH": str(REPOSITORY)}
    assert run_jobs([Job("one", says("os.getppid()"), (), environment), Job("two", bash, (), environment)], 2) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("handler, code", [(signal.SIG_DFL, 130), (signal.SIG_IGN, 0)], ids=["", "ignored"])
def test_signals_stop_unless_they_are_ignored(number, handler, code, capsys):
    before = signal.signal(number, handler)
    try:
        assert ended_with(lambda: os.kill(os.getpid(), number)) == code
        assert signal.getsignal(number) == handler, "a notebook has its own again"
    finally:
        signal.signal(number, before)


# ---- notebooks -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("in_thread", [False, True])
def test_a_command_runs_in_a_notebook(monkeypatch, in_thread):
    """In whose process standard output is no file, and the main module nobody's."""
    module = types.ModuleType("__main__")
    del module.__spec__
    monkeypatch.setitem(sys.modules, "__main__", module)
    monkeypatch.setattr(sys, "argv", ["a.py"])
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    codes = []

    def work():
        CommandParser().parse_args([])
        say("done")
    call = lambda: codes.append(ended_with(work))
    if in_thread:
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
    else:
        call()
    assert codes == [0] and sys.stdout.getvalue() == "done\n"


def test_what_was_stopped_in_a_notebook_can_be_started_again(capsys, tmp_path):
    held = []

    def work():
        held.append(lock(tmp_path / ".lock", "another process trains"))     # a notebook keeps the last traceback
        raise KeyboardInterrupt
    assert [ended_with(work), ended_with(work)] == [130, 130] and len(held) == 2
