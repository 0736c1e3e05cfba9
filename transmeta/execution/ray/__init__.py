"""The only folder that imports Ray: sessions, searches by Tune, source training by Train, jobs."""
