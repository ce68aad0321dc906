"""The description that the server gives of itself, held against what it answers."""
