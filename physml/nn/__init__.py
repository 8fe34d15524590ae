"""Networks that know no domain."""
