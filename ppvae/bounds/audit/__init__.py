"""What a bound will do with a pair of programs, found before the first step."""

from ppvae.bounds.audit.auditing import audit

__all__ = ["audit"]
