"""Plots as data: pure functions from numbers to what plotly.js draws; plotly itself is not imported.

Colours are names of roles (`score`, `change`, `line-1`), which the browser looks up in the style sheet, so
that one figure is drawn in light and in dark.
"""
