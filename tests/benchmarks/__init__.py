"""What a step of SVI costs, beside its peers: one command, one table in Markdown, one CSV.

From the root of a checkout::

    uv run python -m tests.benchmarks                      # both shapes; 15 rounds of 60 steps
    uv run python -m tests.benchmarks --device cuda
    uv run python -m tests.benchmarks --shape mlp --only ours-compiled pyro-meanfield products
    uv run python -m tests.benchmarks --scaling            # cost by batch, latents and particles
    uv run python -m tests.benchmarks --processes          # a fit in one and in two processes
    uv run python -m tests.benchmarks --time-to-bound      # seconds to a bound, beside the peers
    uv run python -m tests.benchmarks --encode             # all of MNIST encoded
    uv run python -m tests.benchmarks --imports            # what starting each command costs
    uv run python -m tests.benchmarks --epoch              # an epoch of ppvae.fit against its steps
    uv run python -m tests.benchmarks --whole-fit          # where the seconds of a fit go
    uv run python -m tests.benchmarks --evidence           # log p(x) against its matrix products
    uv run python -m tests.benchmarks --annealing          # log p(x) by annealing, compiled or not
    uv run python -m tests.benchmarks --compiling          # seconds to compile, first and then
    uv run python -m tests.benchmarks --diagnose           # a diagnosis by question
    uv run python -m tests.benchmarks --larger-than-memory # 10 GiB that stay on disk
    uv run python -m tests.benchmarks --all --out FOLDER   # most of them in a row, briefly

Every contender does the same `Job` in a process of its own, and one at a time computes: in each
round all of them take some steps, in an order that rotates. The machine is slow and fast in phases
that last longer than a round, so that a ratio is taken within each round, and its median reported.

Peers that the package does not depend on (NumPyro, pythae) are installed by ``uv`` into throw-away
environments: the first run downloads them. A contender that cannot be set up is a row that says so.
Real data is used where ``$PPVAE_DATA`` or ``../shared/data`` has MNIST, else noise.

To add a contender: a module in ``contenders/`` with a function from a `Job` to a `Run`, which
starts from `initial_weights`, and its line in ``contenders/__init__.py``. ``test_steps.py`` then
runs it with the default tests.

To add a table: a module with a function of the same name, from a `Plan` to a table that it hands to
`publish` with its `Bar`s, its line in ``__main__.py``, and its toy in a test beside it.
"""
