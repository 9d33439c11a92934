"""Reading zip and tar archives that may come from anywhere."""
import io
import re
import stat
import tarfile
import zipfile
from pathlib import PurePosixPath

from PIL import Image

from common.cli import UserError
from common.data.images import IMAGE_FORMATS, as_shown

# no file of our datasets comes near these, so what is larger is a trap
ENTRY_LIMIT = 64_000_000        # bytes of one entry, unpacked
TAR_LIMIT = 2_000_000_000       # bytes of all entries of a tar, unpacked
PIXEL_LIMIT = 4_000_000         # pixels of one image


class Archive:
    """The files of a zip or tar archive: `names` in the archive's order, `read`, `text` and `image` for their content.

    Names have slashes, also where Windows wrote backslashes. Nothing is unpacked to disk. An archive is refused all the same
    if an entry would lie outside its folder (an absolute path, `..`) or is no plain file (a link, a device). `below` limits
    the names, and that check, to those that begin so. The methods may be called from several threads. All raise UserError
    with the archive's path.
    """

    def __init__(self, path, below=""):
        self.path = path
        self._below = below
        self._zip = None
        self._entries = {}
        try:
            if zipfile.is_zipfile(path):
                self._zip = zipfile.ZipFile(path)
                for entry in self._zip.infolist():
                    kind = stat.S_IFMT(entry.external_attr >> 16)       # 0 in archives made on Windows
                    plain = kind in (0, stat.S_IFREG, stat.S_IFDIR)
                    is_folder = entry.filename.endswith(("/", "\\"))
                    if self._is_asked_for(entry.filename, plain, entry.file_size) and not is_folder:
                        self._entries[_plain_name(entry.filename)] = entry
            else:
                # a compressed tar can be read fast only from front to back, so its files are kept in memory
                room = TAR_LIMIT
                with tarfile.open(path) as archive:
                    for entry in archive:
                        plain = entry.isfile() or entry.isdir()
                        if self._is_asked_for(entry.name, plain, entry.size) and entry.isfile():
                            room -= entry.size
                            if room < 0:
                                raise UserError(f"{path} is refused: it unpacks to more than {TAR_LIMIT:,} bytes, too many "
                                                "for our datasets")
                            self._entries[_plain_name(entry.name)] = archive.extractfile(entry).read()
                    # tarfile takes a damaged header for the end; the compression's own checksum comes at the real end
                    while archive.fileobj.read(1 << 20):
                        pass
        except (UserError, MemoryError):
            raise
        except Exception as error:      # a damaged archive can fail anywhere in the unpacker, in any way
            raise UserError(f"{path} is damaged, or neither a zip nor a tar archive ({error})") from None
        self.names = self._entries.keys()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._zip:
            self._zip.close()

    def ending(self, suffix):
        """The first name whose last parts are those of `suffix`, or None."""
        return next((name for name in self.names if f"/{name}".endswith(f"/{suffix}")), None)

    def read(self, name):
        """The bytes of one file."""
        if name not in self.names:
            raise UserError(f"{self.path} lacks {name}")
        if not self._zip:
            return self._entries[name]
        try:
            with self._zip.open(self._entries[name]) as file:
                # an entry may unpack to more than it states: then this is not its end, and its checksum is wrong
                return file.read(self._entries[name].file_size)
        except MemoryError:
            raise
        except Exception as error:      # damage, a password, an unknown compression
            raise UserError(f"cannot read {name} in {self.path}: {error}") from None

    def text(self, name):
        """The content of a UTF-8 file."""
        try:
            return self.read(name).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise UserError(f"{name} in {self.path} is not a text file") from None

    def image(self, name):
        """What a viewer shows of the image in one file: a PIL image of mode L (gray) or RGB."""
        content = io.BytesIO(self.read(name))
        try:
            with Image.open(content, formats=IMAGE_FORMATS) as image:
                if image.width * image.height > PIXEL_LIMIT:
                    raise UserError(f"{name} in {self.path} has {image.width}x{image.height} pixels, too many for our "
                                    "datasets")
                image = as_shown(image)
                return image.convert("L" if image.mode == "L" else "RGB")
        except UserError:
            raise
        except Exception:       # a damaged file can fail anywhere in the decoder, in any way
            raise UserError(f"{name} in {self.path} is not a readable image") from None

    def _is_asked_for(self, name, plain, size):
        if not _plain_name(name).startswith(self._below):
            return False
        if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name):
            raise UserError(f"{self.path} is refused: its entry {name!r} would lie outside its folder; take an archive "
                            "from a source that you trust")
        if not plain:
            raise UserError(f"{self.path} is refused: its entry {name!r} is a link or a device; take an archive of "
                            "plain files")
        if size > ENTRY_LIMIT:
            raise UserError(f"{self.path} is refused: its entry {name!r} has {size:,} bytes, too many for an image")
        return True


def _plain_name(name):
    return str(PurePosixPath(name.replace("\\", "/")))       # "./a//b" or "a\\b" -> "a/b"
