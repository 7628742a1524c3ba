"""Benchmarks: the cost of a step of SVI, compared with other libraries, as Markdown and CSV.

From the root of a checkout::

    uv run python -m tests.benchmarks                      # both shapes; 15 rounds of 60 steps
    uv run python -m tests.benchmarks --device cuda
    uv run python -m tests.benchmarks --shape mlp --only ours-compiled pyro-meanfield products
    uv run python -m tests.benchmarks --scaling            # cost by batch, latents and particles
    uv run python -m tests.benchmarks --processes          # a fit in one and in two processes
    uv run python -m tests.benchmarks --time-to-bound      # seconds to a bound, against the peers
    uv run python -m tests.benchmarks --encode             # encoding of all of MNIST
    uv run python -m tests.benchmarks --imports            # start-up of each command
    uv run python -m tests.benchmarks --epoch              # an epoch of ppvae.fit against its steps
    uv run python -m tests.benchmarks --whole-fit          # the seconds of a fit, by part
    uv run python -m tests.benchmarks --evidence           # log p(x) against its matrix products
    uv run python -m tests.benchmarks --annealing          # log p(x) by annealing, compiled or not
    uv run python -m tests.benchmarks --compiling          # seconds to compile a step
    uv run python -m tests.benchmarks --diagnose           # a diagnosis by question
    uv run python -m tests.benchmarks --larger-than-memory # 10 GiB read from disk
    uv run python -m tests.benchmarks --all --out FOLDER   # the tables in a row, shortened

Every contender does the same `Job` in its own process, and only one computes at a time. In each
round, every contender takes some steps, in an order that rotates. The speed of a machine changes
more slowly than that, so ratios are taken within rounds, and their median is reported.

``uv`` installs peers that the package does not depend on (NumPyro, pythae) in temporary
environments; the first run downloads them. A contender that fails has a row with the reason. The
data are MNIST if ``$PPVAE_DATA`` or ``../shared/data`` has it, else noise.

To add a contender, add a module to ``contenders/`` with a function from a `Job` to a `Run` that
starts from `initial_weights`, and list it in ``contenders/__init__.py``. ``test_steps.py`` then
runs it.

To add a table, add a module with a function of the same name that takes a `Plan` and passes rows
and `Bar`s to `publish`. List it in ``__main__.py``, and test it on toy data.
"""
