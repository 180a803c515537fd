"""A whole kiosk, booted in an emulated machine: scripts/test-kiosk."""
