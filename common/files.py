"""Files and folders that are written whole or not at all, json, and where run folders go."""
import contextlib
import hashlib
import json
import math
import os
import secrets
import tempfile
from pathlib import Path

from common.errors import UserError

REPOSITORY = Path(__file__).resolve().parent.parent      # where all of this lies
RUN_FOLDERS = Path("runs")     # where run folders go, those of each preset in a folder of its own (.gitignore has it, too)
PART = ".part-"      # how the names of unfinished files begin


def visible(folder):
    """The names of what is in a folder, hidden things aside, in order; none where the folder is missing."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []


def make_folder(path):
    """Make a folder, and those that it lies in, unless they are there; of a link, as to another disk, the folder that it names.

    Raises OSError where the system refuses.
    """
    Path(os.path.realpath(path)).mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def written_whole(path):
    """Give a temporary path beside `path`; on success it is renamed to `path`, on failure removed.

    Raises UserError if `path` is something else than a plain file (a folder, a link, a device), or if its folder is
    missing, full or cannot be written to.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the name of a file to write")
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UserError(f"{path} is a link or a device; give the name of a plain file to write")
    # not by tempfile, whose private files had to be given the usual permissions, which some file systems refuse
    temporary = path.with_name(f"{PART}{secrets.token_hex(8)}{path.suffix}")
    try:
        temporary.touch(exist_ok=False)
    except FileNotFoundError:
        raise UserError(f"the folder {path.parent} does not exist; make it first or write elsewhere") from None
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; choose a folder you may write to") from None
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; make room, or write elsewhere") from None
    finally:
        temporary.unlink(missing_ok=True)


def demand_folder_of(path):
    """Raise UserError if the folder in which `path` is to be written is missing."""
    if not path.resolve().parent.is_dir():
        raise UserError(f"the folder {path.parent} does not exist; make it first or write elsewhere")


@contextlib.contextmanager
def folder_written_whole(path):
    """Give an empty folder beside `path`; on success it is renamed to `path`, on failure removed with all that is in it.

    Raises UserError if `path` is a file or a folder with something in it, or if its own folder is missing, full or cannot be
    written to.
    """
    path = Path(path)
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise UserError(f"{path} is a file; give the name of a new folder")
    demand_folder_of(path)
    try:
        if path.is_dir() and any(path.iterdir()):
            raise UserError(f"{path} holds something already; give the name of a new folder")
        with tempfile.TemporaryDirectory(dir=path.resolve().parent, prefix=PART) as temporary:
            # a folder inside, because the temporary one is readable by its owner alone
            folder = Path(temporary) / path.resolve().name
            folder.mkdir()
            yield folder
            move_folder(folder, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; make room, or write elsewhere") from None


def move_folder(folder, path):
    """Rename `folder` to `path`, where nothing is or an empty folder. Raises OSError where the system refuses."""
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(path)      # not all file systems let a folder take another's place
    os.rename(folder, path)


def read_json(path, *names, **kinds):
    """Parse a json file of a run. Raises UserError if it is missing, damaged, or lacks one of `names`, or one of `kinds`, each
    with the type that it must have."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    if not isinstance(content, dict) or not content.keys() >= {*names, *kinds} or not all(
            isinstance(content[name], kind) for name, kind in kinds.items()):
        needed = ", ".join((*names, *kinds))
        raise UserError(f"{path} is damaged: expected a json object{needed and ' with '}{needed}")
    return content


def write_json(path, content):
    """Write a json file, whole or not at all; what is no finite number becomes null, as json has none."""
    with written_whole(path) as file:
        file.write_text(json.dumps(finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def finite(content):
    """The same nest of dicts, lists and plain values, with None for each number that is not finite."""
    if isinstance(content, dict):
        return {name: finite(value) for name, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def stamp(folder, left_out):
    """A digest of the paths, modes, sizes and times of a folder's files, as far as it can be read; it tells when they change.

    `left_out(path, names)` gives those of the names in a folder inside that are passed over, as `ignore` of shutil.copytree.
    """
    content = hashlib.blake2b(digest_size=8)
    with contextlib.suppress(OSError, RecursionError):
        for root, folders, files in os.walk(folder):
            folders[:] = sorted(set(folders) - left_out(root, folders))
            for path in (os.path.join(root, name) for name in sorted(files)):
                status = os.lstat(path)
                content.update(os.fsencode(f"{path} {status.st_mode} {status.st_size} {status.st_mtime_ns}\n"))
    return content.hexdigest()
