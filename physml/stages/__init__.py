"""What each stage does in every science; the rooms add what is theirs."""
