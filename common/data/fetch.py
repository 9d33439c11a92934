"""Files from the network: downloads that are checked, and resumed where they broke off."""
import errno
import hashlib
import http.client
import sys
import time
import urllib.error
import urllib.request
from typing import NamedTuple

from tqdm import tqdm

from common.cli import UserError, say
from common.files import REPOSITORY
from common.requirements import install

ATTEMPTS = 5                # connections for one file and address; each goes on where the last one broke off
RETRY_SECONDS = 2
TIMEOUT_SECONDS = 30        # a server that is silent for so long counts as a broken connection
BLOCK = 1 << 18             # bytes read at once
MB = 1_000_000


class File(NamedTuple):
    name: str
    checksum: str                       # "md5:…" or "sha256:…"
    size: int                           # bytes, rounded up; only for the check of the free disk space
    addresses: tuple[str, ...] = ()     # tried in this order
    drive_id: str = ""                  # instead of addresses, for files that are on Google Drive


def partial(path):
    return path.with_name(f"{path.name}.part")


def checksum(path, like):
    """The checksum of a file by the algorithm of `like`, and in its form: "md5:…" or "sha256:…"."""
    algorithm = like.partition(":")[0]
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return f"{algorithm}:{digest.hexdigest()}"


def fetch(file, dataset, downloads, mirror):
    """Have one official file of `dataset` in the folder `downloads`, checked; it is downloaded if it is not there.

    Raises UserError with the reason and with what the user can do by hand.
    """
    path = downloads / file.name
    if path.exists():
        found = checksum(path, file.checksum)
        if found != file.checksum:
            raise UserError(f"{path} is not the official file: it has {found}, expected {file.checksum}; replace or "
                            "remove it and run the command again")
        return
    say(f"downloading {file.name}")
    addresses = [f"{mirror}/{file.name}"] if mirror else file.addresses
    reasons = []
    for address in addresses or [None]:
        try:
            if address:
                download(address, file, path)
            else:
                download_from_drive(file, path)
            return
        except UserError as error:
            reasons.append(str(error))
    missing = ", ".join(other.name for other in dataset.files if not (downloads / other.name).exists())
    raise UserError(f"{', '.join(reasons)}; try again later, or put {missing} into {downloads} by hand and run the "
                    "command again")


def download(address, file, path):
    """Download `file` from `address` to `path`, going on from path.part where an earlier try broke off.

    Raises UserError if that fails; what has arrived stays in path.part unless its checksum is wrong.
    """
    part = partial(path)
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(RETRY_SECONDS)
        resuming = part.exists()
        try:
            receive(address, part, file.name)
        except urllib.error.HTTPError as error:
            # 416: nothing comes after the part that we have, so that is complete, or wrong
            if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise UserError(f"{address} answers {error.code} {error.reason}") from None
        except urllib.error.URLError as error:
            raise UserError(f"cannot reach {address} ({error.reason})") from None
        except ValueError as error:     # no address, or an answer that is not HTTP's
            raise UserError(f"cannot reach {address} ({error})") from None
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and (error.filename or error.errno in (errno.ENOSPC, errno.EDQUOT)):
                raise       # our disk, not the connection
            reason = f"the download of {address} broke off ({error})"
            continue
        found = checksum(part, file.checksum)
        if found == file.checksum:
            part.rename(path)
            return
        part.unlink()
        reason = f"{address} is not the official file: it has {found}, expected {file.checksum}"
        if not resuming:
            break           # all of it came from this address just now; another try would bring the same
    raise UserError(reason)


def receive(address, part, name):
    """Append to the file `part` what it lacks of `address`. Raises ConnectionError if the server stops too early."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(address, headers={"User-Agent": "hw_download"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
        if not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            have = 0        # the server sends the whole file
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        with open(part, "ab" if have else "wb") as file, \
                tqdm(desc=name, total=total, initial=have, unit="B", unit_scale=True, leave=False, disable=None,
                     dynamic_ncols=True) as bar:
            while block := response.read(BLOCK):
                file.write(block)
                have += len(block)
                bar.update(len(block))
    if total is not None and have < total:
        raise ConnectionError(f"{have:,} of {total:,} bytes arrived")


def download_from_drive(file, path):
    """Download a file from Google Drive to `path` with gdown, which resumes too. Raises UserError if that fails."""
    try:
        import gdown
    except ImportError:
        raise UserError(f"{file.name} is on Google Drive, which takes gdown "
                        f"({install('-r', f'{REPOSITORY}/requirements-download.txt')})") from None
    arrived = path.with_name(f"{path.name}.drive")
    try:
        gdown.download(id=file.drive_id, output=str(arrived), resume=True, quiet=not sys.stderr.isatty())
    except Exception as error:      # gdown passes on whatever the libraries below it raise
        raise UserError(f"Google Drive does not give {file.name} ({' '.join(str(error).split())})") from None
    if not arrived.exists():
        raise UserError(f"Google Drive does not give {file.name}")
    found = checksum(arrived, file.checksum)
    if found != file.checksum:
        arrived.unlink()
        raise UserError(f"{file.name} from Google Drive is not the official file: it has {found}, expected "
                        f"{file.checksum}")
    arrived.rename(path)
