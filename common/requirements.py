"""What this Python lacks of requirements.txt.   python3 common/requirements.py [PACKAGE …]

Prints it, as the rest of a sentence ("lacks numpy", "has torch 2.3.1, not torch>=2.6"), and ends with exit code 1, or 0 where
nothing is lacking. A Python that is too old prints nothing and ends with another.
"""
import functools
import os
import re
import shlex
import sys

REPOSITORY = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
MODULES = {"scikit-learn": "sklearn", "pillow": "PIL"}      # packages whose module has another name


def required():
    """The lines of requirements.txt, as "torch>=2.6,!=2.13.0"; none where somebody copied the scripts without that file."""
    try:
        with open(os.path.join(REPOSITORY, "requirements.txt")) as file:
            return [line for line in (line.partition("#")[0].strip() for line in file) if line]
    except FileNotFoundError:
        return []


def missing(packages):
    """Which of the packages (lines as of `required`) have no module here."""
    from importlib.util import find_spec
    names = [re.match(r"[\w.-]+", package).group() for package in packages]
    return [name for name in names if find_spec(MODULES.get(name, name)) is None]


def unfit(packages):
    """Which of the packages (lines as of `required`) are here in another version, as "torch 2.3.1, not torch>=2.6"."""
    from importlib.metadata import PackageNotFoundError, version
    try:
        from packaging.requirements import Requirement  # which matplotlib brings
    except ImportError:
        return []
    found = []
    for package in packages:
        requirement = Requirement(package)
        try:
            installed = str(version(requirement.name))
            if not requirement.specifier.contains(installed, prereleases=True):
                found.append(f"{requirement.name} {installed}, not {package}")
        except (PackageNotFoundError, ValueError):      # a module without a package, or one whose version says nothing
            pass
    return found


def fault(packages):
    """What this Python lacks of the packages (lines as of `required`), as the rest of a sentence; empty if nothing."""
    if lacking := missing(packages):
        return f"lacks {', '.join(lacking)}"
    wrong = unfit(packages)
    return f"has {'; '.join(wrong)}" if wrong else ""


def is_too_old():
    return sys.version_info < (3, 10)  # noqa: UP036


@functools.cache
def demand():
    """End this program, with one line that says why, unless this Python is what requirements.txt asks for."""
    if found := "is older than Python 3.10" if is_too_old() else fault(required()):
        sys.exit(f"error: {sys.executable} {found}; bash '{REPOSITORY}/hw_setup.sh' makes a .venv there, whose bin/python has "
                 "it all")


def install(*words):
    """The command that installs packages for this Python, whatever `python3` is."""
    return shlex.join([sys.executable, "-m", "pip", "install", *words])


def main():
    if is_too_old():
        return 2
    found = fault(required() + sys.argv[1:])
    if found:
        print(found)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
