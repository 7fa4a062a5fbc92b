"""``wificrm doctor``: what works on this box, what a phone meets on it, and what to do about the rest."""
