"""What other backends call. Plain functions on the caller's session: they flush and never commit."""
