"""Where experience is kept: SQL, memory, and Parquet tables for exchange."""
