"""The service under load: one, two and four containers behind nginx, users by the dozen, and what limits each row."""
