"""Settings to flags, YAML and ``--help``; what a person sees in the terminal."""
