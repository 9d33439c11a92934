"""The numbers of a section, measured once: kept in OUT/numbers/*.json until what they were made from changes."""
import hashlib
import json

from common.cli import UserError
from common.data.layout import digests
from common.files import REPOSITORY, finite, make_folder, read_json, write_json
from common.training.settings import PLACE

# code that only draws or writes: what is changed there changes no number
DRAWING = ("figures.py", *(f"report/{name}.py" for name in (
    "compare", "latex", "numbers", "page", "plots", "section", "words")))


def kept_numbers(section, runs, measure, part="", **more):
    """The dict that measure() returns, of plain values as json has them; from OUT/numbers/ if it is there already.

    Measured anew where the weights or settings of the `runs` (FinishedRuns), the pixels or labels of their data, the code that
    measures, or what else is named in `more` are others than then. `part` tells apart several such files of one section. Raises
    UserError if weights cannot be read.
    """
    path = section.out / "numbers" / f"{section.name}{part}.json"
    made_from = json.loads(json.dumps(finite({
        "runs": [[{name: value for name, value in run.settings.items() if name not in PLACE}, _digest_weights(run)]
                 for run in runs],
        "data": digests(runs[0].settings), "code": _digest_code(section.name)} | more)))
    try:
        before = read_json(path, "made_from", numbers=dict)
    except UserError:
        before = None       # missing, or damaged
    if before is None or before["made_from"] != made_from:
        make_folder(path.parent)
        write_json(path, {"made_from": made_from, "numbers": measure()})
        before = read_json(path)        # so that a first drawing has what a second one will have
    return before["numbers"]


def _digest_weights(run):
    try:
        return hashlib.sha256(run.weights.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise UserError(f"cannot read the weights {run.weights}: {error.strerror}") from None


def _digest_code(package):
    content = hashlib.sha256()
    for path in sorted([*(REPOSITORY / "common").rglob("*.py"), *(REPOSITORY / package).glob("*.py")]):
        if not path.as_posix().endswith(DRAWING):
            content.update(path.read_bytes())
    return content.hexdigest()[:16]
