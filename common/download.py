"""From the official sources to the course layout (common/data/layout.py shows it).

    bash hw_download.sh [--data hw3_data] [--only usps mnistm svhn face]

Downloads are checked and kept in DATA/.download under their official names; a file put there by hand is used like a
downloaded one. Each dataset is converted in a hidden folder of DATA and comes to its place with one rename, so that a
run that is killed leaves all of it or nothing.

Sources, with the addresses and checksums that torchvision maintains where it has the dataset:
  usps    LIBSVM's copy of Hull 1994, https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass.html#usps
  mnistm  Ganin et al. 2016, https://jmlr.org/papers/v17/15-239.html: MNIST digits on photographs of BSDS500
  svhn    Netzer et al. 2011, cropped digits, http://ufldl.stanford.edu/housenumbers/
  face    CelebA, Liu et al. 2015, http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html
"""
import contextlib
import math
import os
import shutil
from pathlib import Path, PurePosixPath

from common.cli import CommandParser, UserError, any_path, lock, run_command, say, warn
from common.data.archive import Archive
from common.data.csv_files import parse_csv
from common.data.fetch import MB, fetch, partial
from common.data.images import list_images
from common.data.layout import SPLITS, is_sample_data
from common.data.official import DATASETS, copy_course_split, copy_mnistm_split
from common.files import move_folder


def main(arguments=None):
    parser = CommandParser(
        prog="bash hw_download.sh", description="Download the datasets and convert them to the course layout.",
        epilog="Downloads are kept in DATA/.download; files that you put there yourself are not downloaded. With "
               "HW_MIRROR=http://host/base in the environment, files of the same names come from that address.")
    parser.add_argument("--data", type=any_path, default=Path("hw3_data"), metavar="DIR", help="default: hw3_data")
    parser.add_argument("--only", nargs="+", choices=DATASETS, default=list(DATASETS), help="default: all")
    parser.add_argument("--mnistm", type=any_path, metavar="ARCHIVE", help="take MNIST-M from a zip or tar: its authors' "
                        "mnist_m.tar.gz, or one that holds mnistm/train.csv, mnistm/train/00000.png and so on")
    parser.add_argument("--archive", type=any_path, metavar="FILE", help="take the datasets that are in this zip or tar of "
                        "the course (hw3_data.zip) from there, and download the others")
    args = parser.parse_args(arguments)
    if args.mnistm and "mnistm" not in args.only:
        parser.error("--mnistm needs mnistm among --only")
    for path in (args.mnistm, args.archive):
        if path and not path.is_file():
            raise UserError(f"{path} is not a file; give the archive to take the images from")
    mirror = os.environ.get("HW_MIRROR", "").rstrip("/")
    if mirror and not mirror.startswith(("http://", "https://")):
        raise UserError(f"HW_MIRROR is {mirror!r}; expected an address like http://host/base")
    if is_sample_data(args.data):
        raise UserError(f"{args.data} holds the built-in sample data; choose another folder with --data or delete it")

    failed = []
    with working_folder(args.data) as downloads:
        for name in args.only:
            try:
                provide(name, args.data, downloads, mirror, args.mnistm, args.archive)
            except UserError as error:
                warn(f"error: {name}: {error}")
                failed.append(name)
    print_table(args.data, args.only)
    if failed:
        raise UserError(f"not ready: {', '.join(failed)}; see the lines above")
    say(f"The data: {args.data.resolve()}; next: bash hw_report.sh --data {args.data}", "green")


