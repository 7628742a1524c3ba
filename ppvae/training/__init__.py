"""The loop that climbs a bound: its state, its evaluation, its devices and processes."""
