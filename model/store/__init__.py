"""What the service remembers: rows in SQLite or PostgreSQL, objects in a folder or S3. Knows no HTTP and no model."""
