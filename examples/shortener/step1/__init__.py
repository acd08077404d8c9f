"""Step 1 of the way to Quart: the busiest routes are Quart's, all others are the Flask application's as before."""
