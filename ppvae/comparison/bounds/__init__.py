"""Comparison of two bounds on one program.

One step per file: the program (`subject`), a fit with each bound in turns (`alternating`), the
noise of each at the same weights (`noise`, measured by `ppvae.diagnostics.estimator`), all steps
together (`comparing`), the figures of both (`statistics`), and their presentation (`sentence`,
`table`, `figure`, `page`).
"""
