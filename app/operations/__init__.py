"""What operators do to a database: examine it, give rights in it, keep its search indexes."""
