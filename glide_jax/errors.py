"""The one exception for values that a person gave us."""


class InputError(ValueError):
    """A value from outside (prompt, option, file) is wrong.

    The message is one sentence naming the value, what was wrong with it and what would be right.
    The command line prints it without a traceback and exits with 2.
    """
