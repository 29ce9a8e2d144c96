"""The log, datasets, prices: everything that reads or writes data."""
