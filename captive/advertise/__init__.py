"""The process that advertises this box as the guests' IPv6 router."""
