"""The words of a section: a words.md beside the figures.py that shows them, to be read and changed as text.

Such a file has, in the page's order, its headings, `## 1.2 Learning curves`, and paragraphs that begin with their names,
`**curves.** Left: …`. What stands in {braces} is put in by figures.py; `{error:.4f}` says how many digits it has.
"""
import re
from pathlib import Path

from common.errors import UserError


class Words:
    """The texts of `file` in the folder of `path`, itself one of the files there: words(name, value=…) is one of them.

    `title` is the section's. A heading is named by its number, as in words("1.2"). Raises UserError where the file cannot be
    read, lacks a text, or uses a value that it is not given.
    """

    def __init__(self, path, file="words.md"):
        self.path = Path(path).with_name(file)
        try:
            content = self.path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise UserError(f"cannot read {self.path}: {error}") from None
        self.texts = {}
        for paragraph in re.split(r"\n\s*\n", content):
            text = " ".join(paragraph.split())
            if match := re.match(r"# (.+)", text):
                self.title = match[1]
            elif match := re.match(r"## (\S+) .+", text):
                self.texts[match[1]] = text.removeprefix("## ")
            elif match := re.match(r"\*\*(\w+)\.\*\* (.+)", text):
                self.texts[match[1]] = match[2]

    def __call__(self, name, **values):
        try:
            return self.texts[name].format(**values)
        except KeyError as error:
            if name not in self.texts:
                raise UserError(f"{self.path} has no text {name}; put it back") from None
            raise UserError(f"{self.path}: the text {name} uses {error}, but is only given {', '.join(values) or 'no values'}"
                            ) from None
        except (ValueError, IndexError, AttributeError, TypeError) as error:
            raise UserError(f"{self.path}: the text {name} cannot be filled in ({error})") from None


shared = Words(__file__)        # what several sections say
