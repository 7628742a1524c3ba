"""Export of the encoder and decoder of a pair of programs as graphs: ``torch.export``.

They are found in the programs' traces (`parts`), with each latent at its mean (`at_means`); a graph
of one row is generalized to any number of rows, compared with the programs and returned
(`exporting`).
"""
