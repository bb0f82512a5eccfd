"""The dashboard: a Streamlit app that reads a ledger, its artifacts and running studies, and never writes."""
