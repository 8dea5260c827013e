"""The sequence manager: has the sequencers of an observing mode run, where they have what they need."""
