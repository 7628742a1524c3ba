"""The audit: checks of a pair of programs under a bound, before the first step."""

from ppvae.bounds.audit.auditing import audit

__all__ = ["audit"]
