"""A run examined: all questions of `ppvae.diagnostics` asked of it, and the answers put into words.

One question a file, each giving a `Finding`: what is in the bound, and is the latent used
(`bound`), what is log p(x) (`evidence`), where is the gap (`gap`), can the guide be trusted
(`trust`), would the model generate such data (`model`), how did the fit go (`training`), by which
estimator to climb (`estimator`). What they say together is the `verdict`.
"""
