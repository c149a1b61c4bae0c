"""Build-time renderer of the demo library."""
