"""The one place where plug-ins meet: a trial, a source training, the description of a pair."""
