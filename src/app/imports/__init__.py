"""Links from CSV files, by a background job; links as a CSV file, streamed."""
