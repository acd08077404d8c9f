"""The jobs: each module has one, with what it shares with the views that enqueue it."""
