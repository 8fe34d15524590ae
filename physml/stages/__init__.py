"""The stages as they are in every science; the rooms add what is theirs."""
