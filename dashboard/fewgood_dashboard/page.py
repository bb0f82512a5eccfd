"""The script that Streamlit runs for every page view; all it does is in `fewgood_dashboard.app`."""

from fewgood_dashboard.app import main

main()
