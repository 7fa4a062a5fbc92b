"""What each command of ``wificrm`` does; imported only when it runs, so that the portal stays small."""
