"""The shell scripts in any surroundings: folders, links, shells, variables, Pythons. What they run is replaced by few lines."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from common import requirements
from tests.conftest import REPOSITORY, add_rivals

RUNS = {
    **{f"hw_{problem[:2]}.sh": f"{problem}.inference" for problem in ("p1_vae", "p2_dcgan", "p3_dann", "p4_adda")},
    **{f"{problem}/run.sh": "hw_report" for problem in ("p1_vae", "p2_dcgan", "p3_dann", "p4_adda")},
    "hw_report.sh": "hw_report", "hw_download.sh": "common.download", "benchmarks/on_gpu.sh": "benchmarks.on_gpu",
}
BIN = os.path.dirname(sys.executable)
STAND_IN = """import sys, tokenize, common
print(__name__, __spec__.name, common.__file__, sys.argv[0] == __file__, *sys.argv[1:])
"""


@pytest.fixture
def clone(tmp_path):
    """The scripts under an odd path, with modules that say what was run instead of ours; beside it "caller", with rivals."""
    clone = tmp_path / "a:b é" / "the clone"
    for name in (*RUNS, "hw_setup.sh", "common/__init__.py", "common/python.sh", "common/start.py", "common/requirements.py",
                 "requirements.txt", "requirements-download.txt"):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, clone / name)
    for module in RUNS.values():
        (clone / f"{module.replace('.', '/')}.py").write_text(STAND_IN)
    (tmp_path / "caller").mkdir()
    add_rivals(tmp_path / "caller")
    return clone


def call(folder, *words, **variables):
    """Run a command in that folder, with this test run's Python as `python3`."""
    return subprocess.run(list(map(str, words)), cwd=folder, capture_output=True, text=True,
                          env=os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"} | variables)


def assert_ran(result, clone, module, *words):
    expected = " ".join(["__main__", module, f"{clone}/common/__init__.py", "True", *words])
    assert (result.stdout, result.stderr, result.returncode) == (f"{expected}\n", "", 0)


@pytest.mark.parametrize("script, module", RUNS.items())
def test_nothing_is_imported_from_the_callers_folder(clone, script, module):
    problem = ["--problem", script[:2]] if script.endswith("/run.sh") else []
    result = call(clone.parents[1] / "caller", "bash", clone / script, "a b", PYTHONPATH=":.")
    assert_ran(result, clone, module, *problem, "a b")


def test_stopped_while_packages_are_imported_is_one_line(clone):
    (clone / "p1_vae" / "inference.py").write_text("raise KeyboardInterrupt")
    result = call(clone, "bash", "hw_p1.sh", "faces.png")
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "stopped: nothing was written\n")


def test_all_scripts_are_tried():
    scripts = {path.relative_to(REPOSITORY).as_posix() for pattern in ("*.sh", "*/*.sh") for path in REPOSITORY.glob(pattern)}
    assert scripts - {"hw_setup.sh", "common/python.sh", "tests/run.sh"} == set(RUNS)


@pytest.mark.parametrize("shell, script", [("bash", "p1_vae/run.sh"), ("sh", "hw_p1.sh"), ("dash", "p1_vae/run.sh"),
                                           ("zsh", "hw_p1.sh"), ("ksh", "p1_vae/run.sh")])
def test_through_links_in_any_shell(clone, tmp_path, shell, script):
    if not shutil.which(shell):
        pytest.skip(f"needs {shell}")
    (tmp_path / "absolute").symlink_to(clone / script)
    (tmp_path / "folder").symlink_to((clone / script).parent)
    (tmp_path / "caller" / "links").mkdir()
    (tmp_path / "caller" / "links" / "relative").symlink_to("../../absolute")
    for path in ("../absolute", "links/relative", f"../folder/{Path(script).name}"):
        result = call(tmp_path / "caller", shell, path)
        assert_ran(result, clone, RUNS[script], *["--problem", "p1"] * ("/" in script))


