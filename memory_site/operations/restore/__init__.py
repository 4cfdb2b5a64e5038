"""Restores a backup into a new database, which then takes the place of the site's."""
