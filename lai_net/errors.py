"""The errors that are ours, and how those of others are told.

Everything that is wrong with the user's input (a corpus, a study, a setting) is an `InputError`: its
text is one line that says what is wrong, where, and what to do. The command line prints that line and
exits with 2; anything else is a defect of ours and keeps its traceback.
"""


class InputError(ValueError):
    """The input is wrong; `str(error)` is one line for the user."""


class DivergedError(ArithmeticError):
    """Training gave a loss that is no finite number; the config is at fault, not the machine."""


def first_line(error: BaseException) -> str:
    """What another library's error says, in one line; its name where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
