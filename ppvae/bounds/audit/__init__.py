"""The audit of a pair of programs under a bound, made before the first step."""

from ppvae.bounds.audit.auditing import audit

__all__ = ["audit"]
