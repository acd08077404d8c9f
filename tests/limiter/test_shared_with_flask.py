"""One Redis for a Flask half and a Quart half."""
