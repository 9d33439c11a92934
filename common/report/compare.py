"""In which numbers two reports differ."""
from common.files import read_json


def compare_reports(first, second):
    """The numbers in which two reports differ, from the results.json of each: (rows of texts with a number's name, both values
    and the difference; how many numbers are the same). Raises UserError if a folder holds no report."""
    ours, theirs = (dict(_numbers(read_json(out / "results.json"))) for out in (first, second))
    show = lambda value: "–" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)
    rows, same = [], 0
    for name in dict.fromkeys([*ours, *theirs]):
        one, other = ours.get(name), theirs.get(name)
        if one == other:
            same += 1
        else:
            numbers = all(isinstance(value, (int, float)) for value in (one, other))
            rows.append([name, show(one), show(other), f"{other - one:+.4f}" if numbers else ""])
    return rows, same


def _numbers(content, name=""):
    """Each plain value of a nest of dicts and lists, with the names on the way to it."""
    if isinstance(content, (dict, list)):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content, 1):
            yield from _numbers(value, f"{name} {key}".strip().replace("_", " "))
    else:
        yield name, content
