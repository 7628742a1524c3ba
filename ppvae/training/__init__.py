"""The training loop: its state, evaluation, devices and processes."""
