"""The pytest plugin: loaded by its entry point."""
