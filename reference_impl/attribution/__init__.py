"""Who is credited for a conversion: seven models over a journey, and their answer as text."""
