"""Errors for the user, and how they are shown; not in cli.py, because hw_eval.py needs nothing but Python."""


class UserError(Exception):
    """Something the user can fix. The message is one sentence: what is wrong, where, and what to do."""
    exit_code = 1


class UsageError(UserError):
    """Wrong usage: flags of the command line that are missing or contradict each other."""
    exit_code = 2


def one_line(text):
    """`text` with its line breaks and control characters, which names of files may hold, as escapes like \\n."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
