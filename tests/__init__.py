"""The tests mirror the rooms; ``meta`` holds the rules of the house, ``packaging`` what is shipped."""
