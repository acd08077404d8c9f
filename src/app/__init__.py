"""The link shortener."""
