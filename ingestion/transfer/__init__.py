"""All of a namespace, or of one user, as JSON Lines: written by one namespace, read by another, with nothing lost."""
