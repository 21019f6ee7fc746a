"""What a tenant may do at most: requests a minute, audits waiting at a time, bytes stored."""
