"""What a user is told when an input cannot be used."""


class InputError(ValueError):
    """One sentence for a person: what was given, where it was given, and the way out.

    Every refusal of bad input in this package is one of these. The commands print the sentence
    and leave with exit code 2; in Python it is the ``ValueError`` it looks like. Anything else
    that is raised is a defect, and keeps its traceback.
    """
