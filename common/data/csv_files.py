"""Csv files that name images, as the course, graders' programs and spreadsheets write them; needs nothing but Python."""
import codecs
import csv
import io
import re
from pathlib import Path

from common.errors import UserError

LABELS = ("image_name", "label")        # the header of a csv of labels


def parse_csv(content, path, header, limit=None, lenient=False):
    """Read the bytes of a csv; `path` is what messages call it.

    It is UTF-8, or UTF-16 with a byte order mark. Its fields are separated by commas, semicolons or tabs, or by what a first
    line like `sep=;` says, which spreadsheets write. Returns [(line number, fields in the order of `header`)], where the first
    field is the name of an image; `limit` takes the first N rows only. A `lenient` reader of LABELS does without the header,
    and takes anything for a name. Raises UserError if it is not text, if columns, fields or rows are missing or there twice,
    or if a name is not a plain file name.
    """
    try:
        text = _decode(content, path, "surrogateescape" if lenient else "strict")
        said = re.match(r'"?sep=([,;\t|])"?(\r\n?|\n)', text, re.IGNORECASE)        # its own line, which no reader below counts
        text = text[said.end():] if said else text
        open_with = lambda separator: csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        firsts = {separator: [name.strip() for name in next(filter(any, open_with(separator)), [])]
                  for separator in (said[1] if said else ",;\t")}
        fits = lambda first: set(header) <= set(first) or (lenient and len(first) == 2 and digit(first[1]) is not None)
        separator = next((separator for separator in firsts if fits(firsts[separator])), next(iter(firsts)))
        found, reader = firsts[separator], filter(any, numbered := open_with(separator))
        missing = [name for name in header if name not in found]
        if not missing:
            next(reader)
        elif fits(found):
            found = list(header)
        else:
            raise UserError(f"{path}: the header lacks {', '.join(missing)}; expected {','.join(header)}")
        if twice := [name for name in header if found.count(name) > 1]:
            raise UserError(f"{path}: the header names {', '.join(twice)} twice; remove one column")

        columns = [found.index(name) for name in header]
        rows, seen = [], set()
        for fields in reader:
            number = numbered.line_num + bool(said)
            if len(fields) != len(found):
                raise UserError(f"{path}, line {number}: {len(fields)} fields; expected {len(found)}")
            row = tuple(fields[column] for column in columns)
            if row[0] in seen:
                raise UserError(f"{path}, line {number}: {row[0]} is listed twice; remove one row")
            if not lenient and (row[0] in ("", ".", "..") or Path(row[0]).name != row[0]):
                raise UserError(f"{path}, line {number}: {row[0]!r} is not a plain file name")
            seen.add(row[0])
            rows.append((number, row))
            if len(rows) == limit:
                break
    except csv.Error as error:
        raise UserError(f"cannot read {path}: {error}") from None
    if not rows:
        raise UserError(f"{path} lists no images")
    return rows


def _decode(content, path, errors):
    try:
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            text = content.decode("utf-16")
        else:
            text = content.decode("utf-8-sig", errors)
        if "\0" not in text:       # as UTF-16 without a mark has, UTF-32 and spreadsheets' own formats
            return text
    except UnicodeDecodeError:
        pass
    raise UserError(f"cannot read {path}: it is not a text file in UTF-8; save it as csv in UTF-8")


def number(text):
    """A number as programs write it (4, 4.0, 4e0), as a float; None for anything else, such as digits of other scripts."""
    try:
        return float(text) if text.isascii() and "_" not in text else None
    except ValueError:
        return None


def digit(text):
    """A label, 0 to 9 (or 4.0), as an int; None for anything else."""
    value = number(text)
    return int(value) if value in range(10) else None


def digits_of(rows, path):
    """The rows of parse_csv for LABELS as [(name, label 0–9)]. Raises UserError for another label."""
    for line, (name, label) in rows:
        if digit(label) is None:
            raise UserError(f"{path}, line {line}: the label of {name} is {label!r}; expected 0 to 9")
    return [(name, digit(label)) for _, (name, label) in rows]


def read_labels(path):
    """The labels in a csv from anywhere, with the header LABELS or none: {name: 0–9}. Raises UserError, as parse_csv does."""
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    return dict(digits_of(parse_csv(content, path, LABELS, lenient=True), path))


def read_answer(path, names, faults):
    """The labels, 0–9, that a csv has for the images `names`, in their order.

    Adds to the list `faults` a sentence for each rule of the course that it breaks: the header LABELS, then rows sorted by
    name, one for each image. Raises UserError, as read_labels does, and where an image has no row.
    """
    said = read_labels(path)
    if list(said) != sorted(said) or not path.read_text("utf-8-sig", "replace").startswith(",".join(LABELS)):
        faults.append(f"{path.name} is not the header {','.join(LABELS)} and then rows sorted by name")
    if missing := [name for name in names if name not in said]:
        raise UserError(f"{path.name} lacks {len(missing):,} of {len(names):,} images, {missing[0]} among them")
    if more := said.keys() - names:
        faults.append(f"{path.name} has {len(more):,} rows too many, {min(more)} among them")
    return [said[name] for name in names]


def write_csv(path, header, rows):
    """Write a csv of texts and numbers, its first column names of images, which may hold bytes that no encoding knows."""
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        plain, quoted = (csv.writer(file, lineterminator="\n", quoting=how) for how in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
        for row in (header, *rows):
            # Python's own rule leaves a carriage return unquoted, and a reader takes it for the line's end
            (quoted if any("\r" in str(field) for field in row) else plain).writerow(row)
