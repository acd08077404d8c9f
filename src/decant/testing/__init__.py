"""The test client with Flask's keyword arguments, and a pytest plugin."""
