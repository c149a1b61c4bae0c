"""Nights over a drop of 20,000 files: the first one, one with nothing new, one with little new."""
