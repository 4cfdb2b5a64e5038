"""Namespaces as a whole: rename, clone, empty and delete them."""
