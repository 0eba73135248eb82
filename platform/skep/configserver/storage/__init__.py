"""The SQLite file of the config server: its tables, and the rows of each noun."""
