"""What several services need and none of them owns."""
