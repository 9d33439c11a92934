"""One problem's part of the report, which its figures.py writes: text, tables, figures, numbers."""
from pathlib import Path

from PIL import Image

from common.adaptation import NAMES
from common.cli import YES_NO, CommandParser, UserError, any_path, say, some_of
from common.data.grid import make_grid
from common.files import make_folder, read_json, visible, write_json, written_whole
from common.report.words import shared
from common.training.augment import resize

SPRITE_SIZE = 32        # pixels a side, at most, of the images behind the points of a map
SPRITE_COLUMNS = 32


class Section:
    """One problem's part of the report: blocks in reading order, figures in OUT/figures, numbers in `results`.

    `name` is its package; the names of its figures begin with `prefix`.
    """

    def __init__(self, out, name, title, prefix):
        self.out, self.name, self.title, self.prefix = Path(out), name, title, prefix
        self.blocks, self.headlines, self.results, self.runs = [], [], {}, []
        check_out(self.out)
        try:
            for folder in ("figures", "sections"):
                make_folder(self.out / folder)
        except OSError as error:
            raise UserError(f"cannot make the folder {self.out}: {error.strerror}; choose another --out") from None

    def heading(self, text):
        self.blocks.append({"kind": "heading", "text": text})

    def text(self, text):
        self.blocks.append({"kind": "text", "text": text})

    def listing(self, text):
        """Text in a fixed-width font: printed modules."""
        self.blocks.append({"kind": "listing", "text": text})

    def table(self, header, rows, caption):
        """Rows of texts and numbers; None shows as a dash."""
        self.blocks.append({"kind": "table", "header": header, "rows": rows, "caption": caption})

    def headline(self, value, text, note):
        """A number for the top of the page: what it is, and what to hold it against."""
        self.headlines.append({"value": value, "text": text, "note": note})

    def figure(self, name, caption, half=False):
        """Announce a figure at this place; returns the path of its png. Two `half` ones in a row stand side by side."""
        path = Path("figures") / f"{self.prefix}_{name}.png"
        self.blocks.append({"kind": "figure", "path": path.as_posix(), "caption": caption, "half": half})
        return self.out / path

    def show_images(self, name, spots, images, labels):
        """Let the page show the image behind each point of the last figure.

        Args: `name` of the sheet of images, `spots` as draw_scatter returns them, `images` uint8 [N, 3, H, H], `labels` a
        text for each.
        """
        path = Path("figures") / f"{self.prefix}_{name}.jpg"
        images = resize(images.float(), min(images.shape[-1], SPRITE_SIZE)).round().byte()
        with written_whole(self.out / path) as part:
            sheet = make_grid(images, SPRITE_COLUMNS, padding=0).permute(1, 2, 0).numpy()
            Image.fromarray(sheet).save(part, quality=85, subsampling=0)
        self.blocks[-1]["map"] = {"sheet": path.as_posix(), "size": images.shape[-1], "columns": SPRITE_COLUMNS,
                                  "spots": spots.round(4).tolist(), "labels": labels}

    def settings(self, config):
        """What a run was trained with, from its config.json."""
        settings = {name: value for name, value in config["settings"].items()
                    if name not in ("data", "problem") and value is not None}
        rows = [[name.replace("_", " "), YES_NO.get(str(value), str(value))] for name, value in settings.items()]
        rows += [["hardware", config["hardware"]], *([name, text] for name, text in config["versions"].items()),
                 ["git revision", str(config["git_revision"])]]
        self.blocks.append({"kind": "settings", "rows": rows})

    def write(self):
        """Write the section's json: the last step, so that a section is there only with all of its figures."""
        write_json(self.out / "sections" / f"{self.name}.json", {
            "title": self.title, "sample_data": any(run.config["sample_data"] for run in self.runs),
            "hardware": sorted({run.config["hardware"] for run in self.runs}),
            "preset": sorted({run.settings["preset"] for run in self.runs}),
            "seeds": sorted({run.settings["seed"] for run in self.runs}),
            "limits": sorted({run.settings["limit"] for run in self.runs} - {None}),
            "train_images": sorted({run.summary["train_images"] for run in self.runs}),
            "software": sorted({", ".join(f"{name} {number}" for name, number in run.config["versions"].items())
                                for run in self.runs}),
            "revisions": sorted({str(run.config["git_revision"]) for run in self.runs}),
            "runs": len(self.runs), "train_seconds": sum(run.summary["train_seconds"] for run in self.runs),
            "blocks": self.blocks, "headlines": self.headlines, "results": self.results})
        say(f"{self.title}: drawn into {self.out / 'figures'}; the page: python3 -m common.report {self.out}")


def check_out(out):
    """Raise UserError if the folder `out`, which may be missing, holds other things than a report, or the beginnings of one."""
    names = visible(out)
    beginnings = {"sections", "figures", "numbers", "left_out.json", "shipped.json", "commands.json"}
    if not beginnings.issuperset(names) and not any((out / "sections").glob("p?_*.json")):
        raise UserError(f"{out} holds no report of ours but other files ({some_of(names)}); give another --out")


def read_figure_arguments(description):
    """The command line of every p*/figures.py: `runs` and `out`, both Path, and `like`, Path or None."""
    parser = CommandParser(description=description)
    parser.add_argument("--runs", type=any_path, required=True, metavar="DIR", help="the folder of the run folders")
    parser.add_argument("--out", type=any_path, default=Path("report"), metavar="DIR",
                        help="the folder of the report (default: report)")
    parser.add_argument("--like", type=any_path, metavar="FILE", help="draw the runs with the settings in this config.json "
                                                                  "(default: those of the first run found)")
    return parser.parse_args()


def read_results(out, name):
    """The numbers of another problem's section, an empty dict where it was not written."""
    path = Path(out) / "sections" / f"{name}.json"
    return read_json(path)["results"] if path.is_file() else {}


def about_seeds(runs):
    """The sentences of an accuracy table's caption on seeds and choice of weights. `runs`: its FinishedRuns (or None)."""
    counts = sorted({len(run.seeds) for run in runs if run})
    if counts == [1]:
        return shared("one_run")
    if len(counts) == 1:
        return shared("same_seeds", seeds=counts[0])
    return shared("other_seeds", fewest=counts[0], most=counts[-1])


def missing_digits(runs):
    """A sentence on test splits that lack some digits, for the caption of an accuracy table; empty if none does.

    `runs`: the FinishedRuns (or None) of the table.
    """
    lacking = {run.settings["target"]: run.summary["target_absent_digits"] for run in runs if run}
    return "".join(" " + shared("absent_digits", domain=NAMES[domain], digits=", ".join(map(str, digits)))
                   for domain, digits in lacking.items() if digits)


def percent_of(value, whole):
    """How much a number is of another, as a text in whole percent."""
    return f"{100 * value / whole:.0f} %" if whole else "– %"
