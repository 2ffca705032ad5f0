"""The exception for values that a person gives."""


class InputError(ValueError):
    """A value from outside (a prompt, an option, a file) is wrong.

    The message is one sentence that names the value, the fault, and a value that would be right.
    The command line prints it without a traceback and exits with 2.
    """


class UnknownOption(InputError, TypeError):
    """A call has an argument of an unknown name, for which Python's own word is TypeError."""
