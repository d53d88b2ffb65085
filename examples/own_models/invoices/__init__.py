"""What customers owe: tables of our own beside those of the CRM."""
