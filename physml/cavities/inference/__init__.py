"""The networks and the search that applies them."""
