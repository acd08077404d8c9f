"""Statistics of clicks."""
