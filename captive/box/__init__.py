"""This box as the guests' gateway: put up, checked, watched, taken down."""