@contextlib.contextmanager
def working_folder(data):
    """Make data/.download and give its path; keep other runs out, and remove what killed runs left in `data`."""
    downloads = data / ".download"
    try:
        downloads.mkdir(parents=True, exist_ok=True)
        held = lock(downloads / ".lock", f"another download into {data} is running; wait for it or stop it")
    except OSError as error:
        raise UserError(f"cannot write to {data}: {error.strerror}; choose another folder with --data") from None
    with held:
        for leftover in data.glob(".building-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield downloads


def provide(name, data, downloads, mirror="", mnistm=None, archive=None):
    """Bring one dataset to its place below `data`, unless it is there.

    Args: `name` a key of DATASETS, `data` the folder of the course layout, `downloads` the folder of the official
    files, `mirror` an address to take them from instead of the official ones, `mnistm` and `archive` the paths of
    archives that the user has. Raises UserError with the reason if the dataset cannot be had.
    """
    dataset = DATASETS[name]
    place = data / dataset.folder
    building = data / f".building-{name}"
    try:
        if place.is_dir() and any(place.iterdir()):
            try:
                check_counts(dataset, place, place)
            except UserError as error:
                raise UserError(f"{error}; delete or rename {place} to have it made anew") from None
            say(f"{name}: {place} is complete, nothing to do")
            return
        check_room(data, dataset.room)
        building.mkdir()
        source = build_from_archives(name, building, mnistm, archive)
        if source is None:
            source = downloads
            check_room(data, dataset.room + bytes_to_download(dataset, downloads))
            for file in dataset.files:
                try:
                    fetch(file, dataset, downloads, mirror)
                except UserError as error:
                    raise UserError(f"{archive} does not hold it, and {error}" if archive else str(error)) from None
            say(f"{name}: converting the images")
            dataset.build(downloads, building, dataset.counts)
        check_counts(dataset, building, source)
        place.parent.mkdir(parents=True, exist_ok=True)
        move_folder(building, place)
    except OSError as error:
        raise UserError(f"{error.filename or place}: {error.strerror or error}; fix that and run the command again"
                        ) from None
    finally:
        shutil.rmtree(building, ignore_errors=True)
    say(f"{name}: {place} is ready")


def build_from_archives(name, folder, mnistm, archive):
    """Fill `folder` from an archive of the user. Returns the archive's path, or None if no archive has this dataset."""
    if name == "mnistm" and mnistm:
        with Archive(mnistm) as opened:
            if listing := opened.ending("mnist_m_train_labels.txt"):
                for split in SPLITS:
                    copy_mnistm_split(opened, PurePosixPath(listing).parent, split, folder)
            elif table := opened.ending("mnistm/train.csv"):
                for split in SPLITS:
                    copy_course_split(opened, PurePosixPath(table).parent, split, folder)
            else:
                raise UserError(f"{mnistm} holds neither mnist_m_train_labels.txt nor mnistm/train.csv; give an "
                                "archive of MNIST-M")
        return mnistm
    if archive:
        with Archive(archive) as opened:
            if table := opened.ending(f"{DATASETS[name].folder}/train.csv"):
                for split in SPLITS:
                    copy_course_split(opened, PurePosixPath(table).parent, split, folder)
                return archive
        say(f"{name}: {archive} does not hold it")
    return None


def count_images(folder):
    """The number of images in each split of a dataset's folder: {split: count}.

    Raises UserError where a csv file or a folder is missing or unreadable, or a csv file has not one row for each image.
    """
    counts = {}
    for split in SPLITS:
        table = folder / f"{split}.csv"
        try:
            rows = len(parse_csv(table.read_bytes(), table, ("image_name",)))
        except OSError as error:
            raise UserError(f"cannot read {table}: {error.strerror}") from None
        counts[split] = len(list_images(folder / split))
        if rows != counts[split]:
            raise UserError(f"{table} has {rows:,} rows for {counts[split]:,} images")
    return counts


def check_counts(dataset, folder, source):
    """Raise UserError unless `folder` holds as many images as `dataset` has; the message names `source`."""
    counts = count_images(folder)
    if counts not in (dataset.counts, dataset.other_counts):
        raise UserError(f"{source} holds {counts['train']:,} train and {counts['test']:,} test images; expected "
                        f"{dataset.counts['train']:,} and {dataset.counts['test']:,}")


def print_table(data, names):
    say(f"\n{'dataset':<9}{'split':<7}{'images':>9}{'expected':>10}")
    for name in names:
        dataset = DATASETS[name]
        try:
            counts = count_images(data / dataset.folder)
        except UserError:
            counts = {}
        expected = dataset.other_counts if counts and counts == dataset.other_counts else dataset.counts
        for split in SPLITS:
            found = f"{counts[split]:,}" if counts else "not ready"
            say(f"{name:<9}{split:<7}{found:>9}{expected[split]:>10,}")


def free_bytes(folder):
    """How much room there is in a folder; as much as one likes where its file system does not say."""
    try:
        disk = shutil.disk_usage(folder)
    except OSError:
        return math.inf
    return disk.free or (0 if disk.total else math.inf)


def check_room(data, needed):
    free = free_bytes(data)
    if free < needed:
        raise UserError(f"the disk of {data} has {free / MB:,.0f} MB free, but about {needed / MB:,.0f} MB are needed; "
                        "make room or choose a folder on another disk with --data")


def bytes_to_download(dataset, downloads):
    total = 0
    for file in dataset.files:
        if not (downloads / file.name).exists():
            part = partial(downloads / file.name)
            total += max(0, file.size - (part.stat().st_size if part.exists() else 0))
    return total


if __name__ == "__main__":
    run_command(main, when_stopped="what has arrived is kept; run the same command again to go on")
