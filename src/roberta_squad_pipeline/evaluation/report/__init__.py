"""What people look at: figures, tables and one page. Plotly; no Kedro, no MLflow, no torch."""
