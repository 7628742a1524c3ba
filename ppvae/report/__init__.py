"""A run as one page that opens offline and can be mailed: ``report.html``.

One part of the page per file: what the run comes to (`verdict`), how the fit went (`course`), what
the model makes of data (`pictures`), where the codes lie and what is decoded there (`latent_map`,
of a `plane`), what is in the KL (`dimensions`), what a diagnosis found (`diagnosis`), which data
are the worst (`worst`), and how to make it all again (`provenance`). Each is a `parts.Section` made
of `page_data`, or one sentence that says why it is not there; `page` puts them together.
"""

from ppvae.report.page import attempt, report
from ppvae.report.sections import reason_of

__all__ = ["attempt", "reason_of", "report"]
