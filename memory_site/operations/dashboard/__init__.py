"""The console's first page: cards of figures about the store and the site, and what needs attention."""
