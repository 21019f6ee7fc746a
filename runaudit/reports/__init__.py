"""The report's schema and its renderings."""
