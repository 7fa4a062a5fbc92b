"""What citizens are told, and when: announcements. Imports crm and surveys."""
