"""Settings as flags, YAML and ``--help``; terminal output."""
