"""Who may do what in the console: roles, logins, sessions, one-time passwords and the list of all that was done."""
