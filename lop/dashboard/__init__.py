"""The local dashboard: one Bokeh server over run folders, live while they grow. Start: `python -m lop.dashboard runs/`."""
