"""A survey's tables, figures and page, made from the results of its targets."""
