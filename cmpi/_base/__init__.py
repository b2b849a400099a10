"""Values that every layer uses: frozen classes and units. They need only the errors."""
