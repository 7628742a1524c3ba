"""A run as one page that opens offline and can be mailed: ``report.html``.

One section of the page per file: the results in sentences (`verdict`), the training curves
(`course`), reconstructions and samples (`pictures`), the codes and what is decoded there
(`latent_map`, of a `plane`), the KL by dimension (`dimensions`), the diagnosis (`diagnosis`), the
worst data (`worst`), and how to reproduce the run (`provenance`). Each is a `sections.Section` made
from `page_data`, or one sentence that says why it is missing; `page` puts them together.
"""

from ppvae.report.page import attempt, report
from ppvae.report.sections import reason_of

__all__ = ["attempt", "reason_of", "report"]
