"""Before the first step: do model and guide agree, which KLs are exact, which scales apply?

All of it is read off one trace of each program, never off a class name, so that it holds for
anybody's programs.
"""

from ppvae.audit.auditing import audit
from ppvae.audit.facts import Audit, Site

__all__ = ["Audit", "Site", "audit"]
