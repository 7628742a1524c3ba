"""Parts of a pair of programs as graphs that run without it: ``torch.export``.

An encoder and a decoder are read off the programs' traces (`parts`), with each latent at its mean
(`at_means`); a graph of one row becomes one of any number of rows, is compared with the programs
and written down (`exporting`).
"""
