"""What users see first of a recording, for the programs that they record most; see tools/journeys."""
