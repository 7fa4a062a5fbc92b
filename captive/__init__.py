"""How a phone gets online: probes, grants, gateway, portal. app.py and cli.py wire everything."""
