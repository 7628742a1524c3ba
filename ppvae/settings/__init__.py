"""Settings of all commands, with their types, defaults, values and descriptions.

The settings of a fit (`fit`), of a resumed fit (`resume`), of a comparison (`compare`), and of the
commands on a run (`run`); what a setting is (`setting`), and its possible values (`values`).
Nothing here needs torch.
"""

from ppvae.settings.compare import Compare, CompareBounds, CompareRuns
from ppvae.settings.fit import READING, Settings
from ppvae.settings.resume import FitCommand, Resume
from ppvae.settings.run import Diagnose, Encode, Export, Sample
from ppvae.settings.setting import (
    Checked,
    Setting,
    check_seed,
    flagged,
    refusal,
    settings_of,
    takes,
    told,
)
from ppvae.settings.values import (
    QUESTIONS,
    SWITCH,
    Binarize,
    Class,
    Compile,
    Device,
    MetricsLogger,
    Part,
    Precision,
    Rows,
    Scale,
    Several,
    Sources,
    Tracker,
)

__all__ = [
    "QUESTIONS", "READING",
    "SWITCH", "Binarize", "Checked", "Class", "Compare", "CompareBounds",
    "CompareRuns", "Compile", "Device", "Diagnose", "Encode", "Export",
    "FitCommand", "MetricsLogger", "Part", "Precision", "Resume", "Rows", "Sample", "Scale",
    "Setting", "Settings", "Several", "Sources", "Tracker", "check_seed", "flagged", "refusal",
    "settings_of", "takes", "told",
]  # fmt: skip
