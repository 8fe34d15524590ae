"""What tests put in the place of networks, cameras and laboratories."""
