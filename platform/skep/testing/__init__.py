"""What plugin authors test with; ships with the package."""
