"""Who is online, on what terms, and how that is kept."""