@pytest.mark.parametrize("variables", [
    dict(CDPATH=".:.."),
    dict(SHELLOPTS="errexit:nounset"),
    dict(BASH_ENV="../bashrc"),
    dict(PYTHONSAFEPATH="1"),
    dict(repository="elsewhere", here="elsewhere", venv="elsewhere"),
], ids=lambda variables: next(iter(variables)))
def test_the_callers_variables_do_not_matter(clone, variables):
    (clone.parents[1] / "bashrc").write_text("cd() { builtin cd \"$@\" && ls; }\n")
    result = call(clone.parent, "bash", f"{clone.name}/p1_vae/run.sh", **variables)
    assert_ran(result, clone, "hw_report", "--problem", "p1")


def test_a_copied_script_is_one_line(clone, tmp_path):
    shutil.copy(clone / "hw_p1.sh", tmp_path)
    result = call(tmp_path, "bash", "hw_p1.sh")
    assert result.returncode != 0 and "common/python.sh: No such file" in result.stderr and result.stderr.count("\n") == 1


# ---- Pythons ---------------------------------------------------------------------------------------------------------

def torch_of_version(folder, version):
    """A folder for PYTHONPATH with a torch of that version."""
    package = folder / f"torch-{version}.dist-info"
    (folder / "torch").mkdir(parents=True)
    (folder / "torch" / "__init__.py").touch()
    package.mkdir()
    (package / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
    return str(folder)


@pytest.mark.parametrize("version", ["2.3.1", "2.13.0+cpu"])
def test_a_torch_that_is_too_old_or_excluded_is_one_line(clone, tmp_path, version):
    result = call(tmp_path, "bash", clone / "hw_p1.sh", PYTHONPATH=torch_of_version(tmp_path / "packages", version))
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (f"error: python3 has torch {version}, not torch>=2.6,!=2.13.0; bash '{clone}/hw_setup.sh' makes "
                             "a .venv there that has it all (about 6 GB)\n")


@pytest.mark.parametrize("version", ["2.6.0+cu124", "2.15.0.dev20260101"])
def test_a_torch_that_is_new_enough_is_used(clone, tmp_path, version):
    result = call(tmp_path, "bash", clone / "hw_p1.sh", PYTHONPATH=torch_of_version(tmp_path / "packages", version))
    assert_ran(result, clone, "p1_vae.inference")


def test_python3_m_with_such_a_torch_is_one_line(tmp_path):
    program = "from common.cli import run_command; run_command(lambda: print('ran'))"
    result = call(REPOSITORY, "python3", "-c", program, PYTHONPATH=torch_of_version(tmp_path, "2.3.1"))
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert f"error: {BIN}/python3 has torch 2.3.1, not torch>=2.6,!=2.13.0; bash '{REPOSITORY}/hw_setup.sh'" in result.stderr


@pytest.mark.parametrize("module", ["p1_vae.train", "p4_adda.inference", "benchmarks.throughput", "common.runs",
                                    "common.sample_data", "hw_report", "hw_shipped"])
def test_python3_m_without_packages_is_one_line(module):
    result = call(REPOSITORY, "python3", "-S", "-m", module)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (f"error: {BIN}/python3 lacks torch, torchvision, numpy, matplotlib, scikit-learn, pillow, tqdm; "
                             f"bash '{REPOSITORY}/hw_setup.sh' makes a .venv there, whose bin/python has it all\n")


def test_accuracy_needs_no_packages(tmp_path):
    (tmp_path / "a.csv").write_text("a.png,1\n")
    result = call(tmp_path, "python3", "-S", REPOSITORY / "hw_eval.py", "a.csv", "a.csv")
    assert (result.stdout, result.stderr) == ("Accuracy: 1/1 (100.00%)\n", "")


def other_python3(folder, lines):
    """A folder for PATH with a `python3` of these lines of sh."""
    folder.mkdir()
    (folder / "python3").write_text(f"#!/bin/sh\n{lines}\n")
    (folder / "python3").chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


BARE = f'exec "{sys.executable}" -S "$@"'       # sees no packages
# makes a .venv at whose set-up `pip` does nothing but note its flags
MAKES_VENV = f"""
case "$*" in
    "-I -m venv "*) mkdir -p "$4/bin"; cd "$4/bin"
        echo '#!/bin/sh\ncase "$*" in *" pip "*) echo "$*" >> pip;; *) exec "{sys.executable}" "$@"; esac' > python
        chmod +x python;;
    *) {BARE};;
esac"""


@pytest.mark.parametrize("script, advice", [
    ("hw_p1.sh", "error: python3 lacks torch, torchvision, numpy, matplotlib, scikit-learn, pillow, tqdm; bash '"),
    ("hw_setup.sh", "Setting up "), ("hw_report.sh", "Setting up "), ("hw_download.sh", "Setting up "),
    ("p1_vae/run.sh", "Setting up ")])
def test_what_lacks_packages_says_so_or_makes_venv(clone, tmp_path, script, advice):
    folder = tmp_path / "caller"
    path = other_python3(tmp_path / "bin", MAKES_VENV)
    result = call(folder, "bash", clone / script, PATH=path, PYTHONPATH=".")
    assert result.stderr.startswith(advice) and result.stderr.count("\n") == 1
    if script == "hw_p1.sh":
        assert result.returncode == 1 and not (clone / ".venv").exists()
        return
    assert result.returncode == 0 and "as python3 lacks torch, " in result.stderr
    if script != "hw_setup.sh":
        assert result.stdout.startswith(f"__main__ {RUNS[script]} ")
    wanted = "requirements-download.txt" if script == "hw_download.sh" else "requirements.txt"
    assert (folder / "pip").read_text().endswith(f"-r {clone}/{wanted}\n")
    again = call(folder, "sh", clone / "hw_p1.sh", PATH=path)
    assert_ran(again, clone, "p1_vae.inference")


def test_venv_does_not_see_the_packages_of_python3(clone, tmp_path):
    """On clusters PYTHONPATH names the site's own packages, here with an old torch."""
    path, old = other_python3(tmp_path / "bin", MAKES_VENV), torch_of_version(tmp_path / "packages", "2.3.1")
    assert call(tmp_path, "bash", clone / "hw_setup.sh", PATH=path, PYTHONPATH=old).returncode == 0
    assert_ran(call(tmp_path, "bash", clone / "hw_p1.sh", PATH=path, PYTHONPATH=old), clone, "p1_vae.inference")


@pytest.mark.parametrize("script, lines", [("hw_p1.sh", "exit 127"), ("hw_report.sh", "echo SyntaxError >&2; exit 1")])
def test_no_python_or_one_that_is_too_old_is_one_line(clone, tmp_path, script, lines):
    result = call(tmp_path, "bash", clone / script, PATH=other_python3(tmp_path / "bin", lines))
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "error: python3 must be Python 3.10 or newer; install one and put it first on PATH\n"


def test_an_old_python_is_told_from_one_without_packages(monkeypatch, capsys):
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    assert requirements.main() not in (0, 1) and capsys.readouterr().out == ""


# ---- systems ---------------------------------------------------------------------------------------------------------

def test_windows_itself_is_one_line():
    result = call(REPOSITORY, "python3", "-c", "import sys; sys.modules['fcntl'] = None; import common.cli")
    assert result.returncode == 1 and result.stderr.startswith("error: this runs on Linux, macOS and WSL, not on Windows")
    assert result.stderr.count("\n") == 1


def test_a_home_that_cannot_be_written_to_is_no_matter(tmp_path):
    (tmp_path / "home").touch()
    result = call(REPOSITORY, "python3", "-c", "import common, matplotlib; print(matplotlib.get_cachedir())",
                  HOME=str(tmp_path / "home"), MPLCONFIGDIR="", XDG_CACHE_HOME="", XDG_CONFIG_HOME="")
    assert (result.stderr, result.returncode) == ("", 0) and str(tmp_path) not in result.stdout


def test_line_endings_and_weights_survive_git_for_windows(tmp_path):
    files = ("hw_p1.sh", "common/python.sh", "common/cli.py", "p2_dcgan/weights/generator.pt", "docs/results.png")
    for name in (".gitattributes", *files):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    git = ("git", "-c", "core.autocrlf=true", "-c", "user.name=x", "-c", "user.email=x@y", "-c", "commit.gpgsign=false")
    for words in ("init -q", "add .", "commit -qm all", "rm -rq --cached .", "clean -fdq", "checkout -q HEAD -- ."):
        assert call(tmp_path, *git, *words.split()).returncode == 0
    for name in files:
        assert (tmp_path / name).read_bytes() == (REPOSITORY / name).read_bytes(), name
