"""Two bounds side by side on one program.

One step a file: the program they are compared on (`subject`), a fit by each in turns
(`alternating`), the noise of each at the same weights (`noise`, as `ppvae.diagnostics.estimator`
measures it), all of it together (`comparing`), the figures of both (`statistics`), and what these
say (`sentence`, `table`, `figure`).
"""
