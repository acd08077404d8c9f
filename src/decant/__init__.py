"""Decant."""
