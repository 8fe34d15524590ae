"""Tasks spread over Dask workers, here or on other nodes."""
