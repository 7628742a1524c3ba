"""Variational autoencoders as probabilistic programs, on Pyro."""
