"""Floor 5: the pages of the browser app, and the only code that speaks Streamlit."""
