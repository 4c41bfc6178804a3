"""The five dashboards, one a file, as data."""
